"""The thin muscular ring between the ventricle's full wall and its valves, which readers still count to the ventricle.

Above the base plane the wall does not end: it thins over one or two centimetres towards the mitral annulus and, on the
septal side, bounds the outflow tract, while the lumen narrows. Contours of many cohorts hold one slice of it, or two.
"""

import numpy as np

from COFTrainingLib.phantom.shape import Cylinder
from COFTrainingLib.phantom.tissues import Tissue
from COFTrainingLib.phantom.varied_shape import AnyShape

REPLACED = (Tissue.VESSEL_WALL, Tissue.EPICARDIAL_FAT, Tissue.LV_ORIFICE, Tissue.LEFT_ATRIUM, Tissue.AORTIC_ROOT)
"""What the ring is drawn over; right ventricle and atrium stay."""


class BasalRing:
    """One drawn ring of a heart."""

    def __init__(self, rng: np.random.Generator, shape: AnyShape) -> None:
        self.shape = shape
        self.height_mm = float(rng.uniform(5.0, 20.0))
        self.narrowing = float(rng.uniform(0.0, 0.25))
        self.thickness_mm = max(1.5, float(rng.uniform(0.35, 0.9)) * shape.wall_mm)

    def paint(self, tissue: np.ndarray, at: Cylinder) -> None:
        """Draw the ring and the lumen within it into codes (n,) at end-diastolic cylinder coordinates, in place."""
        shape = self.shape
        up = (shape.base_z(at.r, at.theta) - at.z) / self.height_mm  # 0 at the base plane, 1 at the ring's upper edge
        near = np.flatnonzero((up > 0) & (up < 1) & np.isin(tissue, REPLACED))
        up, (r, theta, z) = up[near], at.taken(near)
        inner = np.sqrt(shape.cavity_sq(theta, z)) * (1.0 - self.narrowing * up)
        wall = self.thickness_mm * (1.0 - 0.5 * up)
        tissue[near[r <= inner]] = Tissue.LV_ORIFICE
        tissue[near[(r > inner) & (r <= inner + wall)]] = Tissue.MYOCARDIUM
