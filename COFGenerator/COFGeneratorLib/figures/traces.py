"""The two curves under every picture of a cine: the ECG and the volumes, on one time axis from R to R."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from COFGeneratorLib.cine import Cine
from COFGeneratorLib.figures.palette import ECG, FAINT, LV, MUTED, PANEL, RV
from COFGeneratorLib.function.curve import interpolate_periodic
from COFGeneratorLib.function.report import FunctionReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AROUND = 0.16
"""Share of the cycle shown before R and after the next R, so that both QRS complexes are seen whole."""

RHYTHM_LEADS = ("II", "V5", "I", "V2")
"""Leads for one-lead display, best first; a later one is shown only where all earlier ones are too flat."""
FLAT_MV = 0.5


def ecg_trace(cine: Cine) -> tuple[str, np.ndarray, np.ndarray]:
    """Return (lead, ms from R, mV) around the cycle that drove the cine, drift removed for display."""
    from scipy.signal import butter, sosfiltfilt

    record, cycle = cine.ecg
    time_ms = (np.arange(record.signal_mv.shape[1]) / record.fs_hz - cycle.r_peaks_s[cycle.representative]) * 1000.0
    shown = (time_ms >= -AROUND * cine.rr_ms) & (time_ms <= (1 + AROUND) * cine.rr_ms)
    sections = butter(2, (0.5, min(40.0, 0.45 * record.fs_hz)), btype="bandpass", fs=record.fs_hz, output="sos")
    traces = {}
    for lead in RHYTHM_LEADS:
        traces[lead] = sosfiltfilt(sections, record.lead(lead).astype(np.float64))[shown]
        if np.ptp(traces[lead]) >= FLAT_MV:
            break
    else:
        lead = max(traces, key=lambda name: np.ptp(traces[name]))
    return lead, time_ms[shown], traces[lead] - np.median(traces[lead])


def draw_ecg(axes: "Axes", cine: Cine) -> None:
    """Draw the rhythm lead over ECG-paper lines (200 ms, 0.5 mV)."""
    lead, time_ms, lead_mv = ecg_trace(cine)
    low, high = min(lead_mv.min(), -0.3), max(lead_mv.max(), 0.8)
    frame_cycle(axes, cine)
    for at in np.arange(np.floor(low / 0.5), np.ceil(high / 0.5) + 1) * 0.5:
        axes.axhline(at, color=FAINT, linewidth=0.6, alpha=0.7, zorder=0)
    axes.plot(time_ms, lead_mv, color=ECG, linewidth=1.5, solid_joinstyle="round")
    axes.set_ylim(low - 0.12, high + 0.12)
    axes.set_yticks([0.0, 1.0] if high > 0.9 else [0.0])
    axes.set_ylabel(f"{lead}, mV", color=MUTED, fontsize=9)
    axes.tick_params(labelbottom=False)


def draw_volumes(axes: "Axes", cine: Cine, report: FunctionReport, draws: Sequence[FunctionReport] = ()) -> None:
    """Draw LV and RV volume over the cycle as a report has them, further draws faintly, ED and ES marked."""
    dense_ms = np.linspace(-AROUND, 1 + AROUND, 500) * cine.rr_ms
    inside = (dense_ms >= 0) & (dense_ms <= cine.rr_ms)
    frame_cycle(axes, cine)
    top = 0.0
    for draw in draws:
        axes.plot(dense_ms[inside], _curve(draw, "lv_volume_ml", dense_ms[inside]), color=LV, linewidth=0.8, alpha=0.35)
    for name, colour, label in (("rv_volume_ml", RV, "RV"), ("lv_volume_ml", LV, "LV")):
        if not np.isfinite(getattr(report, name)).all():
            continue
        curve = _curve(report, name, dense_ms)
        axes.plot(dense_ms, curve, color=colour, linewidth=1.0, alpha=0.35)
        axes.plot(dense_ms[inside], curve[inside], color=colour, linewidth=2.2, label=label, solid_capstyle="round")
        top = max(top, curve.max())
    marks = [(report.time_ms[report.ed_frame], "ED")]
    if np.isfinite(report.es_time_ms):
        marks.append((report.es_time_ms, "ES"))
    for at, name in marks:
        volume = float(_curve(report, "lv_volume_ml", np.array([at]))[0])
        axes.plot([at], [volume], "o", color=LV, markersize=6, markeredgecolor=PANEL, markeredgewidth=1.4)
        axes.annotate(
            name, (at, volume), xytext=(0, -7), textcoords="offset points", color=LV, fontsize=9, ha="center", va="top",
            fontweight="bold",
        )  # fmt: skip
    axes.set_ylim(0, 1.2 * top)
    axes.set_ylabel("volume, mL", color=MUTED, fontsize=9)
    axes.set_xlabel("time from R, ms", color=MUTED, fontsize=9)
    axes.legend(loc="upper right", frameon=False, fontsize=9, labelcolor="linecolor", ncols=2, handlelength=1.2)


def _curve(report: FunctionReport, name: str, at_ms: np.ndarray) -> np.ndarray:
    return interpolate_periodic(getattr(report, name), report.time_ms, report.rr_ms, at_ms)


def frame_cycle(axes: "Axes", cine: Cine) -> None:
    """Give both axes the same ground: panel colour, one cycle bright, no box."""
    axes.set_facecolor(PANEL)
    axes.set_xlim(-AROUND * cine.rr_ms, (1 + AROUND) * cine.rr_ms)
    axes.axvspan(0, cine.rr_ms, color="white", alpha=0.025, linewidth=0)
    for at in (0.0, cine.rr_ms):
        axes.axvline(at, color=MUTED, linewidth=0.8, linestyle=(0, (2, 3)))
    for at in np.arange(0, cine.rr_ms, 200.0)[1:]:
        axes.axvline(at, color=FAINT, linewidth=0.6, zorder=0)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(colors=MUTED, labelsize=8.5, length=0)
