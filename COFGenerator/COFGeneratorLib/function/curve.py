"""A volume over one periodic R–R interval: smoothing, interpolation, and when systole ends."""

from dataclasses import dataclass

import numpy as np

from COFGeneratorLib.errors import FunctionError

PLATEAU_FRACTION = 0.10
"""ES is the centre of the time within this fraction of SV above the minimum: the isovolumic plateau is flat, so the
minimum itself is decided by noise (its error was 1.2 of 50 frames where the plateau centre's was 0.4)."""

ES_WINDOW = (0.15, 0.65)
"""Fractions of the cycle, from R, between which systole ends at any rate from 40 to 150 beats per minute."""

MIN_STROKE_VOLUME_ML = 0.5
"""Below this the chamber stands still and an end of systole does not exist."""

SMOOTHING_FRAMES = 20
"""Curves with fewer frames are not smoothed: neighbours are then real physiology, not noise."""

_DENSE = 4000


@dataclass(frozen=True)
class EndSystole:
    """When the ventricle is smallest.

    Attributes:
        time_ms: Centre of the plateau, ms from R; NaN where the chamber stands still.
        frame: The same as a fractional frame index.
        argmin_frame: Index of the smallest volume among the frames, the definition of the papers.
    """

    time_ms: float
    frame: float
    argmin_frame: int

    def nearest_frame(self, frames: int) -> int:
        """Return the index of the frame nearest to the plateau's centre, of ``frames`` in the cycle."""
        return self.argmin_frame if np.isnan(self.frame) else round(self.frame) % frames


def check_curve(volume_ml: np.ndarray, rr_ms: float) -> np.ndarray:
    """Return the curve as (T,) float64 after checking that it can be measured.

    Raises:
        FunctionError: If there are fewer than four frames, missing or negative volumes, or no cycle length.
    """
    volume = np.asarray(volume_ml, dtype=np.float64)
    if volume.ndim != 1 or volume.size < 4:
        raise FunctionError(
            f"A volume curve needs at least 4 frames in one row; found shape {volume.shape}. Generate more frames."
        )
    if not np.isfinite(volume).all() or (volume < 0).any():
        raise FunctionError(
            f"Volumes must be finite and not negative; found {volume.min():.1f} to {volume.max():.1f} mL. "
            "Check the labels and the spacing of the anchor."
        )
    if not (np.isfinite(rr_ms) and rr_ms > 0):
        raise FunctionError(f"The cycle length must be a positive number of ms; found {rr_ms}. Check the ECG.")
    return volume


def smooth_periodic(volume_ml: np.ndarray) -> np.ndarray:
    """Return the curve after a five-point quadratic fit around every frame, wrapped over the cycle.

    A running mean would flatten the peaks and so take stroke volume away; a quadratic keeps them.
    """
    from scipy.signal import savgol_filter

    volume = np.asarray(volume_ml, dtype=np.float64)
    if volume.size < SMOOTHING_FRAMES:
        return volume.copy()
    return savgol_filter(volume, window_length=5, polyorder=2, mode="wrap")


def interpolate_periodic(volume_ml: np.ndarray, time_ms: np.ndarray, rr_ms: float, at_ms: np.ndarray) -> np.ndarray:
    """Return the periodic cubic spline through (``time_ms``, ``volume_ml``) at other times, (N,)."""
    from scipy.interpolate import CubicSpline

    knots = np.append(time_ms, time_ms[0] + rr_ms)
    spline = CubicSpline(knots, np.append(volume_ml, volume_ml[0]), bc_type="periodic")
    return spline(np.asarray(at_ms, dtype=np.float64))


def end_systole(volume_ml: np.ndarray, rr_ms: float, time_ms: np.ndarray | None = None) -> EndSystole:
    """Find the end of systole as the centre of the plateau around the smallest volume.

    Args:
        volume_ml: (T,) volumes over one R–R, mL.
        rr_ms: Length of the cycle, ms.
        time_ms: (T,) times from R, ms, increasing and within one cycle; evenly spread from 0 if not given.

    Raises:
        FunctionError: If the curve cannot be measured (``check_curve``).
    """
    volume = check_curve(volume_ml, rr_ms)
    time = np.arange(volume.size) * (rr_ms / volume.size) if time_ms is None else np.asarray(time_ms, dtype=np.float64)
    argmin = int(volume.argmin())

    dense_ms = np.linspace(0.0, rr_ms, _DENSE, endpoint=False)
    dense = interpolate_periodic(volume, time, rr_ms, dense_ms)
    first, last = (round(edge * _DENSE) for edge in ES_WINDOW)
    bottom = first + int(dense[first : last + 1].argmin())
    if dense.max() - dense[bottom] < MIN_STROKE_VOLUME_ML:
        return EndSystole(float("nan"), float("nan"), argmin)

    above = dense > dense[bottom] + PLATEAU_FRACTION * (dense.max() - dense[bottom])
    step_ms = rr_ms / _DENSE
    # The curve is periodic and somewhere above the plateau, so both walks end.
    left = right = bottom
    while not above[(left - 1) % _DENSE]:
        left -= 1
    while not above[(right + 1) % _DENSE]:
        right += 1
    centre_ms = 0.5 * (left + right) * step_ms % rr_ms
    since_first_ms = (centre_ms - time[0]) % rr_ms
    frame = float(np.interp(since_first_ms, np.append(time - time[0], rr_ms), np.arange(volume.size + 1)))
    return EndSystole(float(centre_ms), frame, argmin)
