"""Work on many subjects: in this process, in several, or on a Dask cluster; in bounded numbers at a time."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any

from COFGeneratorLib.errors import CohortError

LOCAL = "local"
"""A Dask cluster of this machine's processes, started and ended with the work."""
AHEAD = 2
"""Items handed out for each worker: it never waits, and nobody holds more than two."""
CONNECT_S = 30
"""How long a scheduler may take to answer."""
WORKER_MEMORY = "4GiB"
"""A worker of the local cluster that grows beyond this is restarted by Dask."""


def spread(
    work: Callable[[Any], Any], items: Sequence[Any], *, workers: int = 1, scheduler: str | None = None
) -> Iterator[Any]:
    """Yield ``work(item)`` of every item, in the order in which they are done.

    Args:
        work: A function at a module's top level; it must be safe to run again after a crash.
        items: What it takes, one at a time; picklable.
        workers: Processes, where nobody gives a cluster's address.
        scheduler: None for plain processes, ``"local"`` for a Dask cluster on this machine, else the address of a
            running Dask scheduler, e.g. ``tcp://10.0.0.1:8786``, whose workers see the same files.

    Raises:
        CohortError: If Dask is asked for and not there, or a worker died.
    """
    if not items:
        return
    if scheduler is not None:
        yield from _on_dask(work, items, workers, scheduler)
    elif workers == 1:
        yield from map(work, items)
    else:
        yield from _in_processes(work, items, workers)


def _in_processes(work, items, workers: int) -> Iterator[Any]:
    # "spawn": a forked child of a process that has used torch's threads may hang
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=one_thread) as pool:
        left, running = iter(items), set()
        try:
            while True:
                while len(running) < AHEAD * workers and (item := next(left, None)) is not None:
                    running.add(pool.submit(work, item))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BrokenProcessPool as error:
            raise CohortError(
                f"All {workers} workers must live until the work is done; one was ended by the system, most likely for "
                "want of memory. Run it again with fewer workers: what is done is kept."
            ) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _on_dask(work, items, workers: int, scheduler: str) -> Iterator[Any]:
    try:
        from dask.distributed import Client, LocalCluster, as_completed
    except ImportError as error:
        raise CohortError(
            "Work on a cluster goes through dask.distributed; it is not installed. Install it "
            '(pip install "dask[distributed]"), or use --workers alone.'
        ) from error
    cluster = None
    if scheduler == LOCAL:
        cluster = LocalCluster(
            n_workers=workers, threads_per_worker=1, memory_limit=WORKER_MEMORY, dashboard_address=None,
            scheduler_port=0,
        )  # fmt: skip
    try:
        client = Client(cluster if cluster is not None else scheduler, timeout=CONNECT_S)
    except (OSError, TimeoutError, ValueError) as error:
        raise CohortError(
            f"A Dask scheduler was expected at {scheduler}; reaching it failed ({error}). Start `dask scheduler` and "
            "workers, or give --scheduler local."
        ) from error
    try:
        client.run(one_thread)
        left = iter(items)
        ahead = max(1, AHEAD * sum(client.nthreads().values()))
        queue = as_completed(
            [client.submit(work, item, pure=False, retries=1) for item in itertools.islice(left, ahead)]
        )
        for future in queue:
            yield future.result()
            if (item := next(left, None)) is not None:
                queue.add(client.submit(work, item, pure=False, retries=1))
    finally:
        client.close()
        if cluster is not None:
            cluster.close()


def one_thread() -> None:
    """Keep torch to one thread: the workers share the cores."""
    import torch

    torch.set_num_threads(1)
