"""R peaks by what most leads see at once, each lead on its own scale.

A lead's artefact stays its own: leads are brought to one height by their usual QRS, what is higher is cut, and the
leads that show most at an instant do not count there. Peaks that are unlike the beat of the record and are not seen
by most leads are dropped. Where there are such peaks, NeuroKit2 reads every lead by itself, and only what it finds in
several leads is kept: of strong noise it takes less for beats, while with clear leads both find the same
(``Testing/Benchmarks/ecg_reading.py --detectors``). To load it takes as long as all else of reading an ECG.
"""

from dataclasses import dataclass

import numpy as np
from scipy import signal as sps

from COFGeneratorLib.ecg.delineation import INDEPENDENT
from COFGeneratorLib.ecg.record import EcgRecord
from COFGeneratorLib.errors import EcgError

DETECT_HZ = 250
BAND_HZ = (7.0, 35.0)
REFRACTORY_S = 0.19
"""Shortest R–R, s: couplings of 0.2 s and 250 beats per minute are heard."""
BLOCK_S = 2.2
"""Each stretch of this length holds a beat, down to 30 a minute."""
LOWEST = 0.22
"""A peak whose height is below this share of the usual one is noise or a T wave."""
CUT = 1.6
"""Heights are cut at this many usual QRS."""
ALIKE = 0.75
"""Correlation of a peak with the record's beat above which it is one of them."""
SHOWN = 0.48
"""A beat of another shape has this share of the usual QRS at least, as a mean over the leads that counts none twice."""
LATEST_T_S = 0.42
SILENCED = 2
"""So many of the eight independent leads, those that show most, do not count at an instant."""
AGREED = 0.25
"""Share of the leads, by their weight, in which NeuroKit2 must find a peak of a disturbed record."""
SAME_BEAT_S = 0.05


@dataclass(frozen=True)
class _Seen:
    """A record as the detector sees it, at ``DETECT_HZ``: leads (8, m) in usual QRS, and how much most of them show."""

    leads: np.ndarray
    weight: np.ndarray
    shown: np.ndarray


def find_r_peaks(record: EcgRecord) -> np.ndarray:
    """Return R times (n,) in s.

    Raises:
        EcgError: If there are no beats.
    """
    seen = _look(_detection_signal(record))
    peaks = _candidates(seen.shown)
    if len(peaks) == 0:
        raise EcgError(
            f"Heart beats are needed to time the cycle; found none in {record.duration_s:.1f} s. "
            "Check the leads, the gain and the unit of the recording."
        )
    kept = _kept(seen, peaks)
    if len(kept) < len(peaks):
        kept = _kept(seen, peaks[_agreement(seen, peaks) >= AGREED])
    if len(kept) == 0:
        raise EcgError(
            "Heart beats that the leads agree on are needed; found none. The recording is too noisy: record it again."
        )
    return kept / DETECT_HZ


def _detection_signal(record: EcgRecord) -> np.ndarray:
    """Band-pass to QRS, not T, and resample to ``DETECT_HZ``; (8, m)."""
    x = record.signal_mv[INDEPENDENT].astype(np.float64)
    high = min(BAND_HZ[1], 0.45 * record.fs_hz)
    sos = sps.butter(2, [BAND_HZ[0], high], "bandpass", fs=record.fs_hz, output="sos")
    x = sps.sosfiltfilt(sos, x, axis=1, padlen=min(x.shape[1] - 1, int(record.fs_hz)))
    count = round(x.shape[1] * DETECT_HZ / record.fs_hz)
    if record.fs_hz < DETECT_HZ:
        return sps.resample(x, count, axis=1)
    old = np.arange(x.shape[1]) / record.fs_hz
    new = np.arange(count) / DETECT_HZ
    return np.stack([np.interp(new, old, row) for row in x])


def _blocks(x: np.ndarray) -> np.ndarray:
    """Return the largest value of each block of ``BLOCK_S``, (..., blocks)."""
    count = max(1, int(x.shape[-1] / (BLOCK_S * DETECT_HZ)))
    size = x.shape[-1] // count
    return x[..., : count * size].reshape(*x.shape[:-1], count, size).max(axis=-1)


def _look(x: np.ndarray) -> _Seen:
    size = np.abs(x)
    usual = np.median(_blocks(size), axis=1)
    quiet = np.median(size, axis=1)
    # The largest of noise alone is some four times its median; a QRS is ten and more.
    weight = np.clip((usual / np.maximum(quiet, 1e-9) - 4.0) / 6.0, 0.05, 1.0) * (usual > 0.005)
    leads = x / np.maximum(usual, 0.005)[:, None]
    power = np.sort(np.minimum(np.abs(leads), CUT) ** 2 * weight[:, None], axis=0)
    shown = np.sqrt(power[: len(power) - SILENCED].mean(axis=0))
    smooth = sps.sosfiltfilt(_SMOOTH, shown, padlen=min(len(shown) - 1, DETECT_HZ))
    return _Seen(leads, weight, smooth)


_SMOOTH = sps.butter(2, 12, "lowpass", fs=DETECT_HZ, output="sos")


def _candidates(shown: np.ndarray) -> np.ndarray:
    """Return the peaks of what is shown that are high enough, samples (n,)."""
    usual = float(np.median(_blocks(shown)))
    if usual <= 0.0:
        return np.empty(0, dtype=int)
    edge = np.pad(shown, 1)  # a beat may be cut by the end of the record
    peaks, _ = sps.find_peaks(edge, height=LOWEST * usual, distance=int(REFRACTORY_S * DETECT_HZ))
    return peaks - 1


def _agreement(seen: _Seen, peaks: np.ndarray) -> np.ndarray:
    """Return the share of the leads (n,), by weight, in which NeuroKit2 finds a QRS beside each peak."""
    import neurokit2 as nk

    agree = np.zeros((len(seen.leads), len(peaks)))
    for row, lead in enumerate(seen.leads):
        # Silence on both sides: the detector hears no beat that begins or ends with the signal.
        padded = np.pad(np.abs(lead), DETECT_HZ)
        found = nk.ecg_findpeaks(padded, sampling_rate=DETECT_HZ, method="neurokit", mindelay=REFRACTORY_S)
        apart = np.abs(np.asarray(found["ECG_R_Peaks"])[:, None] - DETECT_HZ - peaks)
        agree[row] = (apart <= SAME_BEAT_S * DETECT_HZ).any(axis=0)
    return seen.weight @ agree / seen.weight.sum()


def _kept(seen: _Seen, peaks: np.ndarray) -> np.ndarray:
    """Drop what is unlike the beat and not shown by most leads, and T waves."""
    if len(peaks) == 0:
        return peaks
    half = int(0.06 * DETECT_HZ)
    padded = np.pad(np.clip(seen.leads, -CUT, CUT) * np.sqrt(seen.weight)[:, None], ((0, 0), (half, half)))
    windows = np.stack([padded[:, at : at + 2 * half + 1] for at in peaks])  # (n, 8, w)
    height = seen.shown[peaks]
    usual = float(np.median(_blocks(seen.shown)))
    tall = height >= 0.6 * min(usual, height.max())
    template = np.median(windows[tall], axis=0)
    like = _likeness(windows, template)
    own = np.abs(windows).max(axis=2)  # (n, 8)
    share = np.minimum(own / np.maximum(np.abs(template).max(axis=1), 1e-9), 1.0)
    shown = (share * seen.weight).sum(axis=1) / seen.weight.sum()
    own_kind = (like > ALIKE) & (height > 0.3 * usual)
    other = ~own_kind & (shown >= SHOWN) & (height > 0.34 * usual)
    # More strange peaks than this are noise; among them a tall one may still be a beat.
    other &= (height > 0.55 * usual) | (other.sum() <= own_kind.sum())
    keep = own_kind | other
    keep &= ~_t_waves(peaks / DETECT_HZ, height, like)
    return peaks[keep]


def _t_waves(time_s: np.ndarray, height: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Tell T waves (n,) bool: lower than the beat before, unlike the usual, and as a rule at one delay after a beat."""
    gap = np.diff(time_s, prepend=-np.inf)
    share = height / np.concatenate([[np.inf], height[:-1]])
    late = (gap < LATEST_T_S) & (share < np.where(like < ALIKE, 0.8, 0.65))
    if not late.any():
        return late
    middle = np.median(gap[late])
    regular = late & (np.abs(gap - middle) < 0.04)
    soon = late & (like < ALIKE) & ((share < 0.4) & (gap < 0.3) | (share < 0.65) & (gap < 0.22))
    return soon | regular if regular.sum() >= 0.4 * (~late).sum() else soon


def _likeness(windows: np.ndarray, template: np.ndarray) -> np.ndarray:
    """Return the largest correlation (n,) of windows (n, 8, w) with a template, shifted by up to 20 ms."""
    reach = int(0.02 * DETECT_HZ)
    inner = template[:, reach:-reach]
    best = np.zeros(len(windows))
    norm = np.sqrt((inner**2).sum())
    for shift in range(2 * reach + 1):
        part = windows[:, :, shift : shift + inner.shape[1]]
        score = (part * inner).sum(axis=(1, 2)) / (np.sqrt((part**2).sum(axis=(1, 2))) * norm + 1e-9)
        best = np.maximum(best, score)
    return best
