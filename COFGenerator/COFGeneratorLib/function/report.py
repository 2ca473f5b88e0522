"""The read-outs of one cine, under the names that the outside relies on, and as files."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from COFGeneratorLib.errors import FunctionError
from COFGeneratorLib.function.curve import check_curve, end_systole, smooth_periodic
from COFGeneratorLib.function.regional import SEGMENT_NAMES, RegionalReport
from COFGeneratorLib.function.strain import StrainReport
from COFGeneratorLib.function.volumes import WALL_GROWTH, VolumeCurves, volume_curves

MIN_EDV_ML = 10.0
"""An end-diastolic volume below this makes EF a quotient of noise."""

ED_TOLERANCE = 0.01
"""Share of SV: volume hardly changes between the end of filling and ejection, and noise must not choose the frame."""

INTERVAL_PERCENT = 90.0
"""Level of the interval reported over several draws."""

NOT_SUMMARISED = ("labels_from", "time_ms", "hr_bpm", "rr_ms", "ef_interval_percent", "ef_statement", "ef_notes")
"""What draws of one patient have in common."""

UNUSUAL_GROWTH = 0.10
"""Of the wall, beyond what its thickening explains, from which a reader is told."""

CSV_COLUMNS = ("frame", "time_ms", "lv_volume_ml", "rv_volume_ml", "myocardial_mass_g")


@dataclass(frozen=True, repr=False)
class FunctionReport:
    """Cardiac function over one R–R. The field names are those of ``function.json``.

    Attributes:
        hr_bpm: Heart rate, beats per minute.
        rr_ms: Cycle length, ms.
        time_ms: (T,) ms from R.
        lv_volume_ml, rv_volume_ml: (T,) mL, as measured in each frame; the RV is NaN where it was not labelled.
        myocardial_mass_g: (T,) g; how little it varies says how well the motion keeps tissue.
        edv_ml, esv_ml: Largest and smallest LV volume of the smoothed curve, mL.
        sv_ml: Stroke volume, mL.
        ef_percent: LV ejection fraction, percent.
        co_l_min: Cardiac output, L/min.
        ed_frame: Index of end-diastole: of the frames within ``ED_TOLERANCE`` of the largest volume, the nearest to R.
        es_frame: Index of the frame nearest to ``es_time_ms``.
        es_time_ms: Centre of the end-systolic plateau, ms from R; NaN if the ventricle stands still.
        es_argmin_frame: Index of the smallest volume as such, as the papers define ES.
        folded_fraction: Share of voxels whose motion folds (Jacobian ≤ 0), 0…1.
        labels_from: ``"user"``, ``"segmenter"`` or ``"user+segmenter"``.
        rv_edv_ml, rv_esv_ml, rv_ef_percent: The same for the RV; NaN where it was not labelled.
        ef_interval_percent: (low, high) of EF at 90 %, where the model states one; None where it does not.
        ef_statement: ``"stated"``, ``"widened"`` or ``"withheld"``: how far the ECG is believed; None without one.
        ef_notes: Why, where ECG and anatomy disagree, and what the interval was calibrated on, in words.
    """

    hr_bpm: float
    rr_ms: float
    time_ms: np.ndarray
    lv_volume_ml: np.ndarray
    rv_volume_ml: np.ndarray
    myocardial_mass_g: np.ndarray
    edv_ml: float
    esv_ml: float
    sv_ml: float
    ef_percent: float
    co_l_min: float
    ed_frame: int
    es_frame: int
    es_time_ms: float
    folded_fraction: float
    labels_from: str
    rv_edv_ml: float
    rv_esv_ml: float
    rv_ef_percent: float
    es_argmin_frame: int
    ef_interval_percent: tuple[float, float] | None = None
    ef_statement: str | None = None
    ef_notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Return one line: what is asked for first."""
        volumes = f"EDV {self.edv_ml:.0f} mL, ESV {self.esv_ml:.0f} mL"
        return (
            f"FunctionReport(EF {self.ef_percent:.0f} %, {volumes}, {self.hr_bpm:.0f} bpm, {len(self.time_ms)} frames)"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain Python values for JSON; what is not known is None."""
        return {item.name: plain(getattr(self, item.name)) for item in fields(self)}


def measure_function(
    labels: np.ndarray,
    ijk_to_ras: np.ndarray,
    time_ms: np.ndarray,
    rr_ms: float,
    hr_bpm: float,
    *,
    labels_from: str,
    folded_fraction: float,
) -> FunctionReport:
    """Measure cardiac function from the labels of every frame.

    Args:
        labels: (T, D, H, W) integers, or (T, 3, D, H, W) fractions (``volumes.volume_curves``).
        ijk_to_ras: (4, 4) geometry, mm.
        time_ms: (T,) ms from R.
        rr_ms: Cycle length, ms.
        hr_bpm: Heart rate, beats per minute.
        labels_from: ``"user"``, ``"segmenter"`` or ``"user+segmenter"``.
        folded_fraction: Share of folded voxels, 0…1.

    Raises:
        FunctionError: If the labels or the curve cannot be measured.
    """
    return report_from_curves(
        volume_curves(labels, ijk_to_ras),
        time_ms,
        rr_ms,
        hr_bpm,
        labels_from=labels_from,
        folded_fraction=folded_fraction,
    )


def report_from_curves(
    curves: VolumeCurves, time_ms: np.ndarray, rr_ms: float, hr_bpm: float, *, labels_from: str, folded_fraction: float
) -> FunctionReport:
    """Derive the report from volume curves (for callers that add up volumes frame by frame and keep no labels).

    Raises:
        FunctionError: If EDV is below ``MIN_EDV_ML`` or the curve cannot be measured.
    """
    time = np.asarray(time_ms, dtype=np.float64)
    lv = check_curve(curves.lv_ml, rr_ms)
    if time.shape != lv.shape:
        raise FunctionError(f"Every frame needs its time; found {time.size} times for {lv.size} volumes.")
    smoothed = smooth_periodic(lv)
    edv, esv = float(smoothed.max()), float(max(smoothed.min(), 0.0))
    if not edv >= MIN_EDV_ML:
        raise FunctionError(
            f"The end-diastolic LV volume must be at least {MIN_EDV_ML:.0f} mL; found {edv:.1f} mL. "
            "Check that the LV cavity is labelled and that spacing is in mm."
        )
    es = end_systole(lv, rr_ms, time)
    has_rv = bool(np.max(curves.rv_ml) > 0)
    rv_smoothed = smooth_periodic(curves.rv_ml) if has_rv else np.array([np.nan])
    rv_edv, rv_esv = float(rv_smoothed.max()), float(rv_smoothed.min())
    return FunctionReport(
        hr_bpm=float(hr_bpm),
        rr_ms=float(rr_ms),
        time_ms=time,
        lv_volume_ml=lv,
        rv_volume_ml=np.asarray(curves.rv_ml, dtype=np.float64) if has_rv else np.full(lv.shape, np.nan),
        myocardial_mass_g=curves.myocardial_mass_g,
        edv_ml=edv,
        esv_ml=esv,
        sv_ml=edv - esv,
        ef_percent=100.0 * (edv - esv) / edv,
        co_l_min=(edv - esv) * hr_bpm / 1000.0,
        ed_frame=_end_diastole(smoothed, time, rr_ms),
        es_frame=es.nearest_frame(lv.size),
        es_time_ms=es.time_ms,
        folded_fraction=float(folded_fraction),
        labels_from=labels_from,
        rv_edv_ml=rv_edv,
        rv_esv_ml=rv_esv,
        rv_ef_percent=100.0 * (rv_edv - rv_esv) / rv_edv,
        es_argmin_frame=es.argmin_frame,
    )


def _end_diastole(volume_ml: np.ndarray, time_ms: np.ndarray, rr_ms: float) -> int:
    """Return the index of the frame nearest to R (either way round the cycle) among the fullest."""
    fullest = np.flatnonzero(volume_ml >= volume_ml.max() - ED_TOLERANCE * np.ptp(volume_ml))
    from_r = time_ms[fullest] % rr_ms
    return int(fullest[np.minimum(from_r, rr_ms - from_r).argmin()])


def summarise(reports: Sequence[FunctionReport]) -> dict[str, Any]:
    """Return mean, SD and interval of every measured number over several draws for one patient.

    The interval is the one in which a further draw lies with ``INTERVAL_PERCENT`` probability (Student's t on few
    draws is honest about how little few draws say).

    Raises:
        FunctionError: If there are fewer than two draws, or draws of different patients' timing.
    """
    from scipy.stats import t as student

    if len(reports) < 2:
        raise FunctionError(f"An interval needs at least 2 draws; found {len(reports)}. Ask for more samples.")
    if any(not np.array_equal(report.time_ms, reports[0].time_ms) for report in reports):
        raise FunctionError("Draws can be summarised only over the same frames; found different times.")
    count = len(reports)
    reach = float(student.ppf(0.5 + INTERVAL_PERCENT / 200.0, count - 1) * np.sqrt(1.0 + 1.0 / count))
    summary: dict[str, Any] = {"count": count, "interval_percent": INTERVAL_PERCENT}
    for item in fields(FunctionReport):
        if item.name in NOT_SUMMARISED:
            continue
        values = np.stack([np.asarray(getattr(report, item.name), dtype=np.float64) for report in reports])
        mean, sd = values.mean(axis=0), values.std(axis=0, ddof=1)
        summary[item.name] = {
            "mean": plain(mean),
            "sd": plain(sd),
            "interval": [plain(mean - reach * sd), plain(mean + reach * sd)],
        }
    return summary


def findings(report: FunctionReport) -> tuple[str, ...]:
    """Return in words what in a report a careful reader would question."""
    said = []
    mass = report.myocardial_mass_g
    if not mass[report.ed_frame] > 0:
        said.append("No myocardium is labelled: mass and wall thickening are not known.")
    else:
        grown = mass / mass[report.ed_frame] - 1.0
        ejected = 1.0 - report.lv_volume_ml / report.lv_volume_ml[report.ed_frame]
        ends = np.sort(np.outer((0.0, WALL_GROWTH[1]), ejected), axis=0)  # a wall that keeps its volume is as well
        if np.maximum(ends[0] - grown, grown - ends[1]).max() > UNUSUAL_GROWTH:
            spread = 100.0 * float(np.abs(grown).max())
            said.append(f"Myocardial mass changes by up to {spread:.0f} % over the cycle, unlike a wall that thickens.")
    if np.isnan(report.rv_edv_ml):
        said.append("No right ventricle is labelled: RV volumes are not known.")
    if not 30.0 <= report.edv_ml <= 500.0:
        said.append(f"LV end-diastolic volume of {report.edv_ml:.0f} mL is unusual: check spacing and labels.")
    if np.isnan(report.es_time_ms):
        said.append("The left ventricle stands still: no end-systole.")
    if report.folded_fraction > 0.001:
        said.append(f"Motion folds in {100.0 * report.folded_fraction:.2f} % of voxels (0.1 % is usual).")
    return tuple(said)


def plain(value: Any, digits: int = 6) -> Any:
    """Return numbers and arrays as JSON-able Python, rounded; NaN becomes None."""
    if value is None or isinstance(value, str):
        return value
    array = np.asarray(value)
    if array.dtype.kind == "U":
        return array.tolist()
    if array.ndim:
        return [plain(item, digits) for item in array]
    if np.issubdtype(array.dtype, np.integer):
        return int(array)
    return round(float(array), digits) if np.isfinite(array) else None


def write_function(
    report: FunctionReport,
    directory: str | Path,
    *,
    samples: Sequence[FunctionReport] = (),
    regional: RegionalReport | None = None,
    strain: StrainReport | None = None,
) -> tuple[Path, Path]:
    """Write ``function.json`` (everything) and ``function.csv`` (one row a frame) into a folder; returns their paths.

    ``samples`` are random draws for the same patient, of which the JSON has mean, SD and interval of every number;
    ``regional`` the AHA-17 segments, under ``segments``; ``strain`` that of the wall, under ``strain``, and of its
    segments beside the rest of them.
    """
    values = report.as_dict()
    content = dict(values)
    if samples:
        content["samples"] = summarise(samples)
    if regional is not None:
        content["segments"] = regional.as_dict()
    if strain is not None:
        content["strain"] = strain.as_dict()
        rows = content.get("segments") or [{"segment": n, "name": name} for n, name in enumerate(SEGMENT_NAMES, 1)]
        content["segments"] = [row | more for row, more in zip(rows, strain.segments(), strict=True)]
    json_path, csv_path = Path(directory) / "function.json", Path(directory) / "function.csv"
    json_path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    with csv_path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(CSV_COLUMNS)
        for frame, row in enumerate(zip(*(values[name] for name in CSV_COLUMNS[1:]), strict=True)):
            writer.writerow([frame, *("" if value is None else value for value in row)])
    return json_path, csv_path
