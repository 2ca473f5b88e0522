"""Error floors of the phantom cohort: how well anyone can do with the ECG, and without it.

A model that is given only the anchor can hardly beat "without": there EF is what the left ventricle's volume tells of
it (dilated hearts fail), and timing a constant. A model that reads the ECG perfectly up to the stated read-out of
contractility cannot beat "with". Both belong beside every result on the cohort.
"""

import numpy as np

from COFTrainingLib.phantom.physiology import Physiology, draw_physiology
from COFTrainingLib.phantom.prevalence import NATURAL, Prevalence
from COFTrainingLib.phantom.pump import EF_RANGE, expected_ef
from COFTrainingLib.phantom.shape import EDV_LOG_SD, expected_edv_ml
from COFTrainingLib.phantom.volume_curve import end_systole_ms

READ_OUT_R = 0.95
"""Correlation between contractility and what the best reader of one ECG makes of it."""
FRAMES = 50


def oracle_floors(
    n: int = 20_000, seed: int = 0, *, prevalence: Prevalence = NATURAL, read_out_r: float = READ_OUT_R
) -> dict[str, float]:
    """Return mean absolute errors of the best predictors with and without the ECG, by Monte Carlo.

    With the ECG, heart rate, QT, QRS duration, rhythm and the infarct are known and contractility is read with
    correlation ``read_out_r``; EF is then its conditional mean, ES the best quadratic function of the intervals (sex
    and the scatter of systolic intervals stay unknown). Without it, EF is the best cubic function of the left
    ventricle's volume, ES the best constant.

    Args:
        n: Patients drawn to measure; as many again fit the ES predictor.
        seed: Of the draw.
        prevalence: Of the findings.
        read_out_r: See above.

    Returns:
        ``ef_mae_with_ecg_percent``, ``ef_mae_without_ecg_percent``, ``ef_mae_constant_percent`` (of the median),
        ``es_mae_with_ecg_frames``, ``es_mae_without_ecg_frames`` (of 50 frames), the mean and SD of EF (percent) and SD
        of ES (frames), and ``ef_win_probability``: how often the first EF is closer than the second in a subject.
    """
    rng = np.random.default_rng(seed)
    patients = [draw_physiology(rng, prevalence=prevalence) for _ in range(2 * n)]
    fit, test = slice(None, n), slice(n, None)

    ef = np.array([patient.ef for patient in patients])
    k = np.array([patient.contractility for patient in patients])
    blur = k.std() * np.sqrt(1.0 / read_out_r**2 - 1.0)
    read = k.mean() + read_out_r**2 * (k - k.mean() + blur * rng.standard_normal(2 * n))
    known = [(patient.infarct_extent, patient.dyssynchrony_ms) for patient in patients]
    extent, dyssynchrony = np.array(known).T
    with_ecg = np.abs(np.clip(expected_ef(read, extent, dyssynchrony), *EF_RANGE) - ef)[test]
    volume = np.log([expected_edv_ml(patient) for patient in patients]) + EDV_LOG_SD * rng.standard_normal(2 * n)
    powers = np.vander(volume - volume.mean(), 4)
    weights, *_ = np.linalg.lstsq(powers[fit], ef[fit], rcond=None)
    without = np.abs(powers @ weights - ef)[test]

    es = np.array([end_systole_ms(patient) / patient.rr_ms * FRAMES for patient in patients])
    intervals = np.array([_intervals(patient) for patient in patients])
    weights, *_ = np.linalg.lstsq(intervals[fit], es[fit], rcond=None)
    es_with = np.abs(intervals @ weights - es)[test]
    es_without = np.abs(np.median(es[fit]) - es)[test]
    return {
        "ef_mae_with_ecg_percent": 100.0 * float(with_ecg.mean()),
        "ef_mae_without_ecg_percent": 100.0 * float(without.mean()),
        "ef_mae_constant_percent": 100.0 * float(np.abs(np.median(ef[fit]) - ef)[test].mean()),
        "es_mae_with_ecg_frames": float(es_with.mean()),
        "es_mae_without_ecg_frames": float(es_without.mean()),
        "ef_mean_percent": 100.0 * float(ef.mean()),
        "ef_sd_percent": 100.0 * float(ef.std()),
        "es_sd_frames": float(es.std()),
        "ef_win_probability": float((with_ecg < without).mean()),
    }


def _intervals(patient: Physiology) -> np.ndarray:
    """Return quadratic features of what the ECG's intervals and rhythm tell."""
    rate, qt = (patient.hr_bpm - 61.5) / 11.6, (patient.qt_ms - 400.0) / 30.0
    width = max(patient.qrsd_ms - 95.0, 0.0) / 30.0
    base = np.array([1.0, rate, qt, width, float(patient.atrial_fibrillation)])
    return np.outer(base, base)[np.triu_indices(len(base))]
