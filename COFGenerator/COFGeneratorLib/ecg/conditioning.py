"""Zero-phase conditioning of a record: drift and mains out, ST segment and voltages kept."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

HIGH_PASS_HZ = 0.45
"""High-pass, below the 0.67 Hz that AHA/ACC/HRS 2007 (Circulation 115:1306) allows for zero-phase filters."""
LOW_PASS_HZ = 60.0
"""Half-amplitude frequency of the low-pass; QRS energy above it is small, muscle noise is not."""
GRID_HZ = 500.0
"""Approximate rate of the conditioned signal; beats are sampled from it by cubic splines."""
PAD_S = 2.0
MAINS_HZ = (50.0, 60.0)
MAINS_RATIO = 6.0
"""A line this many times stronger than its neighbourhood (in amplitude) is taken for mains hum."""


@dataclass(frozen=True)
class ConditionedSignal:
    """A conditioned record that can be sampled at any time.

    Attributes:
        spline: (n, L) cubic B-spline coefficients of the signal at ``fs_hz``.
        fs_hz: Rate of the coefficients, Hz.
        origin: Position of time zero among the coefficients (a fraction: the grid rarely falls on the first sample).
        duration_s: Length of the record, s.
        hum: Whether mains hum was found and removed.
    """

    spline: np.ndarray
    fs_hz: float
    origin: float
    duration_s: float
    hum: bool

    def at(self, time_s: np.ndarray, rows: Sequence[int] | slice = slice(None)) -> np.ndarray:
        """Sample leads at times (m,) s; returns (n, m) mV. Beyond the record the nearest sample is returned."""
        spline = self.spline[rows]
        position = np.clip(time_s * self.fs_hz + self.origin, 0.0, self.spline.shape[1] - 1.0)
        base = np.clip(np.floor(position).astype(np.intp), 1, self.spline.shape[1] - 3)
        x = position - base
        # The four cubic B-spline weights (Unser, IEEE Signal Process. Mag. 1999;16(6):22).
        weights = ((1 - x) ** 3 / 6, (3 * x**3 - 6 * x**2 + 4) / 6, (-3 * x**3 + 3 * x**2 + 3 * x + 1) / 6, x**3 / 6)
        return sum(w * spline[:, base + k] for k, w in zip((-1, 0, 1, 2), weights, strict=True))


def condition(signal_mv: np.ndarray, fs_hz: float) -> ConditionedSignal:
    """Filter and resample (n, L) mV in one Fourier step.

    The gain is real, so the phase of every component, and with it the timing of every wave, stays.

    Args:
        signal_mv: (n, L) mV.
        fs_hz: Rate, Hz.

    Returns:
        The conditioned record at about ``GRID_HZ``.
    """
    length = signal_mv.shape[1]
    pad = min(int(PAD_S * fs_hz), length - 1)
    total = length + 2 * pad
    # An odd reflection continues value and slope, so the periodic wrap of the transform rings in the padding only.
    x = np.asarray(signal_mv, dtype=np.float64)
    left = 2 * x[:, :1] - x[:, pad:0:-1]
    right = 2 * x[:, -1:] - x[:, -2 : -pad - 2 : -1]
    padded = np.concatenate([left, x, right], axis=1)
    padded -= np.linspace(0, 1, total) * (padded[:, -1:] - padded[:, :1]) + padded[:, :1]
    spectrum = fft.rfft(padded, axis=1)  # (n, F)
    frequency = fft.rfftfreq(total, 1.0 / fs_hz)
    gain, hum = _gain(frequency, np.abs(spectrum).mean(axis=0))
    spectrum *= gain

    out = fft.next_fast_len(int(np.ceil(total * GRID_HZ / fs_hz)), real=True)
    out_hz = out / total * fs_hz
    signal = fft.irfft(spectrum, out, axis=1) * (out / total)
    start = pad / fs_hz * out_hz
    first = max(0, int(start) - 4)
    stop = min(out, int(np.ceil(start + length / fs_hz * out_hz)) + 4)
    coefficients = ndimage.spline_filter1d(signal[:, first:stop], axis=1, mode="mirror")
    return ConditionedSignal(coefficients, out_hz, start - first, length / fs_hz, hum)


def _gain(frequency: np.ndarray, magnitude: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return the real gain over (F,) frequencies and whether mains hum was notched."""
    with np.errstate(divide="ignore"):
        gain = 1.0 / (1.0 + (HIGH_PASS_HZ / frequency) ** 6) / (1.0 + (frequency / LOW_PASS_HZ) ** 6)
    gain[0] = 0.0
    hum = False
    for line in MAINS_HZ:
        near = np.abs(frequency - line) < 0.6
        around = (np.abs(frequency - line) > 1.5) & (np.abs(frequency - line) < 6.0)
        if near.any() and around.any() and magnitude[near].max() > MAINS_RATIO * np.median(magnitude[around]):
            gain *= 1.0 - np.exp(-0.5 * ((frequency - line) / 0.8) ** 2)
            hum = True
    return gain, hum
