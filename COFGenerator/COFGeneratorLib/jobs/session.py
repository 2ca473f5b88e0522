"""One run of a sub-command: its events, its progress on the terminal, its warnings and its times."""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from COFGeneratorLib.jobs.events import EventWriter, JobCancelled, job_events
from COFGeneratorLib.jobs.stopwatch import Stopwatch


class Session:
    """What a sub-command tells while it works; with ``quiet`` it prints nothing but errors.

    ``standing`` says, when the command is stopped, what stands by then and how to go on; a command sets it.
    """

    def __init__(self, events: EventWriter, quiet: bool) -> None:
        self.events, self.quiet = events, quiet
        self.watch = Stopwatch()
        self.warnings: list[str] = []
        self.standing: Callable[[], str] = lambda: "What was complete stays."
        self._counts: dict[str, str] = {}
        self._bar = not quiet and sys.stderr is not None and sys.stderr.isatty()
        self._line = ""

    def progress(self, done: float, total: float, message: str = "") -> None:
        """Say how far the work is; raises ``JobCancelled`` where a watching program asked to stop."""
        self.events.progress(message or "working", done, total)
        self._counts[message] = f"{done:g} of {total:g}"
        if self._bar:
            share = f" {100 * done / total:3.0f} %" if total else ""
            self._show(f"{message or 'working'} …{share}")

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

    def tell_files(self, folder: str) -> None:
        """Tell the watching program which files a result has."""
        for path in sorted(Path(folder).iterdir()):
            self.events.artifact(path)

    def say(self, text: str = "") -> None:
        """Print a line of the result."""
        if not self.quiet:
            self._show("")
            print(text)

    def say_warnings(self) -> None:
        """Print the warnings at the end, where they are read."""
        for message in self.warnings:
            self.say(f"note: {message}")

    def _show(self, line: str) -> None:
        if self._line or line:
            print(f"\r{line:<{len(self._line)}}", end="" if line else "\r", file=sys.stderr, flush=True)
        self._line = line


@contextmanager
def session(arguments: argparse.Namespace) -> Iterator[Session]:
    """Give the session of a command; its end, good or bad, is told to the watching program.

    Raises:
        JobCancelled: If it was stopped, from without or by a signal, with the words of ``Session.standing``.
    """
    with job_events(arguments.events) as events:
        current = Session(events, arguments.quiet)
        try:
            yield current
        except (JobCancelled, KeyboardInterrupt) as stop:
            raise JobCancelled(f"Stopped on request. {current.standing()}") from stop
        finally:
            current._show("")
