"""One phantom subject: a seed gives physiology, heart, and the stack a scanner would have planned over it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from COFTrainingLib.phantom.heart import BeatingHeart
from COFTrainingLib.phantom.physiology import Physiology, draw_physiology
from COFTrainingLib.phantom.prevalence import NATURAL, Prevalence
from COFTrainingLib.phantom.shape import draw_shape


@dataclass(frozen=True)
class StackPlan:
    """Geometry of a short-axis stack over a phantom heart.

    Attributes:
        shape: (D, H, W).
        ijk_to_ras: (4, 4).
        ras_to_heart: (4, 4) from RAS mm to the phantom's own (k, j, i) mm.
        shifts_mm: (D, 2) in-plane breath-hold shift of every slice along (j, i).
    """

    shape: tuple[int, int, int]
    ijk_to_ras: np.ndarray
    ras_to_heart: np.ndarray
    shifts_mm: np.ndarray

    def heart_points(self) -> np.ndarray:
        """Return the voxel centres in the phantom's own coordinates, (D, H, W, 3) mm."""
        depth, height, width = self.shape
        k, j, i = np.meshgrid(np.arange(depth), np.arange(height), np.arange(width), indexing="ij")
        matrix = self.ras_to_heart @ self.ijk_to_ras
        points = np.stack([i, j, k], axis=-1) @ matrix[:3, :3].T + matrix[:3, 3]
        points[..., 1:] += self.shifts_mm[:, None, None, :]
        return points


@dataclass(frozen=True)
class PhantomSubject:
    """Everything that is true of one subject; ``seed`` reproduces it."""

    seed: int
    physiology: Physiology
    heart: BeatingHeart


def draw_subject(
    seed: int, prevalence: Prevalence = NATURAL, family: str | None = None, **overrides: Any
) -> PhantomSubject:
    """Draw a subject.

    Args:
        seed: Subject number; anatomy and physiology come from separate streams of it, so that forcing a field of the
            physiology (``overrides``) changes of the anatomy only what follows from that field.
        prevalence: How often findings occur.
        family: Anatomy family, see ``shape.FAMILIES``.
        **overrides: Forced fields of ``Physiology``.
    """
    body, anatomy = np.random.default_rng([seed, 1]), np.random.default_rng([seed, 2])
    physiology = draw_physiology(body, prevalence=prevalence, **overrides)
    shape = draw_shape(anatomy, physiology, family)
    return PhantomSubject(seed, physiology, BeatingHeart(shape, physiology))


def plan_stack(
    subject: PhantomSubject,
    rng: np.random.Generator,
    spacing_mm: tuple[float, float] | None = None,
    fov_mm: float | None = None,
    shift_sd_mm: float = 1.0,
    covers_base: bool = False,
) -> StackPlan:
    """Plan a stack over the heart as a scanner's operator would: along the long axis, base to apex with a margin.

    Args:
        subject: The subject.
        rng: Source of randomness.
        spacing_mm: (slice pitch, pixel) mm; drawn where None.
        fov_mm: In-plane field of view; drawn where None.
        shift_sd_mm: Breath-hold shifts between slices.
        covers_base: Whether the first slice lies above the base for certain, as protocols demand. Where it does not,
            longitudinal shortening cannot be seen in the stack, and EF measured within it is lower than the heart's.
    """
    shape = subject.heart.shape
    if spacing_mm is None:
        spacing_mm = (float(rng.choice([6, 7, 8, 9, 10, 10, 10, 12, 15, 18])), float(rng.uniform(1.2, 2.1)))
    pitch, pixel = spacing_mm
    fov_mm = float(rng.uniform(150, 230)) if fov_mm is None else fov_mm
    top = -shape.centroid_z_mm - rng.uniform(0.3 if covers_base else -0.4, 1.4) * pitch
    bottom = shape.length_mm - shape.centroid_z_mm + shape.apex_wall_mm + rng.uniform(-0.7, 1.2) * pitch
    depth = max(int(np.ceil((bottom - top) / pitch)) + 1, 4)
    size = round(fov_mm / pixel)
    in_plane = rng.normal(0.0, np.deg2rad(25.0))
    centre = np.array([0.0, rng.uniform(-12, 12), -14.0 + rng.uniform(-12, 12)])

    cos, sin = np.cos(in_plane), np.sin(in_plane)
    columns = np.array([[0.0, sin, cos], [0.0, cos, -sin], [1.0, 0.0, 0.0]]).T  # heart (k, j, i) of steps i, j, k
    kji = columns * np.array([pixel, pixel, pitch])
    first = centre + np.array([top, 0.0, 0.0]) - kji[:, 0] * (size - 1) / 2 - kji[:, 1] * (size - 1) / 2
    heart_from_ijk = np.eye(4)
    heart_from_ijk[:3, :3], heart_from_ijk[:3, 3] = kji, first
    if rng.random() < 0.5:  # stored apex first
        heart_from_ijk[:3, 3] += kji[:, 2] * (depth - 1)
        heart_from_ijk[:3, 2] *= -1

    ras_to_heart = _patient_pose(rng)
    shifts = rng.normal(0.0, shift_sd_mm, (depth, 2))
    return StackPlan((depth, size, size), np.linalg.inv(ras_to_heart) @ heart_from_ijk, ras_to_heart, shifts)


def _patient_pose(rng: np.random.Generator) -> np.ndarray:
    """Return RAS → heart (k, j, i): the apex points left, anterior and down, as in a supine patient."""
    apex = np.array([-0.62, 0.52, -0.59]) + rng.normal(0.0, 0.12, 3)
    k = apex / np.linalg.norm(apex)
    i = np.array([-0.75, -0.65, 0.1]) + rng.normal(0.0, 0.12, 3)  # from RV to lateral wall: left and posterior
    i = i - k * (k @ i)
    i /= np.linalg.norm(i)
    j = np.cross(i, k)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([k, j, i])
    pose[:3, 3] = rng.normal(0.0, 25.0, 3)
    return pose
