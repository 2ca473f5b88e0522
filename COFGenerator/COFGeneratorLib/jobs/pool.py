"""Processes of this machine that end with the block that uses them, see ``worker`` for how they live."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context, resource_tracker
from typing import Any

from COFGeneratorLib.jobs.worker import HELD_BACK, Prepare, begin, do

DIED = (
    "All workers must live until the work is done; one did not start, or was ended by the system, most likely for want "
    "of memory"
)
AGAIN = "Run it again with fewer workers: what is done is kept."
THREADS = "OMP_NUM_THREADS"
"""Read by numerical libraries when they start."""


class Pool:
    """Hands items to processes."""

    def __init__(self, executor: ProcessPoolExecutor) -> None:
        self._executor = executor

    def submit(self, work: Callable, item: Any) -> Future:
        """Hand out one item; a process may start for it."""
        with _signals_held_back():
            return self._executor.submit(do, work, item)


@contextlib.contextmanager
def processes(count: int, prepare: Prepare | None, threads: int) -> Iterator[Pool]:
    """Give a pool whose processes end with the block, whatever they are doing.

    They are spawned, since a forked child of a process that has used torch's threads may hang.
    """
    context = get_context("spawn")
    if sys.platform != "win32":
        with _signals_held_back():
            resource_tracker.ensure_running()
    alive, held = context.Pipe(duplex=False)
    with threads_of_children(threads):
        executor = ProcessPoolExecutor(count, mp_context=context, initializer=begin, initargs=(alive, prepare))
        try:
            yield Pool(executor)
        except BaseException:
            held.close()
            raise
        finally:
            executor.shutdown(cancel_futures=True)
            held.close()
            alive.close()


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    """Hold back what asks to stop while a process starts, which inherits that until it is ready to be asked.

    Otherwise one that a terminal stops meanwhile complains, and multiprocessing's own helper is lost at a hang-up.
    """
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def threads_of_children(threads: int) -> Iterator[None]:
    """Let processes that start meanwhile use so many threads for numbers, where the user has not said how many."""
    before = os.environ.get(THREADS)
    os.environ.setdefault(THREADS, str(threads))
    try:
        yield
    finally:
        if before is None:
            del os.environ[THREADS]
