"""The figures of one arm on one heart."""

import numpy as np
from COFGeneratorLib.errors import FunctionError
from COFGeneratorLib.function import FunctionReport, VolumeCurves, report_from_curves
from COFGeneratorLib.function.curve import interpolate_periodic

from COFTrainingLib.evaluation.metrics.anatomy import STRUCTURES, confusion, overlap
from COFTrainingLib.evaluation.metrics.function import circular
from COFTrainingLib.evaluation.metrics.image import decibel, ssim_map
from COFTrainingLib.evaluation.statistics import known_mean
from COFTrainingLib.studies.real_motion.hearts import RealHeart
from COFTrainingLib.studies.real_motion.moved import Moved

PHASES = (0.1, 0.2, 0.9)
"""Early ejection, mid ejection, and atrial filling."""


def figures_of(heart: RealHeart, moved: Moved) -> dict[str, float]:
    """Return the figures of an arm; NaN where one is not known.

    Images within the heart's box, intensities 0…1 by the anchor's percentiles: ``psnr_db`` over the frames after the
    first, ``psnr_es_db``, ``ssim``, ``ssim_es``; ``sharpness_es`` and ``sharpness_first`` (frame 1), gradient in the
    plane relative to the anchor's; ``far_change_percent``, change beyond 20 mm from the heart, of the same range.
    Labels at ES: ``dice_lv``, ``dice_wall``, ``dice_rv``. Function: ``ef_percent``, ``rvef_percent`` and their errors
    in points (found − true); ``curve_percent``, RMSE of the LV curve, % of EDV; ``es_phase``, the centre of the
    plateau, and its ``es_error`` and ``es_bias`` (share of the beat) from that of the recorded curve;
    ``contraction_10``, ``…_20`` and ``…_90``, 1 − V/V(ED) as a share of its largest; ``asked_error_points``, EF less
    the one that was told.
    """
    found = _images(heart, moved) | _labels(heart, moved)
    return found | _function(heart, moved)


def _images(heart: RealHeart, moved: Moved) -> dict[str, float]:
    inside = (slice(None), *heart.box)
    true, made = heart.scale(heart.frames[inside]), heart.scale(moved.frames[inside])
    error = np.square(true - made).mean(axis=(1, 2, 3), dtype=np.float64)
    similar = [known_mean(ssim_map(*pair)) for pair in zip(true[1:], made[1:], strict=True)]
    sharp = sharpness(made)
    far = heart.far
    change = [np.abs(heart.scale(frame[far]) - heart.scale(moved.frames[0][far])).mean() for frame in moved.frames[1:]]
    return {
        "psnr_db": decibel(float(error[1:].mean())),
        "psnr_es_db": decibel(float(error[heart.es_frame])),
        "ssim": float(np.mean(similar)),
        "ssim_es": similar[heart.es_frame - 1],
        "sharpness_es": float(sharp[heart.es_frame] / sharp[0]),
        "sharpness_first": float(sharp[1] / sharp[0]),
        "far_change_percent": 100.0 * float(np.mean(change)) if far.any() else float("nan"),
    }


def sharpness(frames: np.ndarray) -> np.ndarray:
    """Return the root mean square gradient in the plane of frames (T, D, H, W), (T,)."""
    rows, columns = np.diff(frames, axis=2)[..., :-1], np.diff(frames, axis=3)[..., :-1, :]
    return np.sqrt((np.square(rows) + np.square(columns)).mean(axis=(1, 2, 3)))


def _labels(heart: RealHeart, moved: Moved) -> dict[str, float]:
    table = confusion(heart.labels[heart.es_frame][None], moved.labels[heart.es_frame][None])
    return {
        f"dice_{name}": float(overlap(table, STRUCTURES[code])[0][0])
        for name, code in (("lv", "lv"), ("wall", "myo"), ("rv", "rv"))
    }


def function_of(curves: VolumeCurves, rr_ms: float) -> FunctionReport | None:
    """Return the function of volumes of one beat, equidistant; None where it cannot be measured."""
    count = len(curves.lv_ml)
    time_ms = np.arange(count) / count * rr_ms
    try:
        return report_from_curves(curves, time_ms, rr_ms, 60000.0 / rr_ms, labels_from="user", folded_fraction=0.0)
    except FunctionError:
        return None


def es_phase_of(curves: VolumeCurves, rr_ms: float) -> float:
    """Return the centre of the end-systolic plateau as a share of the beat; NaN where there is none."""
    report = function_of(curves, rr_ms)
    return float("nan") if report is None else report.es_time_ms / report.rr_ms


def _function(heart: RealHeart, moved: Moved) -> dict[str, float]:
    lv, true = moved.curves.lv_ml, heart.curves.lv_ml
    report = function_of(moved.curves, heart.rr_ms)
    ef, rvef = moved.ef_percent, moved.rvef_percent
    if ef is None or rvef is None:
        ef, rvef = (float("nan"),) * 2 if report is None else (report.ef_percent, report.rv_ef_percent)
    es, true_es = es_phase_of(moved.curves, heart.rr_ms), es_phase_of(heart.curves, heart.rr_ms)
    contraction = contraction_at(lv)
    return {
        "ef_percent": ef,
        "ef_error_points": ef - heart.ef_percent,
        "rvef_percent": rvef,
        "rvef_error_points": rvef - heart.rvef_percent,
        "curve_percent": 100.0 * float(np.sqrt(np.mean((lv / lv[0] - true / true[0]) ** 2))),
        "es_phase": es,
        "es_error": circular(es, true_es, 1.0),
        "es_bias": (es - true_es + 0.5) % 1.0 - 0.5,
        **{f"contraction_{round(100 * phase)}": value for phase, value in zip(PHASES, contraction, strict=True)},
        "asked_error_points": float("nan") if moved.asked_ef_percent is None else ef - moved.asked_ef_percent,
    }


def contraction_at(lv_ml: np.ndarray, phases: tuple[float, ...] = PHASES) -> list[float]:
    """Return 1 − V/V(ED) at phases of the beat, as a share of its largest; NaN where the ventricle stands still."""
    dense = interpolate_periodic(lv_ml, np.arange(len(lv_ml)) / len(lv_ml), 1.0, np.linspace(0, 1, 200, endpoint=False))
    most = dense[0] - dense.min()
    if not most > 1e-3 * max(dense[0], 1e-9):
        return [float("nan")] * len(phases)
    return [float((dense[0] - dense[round(200 * phase)]) / most) for phase in phases]
