"""The one way to do work on many items: here, in several processes, or on a Dask cluster.

Whatever is used ends with the work: when it is cancelled, and when the parent ends in whatever way.
"""

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from COFGeneratorLib.errors import JobError
from COFGeneratorLib.jobs.dask_cluster import AHEAD, on_dask
from COFGeneratorLib.jobs.pool import AGAIN, DIED, processes
from COFGeneratorLib.jobs.worker import Prepare

Item = TypeVar("Item")
Result = TypeVar("Result")


def spread(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    workers: int = 1,
    scheduler: str | None = None,
    prepare: Prepare | None = None,
    lost: Callable[[Item, str], Result] | None = None,
    ordered: bool = False,
    threads: int = 1,
) -> Iterator[Result]:
    """Yield ``work(item)`` of every item; leaving the loop early cancels what is not done.

    Args:
        work: A function at a module's top level; it must be safe to run again after a crash.
        items: What it takes, one at a time; picklable.
        workers: Processes; one means this process.
        scheduler: None for plain processes, ``"local"`` for a Dask cluster on this machine, else the address of a
            running Dask scheduler, e.g. ``tcp://10.0.0.1:8786``, whose workers see the same files.
        prepare: Called once in each process before its first item.
        lost: Gives what stands for an item whose process died (the item, why); the others go on. Where None, a death
            ends the work.
        ordered: Yield in the order of the items, not in that in which they are done.
        threads: What numerical libraries may use in each process.

    Raises:
        JobError: If Dask is asked for and not there, or a worker died and ``lost`` is None.
    """
    if not items:
        return
    if scheduler is not None:
        pairs = on_dask(work, items, workers, scheduler, prepare, lost)
    elif workers == 1:
        pairs = _here(work, items, prepare)
    else:
        pairs = _in_processes(work, items, workers, prepare, lost, threads)
    with contextlib.closing(pairs):
        yield from _in_order(pairs) if ordered else (result for _, result in pairs)


def _in_order(pairs: Iterator[tuple[int, Result]]) -> Iterator[Result]:
    early: dict[int, Result] = {}
    following = 0
    for place, result in pairs:
        early[place] = result
        while following in early:
            yield early.pop(following)
            following += 1


def _here(work: Callable, items: Sequence, prepare: Prepare | None) -> Generator[tuple[int, Any], None, None]:
    if prepare is not None:
        prepare()
    yield from enumerate(map(work, items))


def _in_processes(
    work: Callable, items: Sequence, workers: int, prepare: Prepare | None, lost: Callable | None, threads: int
) -> Generator[tuple[int, Any], None, None]:
    left = enumerate(items)
    following = next(left, None)
    while following is not None:
        running: dict[Future, tuple[int, Any]] = {}
        try:
            with processes(workers, prepare, threads) as pool:
                while running or following is not None:
                    while following is not None and len(running) < AHEAD * workers:
                        running[pool.submit(work, following[1])] = following
                        following = next(left, None)
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        result = future.result()
                        yield running.pop(future)[0], result
        except BrokenProcessPool as error:
            if lost is None:
                raise JobError(f"{DIED}. {AGAIN}") from error
            for place, item in running.values():  # one of them killed its process; alone, each can only harm itself
                yield place, _alone(work, item, prepare, lost, threads)


def _alone(work: Callable, item: Any, prepare: Prepare | None, lost: Callable, threads: int) -> Any:
    try:
        with processes(1, prepare, threads) as pool:
            return pool.submit(work, item).result()
    except BrokenProcessPool:
        return lost(item, "The process died (out of memory, or a fault in a library). Run this alone to see more.")
