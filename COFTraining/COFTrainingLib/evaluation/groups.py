"""ECG-derived groups of subjects, from measurements alone, and the other subgroups of a report."""

import math
from collections.abc import Mapping
from typing import Any

from COFTrainingLib.evaluation.statistics import as_number

GROUPS = (
    "normal", "sinus brady- or tachycardia", "atrial fibrillation", "AV block", "bundle branch block", "hypertrophy",
    "infarction", "repolarisation abnormality", "other",
)  # fmt: skip
"""The nine of the papers. Where several fit, the order of ``ecg_group`` decides."""
BRADY_BPM, TACHY_BPM = 50.0, 100.0
WIDE_QRS_MS, LONG_PR_MS, LONG_QTC_MS, SOKOLOW_MV, IRREGULAR_CV = 120.0, 200.0, 470.0, 3.5, 0.10
"""Usual limits: AHA/ACCF/HRS recommendations 2009 (Circulation 119:e235, e241, e251)."""


def ecg_group(ecg: Mapping[str, Any], facts: Mapping[str, Any] | None = None) -> str:
    """Return the group of an ECG; an infarct is taken from the manifest, since intervals do not show one.

    Measurements are ``rr_ms, pr_ms, qrsd_ms, qt_ms, sokolow_mv, p_wave_present, rr_cv``.
    """
    facts = facts or {}
    rr, pr = as_number(ecg.get("rr_ms")), as_number(ecg.get("pr_ms"))
    rate = 60000.0 / rr if rr and rr > 0 else float("nan")
    qtc = as_number(ecg.get("qt_ms")) / math.sqrt(rr / 1000.0) if rr and rr > 0 else float("nan")
    if not ecg.get("p_wave_present") and as_number(ecg.get("rr_cv")) > IRREGULAR_CV:
        return "atrial fibrillation"
    if facts.get("infarct_territory"):
        return "infarction"
    if as_number(ecg.get("qrsd_ms")) >= WIDE_QRS_MS:
        return "bundle branch block"
    if pr > LONG_PR_MS:
        return "AV block"
    if as_number(ecg.get("sokolow_mv")) > SOKOLOW_MV:
        return "hypertrophy"
    if qtc > LONG_QTC_MS:
        return "repolarisation abnormality"
    if rate < BRADY_BPM or rate > TACHY_BPM:
        return "sinus brady- or tachycardia"
    if not ecg.get("p_wave_present"):
        return "other"
    return "normal"
