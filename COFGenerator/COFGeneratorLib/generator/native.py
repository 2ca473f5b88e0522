"""From motion on the heart's coarse grid to the anchor's own grid, and the single warp of the native anchor."""

from collections.abc import Callable

import numpy as np
import torch
from scipy.interpolate import BSpline, make_interp_spline
from scipy.sparse import csr_matrix

from COFGeneratorLib.anatomy.heart_frame import HeartFrame
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.generator.conditioned import Conditioned
from COFGeneratorLib.generator.model import MotionModel
from COFGeneratorLib.generator.networks.grid import MotionGrid
from COFGeneratorLib.motion.fields import (
    folded_fraction,
    mm_from_voxels,
    periodic_matrix,
    spline_matrix,
    voxels_from_mm,
    warp,
)
from COFGeneratorLib.motion.relative import at_phase, relative_displacement

CHUNK_FRAMES = 10
"""Frames warped at once: bounds memory to about 30 times the anchor's size."""


class NativeMotion:
    """Motion of all frames on one stack's grid, evaluated in chunks.

    Coarse displacements are brought up by cubic splines (in time: periodic), the only interpolation of motion; the
    part of the stack outside the motion grid does not move.

    Args:
        displacement_mm: (P, 3, D, H, W) displacement of P equidistant phases on the motion grid, heart axes (k, j, i).
        grid: The motion grid.
        frame: The heart's frame in RAS.
        ijk_to_ras: (4, 4) geometry of the stack.
        shape: (D, H, W) of the stack.
        frames: Number of frames of one cycle.
        still: The frame that is the anchor; the first, unless the anchor was not taken at the R wave.
    """

    def __init__(
        self, displacement_mm: np.ndarray, grid: MotionGrid, frame: HeartFrame, ijk_to_ras: np.ndarray,
        shape: tuple[int, int, int], frames: int, *, still: int = 0,
    ) -> None:  # fmt: skip
        self.frames, self.shape, self.still = frames, shape, still
        self._spacing_mm = np.linalg.norm(np.asarray(ijk_to_ras)[:3, :3], axis=0)[::-1].copy()
        windowed = np.asarray(displacement_mm, dtype=np.float64) * grid.window(min(grid.spacing_mm[1:]))
        in_time = np.tensordot(periodic_matrix(len(windowed), np.arange(frames) / frames), windowed, axes=1)
        in_time -= in_time[still : still + 1]  # the anchor, exactly

        to_heart = frame.kji_to_heart(np.asarray(ijk_to_ras))
        self._to_voxel = torch.tensor(np.linalg.inv(to_heart[:3, :3]), dtype=torch.float32)
        first, step = np.array([axis[0] for axis in grid.axes_mm()]), np.array(grid.spacing_mm)
        matrix = to_heart[:3] / step[:, None]
        matrix[:, 3] -= first / step  # voxel (k, j, i) → index on the motion grid

        depth, height, width = self.shape
        through = spline_matrix(grid.shape[0], matrix[0, 0] * np.arange(depth) + matrix[0, 3])
        coefficients = np.einsum("kz,tczyx->tckyx", through, in_time, optimize=True)
        degree_y, coefficient_y = _spline_basis(grid.shape[1])
        degree_x, coefficient_x = _spline_basis(grid.shape[2])
        coefficients = np.einsum("ay,bx,tckyx->kabtc", coefficient_y, coefficient_x, coefficients, optimize=True)
        self._coefficients = coefficients.reshape(depth, -1, frames, 3).astype(np.float32)

        j, i = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
        plane = matrix[1:, 1:3] @ np.stack([j.ravel(), i.ravel()])
        self._planes: list[tuple[np.ndarray, csr_matrix]] = []
        cache: dict[tuple, tuple[np.ndarray, csr_matrix]] = {}
        inside_any = np.zeros((height, width), dtype=bool)
        for k in range(depth):
            offset = matrix[1:, 0] * k + matrix[1:, 3]
            key = tuple(np.round(offset, 9))
            if key not in cache:  # one slice's weights serve all, unless the stack is sheared
                y, x = plane + offset[:, None]
                inside = (y >= 0) & (y <= grid.shape[1] - 1) & (x >= 0) & (x <= grid.shape[2] - 1)
                cache[key] = (np.flatnonzero(inside), _tensor_rows(degree_y, degree_x, y[inside], x[inside]))
            self._planes.append(cache[key])
            inside_any.ravel()[cache[key][0]] = True
        self.box = _bounding_box(inside_any, self.shape)

    def displacement_voxels(self, start: int, stop: int) -> torch.Tensor:
        """Return frames start…stop as (n, 3, D, h, w) voxels (k, j, i) within ``box``."""
        depth, height, width = self.shape
        plane = np.zeros((depth, height * width, stop - start, 3), dtype=np.float32)
        for k, (rows, weights) in enumerate(self._planes):
            values = self._coefficients[k][:, start:stop].reshape(weights.shape[1], -1)
            plane[k, rows] = (weights @ values).reshape(len(rows), stop - start, 3)
        plane = plane.reshape(depth, height, width, stop - start, 3)[self.box]
        field = torch.from_numpy(np.ascontiguousarray(plane)) @ self._to_voxel.T
        return field.permute(3, 4, 0, 1, 2).contiguous()

    def displacement_mm(self, frame: int) -> np.ndarray:
        """Return one frame's pull displacement, (3, D, H, W), mm along the stack's axes (k, j, i)."""
        full = np.zeros((3, *self.shape), dtype=np.float32)
        field = self.displacement_voxels(frame, frame + 1)[0].numpy()
        full[(slice(None), *self.box)] = field * self._spacing_mm[:, None, None, None]
        return full

    def warp_all(self, channels: np.ndarray, progress: Callable[[int, int], None] | None = None) -> np.ndarray:
        """Warp (C, D, H, W) by every frame; returns (T, C, D, H, W) float32, linear, the anchor's frame a copy."""
        channels = np.ascontiguousarray(channels, dtype=np.float32)
        frames = np.repeat(channels[None], self.frames, axis=0)
        cropped = torch.from_numpy(channels[(slice(None), *self.box)].copy())[None]
        for start in range(0, self.frames, CHUNK_FRAMES):
            stop = min(start + CHUNK_FRAMES, self.frames)
            moved = warp(cropped, self.displacement_voxels(start, stop))
            frames[(slice(start, stop), slice(None), *self.box)] = moved.numpy()
            if progress:
                progress(stop, self.frames)
        frames[self.still] = channels
        return frames

    def warp_one(self, channels: np.ndarray, frame: int) -> np.ndarray:
        """Warp (C, D, H, W) by one frame; returns the same shape, float32."""
        moved = np.array(channels, dtype=np.float32)
        inside = torch.from_numpy(moved[(slice(None), *self.box)].copy())[None]
        moved[(slice(None), *self.box)] = warp(inside, self.displacement_voxels(frame, frame + 1))[0].numpy()
        return moved

    def folded_fraction(self, mask: np.ndarray | None = None, every: int = 4) -> float:
        """Return the fraction of voxels with det(I + ∇u) ≤ 0 over every n-th frame, within ``mask`` (D, H, W)."""
        where: tuple[slice, ...] = (slice(None),) * 3
        inside = None
        if mask is not None:
            cropped = np.ascontiguousarray(mask[self.box])
            where = tuple(slice(max(n.min() - 1, 0), n.max() + 2) for n in np.nonzero(cropped))
            inside = torch.from_numpy(np.ascontiguousarray(cropped[where]))
        fields = (self.displacement_voxels(t, t + 1)[(..., *where)] for t in range(0, self.frames, every))
        return float(np.mean([folded_fraction(field, inside) for field in fields]))


def _spline_basis(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (knots, matrix from node values to spline coefficients) of the natural cubic spline."""
    spline = make_interp_spline(np.arange(nodes), np.eye(nodes), k=3, bc_type="natural")
    return spline.t, spline.c


def _tensor_rows(knots_y: np.ndarray, knots_x: np.ndarray, y: np.ndarray, x: np.ndarray) -> csr_matrix:
    """Return the sparse weights (points, coefficients) of the tensor-product spline: 16 a point."""
    rows_y = BSpline.design_matrix(y, knots_y, 3)
    rows_x = BSpline.design_matrix(x, knots_x, 3)
    weight = (rows_y.data.reshape(-1, 4, 1) * rows_x.data.reshape(-1, 1, 4)).reshape(-1)
    columns = rows_y.indices.reshape(-1, 4, 1) * rows_x.shape[1] + rows_x.indices.reshape(-1, 1, 4)
    starts = np.arange(len(y) + 1) * 16
    return csr_matrix(
        (weight.astype(np.float32), columns.reshape(-1), starts), shape=(len(y), rows_y.shape[1] * rows_x.shape[1])
    )


def _bounding_box(inside: np.ndarray, shape: tuple[int, int, int]) -> tuple[slice, slice, slice]:
    if not inside.any():
        return slice(0, shape[0]), slice(0, 1), slice(0, 1)
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    return slice(0, shape[0]), slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def native_motion(
    model: MotionModel, velocity: torch.Tensor, ready: Conditioned, anchor: SaxStack, frames: int, still: int = 0
) -> NativeMotion:
    """Return the motion of velocities on the anchor's grid.

    Args:
        model: The model.
        velocity: (T, 3, D, H, W) voxels of the motion grid, from the R wave.
        ready: The heart at the R wave.
        anchor: The stack.
        frames: Frames of one cycle.
        still: The frame that the anchor is; all others are relative to it.
    """
    grid = ready.fine_grid
    displacement = model.displacements_mm(velocity[None], ready.grid)[0]
    if still:
        back = model.displacements_mm(-at_phase(velocity, still / frames)[None], ready.grid)[0]
        fields = (voxels_from_mm(field, grid.spacing_mm) for field in (displacement, back))
        displacement = mm_from_voxels(relative_displacement(*fields), grid.spacing_mm)
    field = displacement.cpu().numpy()
    return NativeMotion(field, grid, ready.frame, anchor.ijk_to_ras, anchor.shape, frames, still=still)
