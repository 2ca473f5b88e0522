"""The sac in which the heart moves: within it all moves with the heart, along it the surroundings slide.

Beyond the sac, motion towards and away from the heart falls to zero as fast as it can without folding, and motion along
the sac over ``SLIDE_MM`` or a little more: in truth it ends at once; this is what a grid of 5 mm in-plane can carry.
"""

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from COFTrainingLib.phantom.varied_shape import AnyShape

SLIDE_MM = 8.0
SAC_MM = 3.0
"""Of fat and fluid between the heart's surface and its sac where they are closest; in the grooves it is more."""
SMOOTH_RAD, SMOOTH_MM = 0.35, 12.0
ANGLES, STEP_MM, ABOVE_MM = 72, 3.0, 75.0


class Pericardium:
    """The sac of one heart at end-diastole: its distance from the LV axis, smooth around and along."""

    def __init__(self, shape: AnyShape) -> None:
        levels = np.arange(-ABOVE_MM, shape.length_mm + shape.apex_wall_mm + 30.0, STEP_MM)
        theta, z = np.meshgrid(np.arange(ANGLES) * (2 * np.pi / ANGLES), levels)
        depth = shape.rv_depth_mm * shape.rv_profile(theta, z)
        outer = shape.epicardium(theta, z) + depth + np.where(depth > 0, shape.rv_wall_mm, 0.0)
        sigma = (SMOOTH_MM / STEP_MM, SMOOTH_RAD * ANGLES / (2 * np.pi))
        smooth = gaussian_filter(outer, sigma, mode=("nearest", "wrap"))
        lacking = np.clip(outer - smooth, 0.0, None).max(axis=1)  # the sac holds the whole heart at every level
        self._table = smooth + SAC_MM + gaussian_filter(lacking, sigma[0], mode="nearest")[:, None]

    def radius_mm(self, theta: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return the sac's distance from the LV axis at end-diastolic (θ, z), mm."""
        rows = (z + ABOVE_MM) / STEP_MM
        columns = np.mod(theta, 2 * np.pi) * (ANGLES / (2 * np.pi))
        rows = np.clip(rows, 0.0, len(self._table) - 1.0)
        return map_coordinates(self._table, [rows, columns], order=1, mode="grid-wrap")

    def along(self, r: np.ndarray, theta: np.ndarray, z: np.ndarray, width_mm: np.ndarray) -> np.ndarray:
        """Return the share of a motion along the sac that is left at (r, θ, z): 1 within it, 0 ``width_mm`` beyond."""
        return 1.0 - smoothstep((r - self.radius_mm(theta, z)) / width_mm)


def across(beyond_mm: np.ndarray, shift_mm: np.ndarray) -> np.ndarray:
    """Return what is left of a radial shift at a distance beyond the sac, mm; no slope below −3/5: little is torn."""
    return shift_mm * (1.0 - smoothstep(beyond_mm / np.maximum(SLIDE_MM, 2.5 * np.abs(shift_mm))))


def smoothstep(share: np.ndarray) -> np.ndarray:
    """Return the smooth rise from 0 at 0 to 1 at 1; its steepest slope is 3/2."""
    share = np.clip(share, 0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)
