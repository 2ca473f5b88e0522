"""What lies inside the ventricles: papillary muscles, trabeculae, the moderator band.

They are drawn in the coordinates of the wall, so they move with it, but keep their thickness in mm as muscle does.
"""

import numpy as np

from COFTrainingLib.phantom.noise import NoiseField
from COFTrainingLib.phantom.shape import Cylinder
from COFTrainingLib.phantom.tissues import Tissue
from COFTrainingLib.phantom.varied_shape import AnyShape

PAPILLARY_ANGLES_RAD = (-0.7, 2.0)
"""Anterolateral and posteromedial group; θ is 0 lateral, π/2 inferior."""


class Interior:
    """One drawn set of papillary muscles and trabeculae of a heart."""

    def __init__(self, rng: np.random.Generator, shape: AnyShape) -> None:
        self.shape = shape
        self.heads = [head for angle in PAPILLARY_ANGLES_RAD for head in self._draw_heads(rng, angle)]
        self.lv_noise = NoiseField(rng, rng.uniform(3.0, 5.5))
        self.rv_noise = NoiseField(rng, rng.uniform(3.0, 6.5))
        self.lv_layer = rng.choice([0.0, rng.uniform(0.08, 0.2), rng.uniform(0.15, 0.4)])
        own = rng.spawn(1)[0]  # so that all other draws stay as they were
        self.lv_rim_mm, self.rv_rim_mm = own.uniform(0.4, 4.0, 2)
        self.rv_compact_mm = own.uniform(0.0, 5.0)
        self.lv_share = rng.uniform(0.0, 1.1)
        self.rv_share = rng.uniform(-0.8, 0.7)
        self.band = rng.random() < 0.7
        self.band_level, self.band_slope = rng.uniform(0.4, 0.75), rng.uniform(-0.8, 0.8)
        self.band_mm = rng.uniform(1.5, 3.5)

    def _draw_heads(self, rng: np.random.Generator, angle: float) -> list[dict[str, float]]:
        size = rng.uniform(2.5, 7.5)
        heads = []
        for _ in range(int(rng.choice([0, 1, 2, 3], p=(0.05, 0.25, 0.40, 0.30)))):
            heads.append(
                {
                    "angle": angle + rng.normal(0.0, 0.35),
                    "inset_mm": rng.uniform(-1.0, 10.0),
                    "radius_mm": size * rng.uniform(0.6, 1.1),
                    "top": rng.uniform(0.22, 0.45),
                    "foot": rng.uniform(0.6, 0.92),
                }
            )
        return heads

    def paint(self, tissue: np.ndarray, at: Cylinder, scale: np.ndarray, contraction: float = 0.0) -> None:
        """Replace blood by muscle, in place.

        Args:
            tissue: (n,) codes, of which LV and RV blood are changed.
            at: (n,) end-diastolic cylinder coordinates.
            scale: (n,) current over end-diastolic distance from the LV axis.
            contraction: 0 at end-diastole … 1 at end-systole.
        """
        lv = np.flatnonzero(tissue == Tissue.LV_BLOOD)
        if lv.size:
            self._paint_lv(tissue, lv, at.taken(lv), scale[lv])
        rv = np.flatnonzero(tissue == Tissue.RV_BLOOD)
        if rv.size:
            self._paint_rv(tissue, rv, at.taken(rv), scale[rv], contraction)

    def _paint_lv(self, tissue: np.ndarray, index: np.ndarray, at: Cylinder, scale: np.ndarray) -> None:
        r, theta, z = at
        cavity = np.sqrt(self.shape.cavity_sq(theta, z))
        level = z / self.shape.length_mm
        j, i = r * np.sin(theta), r * np.cos(theta)
        points = np.stack([z, j, i], axis=1).astype(np.float32)
        # trabeculae: a meshwork along the wall, thicker towards the apex
        layer = self.lv_layer * (0.6 + 0.8 * level) * cavity
        rough = self.lv_noise(points)
        mesh = (cavity - r < layer) & (rough > 1.0 - 1.4 * self.lv_share)
        # the innermost wall is never smooth: muscle and blood mixed, which readers give to the cavity
        mesh |= (cavity - r) * scale < self.lv_rim_mm * (0.7 + 1.2 * np.clip(level, 0.0, 1.0)) * (1.0 + 0.4 * rough)
        tissue[index[mesh]] = Tissue.LV_TRABECULA
        for head in self.heads:
            middle = np.clip((level - head["top"]) / (head["foot"] - head["top"]), 0.0, 1.0)
            inset = head["inset_mm"] * (1.0 - middle**2) + 0.4 * head["radius_mm"]
            out = np.sqrt(self.shape.cavity_sq(np.full_like(z, head["angle"]), z)) - inset
            away = np.hypot(j - out * np.sin(head["angle"]), i - out * np.cos(head["angle"])) * scale
            taper = np.clip(np.minimum(level - head["top"], head["foot"] - level) / 0.08, 0.0, 1.0)
            inside = away < head["radius_mm"] * np.sqrt(taper) * (1.0 + 0.15 * rough)
            tissue[index[inside]] = Tissue.LV_PAPILLARY

    def _paint_rv(
        self, tissue: np.ndarray, index: np.ndarray, at: Cylinder, scale: np.ndarray, contraction: float
    ) -> None:
        shape, (r, theta, z) = self.shape, at
        level = z / shape.length_mm
        epi = shape.epicardium(theta, z)
        depth = np.maximum(shape.rv_depth_mm * shape.rv_profile(theta, z), 1.0)
        share = np.clip((r - epi) / depth, 0.0, 1.0)
        points = np.stack([z, r * np.sin(theta), r * np.cos(theta)], axis=1).astype(np.float32)
        noise = self.rv_noise(points)
        mesh = noise > 1.9 - self.rv_share - 1.1 * np.clip(level, 0.0, 1.0) - 0.5 * share
        mesh |= (1.0 - share) * depth < self.rv_rim_mm * (1.0 + 0.4 * noise)
        if self.band:
            band = np.abs(level - self.band_level - self.band_slope * (share - 0.5)) * shape.length_mm
            mesh |= (band < self.band_mm) & (np.abs(np.sin(theta - shape.rv_angle_rad)) < 0.25)
        tissue[index[mesh]] = Tissue.RV_TRABECULA
        # in systole the trabeculae along the free wall close up to what is read as wall
        compact = (1.0 - share) * depth * scale < self.rv_compact_mm * contraction * (1.0 + 0.4 * noise)
        tissue[index[compact]] = Tissue.RV_WALL
