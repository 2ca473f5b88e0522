"""Cases of a batch, each run in whatever process: its result or its failure, never an exception."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from COFGeneratorLib.cases.generate import generate_into
from COFGeneratorLib.cases.request import GenerateRequest
from COFGeneratorLib.cases.request_hash import request_hash
from COFGeneratorLib.cases.table import Case
from COFGeneratorLib.errors import ChainOfFlowError
from COFGeneratorLib.generator.bundle import Bundle
from COFGeneratorLib.jobs.events import EventWriter, JobCancelled
from COFGeneratorLib.jobs.session import Session
from COFGeneratorLib.jobs.workers import spread
from COFGeneratorLib.results.folder import REQUEST, read_manifest

SUMMARY_COLUMNS = (
    "hr_bpm", "edv_ml", "esv_ml", "sv_ml", "ef_percent", "co_l_min", "es_time_ms", "rv_edv_ml", "rv_esv_ml",
    "rv_ef_percent", "folded_fraction", "labels_from",
)  # fmt: skip

_bundles: "dict[str, Bundle]" = {}


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes:
        name: The case.
        state: ``"done"``, ``"resumed"`` (an earlier result stands) or ``"failed"``.
        kind: Of a failure: ``"input"`` (exit code 2) or ``"internal"`` (1).
        message: Why it failed.
        summary: Read-outs by column of ``SUMMARY_COLUMNS``.
    """

    name: str
    state: str
    kind: str = ""
    message: str = ""
    summary: dict[str, Any] = field(default_factory=dict)


def run_cases(
    work: Callable[[Case], Outcome], cases: Sequence[Case], *, workers: int = 1, scheduler: str | None = None
) -> Iterator[Outcome]:
    """Yield the outcome of every case, in the order in which they end; a worker that dies takes one case with it.

    ``work`` is importable, so that local processes, which share the cores, or those of a Dask scheduler find it.
    """
    threads = threads_of(workers)
    return spread(work, cases, workers=workers, scheduler=scheduler, lost=_lost, threads=threads)


def threads_of(workers: int) -> int:
    """Return the threads of each of several processes that share this machine's cores."""
    return max(1, (os.cpu_count() or 1) // workers)


def _lost(case: Case, why: str) -> Outcome:
    return Outcome(case.name, "failed", "internal", why)


def run_case(case: Case, shared: GenerateRequest) -> Outcome:
    """Run one case into ``shared.out/<folder>``, unless the same was done before."""
    folder = Path(shared.out) / case.name
    try:
        if case.problem:
            raise ChainOfFlowError(case.problem)
        request = case.request(shared)
        digest = request_hash(request)
        earlier = read_manifest(folder)
        if earlier is not None and earlier.get(REQUEST) == digest:
            return Outcome(case.name, "resumed", summary=_summary(folder))
        current = Session(EventWriter(None), quiet=True)
        bundle = _bundle(str(request.model), request.encoder)
        generate_into(request, current, command="batch", bundle=bundle, facts={REQUEST: digest})
        return Outcome(case.name, "done", summary=_summary(folder))
    except JobCancelled:
        raise
    except OSError as error:
        kind = "input" if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError) else "internal"
        return Outcome(case.name, "failed", kind, case.without_names(_words_of(error), shared.out))
    except ChainOfFlowError as error:
        return Outcome(case.name, "failed", "input", case.without_names(str(error), shared.out))
    except Exception as error:
        said = case.without_names(f"{type(error).__name__}: {error}", shared.out)
        return Outcome(case.name, "failed", "internal", said)


def _words_of(error: OSError) -> str:
    reason = error.strerror or type(error).__name__
    return f"A file that can be read and written is needed; found {error.filename or 'one'} that cannot ({reason})."


def _bundle(model: str, encoder: str | None) -> Bundle:
    """Return the loaded bundle, kept for the next case of this process."""
    key = f"{os.path.realpath(model)}\n{encoder or ''}"
    if key not in _bundles:
        from COFGeneratorLib import load_bundle

        _bundles[key] = load_bundle(model, encoder)
    return _bundles[key]


def _summary(folder: Path) -> dict[str, Any]:
    """Return the read-outs of a finished case; empty where it had no labels."""
    path = folder / "function.json"
    if not path.is_file():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    return {name: content.get(name) for name in SUMMARY_COLUMNS}
