"""An ECG for a heart that has none: of a phantom patient whose heart is as this one was measured to be.

Of many patients drawn within the heart's diagnosis the one is taken that comes nearest in ejection fraction, so that
what the ECG shows (contractility, infarct, conduction) belongs together as the phantom's cohort has it; then ejection
fraction and R–R are put exactly. It is a stand-in: what of the ECG is the person's own, nobody knows.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from COFGeneratorLib.ecg.record import EcgRecord

from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg
from COFTrainingLib.phantom.physiology import Physiology, draw_physiology

DRAWS = 600
"""Patients drawn: the nearest in EF is within half a point where the phantoms have such hearts at all."""
RV_WEIGHT = 0.25
"""How much a point of RVEF counts beside one of LVEF."""
NO_INFARCT: dict[str, Any] = {"infarct_territory": "", "infarct_extent": 0.0}
PLAIN: dict[str, Any] = {"atrial_fibrillation": False, "conduction": "", "hypertrophy": False, "cardiomyopathy": False,
                         "rv_load": ""}  # fmt: skip
GROUPS: dict[str, dict[str, Any]] = {
    "NOR": {**PLAIN, **NO_INFARCT},
    "DCM": {**PLAIN, **NO_INFARCT, "cardiomyopathy": True},
    "HCM": {**PLAIN, **NO_INFARCT, "hypertrophy": True},
    "MINF": {
        **{name: value for name, value in PLAIN.items() if name != "cardiomyopathy"},
        "infarct_territory": "anterior",
    },
    "RV": {**PLAIN, **NO_INFARCT, "rv_load": "pressure"},
    "": {"atrial_fibrillation": False},
}
"""What of a patient a diagnosis settles."""
SMALLEST_INFARCT, INFARCT_PER_EF = 0.08, 0.7
NORMAL_EF_PERCENT = 62.0


@dataclass(frozen=True)
class MeasuredHeart:
    """What is known of a heart whose ECG is wanted.

    Attributes:
        ef_percent: Ejection fraction of the left ventricle.
        rr_ms: R–R interval.
        group: Diagnosis, a key of ``GROUPS``; another one is taken as unknown.
        rvef_percent: Ejection fraction of the right ventricle, or None.
        lv_mass_index: LV mass over body surface, g/m², or None.
    """

    ef_percent: float
    rr_ms: float
    group: str = ""
    rvef_percent: float | None = None
    lv_mass_index: float | None = None


def ecg_for(heart: MeasuredHeart, seed: int) -> EcgRecord:
    """Return a 12-lead ECG of 10 s that a heart as measured might have; the same for the same heart and seed.

    Raises:
        CohortError: If no patient of this R–R can be drawn.
    """
    return ecg_of(physiology_of(heart, seed), seed)


def ecg_of(patient: Physiology, seed: int) -> EcgRecord:
    """Return the ECG of 10 s of a phantom patient; the same for the same patient and seed."""
    return synthesise_ecg(patient, np.random.default_rng([seed, 2]), premature=0.0)[0]


def physiology_of(heart: MeasuredHeart, seed: int) -> Physiology:
    """Return the phantom patient whose ECG stands in for a heart's own."""
    settled = {**GROUPS.get(heart.group, GROUPS[""]), "rr_ms": heart.rr_ms}
    ef = heart.ef_percent / 100.0
    rv_ef = None if heart.rvef_percent is None else heart.rvef_percent / 100.0
    if settled.get("infarct_territory"):  # the weaker, the larger
        settled["infarct_extent"] = float(np.clip((0.62 - ef) * INFARCT_PER_EF, SMALLEST_INFARCT, 0.35))
    if heart.lv_mass_index is not None:
        settled["lv_mass_index"] = heart.lv_mass_index

    def far(draw: int) -> float:
        drawn = draw_physiology(np.random.default_rng([seed, 1, draw]), **settled)
        return abs(drawn.ef - ef) + (0.0 if rv_ef is None else RV_WEIGHT * abs(drawn.rv_ef - rv_ef))

    nearest = min(range(DRAWS), key=far)
    told: dict[str, Any] = {"ef": ef} | ({} if rv_ef is None else {"rv_ef": rv_ef})
    return draw_physiology(np.random.default_rng([seed, 1, nearest]), **settled, **told)


def normal_ecg(rr_ms: float, seed: int = 0) -> EcgRecord:
    """Return the ECG of a healthy person at an R–R interval."""
    return ecg_for(MeasuredHeart(NORMAL_EF_PERCENT, rr_ms, "NOR"), seed)
