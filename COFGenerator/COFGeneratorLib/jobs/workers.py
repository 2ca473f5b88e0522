"""The one pool of processes: work on many items here, in several processes, or on a Dask cluster.

Processes are spawned, since a forked child of a process that has used torch's threads may hang. They live as long as a
pipe that their parent holds: when the work is cancelled, and when the parent ends in whatever way, they end at once.
"""

import _thread
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any, TypeVar

from COFGeneratorLib.errors import JobError
from COFGeneratorLib.jobs.stopping import SIGNALS

Item = TypeVar("Item")
Result = TypeVar("Result")
Prepare = Callable[[], Any]

LOCAL = "local"
"""A Dask cluster of this machine's processes, started and ended with the work."""
AHEAD = 2
"""Items handed out for each worker: it never waits, and nobody holds more than two."""
CONNECT_S = 30
"""How long a scheduler may take to answer."""
WORKER_MEMORY = "4GiB"
"""A worker of the local cluster that grows beyond this is restarted by Dask."""
DIED = (
    "All workers must live until the work is done; one did not start, or was ended by the system, most likely for want "
    "of memory"
)
AGAIN = "Run it again with fewer workers: what is done is kept."
GRACE_S = 3.0
"""What a process that is to end may take to clean up."""
HELD_BACK = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
THREADS = "OMP_NUM_THREADS"
"""Read by numerical libraries when they start."""


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
        pairs = _on_dask(work, items, workers, scheduler, prepare, lost)
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
            with _pool(workers, prepare, threads) as pool:
                while running or following is not None:
                    while following is not None and len(running) < AHEAD * workers:
                        with _signals_held_back():
                            future = pool.submit(_prepared, work, following[1])
                        running[future] = following
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
        with _pool(1, prepare, threads) as pool:
            with _signals_held_back():
                future = pool.submit(_prepared, work, item)
            return future.result()
    except BrokenProcessPool:
        return lost(item, "The process died (out of memory, or a fault in a library). Run this alone to see more.")


@contextlib.contextmanager
def _pool(workers: int, prepare: Prepare | None, threads: int) -> Iterator[ProcessPoolExecutor]:
    """Give a pool whose processes end with the block, whatever they are doing."""
    context = get_context("spawn")
    if sys.platform != "win32":
        with _signals_held_back():
            resource_tracker.ensure_running()
    alive, held = context.Pipe(duplex=False)
    with _threads_of_children(threads):
        pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(alive, prepare))
        try:
            yield pool
        except BaseException:
            held.close()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
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


_preparing: list[Prepare] = []
"""In a process of a pool: what is still to be called before its first item."""
_at_work, _ending = threading.Event(), threading.Event()
"""In a process of a pool: whether it has an item, and whether it is to end."""


def _begin(alive: Connection, prepare: Prepare | None) -> None:
    """Begin a process's life, which ends with its parent's pipe, or by SIGTERM.

    The signals that a terminal sends to all its processes are the parent's affair.
    """

    def interrupted(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGTERM and not _ending.is_set():  # also of a pool that has lost another process
            threading.Thread(target=_end, daemon=True).start()
        elif _ending.is_set() and _at_work.is_set():
            raise KeyboardInterrupt

    for number in HELD_BACK:
        signal.signal(number, interrupted)
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
    threading.Thread(target=_end_with, args=(alive,), daemon=True).start()
    _preparing[:] = [] if prepare is None else [prepare]


def _prepared(work: Callable, item: Any) -> Any:
    """Do an item's work; what preparing raises comes back to the caller like what the work raises."""
    _at_work.set()
    try:
        if _ending.is_set():  # what was handed out before the end was near
            raise KeyboardInterrupt
        if _preparing:
            _preparing[0]()
            _preparing.clear()
        return work(item)
    finally:
        _at_work.clear()


def _end_with(alive: Connection) -> None:
    """End when the other side of a pipe is closed."""
    with contextlib.suppress(OSError):
        alive.poll(None)  # nothing is ever sent
    _end()


def _end() -> None:
    """End: what is begun may clean up after itself, but not for long."""
    _ending.set()
    if _at_work.is_set() and sys.platform == "win32":
        _thread.interrupt_main()
    elif _at_work.is_set():  # a real signal, which ends waits as well
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    time.sleep(GRACE_S)
    os._exit(1)


@contextlib.contextmanager
def _threads_of_children(threads: int) -> Iterator[None]:
    before = os.environ.get(THREADS)
    os.environ.setdefault(THREADS, str(threads))
    try:
        yield
    finally:
        if before is None:
            del os.environ[THREADS]


def _on_dask(
    work: Callable, items: Sequence, workers: int, scheduler: str, prepare: Prepare | None, lost: Callable | None
) -> Generator[tuple[int, Any], None, None]:
    try:
        from dask.distributed import Client, LocalCluster, as_completed
        from distributed.scheduler import KilledWorker
    except ImportError as error:
        raise JobError(
            "A scheduler needs the package dask.distributed; it is not installed. Install it "
            "(pip install 'chainofflow[distributed]'), or use --workers alone."
        ) from error
    with contextlib.ExitStack() as opened:
        place: Any = scheduler
        if scheduler == LOCAL:
            opened.enter_context(_threads_of_children(1))
            place = opened.enter_context(
                LocalCluster(
                    n_workers=workers, threads_per_worker=1, memory_limit=WORKER_MEMORY, dashboard_address=None,
                    scheduler_port=0,
                )
            )  # fmt: skip
        try:
            client = opened.enter_context(Client(place, timeout=CONNECT_S))
        except (OSError, TimeoutError, ValueError) as error:
            raise JobError(
                f"A Dask scheduler was expected at {scheduler}; reaching it failed ({error}). Start `dask scheduler` "
                "and workers, or give --scheduler local."
            ) from error
        client.wait_for_workers(1, timeout=CONNECT_S)
        client.run(_begin_on_dask, prepare)
        left = enumerate(items)
        running: dict[Any, tuple[int, Any]] = {}
        queue = as_completed()

        def hand_out() -> None:
            if (following := next(left, None)) is not None:
                future = client.submit(work, following[1], pure=False, retries=1)
                running[future] = following
                queue.add(future)

        for _ in range(max(1, AHEAD * sum(client.nthreads().values()))):
            hand_out()
        for future in queue:
            at, item = running.pop(future)
            failure = future.exception()
            if not isinstance(failure, KilledWorker):
                yield at, future.result()
            elif lost is not None:
                yield at, lost(item, str(failure))
            else:
                raise JobError(f"{DIED} ({failure}). {AGAIN}") from failure
            hand_out()


def _begin_on_dask(prepare: Prepare | None) -> None:
    os.environ.setdefault(THREADS, "1")
    if prepare is not None:
        prepare()
