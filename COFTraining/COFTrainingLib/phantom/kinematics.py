"""One heart at one moment: the map that leads from its points to those of the anchor, and the volumes that follow.

A wall point (r, θ, z) of end-diastole goes to z' = λz (about the fixed apex), r'² = q·r0²(θ, z) + (r² − r0²)/κ,
θ' = θ + turn(z): with q a function of (θ, z), det J = λ/κ exactly in the wall: 1 where the wall thickens by what it
shortens, more where slices see less of its shortening than of its thickening. In the RV's crescent a point keeps its
share of the way from the septum to the free wall, and λ falls from the septum's to the free wall's. The pull map is the
inverse, in closed form; volumes are quadratures of it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from COFTrainingLib.phantom.pericardium import SLIDE_MM, Pericardium, across
from COFTrainingLib.phantom.right_ventricle import FreeWall
from COFTrainingLib.phantom.shape import Cylinder
from COFTrainingLib.phantom.varied_shape import AnyShape

BASE_TORSION_RAD, APEX_TORSION_RAD = np.deg2rad(4.0), np.deg2rad(-10.0)
"""At EF 60 %; θ runs clockwise as seen from the apex, so the apex turns counter-clockwise (negative)."""
FADE_MM = 28.0
"""Over which narrowing fades above the base."""
BASE_SWING_MM, APEX_SWING_MM = -3.8, (-3.8, -0.7)
"""At end-systole: the base swings along i, towards the RV, so that the septum hardly moves and the lateral wall does
most; the apex along (j, i), to the front, as much less as it turns less. Group means of short-axis cines."""
NARROWING_AT_BASE, NARROWING_AT_APEX = 0.55, 1.45
"""Exponents of the crescent's narrowing: its free wall moves in by about as many mm at every level but the last."""
CARRIED_MM, STRETCHED_MM = 25.0, 50.0
"""What lies above the base is carried with it this far; the atria beyond are stretched over the second length."""

RETRACTION_FADES = 2.5
"""Times itself: beyond the sac, which leans where the crescent ends; less would fold."""
RETRACTION_SWEEPS = 3
"""Of the fixed point that leads from end-diastolic angles to those of the moment; each leaves a fifth of the error."""


@dataclass(frozen=True)
class Kinematics:
    """The state of one heart at one moment.

    Attributes:
        shape, sac, free_wall: What moves.
        mitral_mm, tricuspid_mm: Descent of the base at the septum and LV, and at the RV's free wall.
        packed_mm: Descent whose tissue thickens the wall: κ = 1 − packed/length.
        torsion: 1 at an EF of 60 % and end-systole.
        squeezed: (θ, z) → 1 − q, the share by which the squared cavity radius has fallen.
        narrowing: Depth of the RV's crescent, relative to end-diastole, at the middle of its length.
        retraction: Of the RV's inferior part, rad.
        swing: 1 at end-systole; the apex's also grows with ``torsion``.
    """

    shape: AnyShape
    sac: Pericardium
    free_wall: FreeWall
    mitral_mm: float
    tricuspid_mm: float
    packed_mm: float
    torsion: float
    squeezed: Callable[[np.ndarray, np.ndarray], np.ndarray]
    narrowing: float
    retraction: float
    swing: float

    @property
    def _apex_mm(self) -> float:
        """Height of the fixed point, the outer apex."""
        return self.shape.length_mm + self.shape.apex_wall_mm

    def _descent(self, r: np.ndarray, theta: np.ndarray) -> np.ndarray:
        return self.mitral_mm + (self.tricuspid_mm - self.mitral_mm) * self.free_wall.share(r, theta)

    def _turn(self, r: np.ndarray, z: np.ndarray) -> np.ndarray:
        level = np.clip(z / self._apex_mm, 0.0, 1.0)
        turn = BASE_TORSION_RAD + (APEX_TORSION_RAD - BASE_TORSION_RAD) * level
        return self.torsion * self.free_wall.tether(r) * turn

    def pull(self, at: Cylinder) -> Cylinder:
        """Return the end-diastolic place of points of this moment."""
        shape, apex = self.shape, self._apex_mm
        at = self._swung_back(at)
        descent = self._descent(at.r, at.theta)
        lam = 1.0 - descent / apex
        inside = np.where(at.z < apex, (at.z - descent) / lam, at.z)
        inside = np.maximum(inside, at.z - descent / lam)  # the base carries what lies above it
        # where the sac leans, a narrower slide than eight tenths of the descent would fold
        along = self.sac.along(at.r, at.theta, inside, np.maximum(SLIDE_MM, 0.8 * descent))
        along = along * _carried(inside)
        z = at.z + (inside - at.z) * along
        theta = at.theta - self._turn(at.r, z) * along - self._retracted(at, z)

        inner, outer, epi, narrowing = self._wall(theta, z)
        cavity = shape.cavity_sq(theta, z)
        kappa = self._kappa(z)
        depth = shape.rv_depth_mm * shape.rv_profile(theta, z)
        beyond = at.r - outer
        shift = epi - outer + depth * (1.0 - narrowing)
        in_wall = np.sqrt(np.clip(cavity + kappa * (at.r**2 - inner**2), 0.0, None))
        outside = at.r + across(at.r + shift - self.sac.radius_mm(theta, z), shift)
        in_cavity = at.r * np.sqrt(cavity) / np.maximum(inner, 1e-9)
        r = np.where(at.r <= inner, in_cavity, in_wall)
        r = np.where(beyond > 0, np.where(beyond <= depth * narrowing, epi + beyond / narrowing, outside), r)
        return Cylinder(r, theta, z)

    def _retracted(self, at: Cylinder, z: np.ndarray) -> np.ndarray:
        """Return the angle by which points came up with the RV's inferior part, rad; ``z`` at end-diastole."""
        share, _ = self.free_wall.retracted(at.r, at.theta, z)
        width = np.maximum(SLIDE_MM, RETRACTION_FADES * self.retraction * at.r)
        return self.retraction * share * self.sac.along(at.r, at.theta, z, width) * _carried(z)

    def _swung_back(self, at: Cylinder) -> Cylinder:
        """Return points before the heart swung in its sac: a shear in the plane, which keeps volumes."""
        level = np.clip(at.z / self._apex_mm, 0.0, 1.0)
        to_rv = APEX_SWING_MM[1] + (BASE_SWING_MM - APEX_SWING_MM[1]) * (1.0 - level) ** 2
        to_front = self.torsion * APEX_SWING_MM[0] * level**2
        width = np.maximum(SLIDE_MM, 2.2 * np.hypot(to_rv, to_front))
        scale = self.swing * self.sac.along(at.r, at.theta, at.z, width) * _carried(at.z)
        j, i = at.r * np.sin(at.theta) - scale * to_front, at.r * np.cos(at.theta) - scale * to_rv
        return Cylinder(np.hypot(j, i), np.arctan2(j, i), at.z)

    def _wall(self, theta: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return endo- and epicardium now, the epicardium at ED (mm), and the narrowing, at end-diastolic (θ, z)."""
        fade = _fade(z)
        cavity = self.shape.cavity_sq(theta, z)
        inner_sq = (1.0 - fade * self.squeezed(theta, z)) * cavity
        epi = np.maximum(self.shape.epicardium(theta, z), np.sqrt(cavity))
        outer = np.sqrt(inner_sq + (epi**2 - cavity) / self._kappa(z))
        level = np.clip(z / (self.shape.rv_length * self.shape.length_mm), 0.0, 1.0)
        exponent = NARROWING_AT_BASE + (NARROWING_AT_APEX - NARROWING_AT_BASE) * level
        return np.sqrt(inner_sq), outer, epi, 1.0 - fade * (1.0 - self.narrowing**exponent)

    def _kappa(self, z: np.ndarray) -> np.ndarray:
        """Return the inverse of the wall's growth in the plane."""
        return 1.0 - _fade(z) * self.packed_mm / self._apex_mm

    def rv_volume_ml(self) -> float:
        """Return the volume of what is labelled right ventricle, mL, by quadrature."""
        theta, z, share, weight = self.shape.crescent_quadrature()
        _, outer, _, narrowing = self._wall(theta, z)
        depth = self.shape.rv_depth_mm * self.shape.rv_profile(theta, z) * narrowing
        r = outer + share * depth
        turned = theta + self._turn(r, z)
        now, widening = turned, np.zeros_like(r)
        for _ in range(RETRACTION_SWEEPS):
            retracted, widening = self.free_wall.retracted(r, now, z)
            now = turned + self.retraction * retracted
        lam = 1.0 - self._descent(r, now) / self._apex_mm
        return float((lam * r * depth / (1.0 - self.retraction * widening) * weight).sum() / 1000.0)


def _carried(z: np.ndarray) -> np.ndarray:
    """Return the share of the base's motion at a height above it."""
    return np.exp(-((np.clip(-z - CARRIED_MM, 0.0, None) / STRETCHED_MM) ** 2))


def _fade(z: np.ndarray) -> np.ndarray:
    """Return the share of narrowing at a height: 1 below the base plane, fading above it."""
    return np.exp(-((np.clip(-z, 0.0, None) / FADE_MM) ** 2))
