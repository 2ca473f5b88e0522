"""The whole scene that a short-axis stack cuts: a beating heart inside a drawn body."""

import numpy as np

from COFTrainingLib.phantom.basal_ring import BasalRing
from COFTrainingLib.phantom.great_vessels import GreatVessels
from COFTrainingLib.phantom.heart import TISSUES, BeatingHeart
from COFTrainingLib.phantom.interior import Interior
from COFTrainingLib.phantom.noise import Blobs, NoiseField
from COFTrainingLib.phantom.shape import Cylinder, wrapped
from COFTrainingLib.phantom.thorax import Thorax
from COFTrainingLib.phantom.tissues import Tissue

HEART_REACH_MM = 32.0
"""How far beyond the heart's outer surface fat and great vessels are looked for."""
VALVE_MM = 7.0
"""Above the base plane the orifices are this deep; what lies higher is atrium or vessel by its own shape."""
VALVE_RING_MM = 3.0
"""The right ventricle's muscle ends this far above the plane of its valve."""

_FROM_HEART = np.zeros(len(TISSUES), dtype=np.uint8)
for _name, _tissue in {
    "lv": Tissue.LV_BLOOD,
    "myocardium": Tissue.MYOCARDIUM,
    "rv": Tissue.RV_BLOOD,
    "rv_wall": Tissue.RV_WALL,
}.items():
    _FROM_HEART[TISSUES.index(_name)] = _tissue
_BASAL_BLOOD, _BASAL_WALL = TISSUES.index("basal_blood"), TISSUES.index("basal_wall")


def draw_patient_axes(rng: np.random.Generator) -> np.ndarray:
    """Draw how the heart lies in the chest: (3, 3), rows the heart's k, j, i axes in RAS.

    The long axis points left, forward and down; hearts range from upright to lying (Engblom et al., JCMR 2005).
    """
    apex = np.array([-0.62, 0.60, -0.50]) + rng.normal(0.0, 0.16, 3)
    lateral = np.array([-0.70, -0.70, 0.10]) + rng.normal(0.0, 0.20, 3)
    k_axis = apex / np.linalg.norm(apex)
    i_axis = lateral - k_axis * (k_axis @ lateral)
    i_axis /= np.linalg.norm(i_axis)
    return np.stack([k_axis, np.cross(i_axis, k_axis), i_axis])


class Scene:
    """A beating heart in its body.

    Args:
        rng: Source of randomness; everything but the heart is drawn from it.
        heart: The heart.
        axes_ras: (3, 3) rows are the heart's k, j, i axes in RAS; drawn where None.
        outflow: Draw outflow tracts and the LV's basal ring as parts of the ventricles, as readers contour them. The
            labels then hold more than the analytic heart's.
    """

    def __init__(
        self, rng: np.random.Generator, heart: BeatingHeart, axes_ras: np.ndarray | None = None, outflow: bool = False
    ) -> None:
        self.heart = heart
        self.axes_ras = draw_patient_axes(rng) if axes_ras is None else np.asarray(axes_ras, dtype=float)
        self.vessels = GreatVessels(rng, heart.shape)
        self.interior = Interior(rng, heart.shape)
        self.thorax = Thorax(rng, self._outer_points() @ self.axes_ras, self.axes_ras[1])
        thin, usual, thick = rng.uniform(0.0, 1.5), rng.uniform(0.5, 4.0), rng.uniform(3.0, 9.0)
        self.fat_mm = rng.choice([thin, usual, thick], p=(0.45, 0.4, 0.15))
        self.groove_mm = rng.uniform(0.0, 8.0)
        self.pericardium_mm = rng.uniform(0.0, 2.5)
        self.pad_threshold = rng.uniform(-0.3, 2.0)
        self.relief = NoiseField(rng, rng.uniform(14, 26))
        self.coronaries = Blobs(rng, 18.0, (0.8, 2.8), 0.6, 3.0)
        self.valves_mm = (rng.uniform(0, 14), rng.uniform(0, 35)) if outflow else None
        self.ring = BasalRing(rng.spawn(1)[0], heart.shape) if outflow else None  # all other draws stay as they were
        own = rng.spawn(1)[0]
        self.rv_fat_mm = own.choice([0.0, own.uniform(0.0, 4.0), own.uniform(3.0, 12.0)])
        self.epicardium_mm = own.uniform(0.0, 1.4)

    def tissue_at(self, points_mm: np.ndarray, time_ms: float = 0.0, body: np.ndarray | None = None) -> np.ndarray:
        """Return the tissue at heart-frame points.

        Args:
            points_mm: (n, 3) heart-frame points (k, j, i), mm.
            time_ms: Time from the R wave.
            body: (n,) codes of the body there, where already known (``body_at``).

        Returns:
            (n,) uint8 codes of ``Tissue``.
        """
        points = np.asarray(points_mm, dtype=np.float64)
        tissue = self.body_at(points) if body is None else body.copy()
        low, high = self._box()
        near = np.flatnonzero(((points > low) & (points < high)).all(axis=1))
        if near.size:
            tissue[near] = self._heart_region(tissue[near], points[near], time_ms)
        return tissue

    def body_at(self, points_mm: np.ndarray) -> np.ndarray:
        """Return the tissue of the body without the heart at heart-frame points (n, 3), (n,) uint8."""
        return self.thorax.tissue_at(np.asarray(points_mm) @ self.axes_ras)

    def _outer_points(self) -> np.ndarray:
        shape = self.heart.shape
        theta, level = np.meshgrid(np.linspace(-np.pi, np.pi, 37), np.linspace(-0.15, 1.05, 19))
        z = level * shape.length_mm
        r = self._outer_radius(theta, z)
        return shape.cartesian(r, theta, z).reshape(-1, 3)

    def _outer_radius(self, theta: np.ndarray, z: np.ndarray) -> np.ndarray:
        shape = self.heart.shape
        depth = shape.rv_depth_mm * shape.rv_profile(theta, z)
        return shape.epicardium(theta, z) + depth + np.where(depth > 0, shape.rv_wall_mm, 0.0)

    def _box(self) -> tuple[np.ndarray, np.ndarray]:
        outer = self._outer_points()
        low, high = outer.min(axis=0) - HEART_REACH_MM, outer.max(axis=0) + HEART_REACH_MM
        low[0] -= 55.0  # atria and great vessels
        return low, high

    def _heart_region(self, tissue: np.ndarray, points: np.ndarray, time_ms: float) -> np.ndarray:
        heart, shape = self.heart, self.heart.shape
        still = points + heart.pull_mm(points, time_ms) if time_ms else points
        still = still.astype(np.float32)
        z, j, i = shape.about_axis(still)
        at = Cylinder(np.hypot(j, i), np.arctan2(j, i), z)
        _, moved_j, moved_i = shape.about_axis(points)
        scale = np.where(at.r > 1.0, np.hypot(moved_j, moved_i) / np.maximum(at.r, 1.0), 1.0).astype(np.float32)
        chambers = self.vessels.levels(z, j, i)
        tip = shape.length_mm + shape.apex_wall_mm
        gap = np.hypot(np.clip(at.r - self._outer_radius(at.theta, z), 0.0, None), np.clip(z - tip, 0.0, None))
        gap = np.where(z < -VALVE_MM, np.hypot(gap, z + VALVE_MM), gap)
        for _, outside in chambers:
            gap = np.minimum(gap, np.clip(outside - self.vessels.wall_mm, 0.0, None))
        self._paint_sac(tissue, still, gap, at)
        for code, outside in chambers:
            tissue[outside < self.vessels.wall_mm] = Tissue.VESSEL_WALL
            tissue[outside < 0] = code
        self._paint_heart(tissue, still, at)
        if self.ring:
            self.ring.paint(tissue, at)
        if self.valves_mm:
            left, right = self.vessels.outflow(chambers, z, *self.valves_mm)
            tissue[left & (tissue == Tissue.AORTIC_ROOT)] = Tissue.LV_BLOOD
            tissue[right & (tissue == Tissue.PULMONARY_TRUNK)] = Tissue.RV_BLOOD
        self.interior.paint(tissue, at, scale, float(heart.contraction(time_ms)))
        return tissue

    def _paint_sac(self, tissue: np.ndarray, still: np.ndarray, gap: np.ndarray, at: Cylinder) -> None:
        """Paint fat of varying thickness between the two layers of the pericardium."""
        shape = self.heart.shape
        relief = self.relief(still)
        beside_rv = np.abs(np.abs(wrapped(at.theta - shape.rv_angle_rad)) - shape.rv_half_width_rad)
        groove = self.groove_mm * (np.exp(-((beside_rv / 0.25) ** 2)) + np.exp(-((at.z / 9.0) ** 2)))
        rv_side = (0.5 + 0.5 * np.cos(at.theta - shape.rv_angle_rad)) ** 2  # most of a heart's fat lies on the right
        fat = np.clip((self.fat_mm + self.rv_fat_mm * rv_side) * (1.0 + 0.9 * relief) + groove, 0.0, None)
        pad = (gap < fat + 14.0) & (relief > self.pad_threshold)  # epipericardial fat pads
        tissue[pad] = Tissue.VISCERAL_FAT
        tissue[gap < fat + self.pericardium_mm] = Tissue.PERICARDIUM
        inside = gap < fat
        tissue[inside] = Tissue.EPICARDIAL_FAT
        tissue[inside & self.coronaries(still)] = Tissue.CORONARY
        tissue[gap < self.epicardium_mm] = Tissue.PERICARDIUM  # the dark line that readers leave outside

    def _paint_heart(self, tissue: np.ndarray, still: np.ndarray, at: Cylinder) -> None:
        own = self.heart.tissue_at(still)
        r, theta, z = at
        above = z > -VALVE_MM
        right = r > self.heart.shape.epicardium(theta, z)
        orifice = (own == _BASAL_BLOOD) & above
        tissue[orifice] = np.where(right[orifice], Tissue.RV_ORIFICE, Tissue.LV_ORIFICE)
        rim = (
            (own == _BASAL_WALL) & above & ~np.isin(tissue, (Tissue.LEFT_ATRIUM, Tissue.AORTIC_ROOT, Tissue.LV_ORIFICE))
        )
        thin = r[rim] < np.sqrt(self.heart.shape.cavity_sq(theta[rim], z[rim])) + self.vessels.wall_mm + 1.0
        tissue[rim] = np.where(thin, Tissue.VESSEL_WALL, Tissue.EPICARDIAL_FAT)  # the atrioventricular groove
        known = _FROM_HEART[own]
        ventricle = known > 0
        ventricle &= (own != TISSUES.index("rv_wall")) | above
        tissue[ventricle] = known[ventricle]
        self._thin_atrial_wall(tissue, own, at)

    def _thin_atrial_wall(self, tissue: np.ndarray, own: np.ndarray, at: Cylinder) -> None:
        """Paint what bounds the right heart above the tricuspid valve: a thin wall in the fat of the groove."""
        shape = self.heart.shape
        wall = np.flatnonzero((own == TISSUES.index("rv_wall")) & (tissue == Tissue.RV_WALL))
        r, theta, z = at.taken(wall)
        beyond = r - shape.epicardium(theta, z)
        atrial = z < -shape.rv_base_mm + shape.rv_base_slope * beyond - VALVE_RING_MM
        thin = beyond < shape.rv_depth_mm * shape.rv_profile(theta, z) + self.vessels.wall_mm
        tissue[wall[atrial]] = np.where(thin, Tissue.VESSEL_WALL, Tissue.EPICARDIAL_FAT)[atrial]
