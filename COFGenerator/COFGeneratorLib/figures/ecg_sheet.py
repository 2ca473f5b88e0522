"""The 12-lead sheet of an ECG the way it is printed: 25 mm/s, 10 mm/mV, three rows of four leads and a rhythm strip.

Rows lie apart by what their leads need, so that no trace runs into another or into the header; where that is too
much for a sheet, the gain drops to 5 or 2.5 mm/mV and the header says so.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from COFGeneratorLib.ecg.cycle import EcgCycle
from COFGeneratorLib.ecg.record import LEADS, EcgRecord
from COFGeneratorLib.figures.sheet import Sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAPER, FINE, COARSE, INK, SOFT = "#fffaf8", "#f8e2dd", "#efbdb3", "#1c2230", "#6b7280"
CHOSEN, REJECTED = "#2a7f62", "#c2410c"
DPI = 130
PX_PER_MM = 5.4
COLUMN_S, ROWS, COLUMNS = 2.5, 3, 4
TOP_MM, SIDE_MM, BOTTOM_MM = 18.0, 10.0, 6.0
ABOVE_MM, BELOW_MM, APART_MM = 14.0, 12.0, 3.0
"""Least room of a row above and below its level; what lies between a trace and the next row."""
NAME_MM, NAME_HEIGHT_MM, CLEAR_MM = 9.0, 12.0, 2.5
"""Length of a lead's name with its margin, its usual height over the row's level, and its distance to a trace."""
MM_PER_S = 25.0
GAINS_MM_PER_MV = (10.0, 5.0, 2.5)
TALLEST_MM = 190.0
"""Height of the four rows up to which a gain is kept; at the lowest gain traces are cut to fit."""
PULSE_MV = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (4.0, 1.0), (4.0, 0.0), (5.0, 0.0))
"""The 1-mV calibration pulse: (mm, mV)."""


@dataclass(frozen=True)
class Layout:
    """Where the traces of a sheet lie.

    Attributes:
        gain_mm_per_mv: Of all traces.
        base_mm: Level of each of the four rows, from the top of the sheet.
        above_mm, below_mm: Room of each row above and below its level.
        height_mm: Of the sheet.
        cut: Whether traces are cut to their row.
    """

    gain_mm_per_mv: float
    base_mm: tuple[float, ...]
    above_mm: tuple[float, ...]
    below_mm: tuple[float, ...]
    height_mm: float
    cut: bool


def layout(rows_mv: list[list[np.ndarray]]) -> Layout:
    """Give each row the room that its traces need, at the largest gain that fits.

    Args:
        rows_mv: The traces of each row, mV.
    """
    high = np.array([max((float(part.max()) for part in row if part.size), default=0.0) for row in rows_mv])
    low = np.array([min((float(part.min()) for part in row if part.size), default=0.0) for row in rows_mv])
    for gain in GAINS_MM_PER_MV:
        above = np.maximum(high * gain + APART_MM, ABOVE_MM)
        below = np.maximum(-low * gain + APART_MM, BELOW_MM)
        if (above + below).sum() <= TALLEST_MM:
            break
    room = (above + below).sum()
    if room > TALLEST_MM:
        above, below = above * TALLEST_MM / room, below * TALLEST_MM / room
    base = TOP_MM + np.cumsum(above + below) - below
    height = float(base[-1] + below[-1] + BOTTOM_MM)
    return Layout(gain, tuple(base), tuple(above), tuple(below), height, bool(room > TALLEST_MM))


def write_ecg_sheet(record: EcgRecord, cycle: EcgCycle, path: str | Path, title: str = "12-lead ECG") -> Path:
    """Draw a record with its measurements, the cycle's interval on the rhythm strip; returns the PNG's path.

    Nothing that names a person belongs into ``title``.
    """
    length_s = COLUMN_S * COLUMNS
    width_mm = length_s * MM_PER_S + 2 * SIDE_MM
    start_s = _start_s(record, cycle, length_s)
    rows = _rows(record, start_s, length_s)
    plan = layout([[values for _, _, values in row] for row in rows])
    sheet = Sheet(round(width_mm * PX_PER_MM), round(plan.height_mm * PX_PER_MM), DPI)
    axes = sheet.axes(0, 0, sheet.width_px, sheet.height_px)
    axes.set_facecolor(PAPER)
    axes.set_xlim(0, width_mm)
    axes.set_ylim(plan.height_mm, 0)
    axes.set_xticks([])
    axes.set_yticks([])
    _paper(axes, width_mm, plan.height_mm)
    _cycles(axes, cycle, plan, start_s, length_s)
    _waves(axes, cycle, plan, start_s, length_s)
    for row, traces in enumerate(rows):
        for column, (lead, time_s, values) in enumerate(traces):
            left = SIDE_MM + column * COLUMN_S * MM_PER_S
            _trace(axes, time_s, values, left, plan, row)
            beside = values[time_s * MM_PER_S <= NAME_MM] * plan.gain_mm_per_mv
            _lead_name(axes, lead, left + 1.2, plan.base_mm[row] - name_height_mm(plan.above_mm[row], beside))
        _pulse(axes, plan, row)
    _words(sheet, record, cycle, title, plan)
    sheet.save(Path(path), "Research use only")
    return Path(path)


def _rows(record: EcgRecord, start_s: float, length_s: float) -> list[list[tuple[str, np.ndarray, np.ndarray]]]:
    """Return lead, time (s) and mV of each trace of the four rows, the rhythm strip last."""
    signal, time_s = _conditioned(record), np.arange(record.signal_mv.shape[1]) / record.fs_hz - start_s
    rows: list[list[tuple[str, np.ndarray, np.ndarray]]] = [[] for _ in range(ROWS)]
    for index, lead in enumerate(LEADS):
        column, row = divmod(index, ROWS)
        # Below 10 s the columns overlap in time, so that every lead is there.
        begin_s = column * float(np.clip((record.duration_s - COLUMN_S) / (COLUMNS - 1), 0.0, COLUMN_S))
        part = (time_s >= begin_s) & (time_s < begin_s + COLUMN_S)
        rows[row].append((lead, time_s[part] - begin_s, signal[index][part]))
    part = (time_s >= 0) & (time_s < length_s)
    return [*rows, [("II", time_s[part], signal[LEADS.index("II")][part])]]


def _conditioned(record: EcgRecord) -> np.ndarray:
    """Return (12, L) mV with the drift taken out, as electrocardiographs print it (0.5 Hz, zero phase)."""
    from scipy.signal import butter, sosfiltfilt

    sections = butter(2, 0.5, btype="highpass", fs=record.fs_hz, output="sos")
    return sosfiltfilt(sections, record.signal_mv.astype(np.float64), axis=1)


def _paper(axes: "Axes", width_mm: float, height_mm: float) -> None:
    for step, colour, line in ((1.0, FINE, 0.35), (5.0, COARSE, 0.6)):
        axes.vlines(np.arange(0, width_mm, step), TOP_MM - 4, height_mm, color=colour, linewidth=line, zorder=0)
        axes.hlines(np.arange(TOP_MM - 4, height_mm, step), 0, width_mm, color=colour, linewidth=line, zorder=0)


def _trace(axes: "Axes", time_s: np.ndarray, lead_mv: np.ndarray, left_mm: float, plan: Layout, row: int) -> None:
    rise = np.clip(lead_mv * plan.gain_mm_per_mv, -plan.below_mm[row] + 1.0, plan.above_mm[row] - 1.0)
    axes.plot(
        left_mm + time_s * MM_PER_S, plan.base_mm[row] - rise, color=INK, linewidth=0.95, solid_joinstyle="round",
        gid="trace",
    )  # fmt: skip


def name_height_mm(above_mm: float, beside_mm: np.ndarray) -> float:
    """Return how far above its row's level a lead's name stands: clear of the trace that begins under it.

    Args:
        above_mm: Room of the row.
        beside_mm: Heights of the trace along the name, mm.
    """
    usual = min(above_mm - 2.0, NAME_HEIGHT_MM)
    return max(usual, min(float(beside_mm.max(initial=0.0)) + CLEAR_MM, above_mm))


def _lead_name(axes: "Axes", name: str, x: float, y: float) -> None:
    axes.text(x, y, name, fontsize=9, color=INK, fontweight="bold", va="center")


def _pulse(axes: "Axes", plan: Layout, row: int) -> None:
    x, mv = np.array(PULSE_MV).T
    axes.plot(SIDE_MM - 6.5 + x, plan.base_mm[row] - mv * plan.gain_mm_per_mv, color=SOFT, linewidth=0.9)


def _start_s(record: EcgRecord, cycle: EcgCycle, length_s: float) -> float:
    """Return where in a long record the sheet begins: so that the interval that drives the cine is on it."""
    end_s = float(cycle.r_peaks_s[cycle.representative]) + cycle.rr_ms / 1000.0 + 0.5
    return float(np.clip(end_s - length_s, 0.0, max(0.0, record.duration_s - length_s)))


def _cycles(axes: "Axes", cycle: EcgCycle, plan: Layout, start_s: float, length_s: float) -> None:
    """Mark every R wave (rejected beats hollow) and the interval that drives the cine."""
    base_mm, above_mm, below_mm = plan.base_mm[-1], plan.above_mm[-1], plan.below_mm[-1]
    peaks_s = np.asarray(cycle.r_peaks_s) - start_s
    first = float(peaks_s[cycle.representative])
    edges = np.clip([first, first + cycle.rr_ms / 1000.0], 0.0, length_s) * MM_PER_S + SIDE_MM
    axes.fill_between(edges, base_mm - above_mm + 1.0, base_mm + below_mm - 1.0, color=CHOSEN, alpha=0.13, linewidth=0)
    for at_s, accepted in zip(peaks_s, cycle.accepted, strict=True):
        if 0 <= at_s < length_s:
            axes.plot(
                SIDE_MM + at_s * MM_PER_S, base_mm + below_mm + 1.0, marker="^", markersize=4.5, markeredgewidth=0.9,
                color=CHOSEN if accepted else REJECTED, markerfacecolor=CHOSEN if accepted else "none",
            )  # fmt: skip


def _waves(axes: "Axes", cycle: EcgCycle, plan: Layout, start_s: float, length_s: float) -> None:
    """Mark where P and QRS begin, QRS and T end, at the beat that opens the interval driving the cine."""
    base_mm, top_mm = plan.base_mm[-1], plan.base_mm[-1] - plan.above_mm[-1]
    first = float(cycle.r_peaks_s[cycle.representative]) - start_s
    rows = (("P", cycle.p_onset_ms), ("Q", cycle.qrs_onset_ms), ("J", cycle.qrs_offset_ms), ("T", cycle.t_end_ms))
    for name, offset_ms in rows:
        at_s = first + offset_ms / 1000.0
        if not np.isfinite(at_s) or not 0 <= at_s < length_s:
            continue
        x = SIDE_MM + at_s * MM_PER_S
        axes.plot([x, x], [top_mm + 3.0, base_mm + 9.0], color=CHOSEN, linewidth=0.8, linestyle=(0, (4, 2)))
        # Q and J stand only a few mm apart: their letters lean away from each other.
        side = {"Q": "right", "J": "left"}.get(name, "center")
        axes.text(x, top_mm + 1.8, name, fontsize=6.5, color=CHOSEN, ha=side, va="center")


def _words(sheet: Sheet, record: EcgRecord, cycle: EcgCycle, title: str, plan: Layout) -> None:
    """Write the measurements over the paper."""

    def ms(value: float) -> str:
        return "–" if not np.isfinite(value) else f"{value:.0f} ms"

    x, first, second = SIDE_MM * PX_PER_MM, 30, 62
    after = sheet.write(x, first, title, fontsize=14, color=INK, fontweight="bold")
    if cycle.rhythm:
        after = sheet.write(after + 24, first, cycle.rhythm, fontsize=10.5, color=INK)
    gain = f"{plan.gain_mm_per_mv:g} mm/mV" + (" (cut to the rows)" if plan.cut else "")
    source = (f"{MM_PER_S:g} mm/s", gain, record.source_format, f"{record.fs_hz:.0f} Hz", f"{record.duration_s:.1f} s")
    sheet.write(after + 24, first, "   ·   ".join(source), fontsize=9.5, color=SOFT)
    sheet.write(
        sheet.width_px - x, first, "RESEARCH USE ONLY", fontsize=9.5, color=REJECTED, ha="right", fontweight="bold"
    )
    facts = [
        ("HR", f"{cycle.mean_hr_bpm:.0f} bpm"),
        ("RR", ms(cycle.rr_ms)),
        ("PR", ms(cycle.pr_ms)),
        ("QRSd", ms(cycle.qrsd_ms)),
        ("QT", ms(cycle.qt_ms)),
        ("axis", f"{cycle.axis_deg:.0f}°"),
        ("Sokolow–Lyon", f"{cycle.sokolow_mv:.1f} mV"),
        ("beats", f"{int(np.sum(cycle.accepted))} of {len(cycle.r_peaks_s)}"),
        ("quality", f"{cycle.quality:.2f}"),
    ]
    for name, value in facts:
        x = sheet.write(x, second, name, fontsize=9.5, color=SOFT) + 8
        x = sheet.write(x, second, value, fontsize=10.5, color=INK, fontweight="bold") + 26
