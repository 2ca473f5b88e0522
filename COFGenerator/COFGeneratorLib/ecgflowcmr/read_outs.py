"""What one plane honestly tells: areas over time, fractional area change, end-systole. No volumes, no EF."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from COFGeneratorLib.errors import FunctionError
from COFGeneratorLib.function.curve import end_systole, smooth_periodic
from COFGeneratorLib.function.report import plain

NOTICE = (
    "The anatomy is NOT the patient's: it is drawn from the training cohort. Areas are those of a synthetic heart; "
    "only timing and the degree of contraction follow the ECG, as far as the model's held-out figures say."
)
SMALLEST_AREA_MM2 = 50.0
DIGITS = 4


@dataclass(frozen=True)
class PlaneReport:
    """Read-outs of one synthetic plane; field names are those of ``function.json`` of this engine.

    Attributes:
        plane: Which plane.
        hr_bpm, rr_ms: Of the ECG.
        time_ms: (T,) ms from R.
        lv_area_mm2, myocardium_area_mm2, rv_area_mm2: (T,) mm².
        ed_area_mm2, es_area_mm2: Largest and smallest LV area of the smoothed curve.
        fac_percent: Fractional area change of the LV, percent.
        es_time_ms: Centre of the end-systolic plateau, ms from R; NaN where nothing moves.
        es_frame: The frame nearest to it.
    """

    plane: str
    hr_bpm: float
    rr_ms: float
    time_ms: np.ndarray
    lv_area_mm2: np.ndarray
    myocardium_area_mm2: np.ndarray
    rv_area_mm2: np.ndarray
    ed_area_mm2: float
    es_area_mm2: float
    fac_percent: float
    es_time_ms: float
    es_frame: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, with the notice; what is not known is None."""
        values = {item.name: plain(getattr(self, item.name), DIGITS) for item in fields(self)}
        return {"notice": NOTICE, "labels_from": "plane segmenter", **values}


def measure_plane(areas_px: np.ndarray, pixel_mm: float, rr_ms: float, plane: str) -> PlaneReport:
    """Measure one cine from its (T, 3) pixels of LV cavity, myocardium and RV cavity.

    Raises:
        FunctionError: If no LV cavity is to be seen.
    """
    areas = np.asarray(areas_px, dtype=np.float64) * pixel_mm**2
    if not areas[:, 0].max() >= SMALLEST_AREA_MM2:
        raise FunctionError(
            f"An LV cavity of at least {SMALLEST_AREA_MM2:.0f} mm² must be seen in the generated plane; found "
            f"{areas[:, 0].max():.0f} mm². Draw again with another --seed, or use a better model."
        )
    time_ms = np.arange(len(areas)) / len(areas) * rr_ms
    smoothed = smooth_periodic(areas[:, 0])
    largest, smallest = float(smoothed.max()), float(max(smoothed.min(), 0.0))
    es = end_systole(areas[:, 0], rr_ms, time_ms)
    return PlaneReport(
        plane=plane,
        hr_bpm=60_000.0 / rr_ms,
        rr_ms=float(rr_ms),
        time_ms=time_ms,
        lv_area_mm2=areas[:, 0],
        myocardium_area_mm2=areas[:, 1],
        rv_area_mm2=areas[:, 2],
        ed_area_mm2=largest,
        es_area_mm2=smallest,
        fac_percent=100.0 * (largest - smallest) / largest,
        es_time_ms=es.time_ms,
        es_frame=es.nearest_frame(len(areas)),
    )


def summarise_planes(reports: Sequence[PlaneReport]) -> dict[str, Any]:
    """Return mean, SD and range over draws of what varies between them."""
    names = ("ed_area_mm2", "es_area_mm2", "fac_percent", "es_time_ms")
    out: dict[str, Any] = {"count": len(reports)}
    for name in names:
        values = np.array([getattr(report, name) for report in reports], dtype=float)
        values = values[np.isfinite(values)]
        if len(values):
            sd = float(values.std(ddof=1)) if len(values) > 1 else 0.0
            out[name] = {"mean": float(values.mean()), "sd": sd, "least": values.min(), "most": values.max()}
    return out
