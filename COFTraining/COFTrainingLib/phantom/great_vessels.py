"""The base of the heart above the ventricles: atria, aortic root, outflow tract and pulmonary trunk.

Short-axis stacks reach into them, and a contour must stop where they begin. Shapes are given at end-diastole in
heart axes with z from the LV base plane (negative above it); they ride on the base as it descends.
"""

import numpy as np

from COFTrainingLib.phantom.tissues import Tissue
from COFTrainingLib.phantom.varied_shape import AnyShape


class GreatVessels:
    """One drawn set of atria and great vessels; sizes follow the heart's LV radius and RV depth."""

    def __init__(self, rng: np.random.Generator, shape: AnyShape) -> None:
        size = shape.radius_mm
        lateral = size + shape.wall_mm + 0.5 * shape.rv_depth_mm

        def jitter(*values: float, by: float = 0.15) -> np.ndarray:
            return np.array(values) * rng.uniform(1 - by, 1 + by, len(values)) + rng.normal(0.0, 2.0, len(values))

        left, right = rng.uniform(0.8, 1.35), rng.uniform(0.8, 1.25)
        radii_left = jitter(0.8 * size, 0.95 * size, 0.95 * size) * left
        radii_right = jitter(0.95 * size, 0.85 * size, 0.6 * size + 0.25 * shape.rv_depth_mm) * right
        appendage = np.full(3, rng.uniform(7, 13))
        self.ellipsoids = [
            (Tissue.LEFT_ATRIUM, jitter(-0.8 * radii_left[0], 0.45 * size, 0.25 * size), radii_left),
            (Tissue.RIGHT_ATRIUM, jitter(-0.85 * radii_right[0], 0.6 * size, -0.95 * lateral), radii_right),
            (Tissue.LEFT_ATRIUM, jitter(-0.6 * size, -0.6 * size, 0.8 * size), appendage),
        ]
        root, trunk = rng.uniform(0.42, 0.66) * size + 2, rng.uniform(0.42, 0.64) * size + 2
        self.tubes = [
            (Tissue.AORTIC_ROOT, jitter(2.0, -0.3 * size, -0.4 * size), jitter(-75.0, -0.3 * size, -1.5 * size), root),
            (
                Tissue.PULMONARY_TRUNK,
                jitter(4.0, -0.95 * size, -0.75 * lateral),
                jitter(-60.0, -1.45 * size, 0.1 * size),
                trunk,
            ),
            (Tissue.RIGHT_ATRIUM, jitter(4.0, 0.75 * lateral, -0.5 * size), jitter(-2, size, size), rng.uniform(2, 5)),
        ]
        self.wall_mm = rng.uniform(1.0, 2.5)
        rng.random()  # a draw that is no longer used; without it every seed would get another body and scan

    def outflow(
        self, levels: list[tuple[Tissue, np.ndarray]], z: np.ndarray, aortic_mm: float, pulmonary_mm: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return where the outflow tracts lie below their valves, (n,) bool each: parts of the LV and RV cavities.

        Args:
            levels: Result of ``levels``.
            z: (n,) height below the base plane, mm.
            aortic_mm, pulmonary_mm: How high above the LV's base plane the valves lie.
        """
        lumen = {tissue: np.zeros(z.shape, dtype=bool) for tissue in (Tissue.AORTIC_ROOT, Tissue.PULMONARY_TRUNK)}
        for tissue, outside in levels:
            if tissue in lumen:
                lumen[tissue] |= outside < 0
        left, right = lumen[Tissue.AORTIC_ROOT], lumen[Tissue.PULMONARY_TRUNK]
        return left & (z > -aortic_mm), right & (z > -pulmonary_mm)

    def levels(self, z: np.ndarray, j: np.ndarray, i: np.ndarray) -> list[tuple[Tissue, np.ndarray]]:
        """Return (tissue, distance outside its lumen in mm, (n,)) of every chamber; the last one drawn wins."""
        out = []
        for tissue, centre, radii in self.ellipsoids:
            level = np.sqrt(sum(((p - c) / s) ** 2 for p, c, s in zip((z, j, i), centre, radii, strict=True)))
            out.append((tissue, (level - 1.0) * float(radii.min())))
        for tissue, start, end, radius in self.tubes:
            axis = end - start
            along = ((z - start[0]) * axis[0] + (j - start[1]) * axis[1] + (i - start[2]) * axis[2]) / (axis @ axis)
            along = np.clip(along, 0.0, 1.0)
            away = [p - s - along * a for p, s, a in zip((z, j, i), start, axis, strict=True)]
            out.append((tissue, np.sqrt(away[0] ** 2 + away[1] ** 2 + away[2] ** 2) - radius))
        return out
