"""A wider family of heart shapes, for what must hold on hearts that the analytic phantom does not span.

Right ventricles of real hearts are triangular, lean to one side, and reach round the left one to different degrees.
Motion and labels of ``BeatingHeart`` follow this shape as they follow the plain one.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from COFTrainingLib.phantom.physiology import Physiology
from COFTrainingLib.phantom.shape import HeartShape, draw_shape, wrapped


@dataclass(frozen=True)
class VariedShape(HeartShape):
    """A heart shape whose RV crescent and LV wall vary more freely.

    Attributes:
        rv_edge, rv_fullness: Exponents of the crescent's depth around: 1 − |angle|^edge to the power of fullness.
        rv_lean: Extra depth on the inferior (+) or anterior (−) side, relative.
        rv_ridges: ((order, amplitude, angle_rad), …) undulation of the free wall.
        rv_taper: How much the crescent's angular width narrows towards its apex, 0…1.
        wall_harmonics: ((order, amplitude, angle_rad), …) of wall thickness.
        scar: (angle_rad, level 0…1, thinning 0…1) of an old infarct's thin wall; no thinning, no scar.
    """

    rv_edge: float = 2.0
    rv_fullness: float = 0.7
    rv_lean: float = 0.0
    rv_ridges: tuple[tuple[int, float, float], ...] = ()
    rv_taper: float = 0.0
    wall_harmonics: tuple[tuple[int, float, float], ...] = ()
    scar: tuple[float, float, float] = (0.0, 0.5, 0.0)

    def rv_profile(self, theta: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return the crescent's depth beyond the epicardium relative to ``rv_depth_mm``."""
        level = np.clip(z / (self.rv_length * self.length_mm), 0.0, 1.0)
        width = self.rv_half_width_rad * (1.0 - self.rv_taper * level)
        angle = wrapped(theta - self.rv_angle_rad) / width
        around = np.clip(1.0 - np.abs(angle) ** self.rv_edge, 0.0, None) ** self.rv_fullness
        shape = 1.0 - self.rv_lean * np.sin(angle)  # θ grows from inferior over the septum to anterior
        for order, amplitude, phase in self.rv_ridges:
            shape = shape + amplitude * np.cos(order * angle + phase)
        return around * np.clip(shape, 0.2, None) * np.clip(1.0 - level**self.rv_power, 0.0, None)

    def epicardium(self, theta: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return r_epi(θ, z), mm; 0 beyond the outer apex."""
        outer = super().epicardium(theta, z)
        cavity = np.sqrt(self.cavity_sq(theta, z))
        factor: float | np.ndarray = 1.0
        for order, amplitude, phase in self.wall_harmonics:
            factor = factor + amplitude * np.cos(order * (theta - phase))
        angle, level, thinning = self.scar
        away = wrapped(theta - angle) / 0.8
        factor = factor * (1.0 - thinning * np.exp(-(away**2) - ((z / self.length_mm - level) / 0.35) ** 2))
        return np.where(outer > cavity, cavity + (outer - cavity) * factor, outer)


def draw_varied_shape(rng: np.random.Generator, physiology: Physiology) -> VariedShape:
    """Draw an end-diastolic anatomy from the wider family; ED volumes follow ``draw_shape`` loosely."""
    plain = asdict(draw_shape(rng, physiology))
    size = rng.uniform(0.78, 1.1)  # small adults, children, animals
    for name in ("radius_mm", "length_mm", "wall_mm", "apex_wall_mm", "rv_depth_mm"):
        plain[name] *= size
    thickness = rng.uniform(0.75, 1.2)
    plain["wall_mm"] *= thickness
    plain["apex_wall_mm"] *= thickness * rng.uniform(0.6, 1.2)
    plain["rv_half_width_rad"] = float(rng.uniform(0.95, 1.65))
    plain["base_tilt"] = tuple(rng.normal(0.06, 0.28, 2).tolist())  # valves are seldom parallel to the slices
    plain["rv_base_mm"] = float(rng.uniform(-8.0, 18.0))
    plain["rv_wall_mm"] = float(rng.uniform(1.0, 4.0))
    plain["rv_angle_rad"] = float(np.pi + rng.normal(0.0, 0.25))
    plain["rv_length"] = float(rng.uniform(0.7, 1.05))
    plain["harmonics"] = (*plain["harmonics"], (4, float(rng.uniform(0.0, 0.04)), float(rng.uniform(0, np.pi))))
    own = rng.spawn(1)[0]  # so that all other draws stay as they were
    if physiology.rv_load or own.random() < 0.06:
        plain["septal_flattening"] = float(own.uniform(0.1, 0.35))
    thinning = own.uniform(0.3, 0.65) if own.random() < 0.12 else 0.0
    return VariedShape(
        **plain,
        scar=(float(own.uniform(0.0, 2 * np.pi)), float(own.uniform(0.3, 0.9)), float(thinning)),
        rv_edge=float(rng.uniform(1.3, 4.0)),
        rv_fullness=float(rng.uniform(0.45, 1.1)),
        rv_lean=float(rng.uniform(-0.5, 0.5)),
        rv_ridges=tuple(_harmonic(rng, order, largest) for order, largest in ((3, 0.12), (5, 0.08))),
        rv_taper=float(rng.uniform(0.0, 0.5)),
        wall_harmonics=tuple(_harmonic(rng, order, largest) for order, largest in ((2, 0.15), (3, 0.10))),
    )


def _harmonic(rng: np.random.Generator, order: int, largest: float) -> tuple[int, float, float]:
    return order, float(rng.uniform(0.0, largest)), float(rng.uniform(0.0, 2 * np.pi))


class TabulatedShape:
    """A heart shape read from tables of its three functions: within 0.2 mm of the shape, several times faster."""

    ANGLES = 360
    STEP_MM = 0.4

    def __init__(self, shape: "HeartShape | TabulatedShape") -> None:
        self._shape = shape
        self._first_mm = -60.0
        levels = np.arange(self._first_mm, shape.length_mm + shape.apex_wall_mm + 30.0, self.STEP_MM)
        angles = np.arange(self.ANGLES) * (2 * np.pi / self.ANGLES)
        theta, z = np.meshgrid(angles, levels)
        self._last = len(levels) - 1
        functions = ("cavity_sq", "epicardium", "rv_profile")
        self._tables = {name: getattr(shape, name)(theta, z).astype(np.float32).ravel() for name in functions}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shape, name)

    def _index(self, theta: np.ndarray, z: np.ndarray) -> np.ndarray:
        row = np.clip(np.rint((z - self._first_mm) / self.STEP_MM), 0, self._last).astype(np.int64)
        column = np.rint(theta * (self.ANGLES / (2 * np.pi))).astype(np.int64) % self.ANGLES
        return row * self.ANGLES + column

    def cavity_sq(self, theta: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return r0²(θ, z), mm²."""
        return self._tables["cavity_sq"][self._index(theta, z)]

    def epicardium(self, theta: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return r_epi(θ, z), mm."""
        return self._tables["epicardium"][self._index(theta, z)]

    def rv_profile(self, theta: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return the crescent's relative depth."""
        return self._tables["rv_profile"][self._index(theta, z)]


AnyShape = HeartShape | TabulatedShape
"""A shape that a heart can have: its own functions, or tables of them."""
