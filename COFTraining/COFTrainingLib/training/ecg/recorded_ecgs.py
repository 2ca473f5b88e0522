"""Recorded ECGs with the function of their hearts, for the ECG encoder to learn from beside the synthetic ones.

Of a recorded heart EF, RVEF and end-systole are known, by the manifest or by the volumes of its labelled cine; what a
phantom alone knows (contractility, extent of an infarct, filling) is not, and teaches nothing.
"""

import logging
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from COFGeneratorLib.anatomy.readers import read_cine
from COFGeneratorLib.anatomy.stack import LABELS
from COFGeneratorLib.ecg import analyse_ecg, read_ecg
from COFGeneratorLib.ecg.cycle import EcgCycle
from COFGeneratorLib.errors import ChainOfFlowError, TrainingError
from COFGeneratorLib.function import volume_curves
from COFGeneratorLib.generator.networks.ecg_encoder import MISHAPS, SingleBeats, single_beats
from COFGeneratorLib.jobs.workers import spread

from COFTrainingLib.cohort.manifest import Cohort, Subject
from COFTrainingLib.training.ecg.ecg_cohort import TARGETS, EcgCohort
from COFTrainingLib.training.ecg.ecg_encoder import UNKNOWN

logger = logging.getLogger(__name__)

SPLIT = "train"
PLAUSIBLE_EF = (0.05, 0.85)


def recorded_ecgs(cohort: Cohort, *, beats: int = 0, workers: int = 1) -> EcgCohort:
    """Return the ECGs of a cohort's training split with the function of their hearts.

    Args:
        cohort: Recordings with ECGs; subjects whose EF is not known, or whose ECG does not read, are left out and named
            in the log.
        beats: Single beats to keep of each record.
        workers: Processes.

    Raises:
        TrainingError: If nobody is left.
    """
    wanted = [subject for subject in cohort.used(SPLIT) if "ecg" in subject.files]
    work = partial(_read, replace(cohort, subjects=()))
    read = [one for one in spread(work, wanted, workers=workers, ordered=True) if one is not None]
    if not read:
        raise TrainingError(
            "Learning from recorded ECGs needs subjects with an ECG and a known EF (ef_percent, or cine_labels) in "
            "the "
            f"split {SPLIT}; found none of {len(wanted)} in {cohort.header.name}. Label its cines, or leave --cohort "
            "out."
        )
    cycles, targets = zip(*read, strict=True)
    columns = {name: torch.tensor([row[name] for row in targets], dtype=torch.float32) for name in TARGETS}
    mean = torch.from_numpy(np.stack([cycle.beat_mv for cycle in cycles]).astype(np.float32))
    scalars = torch.from_numpy(np.stack([cycle.scalars() for cycle in cycles]))
    single = single_beats(cycles, beats) if beats else None
    kept = None if single is None else SingleBeats(single.mv.half(), *single[1:])
    return EcgCohort(mean, scalars, columns, kept)


def joined(first: EcgCohort, second: EcgCohort) -> EcgCohort:
    """Return both cohorts as one, the first one's records first: the last of a cohort are those that are held out."""
    single = None
    if first.single is not None and second.single is not None:
        single = SingleBeats(*(torch.cat(parts) for parts in zip(first.single, second.single, strict=True)))
    return EcgCohort(
        torch.cat([first.beat_mv, second.beat_mv]),
        torch.cat([first.scalars, second.scalars]),
        {name: torch.cat([first.targets[name], second.targets[name]]) for name in TARGETS},
        single,
    )


def known_targets(function: dict[str, float], qrsd_ms: float) -> dict[str, float]:
    """Return the targets of a recorded heart in the order of ``TARGETS``: NaN or ``UNKNOWN`` where not known.

    Args:
        function: ``ef`` and perhaps ``rv_ef``, 0…1, and ``es_phase``.
        qrsd_ms: As measured in its ECG.
    """
    values = dict.fromkeys(TARGETS, float("nan"))
    values |= {
        "ef": function["ef"], "rv_ef": function.get("rv_ef", float("nan")), "qrsd_ms": qrsd_ms,
        "t_es_over_rr": function.get("es_phase", float("nan")), "territory": float(UNKNOWN),
        "conduction": float(UNKNOWN), "mishap": float(MISHAPS.index("")), "natural": 1.0,
    }  # fmt: skip
    return values


def function_of(cohort: Cohort, subject: Subject) -> dict[str, float]:
    """Return ``ef``, ``rv_ef`` and ``es_phase`` of a subject as far as they are known; empty where EF is not.

    Raises:
        ChainOfFlowError: If labels of the cine cannot be read.
    """
    facts = subject.facts
    if "ef_percent" in facts:
        found = {"ef": float(facts["ef_percent"]) / 100.0}
        if "rvef_percent" in facts:
            found["rv_ef"] = float(facts["rvef_percent"]) / 100.0
        if "es_phase" in facts:
            found["es_phase"] = float(facts["es_phase"])
    elif "cine_labels" in subject.files:
        found = _of_labels(cohort, subject)
    else:
        return {}
    low, high = PLAUSIBLE_EF
    return found if low <= found["ef"] <= high else {}


def _of_labels(cohort: Cohort, subject: Subject) -> dict[str, float]:
    stored = read_cine(cohort.path(subject, "cine_labels"))
    labels = np.zeros(stored.frames.shape, dtype=np.uint8)
    for name, code in subject.facts.get("label_map", LABELS).items():
        labels[stored.frames == code] = LABELS[name]
    curves = volume_curves(np.roll(labels, -int(subject.facts.get("anchor_frame", 0)), axis=0), stored.ijk_to_ras)

    def ejected(volume_ml: np.ndarray) -> float:
        return float((volume_ml.max() - volume_ml.min()) / volume_ml.max()) if volume_ml.max() > 0 else float("nan")

    found = {"ef": ejected(curves.lv_ml), "es_phase": float(np.argmin(curves.lv_ml)) / len(labels)}
    return found | ({"rv_ef": ejected(curves.rv_ml)} if curves.rv_ml.max() > 0 else {})


def _read(cohort: Cohort, subject: Subject) -> tuple[EcgCycle, dict[str, float]] | None:
    """Return a subject's analysed ECG with its targets, or None."""
    try:
        function: dict[str, Any] = function_of(cohort, subject)
        if not function:
            logger.warning("%s is left out: its ejection fraction is not known", subject.id)
            return None
        cycle = analyse_ecg(read_ecg(cohort.path(subject, "ecg")))
    except ChainOfFlowError as error:
        logger.warning("%s is left out: %s", subject.id, error)
        return None
    return cycle, known_targets(function, cycle.qrsd_ms)
