"""Regional function against the reference: thickening, excursion and timing in the AHA-17 segments."""

import numpy as np
from COFGeneratorLib.anatomy.heart_frame import HeartFrame
from COFGeneratorLib.function import measure_regional
from COFGeneratorLib.function.regional import TERRITORIES, RegionalReport

from COFTrainingLib.evaluation.statistics import known_mean

TIMING_LEVEL = 0.5
LEAST_EXCURSION_MM = 1.0
"""A segment that moves less has no time of motion."""


def compare_regional(
    reference: np.ndarray, found: np.ndarray, es: tuple[int, int], ijk_to_ras: np.ndarray, frame: HeartFrame
) -> dict[str, float]:
    """Return errors between ED (frame 0) and ES.

    Args:
        reference, found: (T, D, H, W) labels.
        es: Frame of ES in the reference and in what was found.
        ijk_to_ras: (4, 4).
        frame: The heart's frame, of the reference.

    Returns:
        Means over the segments that both cover: ``thickening_mae_percent``, ``excursion_mae_mm``,
        ``excursion_correlation``; ``worst_territory_right``: whether the territory that moves least is the same (1/0).
    """
    true = measure_regional(reference[0], reference[es[0]], ijk_to_ras, frame)
    seen = measure_regional(found[0], found[es[1]], ijk_to_ras, frame)
    thickening = np.abs(seen.thickening_percent - true.thickening_percent)
    excursion = np.abs(seen.excursion_mm - true.excursion_mm)
    both = np.isfinite(seen.excursion_mm) & np.isfinite(true.excursion_mm)
    moving = both.sum() > 3 and np.ptp(seen.excursion_mm[both]) > 1e-6
    return {
        "thickening_mae_percent": known_mean(thickening),
        "excursion_mae_mm": known_mean(excursion),
        "excursion_correlation": float(np.corrcoef(seen.excursion_mm[both], true.excursion_mm[both])[0, 1])
        if moving
        else float("nan"),
        "worst_territory_right": float(_weakest(true) == _weakest(seen)) if moving else float("nan"),
    }


def excursion_curves(labels: np.ndarray, ijk_to_ras: np.ndarray, frame: HeartFrame) -> np.ndarray:
    """Return the inward motion of each segment since frame 0 of labels (F, D, H, W), (F, 17) mm; NaN: not covered."""
    heart = (labels > 0).any(axis=(0, 1))
    box = tuple(slice(n.min(), n.max() + 1) for n in np.nonzero(heart)) if heart.any() else ()
    labels = np.ascontiguousarray(labels[(slice(None), slice(None), *box)])  # sectors turn about the cavity's centre
    return np.stack([measure_regional(labels[0], moved, ijk_to_ras, frame).excursion_mm for moved in labels])


def half_time(curves: np.ndarray, phases: np.ndarray) -> np.ndarray:
    """Return when each segment first reaches half of its largest inward motion, (17,) phase 0…1; NaN where it is still.

    Args:
        curves: (F, 17) mm, first row 0.
        phases: (F,) phases of the rows, rising from 0.
    """
    times = np.full(curves.shape[1], np.nan)
    for segment, curve in enumerate(curves.T):
        known = np.isfinite(curve)
        if known.sum() < 3 or np.nanmax(curve) < LEAST_EXCURSION_MM:
            continue
        curve, at = curve[known], phases[known]
        above = int(np.argmax(curve >= TIMING_LEVEL * curve.max()))
        if above == 0:
            continue
        low, high = curve[above - 1], curve[above]
        share = (TIMING_LEVEL * curve.max() - low) / (high - low)
        times[segment] = at[above - 1] + share * (at[above] - at[above - 1])
    return times


def compare_timing(true: np.ndarray, found: np.ndarray, frames: int) -> dict[str, float]:
    """Return errors of regional timing: ``timing_mae_frames`` and ``dyssynchrony_error_frames`` (SD over segments).

    Args:
        true, found: (17,) phases of ``half_time`` in the reference and in what was found.
        frames: Frames of one cycle.
    """
    both = np.isfinite(true) & np.isfinite(found)
    if both.sum() < 3:
        return {"timing_mae_frames": float("nan"), "dyssynchrony_error_frames": float("nan")}
    return {
        "timing_mae_frames": float(np.abs(found - true)[both].mean() * frames),
        "dyssynchrony_error_frames": float((found[both].std() - true[both].std()) * frames),
    }


def _weakest(report: RegionalReport) -> str:
    """Return the territory that moves least, of those that are covered."""
    excursion_mm = {name: report.territory(name)["excursion_mm"] for name in TERRITORIES}
    return min(TERRITORIES, key=lambda name: excursion_mm[name] if np.isfinite(excursion_mm[name]) else np.inf)
