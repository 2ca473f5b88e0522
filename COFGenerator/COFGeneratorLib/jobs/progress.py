"""How far a command is, on standard error: a bar that is redrawn on a terminal, a line now and then elsewhere."""

import shutil
import time
from collections.abc import Callable
from typing import TextIO

BAR_CHARACTERS = 24
EVERY_S = 20.0
"""Elsewhere than on a terminal, a stage that lasts says how far it is this often."""
SOON_S = 1.0
"""Time left below which none is told."""


class Progress:
    """Shows stages and how far they are.

    Args:
        stream: Where to; whether it is a terminal decides how.
        clock: Gives the time, s.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._terminal = stream.isatty()
        self._stage, self._began_s, self._told_s = "", 0.0, 0.0
        self._line = ""

    def tell(self, stage: str, done: float, total: float) -> None:
        """Show how far a stage is; ``total`` is 0 where it is not known."""
        now_s = self._clock()
        new = stage != self._stage
        if new:
            self._stage, self._began_s = stage, now_s
        left_s = (now_s - self._began_s) * (total - done) / done if 0 < done < total else 0.0
        left = f"{time_words(left_s)} left" if left_s >= SOON_S else ""
        if self._terminal:
            self._draw(_bar(stage, done, total, left))
        elif new or now_s - self._told_s >= EVERY_S:
            count = f"{done:g} of {total:g}" if total and done else ""
            words = ", ".join(filter(None, (count, left)))
            print(f"{stage} … {words}".rstrip(), file=self._stream, flush=True)
            self._told_s = now_s

    def clear(self) -> None:
        """Take the bar away, so that words can stand in its place."""
        if self._line:
            self._draw("")

    def _draw(self, line: str) -> None:
        line = line[: max(shutil.get_terminal_size().columns - 1, 20)]
        end = "" if line else "\r"
        print(f"\r{line:<{len(self._line)}}", end=end, file=self._stream, flush=True)
        self._line = line


def time_words(seconds: float) -> str:
    """Return a time span as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _bar(stage: str, done: float, total: float, left: str) -> str:
    """Return ``sampling [######------]  50 %  12 s left``; without a total the name of the stage alone."""
    if not total:
        return f"{stage} …"
    share = min(max(done / total, 0.0), 1.0)
    filled = round(BAR_CHARACTERS * share)
    return f"{stage} [{'#' * filled}{'-' * (BAR_CHARACTERS - filled)}] {100 * share:3.0f} %  {left}".rstrip()
