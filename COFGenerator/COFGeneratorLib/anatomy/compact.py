"""Generated frames in the numbers that the anchor itself is stored in."""

import numpy as np

MIN_INTEGER_LEVELS = 200
"""Below this many grey levels rounding to integers would be visible."""


def compact_frames(frames: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    """Return frames as int16 where the anchor itself holds integers, else as float32.

    A scanner's volume is integer, so the generated frames lose at most half a grey level and halve in size; frame 0
    stays the anchor exactly.

    Args:
        frames: (T, D, H, W) float.
        anchor: (D, H, W) voxels of the anchor.
    """
    low, high = float(anchor.min()), float(anchor.max())
    whole = bool((anchor == np.rint(anchor)).all())
    limits = np.iinfo(np.int16)
    in_range = limits.min <= min(low, float(frames.min())) and max(high, float(frames.max())) <= limits.max
    if whole and in_range and high - low >= MIN_INTEGER_LEVELS:
        stored = np.empty(frames.shape, np.int16)
        for one, frame in zip(stored, frames, strict=True):  # of all at once there would be another copy
            np.rint(frame, out=one, casting="unsafe")
        return stored
    return np.ascontiguousarray(frames, dtype=np.float32)
