"""Where the right ventricle descends and turns with the left one, and where it goes with its own free wall."""

import numpy as np

from COFTrainingLib.phantom.pericardium import smoothstep
from COFTrainingLib.phantom.varied_shape import AnyShape

TETHER = 1.04
"""Up to this multiple of the LV's largest radius at the septum, the RV descends as the LV does: its wall is whole."""
REACH = 0.6
"""Share of the crescent's depth over which the descent grows to that of the free wall."""


class FreeWall:
    """How far a point goes with the RV's free wall, which descends further and does not turn, or with the septum."""

    def __init__(self, shape: AnyShape) -> None:
        self._angle, self._half_width = shape.rv_angle_rad, shape.rv_half_width_rad
        angles = self._angle + np.linspace(-1.0, 1.0, 41) * (self._half_width + 0.2)
        self._tethered_mm = TETHER * float(shape.epicardium(angles, np.zeros_like(angles)).max())
        self._reach_mm = REACH * max(shape.rv_depth_mm, 1.0)

    def share(self, r: np.ndarray, theta: np.ndarray) -> np.ndarray:
        """Return the share at a distance (mm) and angle (rad) from the LV axis: 0 as the septum, 1 as the free wall."""
        away = np.abs(np.angle(np.exp(1j * (theta - self._angle)))) / self._half_width
        return (1.0 - self.tether(r)) * (1.0 - smoothstep(2.0 * away - 1.0))

    def tether(self, r: np.ndarray) -> np.ndarray:
        """Return how far a point at a distance (mm) from the LV axis turns with the LV: 1 beside it, 0 far out."""
        return 1.0 - smoothstep((r - self._tethered_mm) / self._reach_mm)
