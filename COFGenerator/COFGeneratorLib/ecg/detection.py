"""R peaks by NeuroKit2 on several leads, and the vote among them."""

import warnings

import numpy as np
from scipy import signal as sps

from COFGeneratorLib.ecg.delineation import INDEPENDENT
from COFGeneratorLib.ecg.record import LEADS, EcgRecord
from COFGeneratorLib.errors import EcgError

DETECT_HZ = 250
BAND_HZ = (9.0, 35.0)
LEAD_IN = DETECT_HZ
SAME_BEAT_S = 0.10
LOWEST = 0.25
"""A QRS whose magnitude (all leads) is below this share of the usual one is noise or a T wave."""
REFRACTORY_S = 0.24
"""Shortest R–R, s: 250 beats per minute."""


def find_r_peaks(record: EcgRecord) -> np.ndarray:
    """Return R times (n,) in s, agreed by most of: leads I, II, V5 and the vector magnitude (two detectors).

    Raises:
        EcgError: If no detector finds beats.
    """
    filtered = _detection_signal(record)  # (12, m) at DETECT_HZ
    magnitude = np.sqrt((filtered[INDEPENDENT] ** 2).sum(axis=0))
    energy = sps.sosfiltfilt(sps.butter(2, 12, "lowpass", fs=DETECT_HZ, output="sos"), magnitude)
    voters = [_detect(filtered[LEADS.index(name)], "neurokit") for name in ("I", "II", "V5")]
    voters += [_detect(energy, "neurokit"), _detect(energy, "elgendi2010"), _threshold(energy)]
    voters = [peaks for peaks in voters if len(peaks) >= 2] or [peaks for peaks in voters if len(peaks)]
    if not voters:
        raise EcgError(
            f"Heart beats are needed to time the cycle; found none in {record.duration_s:.1f} s. "
            "Check the leads, the gain and the unit of the recording."
        )
    peaks = _vote(voters, energy)
    if len(peaks) == 0:
        raise EcgError(
            "Heart beats that the leads agree on are needed; found none. The recording is too noisy: record it again."
        )
    return peaks


def _detection_signal(record: EcgRecord) -> np.ndarray:
    """Band-pass to QRS, not T, and resample to ``DETECT_HZ``; (12, m)."""
    x = record.signal_mv.astype(np.float64)
    high = min(BAND_HZ[1], 0.45 * record.fs_hz)
    sos = sps.butter(2, [BAND_HZ[0], high], "bandpass", fs=record.fs_hz, output="sos")
    x = sps.sosfiltfilt(sos, x, axis=1, padlen=min(x.shape[1] - 1, int(record.fs_hz)))
    count = round(x.shape[1] * DETECT_HZ / record.fs_hz)
    old = np.arange(x.shape[1]) / record.fs_hz
    new = np.arange(count) / DETECT_HZ
    if record.fs_hz < DETECT_HZ:
        return sps.resample(x, count, axis=1)
    return np.stack([np.interp(new, old, row) for row in x])


def _detect(x: np.ndarray, method: str) -> np.ndarray:
    """Run one NeuroKit2 detector on one signal (m,); returns times in s, empty where it fails."""
    import neurokit2 as nk

    spread = np.percentile(np.abs(x), 99)
    if spread < 0.01:
        return np.empty(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Detectors ignore the first and last beat of what they get; silence before and after gives them a lead-in.
            padded = np.pad(x / spread, LEAD_IN)
            _, info = nk.ecg_peaks(padded, sampling_rate=DETECT_HZ, method=method)
    except (ValueError, IndexError, ZeroDivisionError, KeyError):
        # The detectors raise these on too few or odd peaks; the other voters decide.
        return np.empty(0)
    peaks = np.asarray(info["ECG_R_Peaks"], dtype=np.float64) - LEAD_IN
    return peaks[np.isfinite(peaks) & (peaks >= 0) & (peaks < len(x))] / DETECT_HZ


def _threshold(energy: np.ndarray) -> np.ndarray:
    """Peaks of the magnitude above a third of its usual maximum; one voter that has no memory."""
    blocks = [block.max() for block in np.array_split(energy, max(1, len(energy) // (2 * DETECT_HZ))) if len(block)]
    height = 0.35 * float(np.median(blocks))
    peaks, _ = sps.find_peaks(energy, height=height, distance=int(REFRACTORY_S * DETECT_HZ))
    return peaks / DETECT_HZ


def _vote(voters: list[np.ndarray], energy: np.ndarray) -> np.ndarray:
    """Keep the groups of peaks (within ``SAME_BEAT_S``) that at least half of the voters saw."""
    times = np.concatenate(voters)
    owner = np.concatenate([np.full(len(p), i) for i, p in enumerate(voters)])
    order = np.argsort(times)
    times, owner = times[order], owner[order]
    groups: list[list[int]] = []
    for i in range(len(times)):
        if groups and times[i] - times[groups[-1][0]] <= SAME_BEAT_S:
            groups[-1].append(i)
        else:
            groups.append([i])
    found, votes = [], []
    for group in groups:
        count = len(set(owner[group]))
        if 2 * count >= len(voters):
            found.append(_peak_near(energy, float(np.median(times[group]))))
            votes.append(count)
    # Noise that fools several detectors (their thresholds fall where nothing else is) is still small in the magnitude.
    heights = np.array([_height(energy, time) for time in found])
    high = heights > LOWEST * np.median(heights) if len(heights) else []
    found = [time for time, tall in zip(found, high, strict=True) if tall]
    votes = [count for count, tall in zip(votes, high, strict=True) if tall]
    keep: list[int] = []
    for i, time in enumerate(found):
        if keep and time - found[keep[-1]] < REFRACTORY_S:
            stronger = _height(energy, time) > _height(energy, found[keep[-1]])
            if (votes[i], stronger) > (votes[keep[-1]], not stronger):
                keep[-1] = i
        else:
            keep.append(i)
    return np.asarray([found[i] for i in keep])


def _height(energy: np.ndarray, time_s: float) -> float:
    return float(energy[min(round(time_s * DETECT_HZ), len(energy) - 1)])


def _peak_near(energy: np.ndarray, time_s: float, reach_s: float = 0.06) -> float:
    """Return the time of the highest magnitude within ``reach_s``."""
    centre, reach = round(time_s * DETECT_HZ), int(reach_s * DETECT_HZ)
    start = max(0, centre - reach)
    part = energy[start : centre + reach + 1]
    return (start + int(np.argmax(part))) / DETECT_HZ if len(part) else time_s
