"""Reads a subject of a cohort as a case to be evaluated, and refuses what cannot be compared."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from COFGeneratorLib.anatomy.geometry import same_grid
from COFGeneratorLib.anatomy.readers import CineStack, read_cine, read_sax
from COFGeneratorLib.anatomy.stack import LABELS, SaxStack
from COFGeneratorLib.ecg import analyse_ecg, read_ecg
from COFGeneratorLib.ecg.cycle import EcgCycle
from COFGeneratorLib.errors import CohortError

from COFTrainingLib.cohort.cine_labels import onto_grid
from COFTrainingLib.cohort.diagnoses import statements_in, statements_of
from COFTrainingLib.cohort.manifest import Cohort, Subject
from COFTrainingLib.evaluation.cases import EvaluationCase
from COFTrainingLib.evaluation.diagnosis_groups import stated_group


def read_case(cohort: Cohort, subject: Subject) -> EvaluationCase:
    """Read a subject's files.

    Raises:
        ChainOfFlowError: If a file is missing or cannot be used, or there is nothing to compare with.
    """
    files, facts = subject.files, subject.facts
    if not {"cine", "cine_labels"} & set(files):
        raise CohortError(
            f"Evaluation compares with a recorded cine: a file of the role cine or cine_labels was expected; "
            f"{subject.id} has {', '.join(files) or 'none'}. Synthesise the cohort with --cines, or import its cines."
        )
    start = int(facts.get("anchor_frame", 0))
    cine = read_cine(cohort.path(subject, "cine")) if "cine" in files else None
    labelled = _read_labels(cohort.path(subject, "cine_labels"), facts) if "cine_labels" in files else None
    known = cine if cine is not None else labelled
    assert known is not None
    if cine is not None and labelled is not None:
        labelled = _on_cine(subject.id, cine, labelled)
    frames = len(known.frames)
    reference = None if cine is None else np.roll(cine.frames, -start, axis=0)
    reference_labels = None if labelled is None else np.roll(labelled.frames.astype(np.uint8), -start, axis=0)
    anchor, labels = _anchor(cohort, subject, known, reference, reference_labels)
    if not same_grid(anchor.ijk_to_ras, anchor.shape, known.ijk_to_ras, known.frames.shape[1:]):
        raise CohortError(
            f"Anchor and cine must lie on one grid; found {anchor.shape} and {known.frames.shape[1:]} in {subject.id}. "
            "Take the anchor from the cine."
        )
    cycle = analyse_ecg(read_ecg(cohort.path(subject, "ecg")))
    truth = _truth(cohort, subject)
    displacement = None
    if "displacement" in files:
        displacement = np.load(cohort.path(subject, "displacement"), mmap_mode="r")
    return EvaluationCase(
        id=subject.id, person=subject.person, facts=facts, anchor=anchor, labels=labels, cycle=cycle, frames=frames,
        rr_ms=_cycle_length(known, truth, cycle), reference=reference, reference_labels=reference_labels,
        displacement=displacement, stated_group=_stated_group(cohort, subject),
        expected=truth.get("expected_from_ecg", {}),
        closed_form=np.array(truth["function"]["lv_volume_ml"]) if "function" in truth else None,
    )  # fmt: skip


def _stated_group(cohort: Cohort, subject: Subject) -> str:
    """Return the group by the diagnosis statements of the manifest (``diagnoses``), else of the ECG's own file."""
    told = str(subject.facts.get("diagnoses") or subject.facts.get("scp_codes") or "")
    return stated_group(statements_in(told) if told else statements_of(cohort.path(subject, "ecg")))


def _read_labels(path: Path, facts: dict[str, Any]) -> CineStack:
    """Read a labelled cine in our own codes."""
    stored = read_cine(path)
    codes = facts.get("label_map", LABELS)
    if isinstance(codes, str):
        codes = {name.strip(): int(code) for name, _, code in (part.partition("=") for part in codes.split(","))}
    frames = np.zeros(stored.frames.shape, dtype=np.uint8)
    for name, code in codes.items():
        frames[stored.frames == code] = LABELS[name]
    if not (frames == LABELS["lv"]).any():
        raise CohortError(
            f"Labels of a cine need an LV cavity, code {codes.get('lv')}; found none in {path.name}. State the codes "
            "in the manifest's label_map."
        )
    return CineStack(frames, stored.ijk_to_ras, stored.frame_times_ms)


def _anchor(
    cohort: Cohort, subject: Subject, known: CineStack, reference: np.ndarray | None, labels: np.ndarray | None
) -> tuple[SaxStack, np.ndarray]:
    """Return the anchor and its labels: files of their own, or the first frame of the cine."""
    if "anchor" in subject.files:
        anchor = read_sax(cohort.path(subject, "anchor"))
    elif reference is not None:
        anchor = SaxStack(reference[0], known.ijk_to_ras)
    else:
        raise CohortError(f"A subject needs an anchor or a cine; found neither in {subject.id}. Import it again.")
    if labels is not None:
        return anchor, labels[0]
    if "labels" not in subject.files:
        raise CohortError(
            f"The anchor's labels are needed to tell where the heart is; found none in {subject.id}. Label it, or "
            "give labels of the cine."
        )
    labelled = _read_labels(cohort.path(subject, "labels"), subject.facts)
    return anchor, onto_grid(labelled, anchor.ijk_to_ras, anchor.shape, subject.id).frames[0]


def _on_cine(name: str, cine: CineStack, labelled: CineStack) -> CineStack:
    """Return labels on the cine's grid."""
    if len(cine.frames) != len(labelled.frames):
        raise CohortError(
            f"Cine and labels must share frames; found {len(cine.frames)} and {len(labelled.frames)} in {name}. Export "
            "both from one series."
        )
    return onto_grid(labelled, cine.ijk_to_ras, cine.frames.shape[1:], name)


def _truth(cohort: Cohort, subject: Subject) -> dict[str, Any]:
    if "truth" not in subject.files:
        return {}
    return json.loads(cohort.path(subject, "truth").read_text(encoding="utf-8"))


def _cycle_length(cine: CineStack, truth: dict[str, Any], cycle: EcgCycle) -> float:
    """Return the reference's R–R, ms: stated, or from equidistant frame times, or the ECG's."""
    if "function" in truth:
        return float(truth["function"]["rr_ms"])
    times = np.asarray(cine.frame_times_ms, dtype=float)
    if len(times) == len(cine.frames) > 1 and np.all(np.diff(times) > 0):
        return float((times[-1] - times[0]) * len(times) / (len(times) - 1))
    return cycle.rr_ms
