"""Anatomy of a phantom heart at end-diastole: two ventricles in the heart's own frame, with closed-form volumes.

Cylinder coordinates about the LV axis: z from the base plane (0) to the apex (L), θ = atan2(j, i) with lateral 0,
inferior +π/2, septum π, anterior −π/2.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from COFTrainingLib.phantom.physiology import Physiology

MYOCARDIAL_DENSITY_G_PER_ML = 1.05
FACTORS = {
    "normal": (1.0, 1.0, 1.0),
    "dilated": (1.05, 1.0, 1.0),
    "concentric": (0.92, 0.95, 1.05),
    "septal": (0.88, 0.92, 1.1),
    "athlete": (1.28, 1.28, 1.1),
    "rv_dilated": (0.92, 1.1, 1.0),
}
"""LV volume, RV volume and LV mass of the families of hearts, relative to what the physiology leads to."""
FAMILIES = tuple(FACTORS)
SEPTUM_WIDTH_RAD = 0.75
LV_EDV_INDEX = {"m": 85.0, "f": 74.0}
RV_EDV_INDEX = {"m": 86.0, "f": 71.0}
"""mL/m² (Petersen et al., JCMR 2017; the RV's less the outflow tract above the base)."""
EDV_LOG_SD = 0.165
SEPTAL_FLATTENING = {"": (0.0, 0.0), "pressure": (0.0, 0.15), "volume": (0.10, 0.28)}
"""At end-diastole: volume load flattens the septum there, pressure load above all in systole."""
RV_LOAD_FACTOR = {"": 1.0, "pressure": 1.15, "volume": 1.5}
"""Of RV volume: pressure load dilates late, and mostly by the fall of RVEF (van de Veerdonk et al., JACC 2011)."""


class Cylinder(NamedTuple):
    """Points about the LV axis: distance from it mm, angle rad, height from the base plane mm, each (n,)."""

    r: np.ndarray
    theta: np.ndarray
    z: np.ndarray

    def taken(self, index: np.ndarray) -> "Cylinder":
        """Return some of the points."""
        return Cylinder(self.r[index], self.theta[index], self.z[index])


@dataclass(frozen=True)
class HeartShape:
    """End-diastolic shape of both ventricles; lengths in mm, volumes in mL.

    Attributes:
        radius_mm, length_mm, power: Cavity radius r0(z) = radius·√(1 − (z/length)^power).
        harmonics: ((order, amplitude, angle_rad), …) of the cavity's cross-section, on r0².
        wall_mm, apex_wall_mm: Wall thickness at the base and at the apex.
        septal_bulge, wall_angle_rad: Relative excess of wall thickness around one angle.
        rv_depth_mm, rv_length, rv_half_width_rad, rv_angle_rad, rv_power: Crescent depth at the base, length as a
            fraction of the LV's, angular half-width, centre and profile exponent.
        rv_wall_mm: Thickness of the RV free wall.
        tilt: (2,) shear of the axis along (j, i) per mm of z.
        base_tilt: (2,) slope of the LV base plane along (j, i).
        rv_base_mm: Height of the RV base above the LV base.
        rv_base_slope: How much the RV base leans away from the septum.
        family: One of ``FAMILIES``.
        septal_flattening: How far the septum is pressed in by a loaded RV, share of the cavity's radius there; the
            rest of the cavity makes up for it.
    """

    radius_mm: float
    length_mm: float
    power: float
    harmonics: tuple[tuple[int, float, float], ...]
    wall_mm: float
    apex_wall_mm: float
    septal_bulge: float
    wall_angle_rad: float
    rv_depth_mm: float
    rv_length: float
    rv_half_width_rad: float
    rv_angle_rad: float
    rv_power: float
    rv_wall_mm: float
    tilt: tuple[float, float]
    base_tilt: tuple[float, float]
    rv_base_mm: float
    rv_base_slope: float
    family: str
    septal_flattening: float = 0.0

    @property
    def edv_ml(self) -> float:
        """LV end-diastolic volume, mL: π a² L p/(p+1); harmonics and tilt leave it alone."""
        return np.pi * self.radius_mm**2 * self.length_mm * self.power / (self.power + 1) / 1000.0

    @property
    def centroid_z_mm(self) -> float:
        """Height of the cavity's centroid above the base plane, mm."""
        return self.length_mm * (self.power + 1) / (2 * (self.power + 2))

    def about_axis(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (z, j, i) of heart-frame points (…, 3) mm: from the base plane, and from the leaning LV axis."""
        k = points[..., 0]
        return k + self.centroid_z_mm, points[..., 1] - self.tilt[0] * k, points[..., 2] - self.tilt[1] * k

    def cartesian(self, r: np.ndarray, theta: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return heart-frame points (…, 3) mm of cylinder coordinates."""
        k = z - self.centroid_z_mm
        return np.stack([k, r * np.sin(theta) + self.tilt[0] * k, r * np.cos(theta) + self.tilt[1] * k], axis=-1)

    def base_z(self, r: np.ndarray, theta: np.ndarray) -> np.ndarray:
        """Return the height of the tilted LV base plane at (r, θ), mm; the ventricle lies at larger z."""
        return r * (np.sin(theta) * self.base_tilt[0] + np.cos(theta) * self.base_tilt[1])

    def cavity_sq(self, theta: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return r0²(θ, z), mm²: the endocardium; a cylinder above the base, 0 beyond the apex."""
        taper = 1.0 - np.clip(z / self.length_mm, 0.0, 1.0) ** self.power
        shape: float | np.ndarray = 1.0
        for order, amplitude, angle in self.harmonics:
            shape = shape + amplitude * np.cos(order * (theta - angle))
        if self.septal_flattening:
            away = wrapped(theta - self.rv_angle_rad) / SEPTUM_WIDTH_RAD
            pressed = (1.0 - self.septal_flattening * np.exp(-(away**2))) ** 2
            lost = np.sqrt(np.pi) * self.septal_flattening * (2.0 - self.septal_flattening / np.sqrt(2.0))
            shape = shape * pressed / (1.0 - SEPTUM_WIDTH_RAD / (2 * np.pi) * lost)
        return self.radius_mm**2 * taper * shape

    def epicardium(self, theta: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return r_epi(θ, z), mm; 0 beyond the outer apex."""
        outer = self.length_mm + self.apex_wall_mm
        thickness = self.wall_mm * (1.0 + self.septal_bulge * (0.5 + 0.5 * np.cos(theta - self.wall_angle_rad)) ** 2)
        taper = np.clip(1.0 - np.clip(z / outer, 0.0, 1.0) ** self.power, 0.0, None)
        cross = np.sqrt(self.cavity_sq(theta, np.zeros_like(z)))
        return (cross + thickness) * np.sqrt(taper)

    def rv_profile(self, theta: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return the crescent's depth beyond the epicardium relative to ``rv_depth_mm``, 0…1."""
        angle = wrapped(theta - self.rv_angle_rad) / self.rv_half_width_rad
        around = np.clip(1.0 - angle**2, 0.0, None)
        along = np.clip(1.0 - np.clip(z / (self.rv_length * self.length_mm), 0.0, 1.0) ** self.rv_power, 0.0, None)
        return around * along

    @property
    def rv_edv_ml(self) -> float:
        """RV end-diastolic volume, mL: what is labelled so, down from the RV's own base (quadrature)."""
        theta, z, share, weight = self.crescent_quadrature()
        depth = self.rv_depth_mm * self.rv_profile(theta, z)
        return float(((self.epicardium(theta, z) + share * depth) * depth * weight).sum() / 1000.0)

    def crescent_quadrature(
        self, angles: int = 48, levels: int = 64, nodes: int = 5
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return (θ, z, share, weight) for integrals ∫∫∫ f dθ dz dshare over the RV cavity below its base.

        Each is (levels, angles, nodes); ``share`` runs from the septum (0) to the free wall (1), by Gauss and Legendre.
        The weight is 0 above the RV's leaning base, and in cells that it cuts the share below it.
        """
        above_mm = max(self.rv_base_mm, 0.0) + 1.0
        step = (self.length_mm + above_mm) / levels
        node, node_weight = np.polynomial.legendre.leggauss(nodes)
        z, theta, share = np.meshgrid(
            (np.arange(levels) + 0.5) * step - above_mm,
            (np.arange(angles) + 0.5) / angles * 2 * np.pi,
            0.5 * (node + 1.0),
            indexing="ij",
        )
        beyond = share * self.rv_depth_mm * self.rv_profile(theta, z)
        below = np.clip((z + self.rv_base_mm - self.rv_base_slope * beyond) / step + 0.5, 0.0, 1.0)
        return theta, z, share, below * 0.5 * node_weight * step * 2 * np.pi / angles

    @property
    def mass_g(self) -> float:
        """LV myocardial mass, g (quadrature)."""
        theta, z, weight = quadrature(self.length_mm + self.apex_wall_mm)
        wall = np.clip(self.epicardium(theta, z) ** 2 - self.cavity_sq(theta, z), 0.0, None)
        return float((0.5 * wall * weight).sum() / 1000.0 * MYOCARDIAL_DENSITY_G_PER_ML)


def wrapped(angle: np.ndarray) -> np.ndarray:
    """Return an angle within -π…π, rad."""
    return np.mod(angle + np.pi, 2.0 * np.pi) - np.pi


def quadrature(length_mm: float, angles: int = 48, levels: int = 48) -> tuple[np.ndarray, np.ndarray, float]:
    """Return (θ, z, weight) for integrals ∫∫ f dθ dz over the ventricle's side, midpoint rule."""
    theta = (np.arange(angles) + 0.5) / angles * 2 * np.pi
    z = (np.arange(levels) + 0.5) / levels * length_mm
    theta, z = np.meshgrid(theta, z)
    return theta, z, 2 * np.pi / angles * length_mm / levels


def expected_edv_ml(physiology: Physiology) -> float:
    """Return the LV end-diastolic volume that a physiology leads to, mL, before a person's own scatter.

    A ventricle that empties badly dilates: its volume index doubles towards an EF of 15 %, less after a mere infarct.
    """
    dilation = 1.9 if physiology.cardiomyopathy else 1.2
    return LV_EDV_INDEX[physiology.sex] * physiology.bsa_m2 * float(np.exp(dilation * max(0.50 - physiology.ef, 0.0)))


def _family(rng: np.random.Generator, physiology: Physiology) -> str:
    first = rng.random() < 0.5
    if physiology.cardiomyopathy:
        return "dilated"
    if physiology.hypertrophy:
        return "concentric" if first else "septal"
    if physiology.rv_load:
        return "rv_dilated"
    return "athlete" if physiology.athlete else "normal"


def draw_shape(rng: np.random.Generator, physiology: Physiology, family: str | None = None) -> HeartShape:
    """Draw an end-diastolic anatomy that belongs to a physiology.

    Args:
        rng: Source of randomness.
        physiology: Of the patient: sex, body surface, EF, RV, mass and findings shape the heart.
        family: One of ``FAMILIES``; that of the findings where None.
    """
    sex, ef = physiology.sex, physiology.ef
    family = _family(rng, physiology) if family is None else family
    factors = FACTORS[family]
    edv = expected_edv_ml(physiology) * factors[0] * np.exp(EDV_LOG_SD * rng.normal())
    edv = float(np.clip(edv, 55.0, 420.0))
    rv_edv = RV_EDV_INDEX[sex] * physiology.bsa_m2 * factors[1] * RV_LOAD_FACTOR[physiology.rv_load]
    rv_edv *= np.exp(1.0 * max(0.50 - physiology.rv_ef, 0.0) + 0.16 * rng.normal())
    usual = LV_EDV_INDEX[sex] * physiology.bsa_m2
    rv_edv = float(np.clip(rv_edv * (edv / usual) ** 0.2, 55.0, 380.0))
    mass = physiology.lv_mass_index * physiology.bsa_m2 * factors[2] * rng.normal(1.03, 0.12)
    mass = float(np.clip(mass * (edv / usual) ** 0.35, 45.0, 380.0))

    power = rng.uniform(1.9, 3.2)
    # a failing ventricle rounds out: short over long axis .60 at an EF of 60 %, .73 at 20 %
    sphericity = np.clip(rng.normal(0.30, 0.022) * (1.0 + 0.7 * max(0.50 - ef, 0.0)), 0.23, 0.42)
    length = (edv * 1000.0 * (power + 1) / (np.pi * sphericity**2 * power)) ** (1 / 3)
    harmonics = (
        (2, float(rng.uniform(0.0, 0.16)), float(rng.uniform(0, np.pi))),
        (3, float(rng.uniform(0.0, 0.07)), float(rng.uniform(0, 2 * np.pi))),
    )
    values = {
        "radius_mm": float(sphericity * length),
        "length_mm": float(length),
        "power": float(power),
        "harmonics": harmonics,
        "septal_bulge": float(rng.uniform(0.5, 1.1) if family == "septal" else rng.uniform(0.0, 0.3)),
        "wall_angle_rad": float(np.pi + rng.normal(0.0, 0.5)),
        "rv_length": float(rng.uniform(0.72, 0.98)),
        "rv_half_width_rad": float(rng.uniform(1.05, 1.4)),
        "rv_angle_rad": float(np.pi + rng.normal(0.0, 0.15)),
        "rv_power": float(rng.uniform(1.3, 2.6)),
        "rv_wall_mm": float(rng.uniform(2.5, 5.0)),
        "tilt": tuple(rng.normal(0.0, 0.06, 2).tolist()),
        "base_tilt": tuple(rng.normal(0.0, 0.08, 2).tolist()),
        "rv_base_mm": float(rng.uniform(-8.0, 10.0)),
        "rv_base_slope": float(rng.uniform(-0.1, 0.25)),
        "family": family,
        "septal_flattening": float(rng.uniform(*SEPTAL_FLATTENING[physiology.rv_load])),
    }
    return _fit_rv(_fit_wall(values, mass), rv_edv)


def _fit_wall(values: dict[str, Any], mass_g: float) -> dict[str, Any]:
    """Choose the wall thickness that gives the mass (bisection; mass grows with thickness)."""
    low, high = 3.0, 26.0
    for _ in range(24):
        wall = 0.5 * (low + high)
        shape = HeartShape(**values, wall_mm=wall, apex_wall_mm=0.7 * wall, rv_depth_mm=0.0)
        low, high = (wall, high) if shape.mass_g < mass_g else (low, wall)
    return {**values, "wall_mm": wall, "apex_wall_mm": 0.7 * wall}


def _fit_rv(values: dict[str, Any], rv_edv_ml: float) -> HeartShape:
    """Choose the crescent's depth that gives the RV volume (bisection; volume grows with depth)."""
    low, high = 2.0, 160.0
    for _ in range(20):
        depth = 0.5 * (low + high)
        shape = HeartShape(**values, rv_depth_mm=depth)
        low, high = (depth, high) if shape.rv_edv_ml < rv_edv_ml else (low, depth)
    return shape
