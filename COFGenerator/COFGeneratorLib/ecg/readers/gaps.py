"""Samples that are missing: cut off at the ends, bridged where the gap is short, else named."""

import numpy as np

from COFGeneratorLib.ecg.record import LEADS
from COFGeneratorLib.errors import EcgError

STILL_S = 0.75
"""All leads at rest at an end for longer than this is padding: a heart and its noise never stand still so long."""
BRIDGED_S = 0.05
"""Longest gap of a lead that a straight line bridges: half a QRS, and no beat is lost in it."""


def without_padding(signal: np.ndarray, fs_hz: float, warnings: list[str]) -> np.ndarray:
    """Cut off both ends of (12, L) where samples are missing, or where all leads stand still."""
    kept = np.isfinite(signal).all(axis=0)
    if not kept.any():
        return signal
    missing = (int(kept.argmax()), int(kept[::-1].argmax()))
    signal = signal[:, missing[0] : signal.shape[1] - missing[1]]
    moving = (signal != signal[:, :1]).any(axis=0), (signal != signal[:, -1:]).any(axis=0)[::-1]
    still = [int(moved.argmax()) if moved.any() else 0 for moved in moving]
    longest = STILL_S * fs_hz if np.isfinite(fs_hz) else np.inf
    still = [count - 1 if count > longest else 0 for count in still]
    cut = missing[0] + missing[1] + sum(still)
    if cut:
        what = "missing samples" if not sum(still) else "padding"
        seconds = f" ({cut / fs_hz:.2f} s)" if fs_hz > 0 else ""
        warnings.append(f"{cut} samples{seconds} of {what} at the ends were cut off.")
    return signal[:, still[0] : signal.shape[1] - still[1]]


def bridged(signal: np.ndarray, fs_hz: float, warnings: list[str]) -> np.ndarray:
    """Bridge short gaps of (12, L), whose first and last samples are there, by straight lines.

    Raises:
        EcgError: If a gap is longer than ``BRIDGED_S``.
    """
    missing = ~np.isfinite(signal)
    if not missing.any() or not fs_hz > 0:
        return signal
    out, gaps = signal.copy(), 0
    for row in np.flatnonzero(missing.any(axis=1)):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], missing[row].astype(np.int8), [0]])))
        lengths = edges[1::2] - edges[::2]
        worst = int(lengths.argmax())
        if lengths[worst] > BRIDGED_S * fs_hz:
            raise EcgError(
                f"Leads without gaps longer than {1000 * BRIDGED_S:.0f} ms are needed; {LEADS[row]} misses "
                f"{lengths[worst] / fs_hz:.2f} s from {edges[2 * worst] / fs_hz:.2f} s on, or holds no finite values "
                "there. Cut out a part without gaps."
            )
        gaps += len(lengths)
        there = np.flatnonzero(~missing[row])
        out[row, missing[row]] = np.interp(np.flatnonzero(missing[row]), there, signal[row, there])
    rows = missing.any(axis=1)
    names = ", ".join(name for name, short in zip(LEADS, rows, strict=True) if short)
    warnings.append(
        f"{int(missing.sum())} missing samples in {gaps} gap(s) of at most {1000 * BRIDGED_S:.0f} ms were bridged by "
        f"straight lines ({names})."
    )
    return out
