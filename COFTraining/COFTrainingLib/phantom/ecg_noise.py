"""What the electrodes and the recorder add: wander, muscle, mains, steps, a bad contact, gain errors and filters."""

import numpy as np
from scipy.signal import butter, lfilter, sosfilt, sosfiltfilt

LOW_PASS_HZ = (40.0, 100.0, 150.0)
HIGH_PASS_HZ = (0.05, 0.15, 0.5)
TROUBLED = 0.07
"""How often a record has a step of the baseline, a burst of muscle, or one electrode in bad contact; each apart."""


def electrode_noise(rng: np.random.Generator, samples: int, fs_hz: float, level: float = 1.0) -> np.ndarray:
    """Return noise of the eight channels I, II, V1–V6, (8, samples) mV.

    It arises at the nine electrodes, so the limb electrodes' share reaches every chest lead through Wilson's terminal,
    as in a real recording.

    Args:
        rng: Source of randomness.
        samples: Length.
        fs_hz: Sampling rate, Hz.
        level: Scale of all of it; 0 returns zeros.
    """
    time = np.arange(samples) / fs_hz
    strength = level * np.exp(0.5 * rng.standard_normal(3))
    muscle = lfilter([1.0], [1.0, -0.35], rng.standard_normal((9, samples), dtype=np.float32), axis=1)
    noise = 0.009 * strength[0] * np.exp(0.3 * rng.standard_normal((9, 1))) * muscle
    for _ in range(2):
        rate, phase = rng.uniform(0.12, 0.35), rng.uniform(0, 2 * np.pi)
        noise += 0.05 * strength[1] * rng.standard_normal((9, 1)) * np.sin(2 * np.pi * rate * time + phase)
    drift = 0.04 * strength[1] * rng.standard_normal((9, 1))
    noise += drift * np.linspace(-1.0, 1.0, samples)
    mains = rng.choice((50.0, 60.0))
    hum = 0.003 * strength[2] * rng.standard_normal((9, 1))
    if mains < fs_hz / 2:
        noise += hum * np.sin(2 * np.pi * (mains * time + rng.random()))
    noise += level * _trouble(rng, samples, fs_hz)
    right_arm, left_arm, left_leg, chest = noise[0], noise[1], noise[2], noise[3:]
    limb = np.stack([left_arm - right_arm, left_leg - right_arm])
    return np.concatenate([limb, chest - noise[:3].mean(axis=0)])


def _trouble(rng: np.random.Generator, samples: int, fs_hz: float) -> np.ndarray:
    """Return what befalls single electrodes now and then, (9, samples) mV."""
    trouble = np.zeros((9, samples))
    steps, burst, contact = rng.random(3) < TROUBLED
    electrode, other = rng.integers(9, size=2)
    if steps:
        at = rng.integers(samples)
        fall = np.exp(-np.arange(samples - at) / (rng.uniform(0.1, 0.8) * fs_hz))
        trouble[electrode, at:] += rng.choice((-1.0, 1.0)) * rng.uniform(0.3, 1.5) * fall
    if burst:
        first, length = rng.integers(samples), int(rng.uniform(0.3, 2.5) * fs_hz)
        stretch = trouble[:, first : first + length]
        stretch += rng.uniform(0.02, 0.08) * rng.standard_normal(stretch.shape)
    if contact:
        walk = np.cumsum(rng.standard_normal(samples)) / np.sqrt(fs_hz)
        trouble[other] += rng.uniform(0.1, 0.6) * walk + rng.uniform(0.01, 0.06) * rng.standard_normal(samples)
    return trouble


def recorder(rng: np.random.Generator, channels: np.ndarray, fs_hz: float, gain_sd: float = 0.05) -> np.ndarray:
    """Return the channels as a recorder stores them: gain errors, a high-pass and a low-pass filter.

    Args:
        rng: Source of randomness; picks the filters.
        channels: (8, L) mV.
        fs_hz: Sampling rate, Hz.
        gain_sd: SD of each channel's gain.
    """
    channels = channels * (1.0 + gain_sd * rng.standard_normal((8, 1)))
    low, high = rng.choice(LOW_PASS_HZ, p=(0.25, 0.25, 0.5)), rng.choice(HIGH_PASS_HZ, p=(0.4, 0.4, 0.2))
    if low < 0.45 * fs_hz:
        channels = sosfiltfilt(butter(2, low, fs=fs_hz, output="sos"), channels, axis=1)
    return sosfilt(butter(1, high, "high", fs=fs_hz, output="sos"), channels - channels[:, :1], axis=1)


def fibrillation(rng: np.random.Generator, samples: int, fs_hz: float) -> np.ndarray:
    """Return the fibrillating atria's heart vector, (3, samples) mV: 4–9 Hz, 0.05–0.1 mV, strongest in V1."""
    time = np.arange(samples) / fs_hz
    wave = np.zeros(samples)
    for share in (1.0, 0.5, 0.35):
        rate = rng.uniform(4.0, 9.0)
        wobble = 0.8 * np.sin(2 * np.pi * rng.uniform(0.2, 0.8) * time + rng.uniform(0, 2 * np.pi))
        wave += share * np.sin(2 * np.pi * rate * time + wobble + rng.uniform(0, 2 * np.pi))
    direction = np.array([-0.25, 0.45, -0.75]) + 0.25 * rng.standard_normal(3)
    return rng.uniform(0.05, 0.10) * direction[:, None] * wave / 1.5
