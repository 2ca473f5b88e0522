"""Short-axis stacks of a scene as a scanner takes them: slices of finite thickness, gaps, tilt, breath-hold shifts."""

from dataclasses import dataclass

import numpy as np
import torch
from COFGeneratorLib.anatomy.stack import SaxStack

from COFTrainingLib.phantom.appearance import draw_acquisition, form_images
from COFTrainingLib.phantom.heart import BeatingHeart
from COFTrainingLib.phantom.surroundings import Scene
from COFTrainingLib.phantom.tissues import LABEL_OF_TISSUE

BODY_SAMPLING_MM = 2.4
"""Tissue away from the heart is sampled this coarsely: nothing is measured from it."""


@dataclass(frozen=True)
class StackGeometry:
    """Where the voxels of a stack lie in a heart's frame.

    Args:
        shape: (D, H, W).
        kji_to_heart: (4, 4) homogeneous voxel (k, j, i) → heart-frame (k, j, i) mm; slice pitch includes the gap.
        thickness_mm: Slice thickness without the gap.
        shifts_mm: (D, 3) how far what a slice shows lies from where it says (breath-holds differ), heart axes, mm; not
            at all where None.
    """

    shape: tuple[int, int, int]
    kji_to_heart: np.ndarray
    thickness_mm: float
    shifts_mm: np.ndarray | None = None

    @property
    def spacing_mm(self) -> np.ndarray:
        """(3,) distance between neighbours along k, j, i, mm."""
        return np.linalg.norm(self.kji_to_heart[:3, :3], axis=0)

    def points(self, slice_index: int, offset_mm: float = 0.0, stride: int = 1) -> np.ndarray:
        """Return heart-frame points (h, w, 3) of one slice, moved along its normal, every ``stride``-th pixel."""
        matrix = self.kji_to_heart
        normal = np.cross(matrix[:3, 1], matrix[:3, 2])
        normal = normal / np.linalg.norm(normal)
        j = (np.arange(0, self.shape[1], stride) + 0.5 * (stride - 1))[:, None, None]
        i = (np.arange(0, self.shape[2], stride) + 0.5 * (stride - 1))[None, :, None]
        shift = 0.0 if self.shifts_mm is None else self.shifts_mm[slice_index]
        start = matrix[:3, 3] + matrix[:3, 0] * slice_index + normal * offset_mm + shift
        return start + j * matrix[:3, 1] + i * matrix[:3, 2]

    def ijk_to_ras(self, axes_ras: np.ndarray, origin_ras: np.ndarray) -> np.ndarray:
        """Return the (4, 4) geometry for a heart lying in the patient with these axes (rows k, j, i) and origin."""
        heart_to_ras = np.eye(4)
        heart_to_ras[:3, :3] = np.asarray(axes_ras).T
        heart_to_ras[:3, 3] = origin_ras
        return heart_to_ras @ self.kji_to_heart @ np.eye(4)[[2, 1, 0, 3]]


def sample_bodies(scene: Scene, geometry: StackGeometry) -> np.ndarray:
    """Return the body without the heart, (D, H, W) uint8; it does not move, so one serves all frames of a cine."""
    depth, height, width = geometry.shape
    stride = max(round(BODY_SAMPLING_MM / float(geometry.spacing_mm[1:].mean())), 1)
    out = np.empty(geometry.shape, dtype=np.uint8)
    for k in range(depth):
        coarse = geometry.points(k, stride=stride)
        body = scene.body_at(coarse.reshape(-1, 3)).reshape(coarse.shape[:2])
        out[k] = body.repeat(stride, axis=0).repeat(stride, axis=1)[:height, :width]
    return out


def sample_tissues(
    scene: Scene, geometry: StackGeometry, time_ms: float = 0.0, slab: int = 3, bodies: np.ndarray | None = None
) -> np.ndarray:
    """Return the tissues of a stack, (D, S, H, W) uint8: ``slab`` samples through the thickness of each slice.

    Args:
        scene: Heart and body.
        geometry: Where the voxels lie.
        time_ms: Time from the R wave.
        slab: Samples through the thickness.
        bodies: Result of ``sample_bodies``, where already known.
    """
    depth, height, width = geometry.shape
    bodies = sample_bodies(scene, geometry) if bodies is None else bodies
    offsets = ((np.arange(slab) + 0.5) / slab - 0.5) * geometry.thickness_mm
    out = np.empty((depth, slab, height, width), dtype=np.uint8)
    for k in range(depth):
        points = np.concatenate([geometry.points(k, offset).reshape(-1, 3) for offset in offsets])
        tissue = scene.tissue_at(points, time_ms, body=np.tile(bodies[k].ravel(), slab))
        out[k] = tissue.reshape(slab, height, width)
    return out


def majority_labels(tissues: np.ndarray) -> np.ndarray:
    """Return the labels (D, H, W) uint8 of tissues (D, S, H, W): what fills most of the slice's thickness."""
    labels = LABEL_OF_TISSUE[tissues]
    votes = np.stack([(labels == code).sum(axis=1) for code in range(4)])
    return votes.argmax(axis=0).astype(np.uint8)


def draw_geometry(rng: np.random.Generator, scene: Scene, max_matrix: int = 288) -> StackGeometry:
    """Draw a stack as clinics take them, and worse: 5–20 slices, 0–10-mm gaps, any rotation, any handedness."""
    shape = scene.heart.shape
    spacing = rng.uniform(0.8, 2.3)
    field_mm = rng.uniform(150, 400, 2) if rng.random() < 0.5 else np.full(2, rng.uniform(150, 400))
    matrix = np.clip((field_mm / spacing).round().astype(int), 64, max_matrix)
    thickness = rng.uniform(5, 10)
    pitch = thickness + (rng.uniform(0, 3) if rng.random() < 0.7 else rng.uniform(3, 10))
    outer = shape.length_mm + shape.apex_wall_mm
    covered = outer * rng.uniform(0.95, 1.4)
    slices = int(np.clip(np.ceil(covered / pitch), 5, 20))
    slack = slices * pitch - outer
    above_base = rng.uniform(0.1, 0.8) * slack if slack > 0 else 0.5 * slack
    axes = stack_axes(rng, tilt_rad=0.12)
    spacings = np.array([pitch, spacing, spacing])
    size = np.array([slices, *matrix])
    # the heart's middle lies anywhere that leaves most of it in view
    room = np.clip(0.5 * matrix * spacing - 75.0, 0.0, None)
    centre = np.array([0.0, *rng.uniform(-1, 1, 2) * np.minimum(room, 60.0)])
    k_middle = -shape.centroid_z_mm - above_base + 0.5 * slices * pitch
    towards_rv = -0.35 * shape.rv_depth_mm
    matrix4 = np.eye(4)
    matrix4[:3, :3] = axes.T * spacings
    middle = np.array([k_middle, 0.0, towards_rv]) + axes[1:].T @ centre[1:]
    matrix4[:3, 3] = middle - matrix4[:3, :3] @ ((size - 1) / 2)
    shifts = rng.normal(0.0, rng.choice([0.0, 1.0, 2.5]), (slices, 3)) * np.array([0.5, 1.0, 0.6])
    return StackGeometry(tuple(size.tolist()), matrix4, thickness, shifts)


def stack_axes(rng: np.random.Generator, tilt_rad: float, upright: bool = False) -> np.ndarray:
    """Draw the axes of a stack: (3, 3), rows are unit vectors of k, j, i in heart axes.

    The normal tilts about the heart's long axis; ``upright`` keeps the heart's own orientation: no turn in the plane,
    no flips.
    """
    tilt_j, tilt_i = rng.normal(0.0, tilt_rad, 2)
    normal = np.array([1.0, tilt_j, tilt_i])
    normal /= np.linalg.norm(normal)
    i_axis = np.array([0.0, 0.0, 1.0]) - normal * normal[2]
    i_axis /= np.linalg.norm(i_axis)
    j_axis = np.cross(i_axis, normal)
    j_axis *= np.sign(j_axis[1])
    axes = np.stack([normal, j_axis, i_axis])
    if upright:
        return axes
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    axes[1:] = turn @ axes[1:]
    axes[0] *= rng.choice([-1.0, 1.0])  # base first or apex first
    axes[1] *= rng.choice([-1.0, 1.0])  # rows up or down
    return axes


def render_stack(
    heart: BeatingHeart,
    rng: np.random.Generator,
    *,
    time_ms: float = 0.0,
    geometry: StackGeometry | None = None,
    kind: str | None = None,
    scene: Scene | None = None,
) -> tuple[SaxStack, np.ndarray]:
    """Take one short-axis stack of a heart.

    Args:
        heart: The heart.
        rng: Source of everything random; the same state gives the same stack.
        time_ms: Time from the R wave at which the stack is taken.
        geometry: Where its voxels lie; drawn where None.
        kind: Contrast, one of ``contrast.KINDS``; drawn where None.
        scene: Heart in its body; drawn where None.

    Returns:
        The stack, placed in the patient, and its true labels (D, H, W) uint8.
    """
    scene = Scene(rng, heart) if scene is None else scene
    geometry = draw_geometry(rng, scene) if geometry is None else geometry
    acquisition = draw_acquisition(rng, kind)
    tissues = sample_tissues(scene, geometry, time_ms)
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    voxels = form_images(torch.from_numpy(tissues), acquisition, float(geometry.spacing_mm[1]), generator)
    origin_ras = rng.normal(0.0, 30.0, 3)
    scale = 10.0 ** rng.uniform(1.5, 3.5)  # scanners' units mean nothing
    stack = SaxStack(voxels.numpy() * scale, geometry.ijk_to_ras(scene.axes_ras, origin_ras))
    return stack, majority_labels(tissues)
