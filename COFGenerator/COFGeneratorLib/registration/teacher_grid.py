"""The teacher's view of a stack: its own slices, in-plane turned and centred on the heart, at a fixed pixel."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from COFGeneratorLib.anatomy.geometry import KJI_AND_IJK
from COFGeneratorLib.anatomy.heart_frame import HeartFrame
from COFGeneratorLib.motion.fields import sample_at
from COFGeneratorLib.registration.teacher_network import REDUCTION, TeacherConfig

FINE = 4
"""Density in-plane of the grid from which a stack's voxels are read, relative to the velocity nodes."""
TOWARDS_RV_MM = 12.0
"""The view is centred this far from the LV cavity towards the RV, so that both ventricles fit."""


@dataclass(frozen=True)
class TeacherGrid:
    """A heart-centred grid that keeps a stack's slices.

    Args:
        config: Plane and pixel.
        slices: Number of slices D; grid slice k lies in the plane of stack slice ``order[k]``.
        kji_to_ras: (4, 4) homogeneous grid voxel (k, j, i) → RAS mm; base first, RV to the left, anterior up.
        kji_to_stack: (4, 4) homogeneous grid voxel → stack voxel (k, j, i).
    """

    config: TeacherConfig
    slices: int
    kji_to_ras: np.ndarray
    kji_to_stack: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.slices, *self.config.plane)

    @property
    def spacing_mm(self) -> np.ndarray:
        """(3,) distance of neighbours along (k, j, i), mm."""
        return np.linalg.norm(self.kji_to_ras[:3, :3], axis=0)

    @property
    def node_mm(self) -> tuple[float, float, float]:
        """Distance of velocity nodes along (k, j, i), mm."""
        return self.config.node_mm(self.spacing_mm[0])

    def from_stack(self, volumes: np.ndarray, mode: str = "bilinear") -> torch.Tensor:
        """Bring volumes (C, D, H, W) on the stack's grid here, (C, *shape) float32; the rim continues outside."""
        source = torch.as_tensor(np.ascontiguousarray(volumes, dtype=np.float32))[None]
        if mode == "bilinear":
            source = _box_blur(source, np.linalg.norm(self.kji_to_stack[:3, 1:3], axis=0))
        positions = _positions(self.shape, self.kji_to_stack)
        return sample_at(source, positions, mode)[0]

    @property
    def fine_mm(self) -> tuple[float, float, float]:
        """Distance of the points of a field refined by ``FINE`` along (k, j, i), mm."""
        return (self.node_mm[0], self.node_mm[1] / FINE, self.node_mm[2] / FINE)

    def to_stack(self, fine: torch.Tensor, stack_shape: Sequence[int], stack_to_ras: np.ndarray) -> torch.Tensor:
        """Bring a displacement in mm onto the stack.

        Args:
            fine: (T, 3, D, FINE·h, FINE·w) mm along the grid's axes, from the velocity nodes by ``nodes_to_pixels``:
                cubic splines there, so that linear sampling here loses nothing.
            stack_shape: (D, H, W) of the stack.
            stack_to_ras: (4, 4) its ijk → RAS.

        Returns:
            (T, 3, D, H, W) mm along the stack's own axes (k, j, i); zero outside the grid's plane.
        """
        to_grid = np.linalg.inv(self.kji_to_stack)
        pixels = _positions(stack_shape, to_grid)
        scale = torch.tensor([1.0, FINE / REDUCTION, FINE / REDUCTION]).view(1, 3, 1, 1, 1)
        offset = torch.tensor([0.0, *[0.5 * (FINE / REDUCTION - 1.0)] * 2]).view(1, 3, 1, 1, 1)
        positions = pixels * scale + offset
        size = torch.tensor(fine.shape[2:]).view(1, 3, 1, 1, 1)
        inside = ((positions >= -0.5) & (positions <= size - 0.5))[:, 1:].all(dim=1, keepdim=True)
        sampled = torch.cat([sample_at(frame[None].float(), positions) for frame in fine]) * inside
        grid_axes = self.kji_to_ras[:3, :3] / self.spacing_mm
        stack_kji = stack_to_ras[:3, :3][:, ::-1]
        turn = np.linalg.inv(stack_kji / np.linalg.norm(stack_kji, axis=0)) @ grid_axes
        return torch.einsum("ab,tbdhw->tadhw", torch.as_tensor(turn, dtype=sampled.dtype), sampled)


def heart_centred_grid(
    config: TeacherConfig, stack_shape: Sequence[int], stack_to_ras: np.ndarray, frame: HeartFrame | None
) -> TeacherGrid:
    """Return the grid of a stack.

    Args:
        config: Plane and pixel.
        stack_shape: (D, H, W).
        stack_to_ras: (4, 4) ijk → RAS, mm.
        frame: The heart's frame; without one the view is the stack's own, about its middle.
    """
    slices = stack_shape[0]
    columns = stack_to_ras[:3, :3]
    normal = np.cross(columns[:, 0], columns[:, 1])
    normal /= np.linalg.norm(normal)
    normal *= np.sign(normal @ columns[:, 2])
    if frame is None:
        flip, i_axis = 1.0, columns[:, 0] / np.linalg.norm(columns[:, 0])
        middle = stack_to_ras[:3, :3] @ ((np.array(stack_shape[::-1]) - 1) / 2) + stack_to_ras[:3, 3]
    else:
        flip = 1.0 if frame.axes_ras[0] @ normal >= 0 else -1.0
        i_axis = frame.axes_ras[2] - normal * (normal @ frame.axes_ras[2])
        i_axis /= np.linalg.norm(i_axis)
        middle = frame.origin_ras - TOWARDS_RV_MM * i_axis
    k_axis = normal * flip
    j_axis = np.cross(i_axis, k_axis)
    if frame is not None and frame.axes_ras[1] @ j_axis < 0:  # a mirrored file, which the heart's frame noticed
        j_axis = -j_axis
    pitch = abs(float(normal @ columns[:, 2]))
    first = stack_to_ras[:3, 3] + (0.0 if flip > 0 else slices - 1.0) * columns[:, 2]
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([k_axis * pitch, j_axis * config.pixel_mm, i_axis * config.pixel_mm], axis=1)
    half = 0.5 * (np.array(config.plane) - 1.0) * config.pixel_mm
    origin = middle - j_axis * half[0] - i_axis * half[1]
    matrix[:3, 3] = origin + k_axis * (k_axis @ (first - origin))
    return TeacherGrid(config, slices, matrix, KJI_AND_IJK @ np.linalg.inv(stack_to_ras) @ matrix)


def scale_intensity(volume: torch.Tensor, anchor: torch.Tensor) -> torch.Tensor:
    """Scale to about 0…1 by the anchor's 1st and 99th percentiles, and clip far outliers."""
    flat = anchor.flatten()
    flat = flat[:: max(len(flat) // 200_000, 1)].float()
    low, high = torch.quantile(flat, torch.tensor([0.01, 0.99], device=flat.device))
    return ((volume.float() - low) / (high - low).clamp(min=1e-6)).clamp(-0.5, 1.5)


def _positions(shape: Sequence[int], matrix: np.ndarray) -> torch.Tensor:
    """Return ``matrix`` applied to every voxel (k, j, i) of a grid, (1, 3, D, H, W) float32."""
    axes = [np.arange(size, dtype=np.float64) for size in shape]
    kji = np.stack(np.meshgrid(*axes, indexing="ij"))
    moved = np.tensordot(matrix[:3, :3], kji, axes=1) + matrix[:3, 3].reshape(3, 1, 1, 1)
    return torch.as_tensor(moved[None], dtype=torch.float32)


def _box_blur(volume: torch.Tensor, step: np.ndarray) -> torch.Tensor:
    """Average in-plane over about ``step`` voxels before sampling more coarsely."""
    sizes = [2 * int(value // 2) + 1 for value in step]
    if max(sizes) == 1:
        return volume
    padding = (sizes[1] // 2, sizes[1] // 2, sizes[0] // 2, sizes[0] // 2, 0, 0)
    padded = torch.nn.functional.pad(volume, padding, mode="replicate")
    return torch.nn.functional.avg_pool3d(padded, (1, *sizes), stride=1)
