"""Errors of cardiac function against what is true, with invalid hearts charged and counted, never left out."""

from dataclasses import dataclass

import numpy as np
from COFGeneratorLib.errors import FunctionError
from COFGeneratorLib.function import FunctionReport, VolumeCurves, end_systole, report_from_curves
from COFGeneratorLib.function.curve import interpolate_periodic

WORST_EF_POINTS = 100.0
NATIVE_FRAMES = 50
"""Times within the cycle are told in frames of 50, UK Biobank's, whatever the cine has: 1 is 2 % of the cycle."""


@dataclass(frozen=True)
class TrueFunction:
    """What is true of one heart.

    Attributes:
        lv_ml: (T,) LV volume over one cycle, equidistant from the anchor's phase.
        rr_ms: Length of the cycle.
        edv_ml, esv_ml, ef_percent: Of this curve.
        es_frame, es_argmin_frame: End of systole as the centre of the plateau and as the smallest volume, in frames.
        source: ``"closed form"`` or ``"reference labels"``.
    """

    lv_ml: np.ndarray
    rr_ms: float
    edv_ml: float
    esv_ml: float
    ef_percent: float
    es_frame: float
    es_argmin_frame: float
    source: str

    @property
    def sv_ml(self) -> float:
        """Stroke volume, mL."""
        return self.edv_ml - self.esv_ml


def true_function(lv_ml: np.ndarray, rr_ms: float, source: str) -> TrueFunction:
    """Return the function of a volume curve that is taken for true.

    Raises:
        FunctionError: If it cannot be measured.
    """
    lv_ml = densely(lv_ml)
    report = report_of_curve(lv_ml, rr_ms)
    es = report.es_time_ms / rr_ms * len(lv_ml)
    return TrueFunction(
        lv_ml, rr_ms, edv_ml=report.edv_ml, esv_ml=report.esv_ml, ef_percent=report.ef_percent, es_frame=es,
        es_argmin_frame=float(report.es_argmin_frame), source=source,
    )  # fmt: skip


def report_of_curve(lv_ml: np.ndarray, rr_ms: float) -> FunctionReport:
    """Return the function report of an LV curve alone, equidistant over one cycle."""
    curves = VolumeCurves(lv_ml, np.zeros_like(lv_ml), np.zeros_like(lv_ml))
    time_ms = np.arange(len(lv_ml)) / len(lv_ml) * rr_ms
    return report_from_curves(curves, time_ms, rr_ms, 60000.0 / rr_ms, labels_from="user", folded_fraction=0.0)


def resample_curve(lv_ml: np.ndarray, frames: int) -> np.ndarray:
    """Return a periodic curve at another number of equidistant frames."""
    lv_ml = np.asarray(lv_ml, dtype=float)
    if len(lv_ml) == frames:
        return lv_ml
    return interpolate_periodic(lv_ml, np.arange(len(lv_ml)) / len(lv_ml), 1.0, np.arange(frames) / frames)


def densely(lv_ml: np.ndarray) -> np.ndarray:
    """Return a curve at ``NATIVE_FRAMES`` at least, by its periodic cubic spline: few frames miss its minimum."""
    lv_ml = np.asarray(lv_ml, dtype=float)
    if len(lv_ml) >= NATIVE_FRAMES or len(lv_ml) < 4 or not np.isfinite(lv_ml).all():
        return lv_ml
    return np.maximum(resample_curve(lv_ml, NATIVE_FRAMES), 0.0)


def circular(a: float, b: float, period: float) -> float:
    """Return the distance of two places round a cycle; NaN where one is not known."""
    return float(abs((a - b + period / 2) % period - period / 2))


def compare_function(lv_ml: np.ndarray, rr_ms: float, truth: TrueFunction) -> dict[str, float]:
    """Return signed errors (found − true) of the read-outs and the distance of the curves.

    Frames are compared at equal phases of both cycles. A heart whose function cannot be measured (EDV below 10 mL, not
    finite) is invalid: it is charged the whole of every true volume, 100 points of EF and half a cycle of ES.

    Args:
        lv_ml: (T,) LV volume of the generated cine; read-outs are taken from its periodic cubic spline at 50 frames.
        rr_ms: Its cycle.
        truth: What is true, at any number of frames.
    """
    lv_ml = densely(lv_ml)
    frames = len(lv_ml)
    true_curve = resample_curve(truth.lv_ml, frames)
    scale, unit = frames / len(truth.lv_ml), NATIVE_FRAMES / frames
    co_true = truth.sv_ml * 60.0 / truth.rr_ms
    try:
        report = report_of_curve(lv_ml, rr_ms)
    except FunctionError:
        rmse = float(np.sqrt(np.mean(true_curve**2)))
        return {
            "valid": 0.0, "edv_error_ml": -truth.edv_ml, "esv_error_ml": -truth.esv_ml, "sv_error_ml": -truth.sv_ml,
            "ef_error_points": -WORST_EF_POINTS, "co_error_l_min": -co_true, "curve_rmse_ml": rmse,
            "curve_correlation": 0.0, "es_error_frames": NATIVE_FRAMES / 2, "es_argmin_error_frames": NATIVE_FRAMES / 2,
            "ef_percent": float("nan"), "edv_ml": float("nan"), "esv_ml": float("nan"), "sv_ml": float("nan"),
            "co_l_min": float("nan"), "es_frame": float("nan"),
        }  # fmt: skip
    es = report.es_time_ms / rr_ms * frames
    varies = np.ptp(lv_ml) > 1e-6 * max(lv_ml.max(), 1.0) and np.ptp(true_curve) > 0
    return {
        "valid": 1.0,
        "edv_error_ml": report.edv_ml - truth.edv_ml,
        "esv_error_ml": report.esv_ml - truth.esv_ml,
        "sv_error_ml": report.sv_ml - truth.sv_ml,
        "ef_error_points": report.ef_percent - truth.ef_percent,
        "co_error_l_min": report.co_l_min - co_true,
        "curve_rmse_ml": float(np.sqrt(np.mean((lv_ml - true_curve) ** 2))),
        "curve_correlation": float(np.corrcoef(lv_ml, true_curve)[0, 1]) if varies else float("nan"),
        "es_error_frames": unit * circular(es, truth.es_frame * scale, frames),
        "es_argmin_error_frames": unit * circular(report.es_argmin_frame, truth.es_argmin_frame * scale, frames),
        "ef_percent": report.ef_percent,
        "edv_ml": report.edv_ml,
        "esv_ml": report.esv_ml,
        "sv_ml": report.sv_ml,
        "co_l_min": report.co_l_min,
        "es_frame": unit * es,
    }


def es_of(lv_ml: np.ndarray, rr_ms: float) -> int:
    """Return the frame nearest to the end of systole of a curve; its smallest frame where it hardly moves."""
    es = end_systole(np.asarray(lv_ml, dtype=float), rr_ms)
    return es.argmin_frame if np.isnan(es.frame) else round(es.frame) % len(lv_ml)
