"""Work and how it goes: jobs that outlive who started them, processes that do not, events, progress, times.

Knows neither Qt nor Slicer nor torch, so it serves the module, the command line and tests alike.
"""

from COFGeneratorLib.jobs.events import CANCELLED_EXIT_CODE, EventWriter, JobCancelled, job_events
from COFGeneratorLib.jobs.runner import JobRunner, find_jobs, run_to_end
from COFGeneratorLib.jobs.state import JobState, JobUpdate

__all__ = [
    "CANCELLED_EXIT_CODE",
    "EventWriter",
    "JobCancelled",
    "JobRunner",
    "JobState",
    "JobUpdate",
    "find_jobs",
    "job_events",
    "run_to_end",
]
