"""The drawings of the page that stand still: ECG and volumes over one R–R, and the bull's-eye, as SVG paths."""

from dataclasses import dataclass

import numpy as np

from COFGeneratorLib.cine import Cine
from COFGeneratorLib.errors import ChainOfFlowError
from COFGeneratorLib.figures.bullseye import RINGS
from COFGeneratorLib.figures.preview import EXCURSION_MM
from COFGeneratorLib.figures.traces import AROUND, ecg_trace
from COFGeneratorLib.function.curve import interpolate_periodic
from COFGeneratorLib.function.regional import SEGMENT_NAMES, measure_regional

WIDTH, LEFT, RIGHT = 480.0, 40.0, 8.0
ECG_TOP, ECG_HEIGHT, VOLUME_TOP, VOLUME_HEIGHT = 16.0, 62.0, 104.0, 112.0


@dataclass(frozen=True)
class Line:
    """One curve: its class in the style sheet, and its SVG path."""

    kind: str
    path: str


@dataclass(frozen=True)
class Curves:
    """Lines, ticks ((place, words)) and marks ((x, y, words)) in a box of ``WIDTH`` × ``height``."""

    lines: list[Line]
    time_ticks: list[tuple[float, str]]
    volume_ticks: list[tuple[float, str]]
    marks: list[tuple[float, float, str]]
    lead: str
    x_of_0: float
    x_of_rr: float
    height: float


@dataclass(frozen=True)
class Sector:
    """One segment of the bull's-eye."""

    path: str
    colour: str
    dark: bool
    x: float
    y: float
    value: str
    title: str


def curves(cine: Cine) -> Curves:
    """Return ECG (where one drove the cine) and volumes (where they were measured)."""
    rr_ms = cine.rr_ms

    def x_of(time_ms: np.ndarray | float) -> np.ndarray:
        share = (np.asarray(time_ms) / rr_ms + AROUND) / (1 + 2 * AROUND)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    lines, marks, ticks, lead = [], [], [], ""
    if cine.record is not None:
        lead, time_ms, lead_mv = ecg_trace(cine)
        low, high = min(float(lead_mv.min()), -0.3), max(float(lead_mv.max()), 0.8)
        lines.append(Line("ecg", _path(x_of(time_ms), ECG_TOP + (high - lead_mv) / (high - low) * ECG_HEIGHT)))
    report = cine.function
    if report is not None:
        known = [(name, values) for name, values in (("rv", report.rv_volume_ml), ("lv", report.lv_volume_ml))
                 if np.isfinite(values).all()]  # fmt: skip
        top = 1.12 * max(float(values.max()) for _, values in known)
        dense_ms = np.linspace(-AROUND, 1 + AROUND, 240) * rr_ms

        def y_of(volume_ml: np.ndarray | float) -> np.ndarray:
            return VOLUME_TOP + (1 - np.asarray(volume_ml) / top) * VOLUME_HEIGHT

        for name, values in known:
            volume = interpolate_periodic(values, report.time_ms, rr_ms, dense_ms)
            lines.append(Line(name, _path(x_of(dense_ms), y_of(volume))))
        step = next(step for step in (20, 25, 50, 100, 200, 500, 1000) if top / step <= 4.5)
        ticks = [(float(y_of(at)), f"{at}") for at in range(0, int(top) + 1, step)]
        places = [(float(report.time_ms[report.ed_frame]), "ED"), (report.es_time_ms, "ES")]
        for at, words in places:
            if np.isfinite(at):
                volume = interpolate_periodic(report.lv_volume_ml, report.time_ms, rr_ms, np.array([at]))
                marks.append((float(x_of(at)), float(y_of(volume)[0]), words))
    time_ticks = [(float(x_of(at)), f"{at:.0f}") for at in np.arange(0, rr_ms * (1 + AROUND), 200.0)]
    height = VOLUME_TOP + VOLUME_HEIGHT + 18 if report is not None else ECG_TOP + ECG_HEIGHT + 18
    return Curves(lines, time_ticks, ticks, marks, lead, float(x_of(0.0)), float(x_of(rr_ms)), height)


def bullseye(cine: Cine) -> list[Sector]:
    """Return the 17 segments' inward motion from end-diastole to end-systole; empty where there is no wall."""
    if cine.function is None or cine.labels is None:
        return []
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    ed, es = cine.labels[cine.function.ed_frame], cine.labels[cine.function.es_frame]
    try:
        excursion_mm = measure_regional(ed, es, cine.anchor.ijk_to_ras).excursion_mm
    except ChainOfFlowError:  # no labelled myocardium
        return []
    places = [(start + sector * 360.0 / count, start + (sector + 1) * 360.0 / count, inner, outer)
              for count, inner, outer, start in RINGS for sector in range(count)]  # fmt: skip
    places.append((0.0, 360.0, 0.0, 0.22))
    sectors = []
    for name, value, (first, last, inner, outer) in zip(SEGMENT_NAMES, excursion_mm, places, strict=True):
        known = bool(np.isfinite(value))
        share = float(np.clip(value / EXCURSION_MM, 0.0, 1.0)) if known else 0.0
        middle, radius = np.deg2rad((first + last) / 2), 100 * (inner + outer) / 2 if inner else 0.0
        sectors.append(
            Sector(
                _wedge(first, last, inner, outer),
                to_hex(colormaps["inferno"](0.12 + 0.8 * share)) if known else "",
                share > 0.62,
                radius * np.cos(middle),
                -radius * np.sin(middle),
                f"{value:.0f}" if known else "",
                f"{name}: {value:.1f} mm" if known else f"{name}: not covered",
            )
        )
    return sectors


def _path(x: np.ndarray, y: np.ndarray) -> str:
    """Return a polyline through points."""
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True))


def _wedge(first: float, last: float, inner: float, outer: float) -> str:
    """Return a sector of a ring about 0, 0 with radius 100, angles in degrees counter-clockwise from the right."""
    angles = np.deg2rad(np.linspace(first, last, 24 if inner else 60))
    ring = np.stack([np.cos(angles), -np.sin(angles)], axis=1) * 100
    around = np.concatenate([ring * outer, ring[::-1] * inner]) if inner else ring * outer
    return _path(around[:, 0], around[:, 1]) + "Z"
