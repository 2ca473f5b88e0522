"""What a job says while it works: one JSON object a line in ``events.jsonl``.

Used inside the child process::

    with job_events(arguments.events) as events:
        for frame in range(50):
            events.progress("sampling", frame, 50)
        events.artifact(path)

Kinds: ``progress`` {stage, done, total, eta_s}, ``metric`` {name, value, step}, ``warning`` {message},
``artifact`` {path}, ``error`` {kind, message, hint}, ``done``. Every event has ``time`` (s since the epoch).
"""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from COFGeneratorLib.errors import ChainOfFlowError

CANCELLED_EXIT_CODE = 130
"""Exit code of a job that stopped because it was asked to; the shell's convention for an interrupt."""

MIN_INTERVAL_S = 0.05
"""Progress within one stage is written at most this often; the first and the last step always are."""

HINTS = {
    "oom": "Choose the CPU, fewer samples, or close other programs that use the GPU.",
    "no_gpu": "Choose the CPU, or check the graphics driver.",
    "missing_package": "Install what is missing on the Dependencies page, then try again.",
    "disk": "Free some space or choose another folder, then try again.",
    "bad_input": "",
    "internal": "The log has the details; please report it with the log.",
}
"""What to do, by kind of error. The message of a ``bad_input`` already says it."""


class JobCancelled(Exception):
    """Raised inside a job at its next progress report after it was asked to stop."""


class EventWriter:
    """Writes events; with no file it does nothing, so that library code need not ask whether anybody listens.

    Args:
        path: ``events.jsonl`` of the job folder, or None. A file named ``cancel`` beside it asks the job to stop.
    """

    def __init__(self, path: str | os.PathLike | None):
        self._stream = None
        self._cancel = None
        if path is not None:
            path = Path(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = path.open("a", encoding="utf-8", errors="replace")
            self._cancel = path.with_name("cancel")
        self._stage, self._stage_start, self._last = "", 0.0, 0.0

    def close(self) -> None:
        """Close the file; further events are dropped."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def emit(self, event: str, **facts: Any) -> None:
        """Write one event and flush it."""
        if self._stream is not None:
            line = json.dumps({"event": event, "time": round(time.time(), 3), **facts}, default=str)
            self._stream.write(line + "\n")
            self._stream.flush()

    def progress(self, stage: str, done: float, total: float) -> None:
        """Say how far a stage is; this is also where a job notices that it should stop.

        Args:
            stage: Short words for the user, e.g. ``"sampling"``.
            done, total: Steps done and in all; ``total`` 0 where it is not known.

        Raises:
            JobCancelled: If the job was asked to stop.
        """
        self.check_cancelled()
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._stage_start, self._last = stage, now, 0.0
        if now - self._last < MIN_INTERVAL_S and 0 < done < total:
            return
        self._last = now
        eta_s = None
        if 0 < done <= total:
            eta_s = round((now - self._stage_start) * (total - done) / done, 2)
        self.emit("progress", stage=stage, done=done, total=total, eta_s=eta_s)

    def callback(self, stage: str) -> Callable[..., None]:
        """Return ``progress(done, total, message="")`` for library code; a message becomes the stage."""

        def report(done: float, total: float, message: str = "") -> None:
            self.progress(message or stage, done, total)

        return report

    def metric(self, name: str, value: float, step: int) -> None:
        """Give one value of a curve, e.g. a loss."""
        self.emit("metric", name=name, value=float(value), step=int(step))

    def warning(self, message: str) -> None:
        """Say something that the user should know although work goes on."""
        self.emit("warning", message=message)

    def artifact(self, path: str | os.PathLike) -> None:
        """Name a file that is complete."""
        self.emit("artifact", path=os.fspath(path))

    def error(self, error: BaseException) -> None:
        """Say why the job cannot go on, with its kind and what to do."""
        kind = kind_of_error(error)
        self.emit("error", kind=kind, message=str(error) or type(error).__name__, hint=HINTS[kind])

    def check_cancelled(self) -> None:
        """Raise ``JobCancelled`` if the job was asked to stop."""
        if self._cancel is not None and self._cancel.exists():
            raise JobCancelled("The job was asked to stop.")


@contextlib.contextmanager
def job_events(path: str | os.PathLike | None) -> Iterator[EventWriter]:
    """Give an event writer for the time of a job; its end is ``done`` or ``error`` whatever happens.

    Args:
        path: ``events.jsonl`` of the job folder, or None to write nothing.
    """
    events = EventWriter(path)
    try:
        yield events
        events.emit("done")
    except JobCancelled:
        events.emit("cancelled")
        raise
    except BaseException as error:
        if not (isinstance(error, SystemExit) and error.code in (0, None)):
            events.error(error)
        raise
    finally:
        events.close()


def kind_of_error(error: BaseException) -> str:
    """Return the kind of an error, a key of ``HINTS``; torch is recognised by name, not imported."""
    name, text = type(error).__name__, str(error).lower()
    if name == "OutOfMemoryError" or isinstance(error, MemoryError) or "out of memory" in text:
        return "oom"
    if isinstance(error, ChainOfFlowError):
        return "bad_input"
    if isinstance(error, ImportError):
        return "missing_package"
    if "no kernel image" in text or "found no nvidia driver" in text or "not compiled with cuda" in text:
        return "no_gpu"
    if isinstance(error, OSError) and "no space left" in text:
        return "disk"
    return "internal"
