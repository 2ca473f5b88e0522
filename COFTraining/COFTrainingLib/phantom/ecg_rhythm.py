"""When the beats of a record come, and which of them are premature."""

from dataclasses import dataclass

import numpy as np

from COFTrainingLib.phantom.physiology import Physiology

NORMAL, ATRIAL, VENTRICULAR = 0, 1, 2
"""Kinds of beats: of the rhythm itself, premature from the atria, premature from the ventricles."""

SHORTEST_COUPLING_MS = 260.0
"""The ventricles are refractory before."""
BIGEMINY = 0.10
"""Share of the records with ectopy in which every other beat is premature."""


@dataclass(frozen=True)
class Rhythm:
    """R peaks that reach into a record, samples (n,), the kind of each, and the length of a regular cycle, samples."""

    peaks: np.ndarray
    kinds: np.ndarray
    cycle: float


def draw_rhythm(
    physiology: Physiology, rng: np.random.Generator, samples: int, fs_hz: float, ectopic_share: float, reach_ms: float
) -> Rhythm:
    """Draw the beats of a record.

    Args:
        physiology: The patient.
        rng: Source of randomness.
        samples: Length of the record.
        fs_hz: Sampling rate, Hz.
        ectopic_share: Share of the records that hold premature beats, atrial or ventricular.
        reach_ms: Beats this long after the end still reach into the record.
    """
    cycle = physiology.rr_ms * fs_hz / 1000.0
    count = int(samples / cycle * 1.6) + 6
    within = int(samples / cycle)
    noise = rng.standard_normal(count)
    if physiology.atrial_fibrillation:
        ratio = np.clip(np.exp(0.20 * noise), 0.62, 1.7)
    else:
        depth, rate, phase = rng.uniform(0.005, 0.03), rng.uniform(0.2, 0.3), rng.uniform(0, 2 * np.pi)
        ratio = 1.0 + depth * np.sin(2 * np.pi * rate * np.arange(count) * cycle / fs_hz + phase) + 0.006 * noise
    ratio /= np.median(ratio[: max(within, 2)])
    intervals, kinds = ratio * cycle, np.full(count, NORMAL)
    if rng.random() < ectopic_share and within > 5:
        _put_ectopy(rng, intervals, kinds, within, SHORTEST_COUPLING_MS * fs_hz / 1000.0)
    first = rng.uniform(-0.3, 0.7) * cycle
    peaks = np.round(first + np.concatenate([[0.0], np.cumsum(intervals[:-1])])).astype(int)
    keep = peaks < samples + reach_ms * fs_hz / 1000.0
    return Rhythm(peaks[keep], kinds[keep], cycle)


def _put_ectopy(
    rng: np.random.Generator, intervals: np.ndarray, kinds: np.ndarray, within: int, shortest: float
) -> None:
    """Make some beats premature, in place: one focus a record, its coupling nearly fixed.

    After a ventricular beat the pause is compensatory (the sinus keeps its pace); an atrial one resets the sinus.
    """
    kind = ATRIAL if rng.random() < 0.55 else VENTRICULAR
    coupling = rng.uniform(0.50, 0.85) if kind == ATRIAL else rng.uniform(0.42, 0.75)
    if rng.random() < BIGEMINY:
        which = np.arange(2 + rng.integers(2), within, 2)
    else:
        which = np.sort(
            rng.choice(np.arange(2, within), size=min(1 + rng.poisson(0.8), (within - 2) // 2), replace=False)
        )
        which = which[np.concatenate([[True], np.diff(which) > 1])]  # each with a regular beat before it
    cycle = intervals.mean()
    early = np.maximum(cycle * coupling * (1.0 + 0.03 * rng.standard_normal(len(which))), min(shortest, 0.9 * cycle))
    kinds[which] = kind
    intervals[which - 1] = early
    intervals[which] = 2.0 * cycle - early if kind == VENTRICULAR else cycle * rng.uniform(1.0, 1.15)
