"""The 12-lead sheet of an ECG the way it is printed: 25 mm/s, 10 mm/mV, three rows of four leads and a rhythm strip."""

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
ROW_MM, TOP_MM, SIDE_MM = 30.0, 22.0, 10.0
MM_PER_S, MM_PER_MV = 25.0, 10.0
CLIP_MV = 4.0
PULSE_MV = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (4.0, 1.0), (4.0, 0.0), (5.0, 0.0))
"""The 1-mV calibration pulse: (mm, mV)."""


def write_ecg_sheet(record: EcgRecord, cycle: EcgCycle, path: str | Path, title: str = "12-lead ECG") -> Path:
    """Draw a record with its measurements, the cycle's interval on the rhythm strip; returns the PNG's path.

    Nothing that names a person belongs into ``title``.
    """
    length_s = COLUMN_S * COLUMNS
    width_mm = length_s * MM_PER_S + 2 * SIDE_MM
    height_mm = TOP_MM + (ROWS + 1) * ROW_MM + 6.0
    sheet = Sheet(round(width_mm * PX_PER_MM), round(height_mm * PX_PER_MM), DPI)
    axes = sheet.axes(0, 0, sheet.width_px, sheet.height_px)
    axes.set_facecolor(PAPER)
    axes.set_xlim(0, width_mm)
    axes.set_ylim(height_mm, 0)
    axes.set_xticks([])
    axes.set_yticks([])
    _paper(axes, width_mm, height_mm)

    start_s = _start_s(record, cycle, length_s)
    signal, time_s = _conditioned(record), np.arange(record.signal_mv.shape[1]) / record.fs_hz - start_s
    for index, lead in enumerate(LEADS):
        column, row = divmod(index, ROWS)
        base = TOP_MM + (row + 0.55) * ROW_MM
        left = SIDE_MM + column * COLUMN_S * MM_PER_S
        # Below 10 s the columns overlap in time, so that every lead is there.
        begin_s = column * float(np.clip((record.duration_s - COLUMN_S) / (COLUMNS - 1), 0.0, COLUMN_S))
        part = (time_s >= begin_s) & (time_s < begin_s + COLUMN_S)
        _trace(axes, time_s[part] - begin_s, signal[index][part], left, base)
        _lead_name(axes, lead, left + 1.2, base - 12.0)
        if column == 0:
            _pulse(axes, base)
    base = TOP_MM + (ROWS + 0.55) * ROW_MM
    part = (time_s >= 0) & (time_s < length_s)
    _cycles(axes, cycle, base, start_s, length_s)
    _waves(axes, cycle, base, start_s, length_s)
    _trace(axes, time_s[part], signal[LEADS.index("II")][part], SIDE_MM, base)
    _lead_name(axes, "II", SIDE_MM + 1.2, base - 12.0)
    _pulse(axes, base)
    _words(sheet, record, cycle, title)
    sheet.save(Path(path), "Research use only")
    return Path(path)


def _conditioned(record: EcgRecord) -> np.ndarray:
    """Return (12, L) mV with the drift taken out, as electrocardiographs print it (0.5 Hz, zero phase)."""
    from scipy.signal import butter, sosfiltfilt

    sections = butter(2, 0.5, btype="highpass", fs=record.fs_hz, output="sos")
    return sosfiltfilt(sections, record.signal_mv.astype(np.float64), axis=1)


def _paper(axes: "Axes", width_mm: float, height_mm: float) -> None:
    for step, colour, line in ((1.0, FINE, 0.35), (5.0, COARSE, 0.6)):
        axes.vlines(np.arange(0, width_mm, step), TOP_MM - 4, height_mm, color=colour, linewidth=line, zorder=0)
        axes.hlines(np.arange(TOP_MM - 4, height_mm, step), 0, width_mm, color=colour, linewidth=line, zorder=0)


def _trace(axes: "Axes", time_s: np.ndarray, lead_mv: np.ndarray, left_mm: float, base_mm: float) -> None:
    x, y = left_mm + time_s * MM_PER_S, base_mm - np.clip(lead_mv, -CLIP_MV, CLIP_MV) * MM_PER_MV
    axes.plot(x, y, color=INK, linewidth=0.95, solid_joinstyle="round")


def _lead_name(axes: "Axes", name: str, x: float, y: float) -> None:
    axes.text(x, y, name, fontsize=9, color=INK, fontweight="bold", va="center")


def _pulse(axes: "Axes", base_mm: float) -> None:
    x, mv = np.array(PULSE_MV).T
    axes.plot(SIDE_MM - 6.5 + x, base_mm - mv * MM_PER_MV, color=SOFT, linewidth=0.9)


def _start_s(record: EcgRecord, cycle: EcgCycle, length_s: float) -> float:
    """Return where in a long record the sheet begins: so that the interval that drives the cine is on it."""
    end_s = float(cycle.r_peaks_s[cycle.representative]) + cycle.rr_ms / 1000.0 + 0.5
    return float(np.clip(end_s - length_s, 0.0, max(0.0, record.duration_s - length_s)))


def _cycles(axes: "Axes", cycle: EcgCycle, base_mm: float, start_s: float, length_s: float) -> None:
    """Mark every R wave (rejected beats hollow) and the interval that drives the cine."""
    peaks_s = np.asarray(cycle.r_peaks_s) - start_s
    first = float(peaks_s[cycle.representative])
    edges = np.clip([first, first + cycle.rr_ms / 1000.0], 0.0, length_s) * MM_PER_S + SIDE_MM
    axes.fill_between(edges, base_mm - 13.0, base_mm + 11.0, color=CHOSEN, alpha=0.13, linewidth=0)
    for at_s, accepted in zip(peaks_s, cycle.accepted, strict=True):
        if 0 <= at_s < length_s:
            axes.plot(
                SIDE_MM + at_s * MM_PER_S, base_mm + 12.5, marker="^", markersize=4.5, markeredgewidth=0.9,
                color=CHOSEN if accepted else REJECTED, markerfacecolor=CHOSEN if accepted else "none",
            )  # fmt: skip


def _waves(axes: "Axes", cycle: EcgCycle, base_mm: float, start_s: float, length_s: float) -> None:
    """Mark where P and QRS begin, QRS and T end, at the beat that opens the interval driving the cine."""
    first = float(cycle.r_peaks_s[cycle.representative]) - start_s
    rows = (("P", cycle.p_onset_ms), ("Q", cycle.qrs_onset_ms), ("J", cycle.qrs_offset_ms), ("T", cycle.t_end_ms))
    for name, offset_ms in rows:
        at_s = first + offset_ms / 1000.0
        if not np.isfinite(at_s) or not 0 <= at_s < length_s:
            continue
        x = SIDE_MM + at_s * MM_PER_S
        axes.plot([x, x], [base_mm - 11.0, base_mm + 9.0], color=CHOSEN, linewidth=0.8, linestyle=(0, (4, 2)))
        # Q and J stand only a few mm apart: their letters lean away from each other.
        side = {"Q": "right", "J": "left"}.get(name, "center")
        axes.text(x, base_mm - 12.2, name, fontsize=6.5, color=CHOSEN, ha=side, va="center")


def _words(sheet: Sheet, record: EcgRecord, cycle: EcgCycle, title: str) -> None:
    """Write the measurements over the paper."""

    def ms(value: float) -> str:
        return "–" if not np.isfinite(value) else f"{value:.0f} ms"

    x, first, second = SIDE_MM * PX_PER_MM, 30, 62
    after = sheet.write(x, first, title, fontsize=14, color=INK, fontweight="bold")
    if cycle.rhythm:
        after = sheet.write(after + 24, first, cycle.rhythm, fontsize=10.5, color=INK)
    source = ("25 mm/s", "10 mm/mV", record.source_format, f"{record.fs_hz:.0f} Hz", f"{record.duration_s:.1f} s")
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
