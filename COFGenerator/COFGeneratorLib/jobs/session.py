"""One run of a sub-command: its events, its progress on the terminal, its warnings and its times."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from COFGeneratorLib.jobs.events import EventWriter, JobCancelled, job_events
from COFGeneratorLib.jobs.progress import Progress
from COFGeneratorLib.jobs.stopwatch import Stopwatch


class Session:
    """What a sub-command tells while it works; with ``quiet`` it prints nothing but errors.

    ``standing`` says, when the command is stopped, what stands by then and how to go on; a command sets it. ``facts``
    is what came out, for ``--json``: printed at the end in place of the words.
    """

    def __init__(
        self, events: EventWriter, quiet: bool, out: str | os.PathLike | None = None, as_json: bool = False
    ) -> None:
        self.events, self.quiet, self._out, self.as_json = events, quiet, out, as_json
        self.facts: dict[str, Any] = {}
        self.watch = Stopwatch()
        self.warnings: list[str] = []
        self.standing: Callable[[], str] = lambda: "What was complete stays."
        self._counts: dict[str, str] = {}
        self._progress = None if quiet or sys.stderr is None else Progress(sys.stderr)

    def progress(self, done: float, total: float, message: str = "") -> None:
        """Say how far the work is; raises ``JobCancelled`` where a watching program asked to stop."""
        self.events.progress(message or "working", done, total)
        self._counts[message] = f"{done:g} of {total:g}"
        if self._progress is not None:
            self._progress.tell(message or "working", done, total)

    def counted(self, message: str) -> str:
        """Return how many of how many were told by ``progress`` under a message, as "3 of 9"; "none" of none."""
        return self._counts.get(message, "none")

    def warn(self, *messages: str) -> None:
        """Keep warnings for ``run.json`` and tell the watching program."""
        for message in messages:
            if message not in self.warnings:
                self.warnings.append(message)
                self.events.warning(message)

    def take_over(self, provenance: Mapping[str, Any]) -> None:
        """Take the ``seconds`` by stage and the ``warnings`` of something computed for one's own."""
        for stage, seconds in provenance["seconds"].items():
            self.watch.add(stage, seconds)
        self.warn(*provenance["warnings"])

    def tell_files(self, folder: str | os.PathLike) -> None:
        """Tell the watching program which files a result has, by their names within it."""
        for path in sorted(Path(folder).iterdir()):
            self.events.artifact(path.name)

    def tell_file(self, path: str | os.PathLike) -> None:
        """Tell the watching program of a file, by its path below ``--out``: what lies above may name a person."""
        below = Path(path).absolute()
        if self._out is not None and below.is_relative_to(Path(self._out).absolute()):
            self.events.artifact(below.relative_to(Path(self._out).absolute()).as_posix())
        else:
            self.events.artifact(below.name)

    def say(self, text: str = "") -> None:
        """Print a line of the result."""
        self.clear()
        if not self.quiet and not self.as_json:
            print(text)

    def say_warnings(self) -> None:
        """Print the warnings at the end, where they are read."""
        for message in self.warnings:
            self.say(f"note: {message}")

    def clear(self) -> None:
        """Take the progress bar away."""
        if self._progress is not None:
            self._progress.clear()

    def say_json(self) -> None:
        """Print what came out, where JSON is asked for."""
        if self.as_json:
            content = {**self.facts, "warnings": self.warnings, "seconds": self.watch.as_dict()}
            print(json.dumps(content, indent=1, allow_nan=False, default=str))


@contextmanager
def session(arguments: argparse.Namespace) -> Iterator[Session]:
    """Give the session of a command; its end, good or bad, is told to the watching program.

    Raises:
        JobCancelled: If it was stopped, from without or by a signal, with the words of ``Session.standing``.
    """
    with job_events(arguments.events) as events:
        out, as_json = getattr(arguments, "out", None), getattr(arguments, "json", False) is True
        current = Session(events, arguments.quiet, out, as_json)
        try:
            yield current
            current.clear()
            current.say_json()
        except (JobCancelled, KeyboardInterrupt) as stop:
            raise JobCancelled(f"Stopped on request. {current.standing()}") from stop
        finally:
            current.clear()
