"""The same work on a Dask cluster: one of this machine's processes, or a running one by its address."""

import contextlib
import os
from collections.abc import Callable, Generator, Sequence
from typing import Any

from COFGeneratorLib.errors import JobError
from COFGeneratorLib.jobs.pool import AGAIN, DIED, THREADS, threads_of_children
from COFGeneratorLib.jobs.worker import Prepare

LOCAL = "local"
"""A Dask cluster of this machine's processes, started and ended with the work."""
AHEAD = 2
"""Items handed out for each worker: it never waits, and nobody holds more than two."""
CONNECT_S = 30
"""How long a scheduler may take to answer."""
WORKER_MEMORY = "4GiB"
"""A worker of the local cluster that grows beyond this is restarted by Dask."""


def on_dask(
    work: Callable, items: Sequence, workers: int, scheduler: str, prepare: Prepare | None, lost: Callable | None
) -> Generator[tuple[int, Any], None, None]:
    """Yield the place of every item and ``work(item)``, as they are done; see ``workers.spread``.

    Raises:
        JobError: If Dask is not there, no scheduler answers, or a worker died and ``lost`` is None.
    """
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
            opened.enter_context(threads_of_children(1))
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
