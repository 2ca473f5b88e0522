"""Frame times in ms, whatever the unit a file is written in."""

from collections.abc import Sequence

import numpy as np

MS_PER_UNIT = {
    "s": 1000.0, "sec": 1000.0, "second": 1000.0, "seconds": 1000.0,
    "ms": 1.0, "msec": 1.0, "millisecond": 1.0, "milliseconds": 1.0,
    "us": 1e-3, "usec": 1e-3, "microsecond": 1e-3, "microseconds": 1e-3,
}  # fmt: skip
PLAUSIBLE_STEP_MS = (4.0, 1500.0)
PLAUSIBLE_CYCLE_MS = (250.0, 3000.0)
"""One R–R from 240 down to 20 beats a minute; the step reaches high because a file may hold end-diastole and
end-systole only."""


def frame_times_ms(values: Sequence[float] | np.ndarray, unit: str) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Convert frame times to ms, and say what had to be assumed.

    A stated unit is believed if it makes a heart beat of plausible length. Without one, or with one that cannot be,
    the only unit that does is taken; where none does, the times count as missing.

    Args:
        values: (n,) times in the file's unit, at least two.
        unit: The file's unit, or "" where it states none.

    Returns:
        (n,) times in ms, or empty; and warnings.
    """
    times = np.asarray(values, dtype=float)
    unit = unit.strip().lower()
    if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        return (), ("The file's frame times are missing or do not increase; give the R–R interval or frame time.",)
    stated = MS_PER_UNIT.get(unit)
    if stated and plausible(times * stated):
        return tuple(float(t) for t in times * stated), ()
    for name, factor in (("ms", 1.0), ("s", 1000.0), ("µs", 1e-3)):
        if factor != stated and not _is_a_count(times) and plausible(times * factor):
            found = "a unit that makes no heart beat" if unit else "no unit"
            return tuple(float(t) for t in times * factor), (f"Frame times have {found}; they are taken as {name}.",)
    step = float(np.median(np.diff(times)))
    shown = unit if stated else "of an unknown unit" if unit else "without unit"
    return (), (
        f"The file does not state a usable frame time (step {step:g} {shown}); give the R–R interval "
        "or frame time where timing matters.",
    )


def plausible(times_ms: np.ndarray) -> bool:
    """Whether these times can be the frames of one heart beat."""
    step = float(np.median(np.diff(times_ms)))
    cycle = float(times_ms[-1] - times_ms[0]) + step
    low, high = PLAUSIBLE_STEP_MS
    return low <= step <= high and PLAUSIBLE_CYCLE_MS[0] <= cycle <= PLAUSIBLE_CYCLE_MS[1]


def _is_a_count(times: np.ndarray) -> bool:
    """Whether the values merely number the frames 0, 1, 2 … (a step of one says nothing)."""
    return bool(np.allclose(np.diff(times), 1.0))
