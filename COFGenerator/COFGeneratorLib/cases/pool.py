"""Runs cases over this process, local workers or a dask scheduler; a worker that dies takes one case with it."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

from COFGeneratorLib.cases.case import Outcome
from COFGeneratorLib.cases.table import Case
from COFGeneratorLib.errors import ChainOfFlowError

Work = Callable[..., Outcome]


def run_cases(
    work: Work, cases: Sequence[Case], options: tuple[Any, ...], workers: int = 1, scheduler: str | None = None
) -> Iterator[Outcome]:
    """Yield the outcome of every case, in the order in which they end.

    Args:
        work: ``work(case, *options) -> Outcome``; importable, so that other processes find it.
        cases: What to run.
        options: Further arguments.
        workers: Local processes; 1 runs in this one.
        scheduler: Address of a dask scheduler to use instead.
    """
    if scheduler:
        yield from _over_dask(work, cases, options, scheduler)
    elif workers == 1:
        for case in cases:
            yield work(case, *options)
    else:
        yield from _over_processes(work, cases, options, workers)


def _over_processes(work: Work, cases: Sequence[Case], options: tuple, workers: int) -> Iterator[Outcome]:
    left = {case.name: case for case in cases}
    with _shared_cores(workers):
        try:
            with _pool(workers) as pool:
                futures = [pool.submit(work, case, *options) for case in cases]
                for future in as_completed(futures):
                    outcome = future.result()
                    del left[outcome.name]
                    yield outcome
        except BrokenProcessPool:
            # One case killed its process and the pool with it; alone, each case can only harm itself.
            for case in list(left.values()):
                yield _alone(work, case, options)


def _alone(work: Work, case: Case, options: tuple) -> Outcome:
    try:
        with _pool(1) as pool:
            return pool.submit(work, case, *options).result()
    except BrokenProcessPool:
        message = "The process died (out of memory, or a fault in a library). Run this case alone to see more."
        return Outcome(case.name, "failed", "internal", message)


def _pool(workers: int) -> ProcessPoolExecutor:
    # "spawn": a forked child of a process that has used torch's threads may hang.
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


@contextmanager
def _shared_cores(workers: int) -> Iterator[None]:
    """Let workers share the cores instead of each taking all: numerical libraries read this when they start."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = before or str(max(1, (os.cpu_count() or 1) // workers))
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]


def _over_dask(work: Work, cases: Sequence[Case], options: tuple, scheduler: str) -> Iterator[Outcome]:
    try:
        from dask.distributed import Client
        from dask.distributed import as_completed as as_ended
    except ImportError as error:
        raise ChainOfFlowError(
            "A scheduler needs the package dask.distributed; found none. Install it with: pip install "
            "'chainofflow[distributed]', or use --workers."
        ) from error
    try:
        client = Client(scheduler, timeout="20s")
    except (OSError, ValueError) as error:
        raise ChainOfFlowError(f"The scheduler {scheduler} cannot be reached ({error}). Check its address.") from error
    with client:
        futures = {client.submit(work, case, *options, pure=False, retries=0): case for case in cases}
        for future in as_ended(futures):
            error = future.exception()
            yield future.result() if error is None else Outcome(futures[future].name, "failed", "internal", str(error))
