"""Anatomy of a phantom heart at end-diastole: two ventricles in the heart's own frame, with closed-form volumes.

Cylinder coordinates about the LV axis: z from the base plane (0) to the apex (L), θ = atan2(j, i) with lateral 0,
inferior +π/2, septum π, anterior −π/2.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

MYOCARDIAL_DENSITY_G_PER_ML = 1.05
FAMILIES = ("normal", "dilated", "concentric", "septal", "athlete", "rv_dilated")


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
        ef_rv: RV ejection fraction (fraction) at the LV's own EF of this shape's draw.
        family: One of ``FAMILIES``.
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
    ef_rv: float
    family: str

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
        angle = np.angle(np.exp(1j * (theta - self.rv_angle_rad))) / self.rv_half_width_rad
        around = np.clip(1.0 - angle**2, 0.0, None)
        along = np.clip(1.0 - np.clip(z / (self.rv_length * self.length_mm), 0.0, 1.0) ** self.rv_power, 0.0, None)
        return around * along

    @property
    def rv_edv_ml(self) -> float:
        """RV end-diastolic volume below the LV base plane, mL (quadrature)."""
        theta, z, weight = quadrature(self.length_mm)
        epi = self.epicardium(theta, z)
        depth = self.rv_depth_mm * self.rv_profile(theta, z)
        return float((0.5 * ((epi + depth) ** 2 - epi**2) * weight).sum() / 1000.0)

    @property
    def mass_g(self) -> float:
        """LV myocardial mass, g (quadrature)."""
        theta, z, weight = quadrature(self.length_mm + self.apex_wall_mm)
        wall = np.clip(self.epicardium(theta, z) ** 2 - self.cavity_sq(theta, z), 0.0, None)
        return float((0.5 * wall * weight).sum() / 1000.0 * MYOCARDIAL_DENSITY_G_PER_ML)


def quadrature(length_mm: float, angles: int = 48, levels: int = 48) -> tuple[np.ndarray, np.ndarray, float]:
    """Return (θ, z, weight) for integrals ∫∫ f dθ dz over the ventricle's side, midpoint rule."""
    theta = (np.arange(angles) + 0.5) / angles * 2 * np.pi
    z = (np.arange(levels) + 0.5) / levels * length_mm
    theta, z = np.meshgrid(theta, z)
    return theta, z, 2 * np.pi / angles * length_mm / levels


def draw_shape(
    rng: np.random.Generator, sex: str, mass_index: float, ef: float, family: str | None = None
) -> HeartShape:
    """Draw an end-diastolic anatomy.

    Volumes follow UK Biobank's means (Petersen 2017; the RV's without its outflow tract), widened by families of
    disease, and are drawn independently of contractility, so that the anchor alone does not give EF away.

    Args:
        rng: Source of randomness.
        sex: ``"m"`` or ``"f"``.
        mass_index: LV mass index, g/m².
        ef: The LV's ejection fraction, which the RV's follows loosely.
        family: One of ``FAMILIES``; drawn where None.
    """
    if family is None:
        family = str(rng.choice(FAMILIES, p=(0.55, 0.13, 0.09, 0.07, 0.08, 0.08)))
    male = sex == "m"
    edv = rng.normal(*((166.0, 32.0) if male else (124.0, 21.0)))
    rv_edv = rng.normal(*((165.0, 33.0) if male else (118.0, 22.0)))
    factors = {
        "dilated": (1.55, 1.15, 1.15),
        "concentric": (0.9, 1.0, 1.5),
        "septal": (0.92, 1.0, 1.35),
        "athlete": (1.25, 1.25, 1.2),
        "rv_dilated": (0.95, 1.55, 1.0),
    }.get(family, (1.0, 1.0, 1.0))
    edv = float(np.clip(edv * factors[0], 60.0, 360.0))
    rv_edv = float(np.clip(rv_edv * factors[1] * (edv / 145.0) ** 0.35, 60.0, 360.0))
    mass = mass_index * (1.98 if male else 1.71) * factors[2] * rng.normal(1.15, 0.15)
    mass = float(np.clip(mass * (edv / (166.0 if male else 124.0)) ** 0.35, 45.0, 320.0))

    power = rng.uniform(1.9, 3.2)
    sphericity = np.clip(rng.normal(0.30, 0.025) * (1.12 if family == "dilated" else 1.0), 0.23, 0.42)
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
        "ef_rv": float(np.clip(0.53 + 0.35 * (ef - 0.6) + rng.normal(0.0, 0.035), 0.2, 0.68)),
        "family": family,
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
    """Choose the crescent's depth d that gives the RV volume: ½Σ(2·epi·p·d + p²d²)w is quadratic in d."""
    shape = HeartShape(**values, rv_depth_mm=0.0)
    theta, z, weight = quadrature(shape.length_mm)
    profile = shape.rv_profile(theta, z)
    linear = (shape.epicardium(theta, z) * profile * weight).sum()
    square = (0.5 * profile**2 * weight).sum()
    depth = (-linear + np.sqrt(linear**2 + 4 * square * rv_edv_ml * 1000.0)) / (2 * square)
    return HeartShape(**values, rv_depth_mm=float(depth))
