"""The work of an evaluation: every subject × method once, over processes, into the store."""

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from COFGeneratorLib.ecg import analyse_ecg, read_ecg
from COFGeneratorLib.errors import ChainOfFlowError, CohortError
from COFGeneratorLib.files import without_names
from COFGeneratorLib.jobs.workers import spread
from COFGeneratorLib.machine import one_thread

from COFTrainingLib.cohort.manifest import ROLES, Cohort, Subject, read_cohort
from COFTrainingLib.evaluation.assessor import Assessor, load_assessor
from COFTrainingLib.evaluation.case_files import read_case
from COFTrainingLib.evaluation.cases import EvaluationCase
from COFTrainingLib.evaluation.comparators.base import Shared
from COFTrainingLib.evaluation.comparators.methods import build_methods
from COFTrainingLib.evaluation.features import CineFeatures, feature_source
from COFTrainingLib.evaluation.measure import prediction_row, reference_row
from COFTrainingLib.evaluation.pictures import keep_pictures
from COFTrainingLib.evaluation.plan import Plan, Progress
from COFTrainingLib.evaluation.store import Row, Store

CINE, REFERENCE = "cine", "reference"
METRICS_VERSION = 5
"""Raised when a metric changes its meaning: old results are then not continued."""


class Workplace:
    """What one process keeps between subjects: cohort, bundles, methods."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.cohort: Cohort = read_cohort(plan.cohort)
        self.subjects: dict[str, Subject] = {subject.id: subject for subject in self.cohort.subjects}
        self.methods = build_methods(plan)
        self._embed: tuple[CineFeatures | None] | None = None
        self._assessor: Assessor | None = None

    def case(self, name: str) -> EvaluationCase:
        """Read a subject."""
        return read_case(self.cohort, self.subjects[name])

    def shared(self, name: str) -> Shared:
        """Return what the methods may ask for of one case, found when asked for."""
        partner = self.subjects[self.plan.partner(name)]
        return Shared(lambda: analyse_ecg(read_ecg(self.cohort.path(partner, "ecg"))), lambda: self.case(partner.id))

    def without_names(self, message: str, name: str) -> str:
        """Return a message about a subject that names no file or folder."""
        files = self.subjects[name].files if name in self.subjects else {}
        paths = {role: self.cohort.root / file for role, file in files.items()}
        paths |= {f"predictions {method}": folder for method, folder in self.plan.predictions}
        paths |= {f"comparator {method}": folder for method, folder in self.plan.comparators}
        nobodys = {name, "subjects", *ROLES, *(self.plan.store or self.plan.cohort).parts}
        return without_names(message, paths, nobodys)

    @property
    def embed(self) -> CineFeatures | None:
        """Features for the Fréchet distances, or None where no network gives any."""
        if self._embed is None:
            self._embed = (feature_source(self.plan),)
        return self._embed[0]

    @property
    def assessor(self) -> Assessor:
        """The independent assessor of the plan."""
        if self._assessor is None:
            assert self.plan.assessor is not None  # nothing is asked of it otherwise
            self._assessor = load_assessor(self.plan.assessor, self.plan.device)
        return self._assessor


@dataclass(frozen=True)
class OwnWork:
    """What a protocol does beside the cines of all methods.

    Args:
        do: From a workplace and a subject to a row's content; a function of a module, so that processes find it.
        kind: Name of the rows.
        subjects: Ids.
        identity: Changes when the results would.
    """

    do: Callable[[Workplace, str], Row]
    kind: str
    subjects: Sequence[str]
    identity: str


_WORKPLACE: Workplace | None = None


def _open(plan: Plan) -> None:
    global _WORKPLACE
    _WORKPLACE = Workplace(plan)


def _workplace() -> Workplace:
    assert _WORKPLACE is not None  # opened at the process's start
    return _WORKPLACE


def evaluate_subject(work: Workplace, name: str, wanted: tuple[str, ...], reference: bool) -> list[Row]:
    """Return the results of one subject, with ``reference`` also its description; what fails is a row with why."""
    rows: list[Row] = []
    try:
        case = work.case(name)
        if reference:
            row = reference_row(case)
            if work.embed is not None and case.reference is not None:
                row["features"] = work.embed(case, case.reference[case.image_frames])
            rows.append({"subject": name, "method": REFERENCE, "kind": REFERENCE, "identity": "", **row})
    except Exception as error:
        if reference:
            rows.append(_failure(work, name, REFERENCE, REFERENCE, error))
        return rows + [_failure(work, name, method, CINE, error) for method in wanted]
    shared = work.shared(name)
    for method in work.methods:
        if method.name not in wanted:
            continue
        start = perf_counter()
        head = {"subject": name, "method": method.name, "kind": CINE, "identity": method.identity}
        try:
            prediction = method.predict(case, shared)
            row = prediction_row(case, prediction)
            # variants of one set of weights lie so close together that distances of distributions say nothing of them
            if work.embed is not None and prediction.images is not None and method.role != "ablation":
                row["features"] = work.embed(case, prediction.images)
            if method.role in ("model", "prediction"):
                keep_pictures(work.plan, case, method.name, prediction)
            rows.append({**head, **row, "seconds": round(perf_counter() - start, 2)})
        except Exception as error:
            rows.append(_failure(work, name, method.name, CINE, error))
    return rows


def _failure(work: Workplace, subject: str, method: str, kind: str, error: Exception) -> Row:
    """Return the row of something that could not be done; unexpected kinds say where it happened.

    A report is shared: names of files and folders, which may be a person's, are left out of it.
    """
    words = str(error)
    if not isinstance(error, ChainOfFlowError):
        last = traceback.extract_tb(error.__traceback__)[-1]
        words = f"{type(error).__name__}: {error} ({Path(last.filename).name}, line {last.lineno})"
    return {"subject": subject, "method": method, "kind": kind, "error": work.without_names(words, subject)}


def _in_process(task: tuple[str, tuple[str, ...], bool]) -> list[Row]:
    return evaluate_subject(_workplace(), *task)


def run_plan(plan: Plan, store: Store, workers: int = 1, progress: Progress | None = None) -> None:
    """Do what the store lacks; this process alone writes into it."""
    if not plan.subjects:
        raise CohortError("An evaluation needs at least one subject; found none in this split. Choose another one.")
    identities = {method.name: method.identity for method in build_methods(plan)}
    tasks = []
    for name in plan.subjects:
        wanted = tuple(m for m, identity in identities.items() if not store.has(name, m, CINE, identity))
        reference = not store.has(name, REFERENCE, REFERENCE)
        if wanted or reference:
            tasks.append((name, wanted, reference))
    _work_off(_in_process, tasks, plan, store, total=len(plan.subjects), workers=workers, progress=progress)


def _protocol_work(task: tuple[OwnWork, str]) -> list[Row]:
    """Do a protocol's own work on one subject."""
    own, name = task
    work = _workplace()
    head = {"subject": name, "method": work.plan.main, "kind": own.kind, "identity": own.identity}
    start = perf_counter()
    try:
        row = own.do(work, name)
    except Exception as error:
        return [_failure(work, name, work.plan.main, own.kind, error)]
    return [{**head, **row, "seconds": round(perf_counter() - start, 2)}]


def collect(plan: Plan, store: Store, own: OwnWork, workers: int = 1, progress: Progress | None = None) -> None:
    """Do a protocol's own work on subjects that the store lacks; arguments as for ``run_plan``."""
    missing = [name for name in own.subjects if not store.has(name, plan.main, own.kind, own.identity)]
    tasks = [(own, name) for name in missing]
    _work_off(_protocol_work, tasks, plan, store, total=len(own.subjects), workers=workers, progress=progress)


def _work_off(
    work: Callable[[Any], list[Row]], tasks: list[Any], plan: Plan, store: Store, *, total: int, workers: int,
    progress: Progress | None,
) -> None:  # fmt: skip
    """Do tasks in processes that each have a workplace, and store their rows; what lacks of ``total`` is done."""
    done = total - len(tasks)
    if progress is not None:
        progress(done, total)
    with one_thread():
        for rows in spread(work, tasks, workers=workers, prepare=partial(_open, plan)):
            for row in rows:
                store.add(row)
            done += 1
            if progress is not None:
                progress(done, total)
