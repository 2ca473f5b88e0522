"""What makes an ECG unfit to tell of the heart: a pacemaker, cables on the wrong electrodes, a record upside down.

These carry no latent. The encoder learns to know them, and is not taught the heart's state from such records.
"""

import numpy as np

from COFTrainingLib.phantom.heart_vector import Waves, paced_qrs

MISHAPS = ("", "inverted", "limb", "chest", "paced")
"""None; all leads upside down; limb cables exchanged; chest cables exchanged or reversed; a paced ventricle."""

SPIKE_MV = (1.0, 4.0)


def miswired(channels: np.ndarray, mishap: str, rng: np.random.Generator) -> np.ndarray:
    """Return the channels I, II, V1–V6, (8, L), as wrong cables give them.

    Limb cables: right arm with left arm, or right arm with leg. (Left arm with leg hardly shows, and is drawn as an
    ordinary variant by :func:`subtly_miswired`.) Chest cables: two that are not neighbours, or all in reverse.
    Wilson's terminal, the mean of the three limbs, is the same whichever limb has which cable.
    """
    if mishap == "inverted":
        return -channels
    lead_i, lead_ii, chest = channels[0], channels[1], channels[2:]
    if mishap == "limb":
        arms = (-lead_i, lead_ii - lead_i)
        leg = (lead_i - lead_ii, -lead_ii)
        return np.concatenate([np.stack(arms if rng.random() < 0.6 else leg), chest])
    if mishap == "chest":
        order = np.arange(6)
        if rng.random() < 0.4:
            order = order[::-1]
        else:
            first = int(rng.integers(0, 4))
            second = int(rng.integers(first + 2, 6))
            order[[first, second]] = order[[second, first]]
        return np.concatenate([channels[:2], chest[order]])
    return channels


def subtly_miswired(channels: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    """Return the channels of a record in which, now and then, an exchange went unseen.

    Left arm with leg, or two neighbouring chest cables: nobody can tell these from a healthy variant, so that a
    reading must bear them.
    """
    chance, which, pair = rng.random(), rng.random(), int(rng.integers(5))
    if chance >= share:
        return channels
    order = np.arange(8)
    exchanged = (0, 1) if which < 0.5 else (2 + pair, 3 + pair)
    order[list(exchanged)] = order[list(exchanged[::-1])]
    return channels[order]


def paced_beat(rng: np.random.Generator, variation: float) -> tuple[Waves, Waves]:
    """Return QRS and T of a ventricle paced from the right apex or outflow tract: wide, T against QRS."""
    qrs = paced_qrs(apical=bool(rng.random() < 0.7)).jittered(rng, 0.2 * variation, 0.12 * variation, 3.0 * variation)
    against = -qrs.vector_mv.sum(axis=0) * 0.20 * np.exp(0.3 * variation * rng.standard_normal())
    t = Waves.of([(*against, 258.0, 52.0, 36.0), (*(0.25 * against), 140.0, 60.0, 60.0)])
    return qrs, t


def add_spikes(
    vector_mv: np.ndarray, peaks: np.ndarray, onset_ms: float, fs_hz: float, rng: np.random.Generator
) -> np.ndarray:
    """Return the heart vector (3, L) with a pacing spike of 1–2 ms before each beat's QRS.

    Args:
        vector_mv: (3, L) mV.
        peaks: (n,) R peaks, samples.
        onset_ms: Onset of QRS from R, ms (negative).
        fs_hz: Sampling rate, Hz.
        rng: Source of randomness: size, direction and lead time are the pacemaker's own.
    """
    direction = rng.standard_normal(3)
    direction *= rng.uniform(*SPIKE_MV) / np.linalg.norm(direction)
    at = np.round(peaks + (onset_ms - rng.uniform(4.0, 14.0)) * fs_hz / 1000.0).astype(int)
    width = max(round(rng.uniform(1.0, 2.0) * fs_hz / 1000.0), 1)
    spiked = vector_mv.copy()
    for shift in range(width):
        inside = at[(at + shift >= 0) & (at + shift < vector_mv.shape[1])] + shift
        spiked[:, inside] += direction[:, None]
    return spiked
