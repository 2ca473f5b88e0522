"""Whether there is a P wave: by the leads that show one in step with QRS, over the beats that come on time.

Fibrillation waves and noise average out; a P wave stays. Early beats bring a P wave of their own, or none.
"""

import numpy as np

from COFGeneratorLib.ecg.average_beat import MEAN_R_SAMPLE
from COFGeneratorLib.ecg.cycle import BEAT_FS_HZ
from COFGeneratorLib.ecg.delineation import INDEPENDENT

ON_TIME = 0.8
"""A beat comes on time after this share of the record's long intervals (their upper quartile) at least."""
FEWEST = 4
BEFORE_QRS_MS = 300.0
SHORTEST_MS = 90.0
SMOOTH = 5
"""Samples (20 ms) over which muscle noise is averaged before P is looked for."""
NTH_LEAD = 3
"""So many of the eight independent leads must show a P wave."""
PER_BEAT = 1.3
"""Coherence that noise reaches by chance, times the number of beats."""
SEEN, SURE = 0.08, 0.30
"""Coherence beyond chance from which a P wave is seen, and from which no fibrillation makes one."""


def on_time(r_peaks_s: np.ndarray, accepted: np.ndarray) -> np.ndarray:
    """Return which accepted beats (n,) come on time; all accepted ones where that leaves too few."""
    rr = np.diff(r_peaks_s)
    if len(rr) < 2:
        return accepted
    late = np.concatenate([[True], rr >= ON_TIME * np.percentile(rr, 75)])
    chosen = accepted & late
    return chosen if chosen.sum() >= FEWEST else accepted


def p_coherence(beats_mv: np.ndarray, qrs_onset_ms: float, t_end_ms: float, rr_ms: float) -> float:
    """Return how much of what precedes QRS is in step with it, beyond chance, in the third-best lead; at most 1.

    Args:
        beats_mv: (k, 12, n) mV, beats on time, as ``AlignedBeats.single_mv``.
        qrs_onset_ms: Of the average beat, ms from R.
        t_end_ms: Of the average beat, ms from R: before the next P wave.
        rr_ms: Shortest interval before these beats.
    """
    count = len(beats_mv)
    if count < 2:
        return 1.0
    start = max(qrs_onset_ms - BEFORE_QRS_MS, t_end_ms - rr_ms + 10.0)
    start = min(start, qrs_onset_ms - SHORTEST_MS)
    first = max(round(MEAN_R_SAMPLE + start * BEAT_FS_HZ / 1000.0), 0)
    last = round(MEAN_R_SAMPLE + qrs_onset_ms * BEAT_FS_HZ / 1000.0) - 1
    part = beats_mv[:, INDEPENDENT, first:last]
    if part.shape[2] < 4 * SMOOTH:
        return 1.0
    total = np.cumsum(np.pad(part, ((0, 0), (0, 0), (1, 0))), axis=2)
    part = (total[:, :, SMOOTH:] - total[:, :, :-SMOOTH]) / SMOOTH
    # The line between the ends of the window takes drift away.
    share = np.linspace(0.0, 1.0, part.shape[2])
    ends = (part[:, :, :4].mean(axis=2, keepdims=True), part[:, :, -4:].mean(axis=2, keepdims=True))
    part = part - ends[0] * (1.0 - share) - ends[1] * share
    power = (part**2).mean(axis=(0, 2))
    shared = (part.mean(axis=0) ** 2).mean(axis=1)
    # The share of single beats' power that their mean explains, without what it explains by chance.
    coherence = (count * shared - power) / ((count - 1) * power + 1e-12)
    return float(np.sort(coherence)[-NTH_LEAD] - PER_BEAT / count)
