"""Every number of an analysed ECG as one dictionary, ready for JSON."""

from typing import Any

import numpy as np

from COFGeneratorLib.ecg.cycle import EcgCycle
from COFGeneratorLib.ecg.record import LEADS, EcgRecord


def summary(record: EcgRecord, cycle: EcgCycle) -> dict[str, Any]:
    """Return the content of ``ecg.json``: what the record is, its measurements, and each of its beats.

    What is not known is None. ``hr_bpm`` is the ventricular rate over the whole record, as devices state it, and
    ``cycle_hr_bpm`` that of the interval taken. ``representative_beat`` tells which that is, why, and how alike the
    others are.
    """
    rr = 1000.0 * np.diff(cycle.r_peaks_s)
    usual = cycle.accepted[:-1] & cycle.accepted[1:]
    nn = rr[usual] if usual.any() else rr
    return {
        "format": record.source_format,
        "sha256": record.source_sha256,
        "leads": list(LEADS),
        "fs_hz": _known(record.fs_hz, 3),
        "duration_s": _known(record.duration_s, 3),
        "hr_bpm": _known(cycle.mean_hr_bpm),
        "cycle_hr_bpm": _known(cycle.hr_bpm),
        "rr_ms": _known(cycle.rr_ms),
        "pr_ms": _known(cycle.pr_ms),
        "qrsd_ms": _known(cycle.qrsd_ms),
        "qt_ms": _known(cycle.qt_ms),
        "qtc_fridericia_ms": _known(cycle.qt_ms / np.cbrt(np.median(nn) / 1000.0)),
        "t_end_ms": _known(cycle.t_end_ms),
        "t_end_source": cycle.t_end_source,
        "fiducials_ms": {
            name: _known(getattr(cycle, f"{name}_ms"))
            for name in ("p_onset", "qrs_onset", "qrs_offset", "t_peak", "t_end")
        },
        "axis_deg": _known(cycle.axis_deg),
        "sokolow_mv": _known(cycle.sokolow_mv, 3),
        "cornell_mv": _known(cycle.cornell_mv, 3),
        "rhythm": cycle.rhythm,
        "p_wave_present": bool(cycle.p_wave_present),
        "rr_cv": _known(cycle.rr_cv, 4),
        "sdnn_ms": _known(nn.std(ddof=1) if len(nn) > 1 else np.nan),
        "rmssd_ms": _known(_rmssd(rr, usual)),
        "rr_intervals_used": len(nn),
        "quality": _known(cycle.quality, 3),
        "beats": _beats(cycle, rr),
        "representative_beat": _representative(cycle, rr, nn),
        "condition": _condition(cycle),
        "stated": {name: _known(value, 3) for name, value in record.stated.items()},
        "doubts": [str(doubt) for doubt in cycle.doubts],
        "warnings": list(dict.fromkeys((*record.warnings, *cycle.warnings))),
    }


def _known(value: float, digits: int = 1) -> float | None:
    return round(float(value), digits) if np.isfinite(value) else None


def _rmssd(rr: np.ndarray, usual: np.ndarray) -> float:
    """Root mean square of successive differences, ms, of intervals that follow each other and are both usual."""
    step = np.diff(rr)[usual[:-1] & usual[1:]] if usual.any() else np.diff(rr)
    return float(np.sqrt(np.mean(step**2))) if len(step) else np.nan


def _condition(cycle: EcgCycle) -> dict[str, Any]:
    """Tell what of the record drives a generated cine."""
    return {
        "waves_from": f"average of {int(np.sum(cycle.accepted))} of {len(cycle.accepted)} beats",
        "rr_from": f"beat {cycle.representative}",
        "why": "One beat's noise would move the heart; the average of the beats that are alike does not, and their "
        "spread is kept as rr_cv. The chosen interval sets the length of the cycle.",
    }


def _beats(cycle: EcgCycle, rr: np.ndarray) -> list[dict[str, Any]]:
    likeness = cycle.likeness if len(cycle.likeness) == len(cycle.r_peaks_s) else np.full(len(cycle.r_peaks_s), np.nan)
    return [
        {
            "index": index,
            "r_ms": _known(1000.0 * at),
            "rr_ms": _known(rr[index]) if index < len(rr) else None,
            "likeness": _known(alike, 3),
            "accepted": bool(good),
            "kind": cycle.kinds[index] if index < len(cycle.kinds) else None,
            "representative": index == cycle.representative,
        }
        for index, (at, good, alike) in enumerate(zip(cycle.r_peaks_s, cycle.accepted, likeness, strict=True))
    ]


def _representative(cycle: EcgCycle, rr: np.ndarray, nn: np.ndarray) -> dict[str, Any]:
    index = cycle.representative
    others = cycle.likeness[cycle.accepted] if len(cycle.likeness) == len(cycle.accepted) else np.empty(0)
    median = float(np.median(nn))
    difference = 100.0 * (cycle.rr_ms - median) / median
    alike = f"; QRS of the accepted beats are {np.median(others):.3f} alike (correlation)" if len(others) else ""
    return {
        "index": index,
        "r_ms": _known(1000.0 * cycle.r_peaks_s[index]),
        "rr_ms": _known(cycle.rr_ms),
        "median_rr_ms": _known(median),
        "median_likeness": _known(np.median(others), 3) if len(others) else None,
        "why": f"Beat {index} of {len(cycle.r_peaks_s)}: its R–R of {cycle.rr_ms:.0f} ms is {difference:+.1f} % from "
        f"the median of the usual beats ({median:.0f} ms){alike}.",
    }
