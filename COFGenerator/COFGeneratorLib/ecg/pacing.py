"""Pacing spikes: found in the raw record, and taken out before beats are measured."""

import numpy as np
from scipy.ndimage import median_filter

SPIKE_MV = 0.3
"""Height over a running median, in at least two leads, from which a narrow deflection is taken for a pacing spike."""
WIDEST_MS = 8.0
"""A stimulus of 0.5–2 ms, as a recorder's low-pass leaves it."""
LOWEST_RATE_HZ = 400.0
"""Slower recordings smear the spike into the QRS; nothing is looked for there."""
MOST_PER_S = 7.0
LEAD_S = (0.02, 0.35)
"""How long before R a stimulus of the ventricles or atria comes."""
LEAD_SHARE = 0.5
"""The same as a share of R–R: earlier is the beat before."""
STEADY_S, STEADY_SHARE = 0.012, 0.7
"""Stimuli come so steadily, before so many of the beats that any spike precedes."""


def find_spikes(signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
    """Return the sample indices (n,) of pacing spikes in (12, L) mV; empty when there are none or too many to be it."""
    if fs_hz < LOWEST_RATE_HZ or signal_mv.shape[1] < 50:
        return np.empty(0, dtype=int)
    narrow = max(1, int(WIDEST_MS * fs_hz / 1000.0))
    excess = np.abs(signal_mv - median_filter(signal_mv, size=(1, 2 * narrow + 3)))
    high = np.sort(excess, axis=0)[-2] > SPIKE_MV  # in two leads at least
    edges = np.flatnonzero(np.diff(np.concatenate([[False], high, [False]]).astype(int)))
    starts, stops = edges[::2], edges[1::2]
    keep = (stops - starts) <= narrow
    # The foot on both sides of a spike is flat; the tip of a steep QRS has steep flanks.
    centres = [int(s + np.argmax(excess[:, s:e].max(axis=0))) for s, e in zip(starts[keep], stops[keep], strict=True)]
    found = [c for c in centres if _stands_alone(signal_mv, c, narrow)]
    if len(found) > MOST_PER_S * signal_mv.shape[1] / fs_hz:
        return np.empty(0, dtype=int)
    return np.asarray(found, dtype=int)


def _stands_alone(signal_mv: np.ndarray, centre: int, narrow: int) -> bool:
    """Tell whether the level beside the deflection stays what it is, and differs little between before and after it."""
    before, after = centre - narrow - 1, centre + narrow + 1
    if before < narrow or after >= signal_mv.shape[1] - narrow:
        return False
    lead = int(np.argmax(np.abs(signal_mv[:, centre] - 0.5 * (signal_mv[:, before] + signal_mv[:, after]))))
    x = signal_mv[lead]
    height = abs(x[centre] - 0.5 * (x[before] + x[after]))
    # The flanks of a steep, narrow QRS still fall where the foot of a spike is flat.
    foot = abs(x[before] - x[before - narrow])
    return abs(x[after] - x[before]) < 0.4 * height and foot < 0.2 * height


def drives_beats(spikes_s: np.ndarray, r_peaks_s: np.ndarray) -> bool:
    """Tell whether spikes precede at least half of the beats by one and the same time; what muscles make does not.

    Other spikes may lie between: a second stimulus, or the tip of a steep QRS.
    """
    if len(spikes_s) < 2 or len(r_peaks_s) < 2:
        return False
    longest = min(LEAD_S[1], LEAD_SHARE * float(np.median(np.diff(r_peaks_s))))

    def preceded(by_s: float, within_s: float) -> int:
        first = np.searchsorted(spikes_s, r_peaks_s - by_s - within_s)
        last = np.searchsorted(spikes_s, r_peaks_s - by_s + within_s, side="right")
        return int((last > first).sum())

    leads = np.arange(LEAD_S[0] + STEADY_S, longest, STEADY_S / 3.0)  # a tip of the QRS itself is no stimulus
    steady = max((preceded(lead, STEADY_S) for lead in leads), default=0)
    middle = 0.5 * (LEAD_S[0] + longest)
    return steady >= max(2, 0.5 * len(r_peaks_s), STEADY_SHARE * preceded(middle, longest - middle))


def without_spikes(signal_mv: np.ndarray, fs_hz: float, spikes: np.ndarray) -> np.ndarray:
    """Return a copy of (12, L) with each spike bridged by a straight line."""
    out = signal_mv.copy()
    reach = int(np.ceil(WIDEST_MS * fs_hz / 1000.0)) + 1
    for centre in spikes:
        first, last = max(centre - reach, 0), min(centre + reach, out.shape[1] - 1)
        share = np.linspace(0.0, 1.0, last - first + 1, dtype=out.dtype)
        out[:, first : last + 1] = out[:, first : first + 1] * (1 - share) + out[:, last : last + 1] * share
    return out
