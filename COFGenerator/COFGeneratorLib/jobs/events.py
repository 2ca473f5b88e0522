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
import errno
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from COFGeneratorLib.errors import ChainOfFlowError
from COFGeneratorLib.files import write_text

logger = logging.getLogger(__name__)

CANCELLED_EXIT_CODE = 130
"""Exit code of a job that stopped because it was asked to; the shell's convention for an interrupt."""

MIN_INTERVAL_S = 0.05
"""Progress within one stage is written at most this often; the first and the last step always are."""

HINTS = {
    "oom": "Choose the CPU, fewer samples, or close other programs that use the GPU.",
    "no_gpu": "Choose the CPU, or check the graphics driver.",
    "missing_package": "Install what is missing on the page Model and computer, then try again.",
    "disk": "Free some space or choose another folder, then try again.",
    "bad_input": "",
    "internal": "The log has the details; please report it with the log.",
}
"""What to do, by kind of error. The message of a ``bad_input`` already says it."""


MALFORMED = "malformed"
MAX_SHOWN = 1000
"""Characters that are kept of a line that is no event."""


class JobCancelled(Exception):
    """Raised inside a job at its next progress report after it was asked to stop."""


class EventLog:
    """An append-only file of events, each on disk at once, so that another process can follow it.

    Lines after ``keep_until_step``, a resumed run's checkpoint, belong to work that is done again, and go.
    """

    def __init__(self, path: Path, keep_until_step: int | None = None) -> None:
        self.path = path
        self._full = False
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        if keep_until_step is not None:
            events = read_events(path)
            kept = [event for event in events if event.get("step", 0) <= keep_until_step and event["event"] != "done"]
            write_text(path, "".join(json.dumps(event) + "\n" for event in kept))

    def write(self, event: str, **facts: Any) -> None:
        """Append one event. A full disk is reported once through logging and does not stop the work."""
        line = json.dumps({"event": event, **facts}, default=_as_json)
        try:
            with self.path.open("a", encoding="utf-8", errors="replace") as stream:
                stream.write(line + "\n")
            self._full = False
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            if not self._full:
                logger.warning("No space left for %s; work goes on without a log. Free some space.", self.path)
            self._full = True


def _as_json(value: Any) -> Any:
    """Return numbers of other libraries as numbers, anything else as text."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)


def read_events(path: Path | str) -> list[dict[str, Any]]:
    """Return the events of a log; a line cut short by a crash is left out."""
    lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    return [event for event in map(parse_event, lines) if event["event"] != MALFORMED]


def parse_event(line: str) -> dict[str, Any]:
    """Return one line as an event; one that is no JSON object comes as ``{"event": "malformed", "text": …}``."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        event = None
    good = isinstance(event, dict) and isinstance(event.get("event"), str)
    return event if good else {"event": MALFORMED, "text": line[:MAX_SHOWN]}


FIELDS: dict[str, dict[str, type]] = {
    "progress": {"stage": str, "done": float, "total": float},
    "metric": {"name": str, "value": float, "step": float},
    "warning": {"message": str},
    "artifact": {"path": str},
    "error": {"kind": str, "message": str, "hint": str},
}
"""What an ``EventWriter`` gives each kind of event, numbers being finite."""


def checked_event(line: str) -> dict[str, Any]:
    """Return one line of a job's log as an event whose fields are what ``EventWriter`` writes; else as malformed."""
    event = parse_event(line)
    fields = FIELDS.get(event["event"], {})
    eta_s = event.get("eta_s")
    good = all(_is(event.get(name), kind) for name, kind in fields.items()) and (eta_s is None or _is(eta_s, float))
    return event if good else {"event": MALFORMED, "text": line[:MAX_SHOWN]}


def _is(value: Any, kind: type) -> bool:
    if kind is str:
        return isinstance(value, str)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False


class EventWriter:
    """Says how a job goes; with no file it does nothing, so that library code need not ask whether anybody listens.

    Its file is ``events.jsonl`` of the job folder; one named ``cancel`` beside it asks the job to stop.
    """

    def __init__(self, path: str | os.PathLike | None) -> None:
        self._log = None if path is None else EventLog(Path(path))
        self._cancel = None if path is None else Path(path).with_name("cancel")
        self._stage, self._stage_start, self._last = "", 0.0, 0.0

    def close(self) -> None:
        """Drop what is still said."""
        self._log = None

    def emit(self, event: str, **facts: Any) -> None:
        """Write one event."""
        if self._log is not None:
            self._log.write(event, time=round(time.time(), 3), **facts)

    def progress(self, stage: str, done: float, total: float) -> None:
        """Say how far a stage is; this is also where a job notices that it should stop.

        ``stage`` is short words for the user; ``total`` is 0 where it is not known.

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
        """Name a file that is complete, by its path below the result's folder."""
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

    It writes to ``events.jsonl`` of the job folder, or nothing where the path is None.
    """
    events = EventWriter(path)
    try:
        yield events
        events.emit("done")
    except (JobCancelled, KeyboardInterrupt):
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
