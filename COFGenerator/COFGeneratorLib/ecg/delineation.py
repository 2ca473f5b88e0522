"""Global delineation of an average beat: P onset, QRS onset and offset, T peak and T end over all leads at once.

As in clinical analysers, one global set of fiducials is measured on the averaged beat: QRS from the spatial velocity
(length of the derivative vector over the leads), P and T from the length of the vector over the leads, above the level
of the quiet segment beside them.
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from COFGeneratorLib.ecg.cycle import BEAT_FS_HZ, BEAT_R_SAMPLE

INDEPENDENT = [0, 1, 6, 7, 8, 9, 10, 11]
"""Rows of I, II, V1–V6; the other four are linear in I and II."""
P_AMPLITUDE_MV = 0.025
"""Smallest root-mean-square bump over the leads that counts as a P wave."""
T_AMPLITUDE_MV = 0.025
T_OVER_NOISE = 2.5
"""T must stand out of what is left at its quietest after it; else its end is taken from heart rate."""
ONSET_SHARE, OFFSET_SHARE = 0.025, 0.035
"""QRS begins and ends where the spatial velocity passes these shares of its peak (more where the segment is noisy)."""
LATE_LOBE = 0.38
"""A second lobe of T this high, relative to the first, belongs to T."""
T_CORNER_REACH_MS = 150
NOISY, FAINT_MV = 4.0, 0.05
"""A lead whose beats scatter so many times more than those of the median lead, and more than this, is not measured."""


@dataclass(frozen=True)
class Fiducials:
    """Fiducials in ms from R; ``p_onset_ms`` and ``p_offset_ms`` are NaN without a P wave.

    ``t_end_source`` is ``"delineated"`` or ``"fallback"``.
    """

    p_onset_ms: float
    p_offset_ms: float
    qrs_onset_ms: float
    qrs_offset_ms: float
    t_peak_ms: float
    t_end_ms: float
    t_end_source: str

    @property
    def p_wave_present(self) -> bool:
        """Whether a P wave was found."""
        return bool(np.isfinite(self.p_onset_ms))


def qt_from_rate_ms(rr_ms: float) -> float:
    """QT expected at a heart rate, ms: mean of men (521 − 2.0 HR) and women (511 − 1.8 HR), Chest 1981;80:613."""
    return float(np.clip(516.0 - 1.9 * 60000.0 / rr_ms, 220.0, 480.0))


def find_qrs(
    beat_mv: np.ndarray, r_sample: int = BEAT_R_SAMPLE, noise_mv: np.ndarray | None = None
) -> tuple[float, float]:
    """Return QRS onset and offset in ms from R of a beat (12, n) at ``BEAT_FS_HZ``; noisy leads as in ``delineate``."""
    time_ms, _, velocity = _fine(beat_mv, r_sample, noise_mv)
    return _qrs(time_ms, velocity)


def delineate(
    beat_mv: np.ndarray, rr_ms: float, r_sample: int = BEAT_R_SAMPLE, noise_mv: np.ndarray | None = None
) -> Fiducials:
    """Delineate an average beat.

    When T end cannot be found reliably (flat T, implausible QT), it is QRS onset + ``qt_from_rate_ms(rr_ms)`` and
    ``t_end_source`` says ``"fallback"``.

    Args:
        beat_mv: (12, n) mV at ``BEAT_FS_HZ``, baseline at the PQ level.
        rr_ms: R–R length, ms; waves are sought within one cycle.
        r_sample: Sample of R.
        noise_mv: (12,) mV, scatter of the single beats; leads far noisier than most are not looked at.

    Returns:
        The fiducials.
    """
    time_ms, fine, velocity = _fine(beat_mv, r_sample, noise_mv)
    onset, offset = _qrs(time_ms, velocity)
    t_peak, t_end = _t_wave(time_ms, fine, onset, offset, rr_ms)
    expected = onset + qt_from_rate_ms(rr_ms)
    source = "delineated"
    if not np.isfinite(t_end) or not 0.70 <= (t_end - onset) / (expected - onset) <= 1.45:
        t_end, source = expected, "fallback"
        if not np.isfinite(t_peak) or not offset < t_peak < t_end:
            t_peak = onset + 0.75 * (t_end - onset)
    p_onset, p_offset = _p_wave(time_ms, fine, onset, t_end - rr_ms)
    return Fiducials(
        p_onset_ms=p_onset,
        p_offset_ms=p_offset,
        qrs_onset_ms=onset,
        qrs_offset_ms=offset,
        t_peak_ms=t_peak,
        t_end_ms=t_end,
        t_end_source=source,
    )


def _fine(beat_mv: np.ndarray, r_sample: int, noise_mv: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a 1-ms grid (m,), the quiet independent leads on it (≤ 8, m) mV, and their spatial velocity (m,) mV/ms."""
    leads = np.asarray(beat_mv, dtype=np.float64)[INDEPENDENT]
    if noise_mv is not None:
        noise = np.asarray(noise_mv)[INDEPENDENT]
        leads = leads[noise <= max(NOISY * float(np.median(noise)), FAINT_MV)]
    step = 1000.0 / BEAT_FS_HZ
    knots = (np.arange(leads.shape[1]) - r_sample) * step
    spline = CubicSpline(knots, leads, axis=1)
    time_ms = np.arange(knots[0], knots[-1] + 0.5)
    fine = spline(time_ms)
    velocity = np.sqrt((spline(time_ms, 1) ** 2).sum(axis=0))
    return time_ms, fine, np.convolve(velocity, np.full(5, 0.2), mode="same")


def _first_quiet(velocity: np.ndarray, threshold: float, need: int) -> int:
    """Return the index where ``velocity`` first stays below ``threshold`` for ``need`` samples, else of its minimum."""
    below = np.convolve(velocity < threshold, np.ones(need), mode="valid") >= need - 0.5
    hits = np.flatnonzero(below)
    return int(hits[0]) if hits.size else int(np.argmin(velocity))


def _qrs(time_ms: np.ndarray, velocity: np.ndarray) -> tuple[float, float]:
    """Walk out from R on both sides until the spatial velocity falls to the level of the quiet segment beside it."""
    peak = velocity[(time_ms > -60) & (time_ms < 60)].max()
    core = np.flatnonzero((velocity > 0.30 * peak) & (time_ms > -110) & (time_ms < 130))
    first, last = core[0], core[-1]

    back = velocity[max(0, first - 110) : first + 1][::-1]
    threshold = max(ONSET_SHARE * peak, min(2.6 * np.percentile(back, 15), 0.15 * peak))
    onset = time_ms[first] - _first_quiet(back, threshold, 10)

    forth = velocity[last : last + 120]
    threshold = max(OFFSET_SHARE * peak, min(2.2 * np.percentile(forth, 20), 0.20 * peak))
    offset = time_ms[last] + _first_quiet(forth, threshold, 12)
    return float(onset), float(offset)


def _length(segment: np.ndarray, width: int) -> np.ndarray:
    """Return the smoothed length over the leads (m,) mV RMS of (leads, m)."""
    length = np.sqrt((segment**2).mean(axis=0))
    padded = np.pad(length, width // 2, mode="edge")
    return np.convolve(padded, np.full(width, 1.0 / width), mode="valid")


def _t_wave(time_ms: np.ndarray, fine: np.ndarray, onset: float, offset: float, rr_ms: float) -> tuple[float, float]:
    """Return T peak and T end, ms; NaN where no T wave stands out."""
    expected = onset + qt_from_rate_ms(rr_ms)
    start = offset + 40.0
    # Before the next P wave, which rides on T at high rates.
    stop = min(time_ms[-1], expected + 170.0, rr_ms + onset - 90.0)
    window = (time_ms >= start) & (time_ms <= stop)
    if window.sum() < 110:
        return np.nan, np.nan
    t, segment = time_ms[window], fine[:, window]
    # The level of the quiet stretch that follows T; it is not the PQ level when drift or a U wave is left.
    length = _length(segment - _tail_level(segment, t, expected), 11)
    inside = t <= min(stop - 25.0, expected + 50.0)
    peak = int(np.argmax(length * inside))
    height = length[peak]
    if height < max(T_AMPLITUDE_MV, T_OVER_NOISE * length[-60:].min()):
        return np.nan, np.nan
    # A biphasic T ends with its last lobe; a U wave is lower than that.
    lobes = np.flatnonzero((length[1:-1] > length[:-2]) & (length[1:-1] >= length[2:])) + 1
    lobes = lobes[(lobes > peak) & inside[lobes] & (length[lobes] > LATE_LOBE * height)]
    main = int(lobes[-1]) if lobes.size else peak
    slope = np.gradient(length)
    steepest = main + int(np.argmin(slope[main : main + 140]))
    if slope[steepest] >= 0 or len(t) - steepest < 15:
        return float(t[peak]), np.nan
    # The end is the corner of the falling flank: where the trapezium to a point beyond it is largest
    # (Vázquez-Seisdedos et al., BioMed Eng OnLine 2011;10:77). It needs no threshold and bears noise.
    beyond = min(len(t) - 1, steepest + T_CORNER_REACH_MS)
    corner = np.arange(steepest, beyond)
    area = (length[steepest] - length[corner]) * (2 * beyond - corner - steepest)
    return float(t[peak]), float(t[corner[int(np.argmax(area))]])


def _tail_level(segment: np.ndarray, t: np.ndarray, expected: float) -> np.ndarray:
    """Return (leads, 1) mV, the level of the quietest 30 ms after the expected end of T."""
    late = np.flatnonzero(t > expected - 20.0)
    if late.size < 60:
        return np.zeros((len(segment), 1))
    kernel = np.full(30, 1 / 30)
    speed = np.sqrt((np.gradient(segment[:, late], axis=1) ** 2).sum(axis=0))
    centre = int(np.argmin(np.convolve(speed, kernel, mode="valid")))
    return segment[:, late[centre : centre + 30]].mean(axis=1, keepdims=True)


def _p_wave(time_ms: np.ndarray, fine: np.ndarray, onset: float, previous_t_end: float) -> tuple[float, float]:
    """Return P onset and offset, ms; NaN where no P wave stands out between the previous T end and QRS onset."""
    start = max(time_ms[0], previous_t_end + 10.0, onset - 330.0)
    window = (time_ms >= start) & (time_ms <= onset - 8.0)
    if window.sum() < 60:
        return np.nan, np.nan
    t, segment = time_ms[window], fine[:, window]
    # The line from the start of the window to the PQ level takes the tail of T and drift away.
    edge = min(20, len(t) // 4)
    line = np.linspace(0, 1, len(t))
    length = _length(segment - segment[:, :edge].mean(1, keepdims=True) * (1 - line), 13)
    middle = (t > start + 20.0) & (t < onset - 22.0)
    peak = int(np.argmax(length * middle))
    height = length[peak]
    if height < P_AMPLITUDE_MV or peak == 0:
        return np.nan, np.nan
    # Tangents at the steepest slope of the first and last flank above a third of the height.
    high = np.flatnonzero(length[max(0, peak - 90) : peak + 90] > 0.35 * height) + max(0, peak - 90)
    slope = np.gradient(length)
    rise = high[0] + int(np.argmax(slope[max(0, high[0] - 25) : high[0] + 20])) - min(25, high[0])
    fall = high[-1] + int(np.argmin(slope[max(0, high[-1] - 20) : high[-1] + 25])) - min(20, high[-1])
    if slope[rise] <= 0 or slope[fall] >= 0:
        return np.nan, np.nan
    begin = t[rise] - length[rise] / slope[rise]
    end = t[fall] - length[fall] / slope[fall]
    if not 30.0 <= end - begin <= 190.0 or begin < start - 20.0:
        return np.nan, np.nan
    return float(begin), float(min(end, onset))
