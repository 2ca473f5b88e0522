"""What a batch will take, before it takes it: time and disk, measured on one of its own cases."""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from COFGeneratorLib.cases.case import Outcome, run_case, threads_of
from COFGeneratorLib.cases.request import GenerateRequest
from COFGeneratorLib.cases.table import Case
from COFGeneratorLib.errors import ChainOfFlowError
from COFGeneratorLib.results.folder import read_manifest

TRIES = 3
"""Cases that are tried until one has a result to measure."""


@dataclass(frozen=True)
class Plan:
    """What a batch will take.

    Attributes:
        cases: Rows of the table.
        done: Of these, folders that hold a result already.
        row: Of the table, that of the case that was measured.
        cpu_s: CPU time of one case once the model is loaded, s.
        wall_s: Its time on the clock, s, with the threads of one worker.
        size_bytes: Of its result.
        free_bytes: Of the disk that the results go to.
        workers: Processes that share the cases.
    """

    cases: int
    done: int
    row: int
    cpu_s: float
    wall_s: float
    size_bytes: int
    free_bytes: int
    workers: int

    @property
    def left(self) -> int:
        """Cases to do."""
        return self.cases - self.done

    def lines(self) -> list[str]:
        """Return the plan in words, a line each."""
        hours, core_hours = (self.left * one / 3600.0 for one in (self.wall_s / self.workers, self.cpu_s))
        size, need = self.size_bytes / 1e6, self.left * self.size_bytes
        said = [
            f"{self.left} of {self.cases} cases are to do; {self.done} have a result.",
            f"A case takes {self.cpu_s:.1f} s of one core and {size:.1f} MB, as measured on row {self.row}.",
            f"All take about {core_hours:.1f} core-hours, {hours:.1f} h with {self.workers} "
            f"{'worker' if self.workers == 1 else 'workers'}, and {need / 1e9:.1f} GB of disk.",
        ]
        if need > self.free_bytes:
            said.append(
                f"The disk has {self.free_bytes / 1e9:.1f} GB left: too little. Choose another folder, or write less "
                "(--write cine,function)."
            )
        return said


def plan_batch(
    cases: Sequence[Case],
    shared: GenerateRequest,
    workers: int = 1,
    run: Callable[[Case, GenerateRequest], Outcome] | None = None,
) -> Plan:
    """Return what a batch will take, by running one of its cases twice, the second time with the model at hand.

    Nothing is left behind. Larger stacks and more frames take longer, so the plan is as good as the case is typical.

    Args:
        cases: Of the table.
        shared: What is asked of all; ``out`` is the batch's folder, which need not exist.
        workers: Processes that will share the cases.
        run: Runs one case; ``run_case`` where None.

    Raises:
        ChainOfFlowError: If none of the first cases that are left has a result.
    """
    run, out = run or run_case, Path(shared.out)
    left = [case for case in cases if read_manifest(out / case.name) is None]
    free = shutil.disk_usage(next(folder for folder in (out, *out.absolute().parents) if folder.is_dir())).free
    if not left:
        return Plan(len(cases), len(cases), 0, 0.0, 0.0, 0, free, workers)
    reason = ""
    with _threads(workers), tempfile.TemporaryDirectory(prefix="chainofflow-") as folder:
        for number, case in enumerate(left[:TRIES]):
            first = run(case, replace(shared, out=f"{folder}/{number}-loading"))
            if first.state == "failed":
                reason = first.message
                continue
            cpu_s, wall_s = time.process_time(), time.perf_counter()
            run(case, replace(shared, out=f"{folder}/{number}"))
            spent = time.process_time() - cpu_s, time.perf_counter() - wall_s
            size = sum(path.stat().st_size for path in Path(folder, str(number)).rglob("*") if path.is_file())
            return Plan(len(cases), len(cases) - len(left), case.row, *spent, size, free, workers)
    raise ChainOfFlowError(
        f"A plan needs a case that can be generated; none of the first {min(TRIES, len(left))} could be. {reason}"
    )


@contextlib.contextmanager
def _threads(workers: int) -> Iterator[None]:
    """Compute with the threads that each of several workers will have."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads_of(workers))
    try:
        yield
    finally:
        torch.set_num_threads(before)
