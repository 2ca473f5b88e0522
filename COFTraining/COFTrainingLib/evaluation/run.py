"""The work of an evaluation: every subject × method once, over processes, into the store."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

from COFGeneratorLib.errors import ChainOfFlowError, CohortError
from COFGeneratorLib.jobs.workers import spread
from COFGeneratorLib.machine import one_thread

from COFTrainingLib.cohort.manifest import Cohort, Subject, read_cohort
from COFTrainingLib.evaluation.store import Store

CINE, REFERENCE = "cine", "reference"
METRICS_VERSION = 4
"""Raised when a metric changes its meaning: old results are then not continued."""


@dataclass(frozen=True)
class Plan:
    """What is evaluated; small and picklable, so that every process can make the same of it.

    Args:
        cohort: Folder of the cohort.
        subjects: Ids, in the manifest's order.
        models: (name, folder) of bundles, the main one first.
        predictions: (name, folder) of others' cines.
        motions: Prepared motion library (``comparators.library``), or None.
        seed: Of random draws.
        features: Weights of DINOv2 for the Fréchet distances; the segmenter's features where None.
        store: Folder of the store, for pictures; none are kept where None.
        assessor: Folder of the independent assessor, or None.
        assessor_refused: Why it must not judge here; empty where it may.
        variants: Also evaluate what each part of the main model adds (``comparators.models.main_methods``).
    """

    cohort: Path
    subjects: tuple[str, ...]
    models: tuple[tuple[str, Path], ...] = ()
    predictions: tuple[tuple[str, Path], ...] = ()
    motions: Path | None = None
    seed: int = 0
    features: Path | None = None
    store: Path | None = None
    assessor: Path | None = None
    assessor_refused: str = ""
    variants: bool = False

    @property
    def main(self) -> str:
        """Name of the model that the report is about; empty where there is none."""
        return self.models[0][0] if self.models else ""

    def partner(self, subject: str) -> str:
        """Return whose ECG, motion or cine a subject is given where another's is wanted: never its own."""
        place = self.subjects.index(subject)
        return self.subjects[(place + max(1, len(self.subjects) // 2)) % len(self.subjects)]


class Workplace:
    """What one process keeps between subjects: cohort, bundles, methods."""

    def __init__(self, plan: Plan):
        from COFTrainingLib.evaluation.comparators.methods import build_methods

        self.plan = plan
        self.cohort: Cohort = read_cohort(plan.cohort)
        self.subjects: dict[str, Subject] = {subject.id: subject for subject in self.cohort.subjects}
        self.methods = build_methods(plan)
        self._embed = self._assessor = None

    def case(self, name: str):
        """Read a subject."""
        from COFTrainingLib.evaluation.cases import read_case

        return read_case(self.cohort, self.subjects[name])

    def shared(self, name: str) -> dict[str, Any]:
        """Return what the methods may ask for of one case, found when asked for."""
        from COFGeneratorLib.ecg import analyse_ecg, read_ecg

        partner = self.subjects[self.plan.partner(name)]
        kept: dict[str, Any] = {}

        def partner_case():
            if "case" not in kept:
                kept["case"] = self.case(partner.id)
            return kept["case"]

        return {
            "partner_ecg": lambda: analyse_ecg(read_ecg(self.cohort.path(partner, "ecg"))),
            "partner_case": partner_case,
        }

    @property
    def embed(self):
        """Features for the Fréchet distances, or None where no network gives any."""
        if self._embed is None:
            from COFTrainingLib.evaluation.features import feature_source

            self._embed = (feature_source(self.plan),)
        return self._embed[0]

    @property
    def assessor(self):
        """The independent assessor of the plan."""
        if self._assessor is None:
            from COFTrainingLib.evaluation.assessor import load_assessor

            self._assessor = load_assessor(self.plan.assessor)
        return self._assessor


_WORKPLACE: Workplace | None = None


def _open(plan: Plan) -> None:
    global _WORKPLACE
    _WORKPLACE = Workplace(plan)


def evaluate_subject(work: Workplace, name: str, wanted: tuple[str, ...], reference: bool) -> list[dict[str, Any]]:
    """Return the results of one subject; what fails is a row with the reason.

    Args:
        work: The process's workplace.
        name: The subject.
        wanted: Methods to run.
        reference: Also describe the subject itself.
    """
    from COFTrainingLib.evaluation.measure import measure, reference_row
    from COFTrainingLib.evaluation.pictures import keep_pictures

    rows: list[dict[str, Any]] = []
    try:
        case = work.case(name)
        if reference:
            row = reference_row(case)
            if work.embed is not None and case.reference is not None:
                row["features"] = work.embed(case, case.reference[case.image_frames])
            rows.append({"subject": name, "method": REFERENCE, "kind": REFERENCE, "identity": "", **row})
    except Exception as error:
        if reference:
            rows.append(_failure(name, REFERENCE, REFERENCE, error))
        return rows + [_failure(name, method, CINE, error) for method in wanted]
    shared = work.shared(name)
    for method in work.methods:
        if method.name not in wanted:
            continue
        start = perf_counter()
        head = {"subject": name, "method": method.name, "kind": CINE, "identity": method.identity}
        try:
            prediction = method.predict(case, shared)
            row = measure(case, prediction)
            # variants of one set of weights lie so close together that distances of distributions say nothing of them
            if work.embed is not None and prediction.images is not None and method.role != "ablation":
                row["features"] = work.embed(case, prediction.images)
            if method.role in ("model", "prediction"):
                keep_pictures(work.plan, case, method.name, prediction)
            rows.append({**head, **row, "seconds": round(perf_counter() - start, 2)})
        except Exception as error:
            rows.append(_failure(name, method.name, CINE, error))
    return rows


def _failure(subject: str, method: str, kind: str, error: Exception) -> dict[str, Any]:
    """Return the row of something that could not be done; unexpected kinds say where it happened."""
    words = str(error)
    if not isinstance(error, ChainOfFlowError):
        last = traceback.extract_tb(error.__traceback__)[-1]
        words = f"{type(error).__name__}: {error} ({Path(last.filename).name}, line {last.lineno})"
    return {"subject": subject, "method": method, "kind": kind, "error": words}


def _in_process(task: tuple[str, tuple[str, ...], bool]) -> list[dict[str, Any]]:
    return evaluate_subject(_WORKPLACE, *task)


def run_plan(plan: Plan, store: Store, workers: int = 1, progress: Callable[[int, int], None] | None = None) -> None:
    """Do what the store lacks.

    Args:
        plan: What is wanted.
        store: Where results go; this process alone writes.
        workers: Processes.
        progress: Called with (subjects done, subjects).
    """
    if not plan.subjects:
        raise CohortError("An evaluation needs at least one subject; found none in this split. Choose another one.")
    from COFTrainingLib.evaluation.comparators.methods import method_identities

    identities = method_identities(plan)
    tasks = []
    for name in plan.subjects:
        wanted = tuple(m for m, identity in identities.items() if not store.has(name, m, CINE, identity))
        reference = not store.has(name, REFERENCE, REFERENCE)
        if wanted or reference:
            tasks.append((name, wanted, reference))
    total, done = len(plan.subjects), len(plan.subjects) - len(tasks)
    if progress is not None:
        progress(done, total)
    with one_thread():
        for rows in spread(_in_process, tasks, workers=workers, prepare=partial(_open, plan)):
            for row in rows:
                store.add(row)
            done += 1
            if progress is not None:
                progress(done, total)


def _named_work(task: tuple[str, str, str, str, str]) -> dict[str, Any]:
    """Do a protocol's own work on one subject."""
    module, function, name, kind, identity = task
    head = {"subject": name, "method": _WORKPLACE.plan.main, "kind": kind, "identity": identity}
    start = perf_counter()
    try:
        row = getattr(import_module(module), function)(_WORKPLACE, name)
    except Exception as error:
        return _failure(name, _WORKPLACE.plan.main, kind, error)
    return {**head, **row, "seconds": round(perf_counter() - start, 2)}


def collect(
    plan: Plan, store: Store, work: tuple[str, str], kind: str, subjects, identity: str, workers: int, progress
) -> None:
    """Do a protocol's own work on subjects that the store lacks.

    Args:
        plan, store: As for ``run_plan``.
        work: (module, function): the function takes a ``Workplace`` and a subject and returns a row's content.
        kind: Name of the rows.
        subjects: Ids.
        identity: Changes when the results would.
        workers: Processes.
        progress: Called with (done, total).
    """
    missing = [name for name in subjects if not store.has(name, plan.main, kind, identity)]
    tasks = [(*work, name, kind, identity) for name in missing]
    done = len(subjects) - len(missing)
    with one_thread():
        for row in spread(_named_work, tasks, workers=workers, prepare=partial(_open, plan)):
            store.add(row)
            done += 1
            if progress is not None:
                progress(done, len(subjects))
