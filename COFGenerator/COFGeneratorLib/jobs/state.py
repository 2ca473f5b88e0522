"""Where a job stands, and what is new of it."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.LOST)


@dataclass(frozen=True)
class JobUpdate:
    """What is new since the last look.

    Attributes:
        state: Where the job stands now.
        events: New events in order.
        log: New text of the log.
        reason: Why it ended otherwise than well, with what to do; empty otherwise.
        silent_s: Time since the job last said anything, s.
    """

    state: JobState
    events: list[dict[str, Any]] = field(default_factory=list)
    log: str = ""
    reason: str = ""
    silent_s: float = 0.0
