"""Runs cases over this process, local workers or a Dask scheduler; a worker that dies takes one case with it."""

import os
from collections.abc import Callable, Iterator, Sequence

from COFGeneratorLib.cases.case import Outcome
from COFGeneratorLib.cases.table import Case
from COFGeneratorLib.jobs.workers import spread


def run_cases(
    work: Callable[[Case], Outcome], cases: Sequence[Case], *, workers: int = 1, scheduler: str | None = None
) -> Iterator[Outcome]:
    """Yield the outcome of every case, in the order in which they end.

    Args:
        work: What runs a case; importable, so that other processes find it.
        cases: What to run.
        workers: Local processes, which share the cores; 1 runs in this one.
        scheduler: Address of a Dask scheduler to use instead.
    """
    threads = max(1, (os.cpu_count() or 1) // workers)
    return spread(work, cases, workers=workers, scheduler=scheduler, lost=_lost, threads=threads)


def _lost(case: Case, why: str) -> Outcome:
    return Outcome(case.name, "failed", "internal", why)
