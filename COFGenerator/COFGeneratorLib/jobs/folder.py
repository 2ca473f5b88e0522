"""The folder of one job: everything about it is on disk, so that it can be watched from anywhere and after a restart.

job.json      what was started: title, kind, argv, expected results
status.json   how it goes: state, process, times, reason
events.jsonl  one JSON object a line, written by the job
log.txt       standard output and error of the job
cancel        exists once the job is asked to stop
result/       what the job makes
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from COFGeneratorLib.errors import JobError


def _below(name: str) -> cached_property[Path]:
    """Return an attribute: the path of that name in the job's folder."""
    return cached_property(lambda folder: folder.root / name)


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
        """Make an empty job folder.

        Raises:
            JobError: If the folder already holds a job or cannot be made.
        """
        if self.job.exists():
            raise JobError(
                f"A new job needs a folder of its own; found another job in {self.root}. "
                "Choose a new folder, or attach to that job."
            )
        try:
            self.result.mkdir(parents=True, exist_ok=True)
            self.events.touch()
            self.log.touch()
        except OSError as error:
            raise JobError(
                f"A job needs a folder it can write to; {self.root} cannot be made ({error.strerror}). "
                "Choose another folder."
            ) from error

    def read(self, path: Path) -> dict[str, Any]:
        """Return the content of ``job.json`` or ``status.json``.

        Raises:
            JobError: If it is missing or damaged.
        """
        try:
            content = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise JobError(
                f"A job folder must hold a readable {path.name}; found none in {self.root}. "
                "Choose the folder of a job that was started here."
            ) from error
        if not isinstance(content, dict):
            raise JobError(f"{path} must hold a JSON object; found {type(content).__name__}. Start the job again.")
        return content
