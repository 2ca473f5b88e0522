"""Where the right ventricle descends and turns with the left one, and where it goes with its own free wall.

In short-axis cines the free wall comes towards the septum, and its inferior part moves up along the septum: by 8 to
10 mm where the RV ejects a third or more, by little where it ejects a tenth. The anterior part stays.
"""

import numpy as np

from COFTrainingLib.phantom.pericardium import smoothstep
from COFTrainingLib.phantom.shape import wrapped
from COFTrainingLib.phantom.varied_shape import AnyShape

TETHER = 1.04
"""Up to this multiple of the LV's largest radius at the septum, the RV descends as the LV does: its wall is whole."""
REACH = 0.6
"""Share of the crescent's depth over which the descent grows to that of the free wall."""
RETRACTION_MM, RETRACTS_FROM = 9.0, 0.35
"""Of the inferior part at end-systole, and the RVEF from which on it is as much."""
OUTSIDE, ANTERIOR = -1.9, 0.6
"""Where the retraction begins, in the tissue below the crescent, and where it has ended, in half-widths from its
centre; at the inferior end (-1) it is whole."""
LEVELS, ABOVE_MM, LEAST_REACH_MM = 41, 60.0, 6.0


class FreeWall:
    """How far a point goes with the RV's free wall, which descends further and does not turn, or with the septum."""

    def __init__(self, shape: AnyShape) -> None:
        self._angle, self._half_width = shape.rv_angle_rad, shape.rv_half_width_rad
        angles = self._angle + np.linspace(-1.0, 1.0, 41) * (self._half_width + 0.2)
        self._tethered_mm = TETHER * float(shape.epicardium(angles, np.zeros_like(angles)).max())
        self._reach_mm = REACH * max(shape.rv_depth_mm, 1.0)
        self._levels = np.linspace(-ABOVE_MM, shape.length_mm + shape.apex_wall_mm, LEVELS)
        around, z = np.meshgrid(angles, self._levels)
        self._septum_mm = shape.epicardium(around, z).max(axis=1)
        depth = shape.rv_depth_mm * shape.rv_profile(np.full(LEVELS, self._angle), self._levels)
        self._reach_at = np.maximum(REACH * depth, LEAST_REACH_MM)

    def retraction(self, rv_ef: float) -> float:
        """Return the angle by which the inferior part comes up at end-systole, rad."""
        return RETRACTION_MM * min(rv_ef / RETRACTS_FROM, 1.0) / (self._tethered_mm + self._reach_mm)

    def retracted(self, r: np.ndarray, theta: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the share of the retraction at points of a moment, and its derivative by the angle (1/rad).

        Args:
            r, theta: Of the moment; mm and rad.
            z: At end-diastole, mm.
        """
        away = wrapped(theta - self._angle) / self._half_width
        below, within = (away - OUTSIDE) / (-1.0 - OUTSIDE), (ANTERIOR - away) / (ANTERIOR + 1.0)
        inferior = away < -1.0
        share = smoothstep(np.where(inferior, below, within))
        rising = np.clip(np.where(inferior, below, within), 0.0, 1.0)
        slope = 6.0 * rising * (1.0 - rising) / np.where(inferior, -1.0 - OUTSIDE, -(ANTERIOR + 1.0))
        septum, reach = (np.interp(z, self._levels, table) for table in (self._septum_mm, self._reach_at))
        free = smoothstep((r - septum) / reach)
        return free * share, free * slope / self._half_width

    def share(self, r: np.ndarray, theta: np.ndarray) -> np.ndarray:
        """Return the share at a distance (mm) and angle (rad) from the LV axis: 0 as the septum, 1 as the free wall."""
        away = np.abs(wrapped(theta - self._angle)) / self._half_width
        return (1.0 - self.tether(r)) * (1.0 - smoothstep(2.0 * away - 1.0))

    def tether(self, r: np.ndarray) -> np.ndarray:
        """Return how far a point at a distance (mm) from the LV axis turns with the LV: 1 beside it, 0 far out."""
        return 1.0 - smoothstep((r - self._tethered_mm) / self._reach_mm)
