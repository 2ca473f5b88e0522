"""The folder of one job: everything about it is on disk, so that it can be watched from anywhere and after a restart.

job.json      what was started: title, kind, argv, expected results, a token that no other job has
status.json   how it goes: state, process, times, reason
events.jsonl  one JSON object a line, written by the job
log.txt       standard output and error of the job
cancel        exists once the job is asked to stop
result/       what the job makes

The folder and its files are their owner's alone: arguments and logs may name a patient. A folder may also have been
made by anybody: each field that is read is checked, no link is followed, and nothing is read without bounds.
"""

import contextlib
import hashlib
import json
import math
import os
import secrets
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any, BinaryIO

from COFGeneratorLib.errors import JobError
from COFGeneratorLib.files import replacing
from COFGeneratorLib.jobs.process import HIGHEST_PID

MAX_FACTS_BYTES = 1 << 20
"""Of ``job.json`` and of ``status.json``."""
MAX_WORDS = 10_000
"""Characters of a title, a reason, one argument."""
MAX_LIST = 10_000
"""Arguments, expected files."""
_REGULAR = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Opening neither follows a link nor waits for the writer of a pipe."""


def _below(name: str) -> cached_property[Path]:
    """Return an attribute: the path of that name in the job's folder."""
    return cached_property(lambda folder: folder.root / name)


@dataclass(frozen=True)
class JobFacts:
    """What ``job.json`` tells: words for the user, the command, files under ``result/`` that it promises."""

    kind: str
    title: str
    argv: tuple[str, ...]
    expect: tuple[str, ...]
    created: float
    token: str


@dataclass(frozen=True)
class JobStatus:
    """What ``status.json`` tells; the process is believed only when it is found to be the job's."""

    state: str
    reason: str
    returncode: int | None
    pid: int
    process_started: str | None


@dataclass(frozen=True)
class JobFolder:
    """Paths of a job's files and their reading and writing."""

    root: Path

    job = _below("job.json")
    status = _below("status.json")
    events = _below("events.jsonl")
    log = _below("log.txt")
    cancel = _below("cancel")
    result = _below("result")

    def create(self) -> None:
        """Make an empty job folder, of its owner alone.

        Raises:
            JobError: If the folder already holds a job or cannot be made.
        """
        if any(os.path.lexists(path) for path in (self.job, self.status, self.events, self.log, self.cancel)):
            raise JobError(
                f"A new job needs a folder of its own; found another job in {self.root}. "
                "Choose a new folder, or attach to that job."
            )
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.result.mkdir(exist_ok=True)
            for path in (self.events, self.log):
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError as error:
            raise JobError(
                f"A job needs a folder it can write to; {self.root} cannot be made ({error.strerror}). "
                "Choose another folder."
            ) from error

    def mark(self, token: str) -> str:
        """Return what marks the processes of the job of that token in this folder, and of no other; "" without one."""
        return hashlib.sha256(f"{token}\n{self.root.resolve()}".encode(errors="replace")).hexdigest() if token else ""

    def write(self, path: Path, content: dict[str, Any]) -> None:
        """Write ``job.json`` or ``status.json``, complete or not at all, for the owner's eyes."""
        with replacing(path) as beside:
            handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(json.dumps(content, indent=1) + "\n")

    def ask_to_stop(self) -> None:
        """Leave the word that the job should stop; a job that cannot be asked is told later on."""
        with contextlib.suppress(OSError):
            os.close(os.open(self.cancel, os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600))

    def read(self, path: Path) -> dict[str, Any]:
        """Return the content of ``job.json`` or ``status.json`` as it is; see ``facts`` for checked fields.

        Raises:
            JobError: If it is missing or damaged.
        """
        try:
            with open_regular(path) as stream:
                text = stream.read(MAX_FACTS_BYTES + 1)
            if len(text) > MAX_FACTS_BYTES:
                raise ValueError("too large")
            content = json.loads(text)
        except (OSError, ValueError, RecursionError) as error:
            raise JobError(
                f"A job folder must hold a readable {path.name}; found none in {self.root}. "
                "Choose the folder of a job that was started here."
            ) from error
        if not isinstance(content, dict):
            raise JobError(f"{path} must hold a JSON object; found {type(content).__name__}. Start the job again.")
        return content

    def facts(self) -> JobFacts:
        """Return what was started.

        Raises:
            JobError: If ``job.json`` is missing, damaged, or a field is not what it must be.
        """
        fields = _Fields(self, self.job)
        expect = fields.words("expect")
        for name in expect:
            if PurePath(name).is_absolute() or ".." in PurePath(name).parts:
                raise fields.wrong("expect", "names of files below result/")
        return JobFacts(
            fields.word("kind"), fields.word("title"), fields.words("argv"), expect,
            fields.number("created"), fields.word("token"),
        )  # fmt: skip

    def standing(self) -> JobStatus:
        """Return how it goes.

        Raises:
            JobError: If ``status.json`` is missing, damaged, or a field is not what it must be.
        """
        fields = _Fields(self, self.status)
        return JobStatus(
            fields.word("state"), fields.word("reason"), fields.whole("returncode", -HIGHEST_PID),
            fields.whole("pid", 0) or 0, fields.word("process_started") or None,
        )  # fmt: skip


def new_token() -> str:
    """Return a token for a new job."""
    return secrets.token_hex(16)


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading; a link, a pipe or a device is refused.

    Raises:
        OSError: If it is none that can be read.
    """
    handle = os.open(path, os.O_RDONLY | _REGULAR)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError("no regular file")
    return os.fdopen(handle, "rb")


class _Fields:
    """Fields of a file of facts, each of its type and within its range; absent ones are empty."""

    def __init__(self, folder: JobFolder, path: Path) -> None:
        self._name, self._content = path.name, folder.read(path)

    def wrong(self, field: str, expected: str) -> JobError:
        return JobError(
            f"The field {field} of a job's {self._name} must be {expected}; found something else. Do not use this "
            "folder, or start the job again."
        )

    def word(self, field: str) -> str:
        value = self._content.get(field)
        if value is not None and not (isinstance(value, str) and len(value) <= MAX_WORDS):
            raise self.wrong(field, f"text of at most {MAX_WORDS} characters")
        return value or ""

    def words(self, field: str) -> tuple[str, ...]:
        value = self._content.get(field) or []
        good = isinstance(value, list) and len(value) <= MAX_LIST
        if not good or not all(isinstance(word, str) and len(word) <= MAX_WORDS and "\0" not in word for word in value):
            raise self.wrong(field, f"a list of at most {MAX_LIST} texts")
        return tuple(value)

    def number(self, field: str) -> float:
        value = self._content.get(field, 0.0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.wrong(field, "a finite number")
        return float(value)

    def whole(self, field: str, low: int) -> int | None:
        value = self._content.get(field)
        if value is not None and (type(value) is not int or not low <= value <= HIGHEST_PID):
            raise self.wrong(field, f"a whole number from {low} to {HIGHEST_PID}")
        return value
