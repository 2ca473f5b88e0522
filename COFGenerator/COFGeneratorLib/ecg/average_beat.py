"""The average beat of a record: aligned to sub-samples, screened by shape, baseline at the PQ level."""

from dataclasses import dataclass

import numpy as np

from COFGeneratorLib.ecg.conditioning import ConditionedSignal, condition
from COFGeneratorLib.ecg.cycle import BEAT_FS_HZ, BEAT_R_SAMPLE, BEAT_SAMPLES
from COFGeneratorLib.ecg.delineation import INDEPENDENT, find_qrs
from COFGeneratorLib.errors import EcgError

LEAD_IN = 40
"""Samples kept before the 256 of the beat, so that a P wave of a long PR is still seen (−400 ms)."""
ALIKE = 0.90
"""Correlation over QRS and all leads above which a beat is like the template."""
UNLIKE = 0.8
"""Below this correlation a beat is of another shape; its R is its own longest vector."""
_QRS_HALF, _QUIET = 30, 5
"""Samples on each side of R that are looked at, and those at the outer ends that lie before QRS."""
MEAN_R_SAMPLE = LEAD_IN + BEAT_R_SAMPLE
"""Of the average beat with its lead-in."""


@dataclass(frozen=True)
class AlignedBeats:
    """All beats of a record on one time axis.

    Attributes:
        mean_mv: (12, LEAD_IN + BEAT_SAMPLES) mV, average of the accepted beats, baseline at the PQ level.
        r_peaks_s: (n,) s, R times after alignment.
        accepted: (n,) bool.
        likeness: (n,) correlation of each beat's QRS with the average, all leads together.
        noise_mv: (12,) mV, scatter of single accepted beats about the average.
        single_mv: (n, 12, LEAD_IN + BEAT_SAMPLES) mV, each beat, baseline at its PQ level.
    """

    mean_mv: np.ndarray
    r_peaks_s: np.ndarray
    accepted: np.ndarray
    likeness: np.ndarray
    noise_mv: np.ndarray
    single_mv: np.ndarray


def average_beat(
    signal_mv: np.ndarray, fs_hz: float, r_peaks_samples: np.ndarray, accepted: np.ndarray | None = None
) -> np.ndarray:
    """Return the average beat (12, 256) mV at 250 Hz with R at sample 60.

    Args:
        signal_mv: (12, L) mV.
        fs_hz: Rate, Hz.
        r_peaks_samples: (n,) R peaks, samples.
        accepted: (n,) bool, beats to average; by default those whose QRS is like that of the majority.

    Returns:
        (12, BEAT_SAMPLES) float32, mV, baseline at the PQ level. At high rates it holds the next beat, too.

    Raises:
        EcgError: If there is no beat.
    """
    signal = condition(signal_mv, fs_hz)
    aligned = align_beats(signal, np.asarray(r_peaks_samples) / fs_hz, accepted)
    return aligned.mean_mv[:, LEAD_IN:].astype(np.float32)


def align_beats(signal: ConditionedSignal, r_peaks_s: np.ndarray, accepted: np.ndarray | None = None) -> AlignedBeats:
    """Align all beats by correlation of their QRS, pick those alike, and average them.

    R of the average is where the length of the vector over the leads peaks, so that it does not depend on who found
    the peaks or in which lead.

    Args:
        signal: The conditioned record, 12 leads.
        r_peaks_s: (n,) R times, s.
        accepted: (n,) bool; chosen here when None.

    Raises:
        EcgError: If there is no beat.
    """
    r = np.array(r_peaks_s, dtype=np.float64)
    if r.size == 0:
        raise EcgError("At least one heart beat is needed; found none. Check the leads and the gain of the recording.")
    given = None if accepted is None else np.asarray(accepted, dtype=bool)
    pool = slice(None) if given is None else given
    for _ in range(2):
        qrs = _qrs(signal, r)
        r = r + _lags(qrs, np.median(qrs[pool], axis=0))
    qrs = _qrs(signal, r)
    likeness = _likeness(qrs, np.median(qrs[pool], axis=0))
    chosen = given
    if chosen is None:
        chosen = likeness >= min(ALIKE, np.median(likeness))
        likeness = _likeness(qrs, np.median(qrs[chosen], axis=0))
        chosen = _premature(r, likeness >= min(ALIKE, np.median(likeness)))

    qrs = _qrs(signal, r)
    usual = np.median(qrs[chosen], axis=0)
    # What is far larger than the lead's usual QRS is cut: an artefact of one lead does not move R.
    most = 2.0 * np.abs(usual).max(axis=1, keepdims=True)
    r = r + np.where(likeness < UNLIKE, _centre(np.clip(qrs, -most, most), 25), _centre(usual[None], 16))
    beats = _extract(signal, r)
    mean = _average(beats, chosen, signal, r)
    near = slice(MEAN_R_SAMPLE - 60, MEAN_R_SAMPLE + 100)
    apart = (beats[chosen] - mean)[:, :, near]
    onset_ms, _ = find_qrs(mean, MEAN_R_SAMPLE, apart.std(axis=2).mean(axis=0))
    onset = round(MEAN_R_SAMPLE + onset_ms * BEAT_FS_HZ / 1000.0)
    level = slice(max(0, onset - 7), max(1, onset - 1))  # 24 ms of PQ segment
    mean -= mean[:, level].mean(axis=1, keepdims=True)
    single = beats - beats[:, :, level].mean(axis=2, keepdims=True)
    window = slice(max(0, onset - 40), MEAN_R_SAMPLE + 100)
    noise = np.sqrt(np.mean((single[chosen] - mean)[:, :, window] ** 2, axis=(0, 2)))
    return AlignedBeats(mean_mv=mean, r_peaks_s=r, accepted=chosen, likeness=likeness, noise_mv=noise, single_mv=single)


def _extract(signal: ConditionedSignal, r: np.ndarray) -> np.ndarray:
    """Sample (n, 12, LEAD_IN + BEAT_SAMPLES) around every R."""
    grid = (np.arange(LEAD_IN + BEAT_SAMPLES) - MEAN_R_SAMPLE) / BEAT_FS_HZ
    flat = signal.at((r[:, None] + grid).ravel())
    return flat.reshape(len(flat), len(r), -1).transpose(1, 0, 2)


def _qrs(signal: ConditionedSignal, r: np.ndarray) -> np.ndarray:
    """Sample (n, 8, 60): ±120 ms around every R in the independent leads, mean of each taken off."""
    grid = np.arange(-_QRS_HALF, _QRS_HALF) / BEAT_FS_HZ
    flat = signal.at((r[:, None] + grid).ravel(), INDEPENDENT)
    part = flat.reshape(len(flat), len(r), -1).transpose(1, 0, 2)
    return part - part.mean(axis=2, keepdims=True)


def _likeness(qrs: np.ndarray, template: np.ndarray) -> np.ndarray:
    """Correlate (n, 8, w) with a template (8, w); scaled down when amplitudes differ by more than half."""
    product = (qrs * template).sum(axis=(1, 2))
    power = (qrs**2).sum(axis=(1, 2))
    reference = (template**2).sum() + 1e-12
    correlation = product / np.sqrt(power * reference + 1e-12)
    ratio = np.sqrt(power / reference)
    return np.where((ratio > 0.5) & (ratio < 2.0), correlation, np.minimum(correlation, 0.5))


def _lags(qrs: np.ndarray, template: np.ndarray) -> np.ndarray:
    """Return the shift in s (at most ±40 ms, in fractions of a sample) of each (8, w) beat onto the template."""
    reach = 10
    inner = template[:, reach:-reach]
    width = inner.shape[1]
    windows = np.lib.stride_tricks.sliding_window_view(qrs, width, axis=2)  # (n, 8, 2·reach+1, width)
    score = np.einsum("nclw,cw->nl", windows, inner)
    # Normalised, so that a shift cannot win by catching more energy.
    energy = (windows**2).sum(axis=(1, 3))
    score = score / np.sqrt(energy + 1e-12)
    best = np.clip(score.argmax(axis=1), 1, 2 * reach - 1)
    rows = np.arange(len(score))
    a, b, c = score[rows, best - 1], score[rows, best], score[rows, best + 1]
    curve = a - 2 * b + c
    fraction = np.where(curve < -1e-12, 0.5 * (a - c) / np.where(curve < -1e-12, curve, -1.0), 0.0)
    return (best - reach + np.clip(fraction, -0.5, 0.5)) / BEAT_FS_HZ


def _premature(r: np.ndarray, alike: np.ndarray) -> np.ndarray:
    """Leave out beats that come more than 20 % early, unless that is the rhythm itself (over a quarter of beats)."""
    rr = np.diff(r)
    if len(rr) < 3:
        return alike
    early = np.concatenate([[False], rr < 0.8 * np.median(rr)])
    if early.mean() > 0.25 or not (alike & ~early).any():
        return alike
    return alike & ~early


def _average(beats: np.ndarray, chosen: np.ndarray, signal: ConditionedSignal, r: np.ndarray) -> np.ndarray:
    """Average the chosen beats where the record covers them; the median from five beats on, else the mean."""
    grid = (np.arange(beats.shape[2]) - MEAN_R_SAMPLE) / BEAT_FS_HZ
    time = r[chosen][:, None] + grid
    inside = (time >= 0) & (time <= signal.duration_s)  # (k, m)
    picked = beats[chosen]
    full = inside.all(axis=1)
    if full.sum() >= 5:
        return np.median(picked[full], axis=0)
    count = inside.sum(axis=0)
    weight = np.where(count > 0, inside, 1.0)  # nowhere covered: the held edge value
    return (picked * weight[:, None, :]).sum(axis=0) / weight.sum(axis=0)


def _centre(qrs: np.ndarray, reach: int) -> np.ndarray:
    """Return the offset in s of the peak of the vector length from the nominal R in beats (n, 8, 60).

    At most ``reach`` samples are looked at on each side: at high rates T is not far.
    """
    level = np.median(qrs[:, :, :_QUIET], axis=2, keepdims=True)
    length = np.sqrt(((qrs - level) ** 2).sum(axis=1))
    first, last = _QRS_HALF - reach, _QRS_HALF + reach + 1
    best = first + np.clip(length[:, first:last].argmax(axis=1), 1, last - first - 2)
    rows = np.arange(len(length))
    a, b, c = length[rows, best - 1], length[rows, best], length[rows, best + 1]
    curve = a - 2 * b + c
    fraction = np.where(curve < -1e-12, 0.5 * (a - c) / np.where(curve < -1e-12, curve, -1.0), 0.0)
    return (best - _QRS_HALF + np.clip(fraction, -0.5, 0.5)) / BEAT_FS_HZ
