"""Calibration pulses: the same step in all leads at once, which no heart makes; bridged before beats are sought."""

import numpy as np
from scipy.ndimage import binary_closing, binary_dilation, label

from COFGeneratorLib.ecg.delineation import INDEPENDENT

LOWEST_MV = 0.3
UNEVEN = 0.2
"""Leads differ by less than this share of the pulse."""
SHORTEST_S, LONGEST_S = 0.07, 1.0
EDGE_S = 0.03
"""What filters leave of a pulse on both sides of it."""


def calibration_pulses(signal_mv: np.ndarray, fs_hz: float) -> list[tuple[int, int]]:
    """Return (first, last) sample of each pulse in (12, L) mV."""
    part = signal_mv[INDEPENDENT]
    part = part - np.median(part, axis=1, keepdims=True)
    low, high = part.min(axis=0), part.max(axis=0)
    height = np.where(low > 0, low, np.where(high < 0, -high, 0.0))
    alike = (height > LOWEST_MV) & (high - low < UNEVEN * np.abs(low + high))
    if not alike.any():
        return []
    marks, count = label(binary_closing(alike, iterations=max(1, int(0.01 * fs_hz))))
    edges = (np.flatnonzero(marks == k) for k in range(1, min(count, 100) + 1))
    return [(int(at[0]), int(at[-1])) for at in edges if len(at) and SHORTEST_S * fs_hz <= len(at) <= LONGEST_S * fs_hz]


def without_pulses(signal_mv: np.ndarray, fs_hz: float, pulses: list[tuple[int, int]]) -> np.ndarray:
    """Return a copy of (12, L) with each pulse bridged by a straight line."""
    inside = np.zeros(signal_mv.shape[1], dtype=bool)
    for first, last in pulses:
        inside[first : last + 1] = True
    inside = binary_dilation(inside, iterations=max(1, int(EDGE_S * fs_hz)))
    there = np.flatnonzero(~inside)
    if not len(there):
        return signal_mv
    return np.stack([np.interp(np.arange(len(row)), there, row[there]) for row in signal_mv]).astype(signal_mv.dtype)
