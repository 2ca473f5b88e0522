"""From motion on the heart's coarse grid to the anchor's own grid."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch.nn.functional import embedding_bag

from COFGeneratorLib.anatomy.heart_frame import HeartFrame
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.generator.conditioned import Conditioned
from COFGeneratorLib.generator.model import MotionModel
from COFGeneratorLib.generator.networks.grid import MotionGrid
from COFGeneratorLib.motion.fields import (
    along_axis,
    folded_fraction,
    mm_from_voxels,
    periodic_matrix,
    sample_slices,
    spline_matrix,
    voxels_from_mm,
)
from COFGeneratorLib.motion.relative import at_phase, relative_displacement
from COFGeneratorLib.motion.splines import coefficient_matrix, weights_at

CHUNK_VOXELS = 500_000
"""Voxels whose motion is evaluated at once: bounds memory whatever the number of frames, and stays near the caches."""
GPU_CHUNK_VOXELS = 50_000_000
"""The same on a GPU, where the number of launches counts: some gigabytes while a voxel takes a dozen numbers."""
STILL_MM = 0.01
"""Where no phase moves further than this, nothing is moved."""
OVERSHOOT = 1.25
"""Of a cubic spline beyond its nodes, at most."""
ROOM, BEND = 0.8, 8
"""Share of the distance to the picture's edge that is pulled at most, and how sharply more is bent: a pull of half the
distance loses 0.3 %."""


class NativeMotion:
    """Motion of all frames on one stack's grid, evaluated in chunks, on the device that the displacement is on.

    Coarse displacements are brought up by cubic splines (in time: periodic), the only interpolation of motion. It is
    kept of the voxels that move at any phase, about half of ``box``; all others stay. No point is pulled from beyond an
    edge of the slice: where a heart lies close to it, motion dies away towards it.

    Args:
        displacement_mm: (P, 3, D, H, W) displacement of P equidistant phases on the motion grid, heart axes (k, j, i).
        grid: The motion grid.
        frame: The heart's frame in RAS.
        ijk_to_ras: (4, 4) geometry of the stack.
        shape: (D, H, W) of the stack.
        frames: Number of frames of one cycle.
        still: The frame that is the anchor; the first, unless the anchor was not taken at the R wave. None where the
            phases are but some of a cycle, the anchor's not among them, and ``frames`` as many.
        only: (D, H, W) labels: where given, ``box`` is no larger than what can be moved onto or off them.

    Attributes:
        box: The part of the stack that holds all that moves.
        moving: (n,) the voxels that move, as indices into the flattened stack.
        places: (1, 3, 1, 1, n) positions of these within ``box``, voxels (k, j, i).
    """

    def __init__(
        self, displacement_mm: torch.Tensor | np.ndarray, grid: MotionGrid, frame: HeartFrame, ijk_to_ras: np.ndarray,
        shape: tuple[int, int, int], frames: int, *, still: int | None = 0, only: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        self.frames, self.shape, self.still = frames, shape, still or 0
        self.spacing_mm = np.linalg.norm(np.asarray(ijk_to_ras)[:3, :3], axis=0)[::-1].copy()
        field = torch.as_tensor(displacement_mm).float()
        self.device = field.device
        field = field * torch.from_numpy(grid.window(min(grid.spacing_mm[1:]))).to(field)
        in_time = periodic_matrix(len(field), np.arange(frames) / frames)
        if still is not None:
            in_time -= in_time[still : still + 1]  # the anchor, exactly
        self._in_time = torch.from_numpy(in_time).to(field)

        to_heart = frame.kji_to_heart(np.asarray(ijk_to_ras))
        first, step = np.array([axis[0] for axis in grid.axes_mm()]), np.array(grid.spacing_mm)
        matrix = to_heart[:3] / step[:, None]
        matrix[:, 3] -= first / step  # voxel (k, j, i) → index on the motion grid
        self.to_voxel = torch.from_numpy(np.linalg.inv(to_heart[:3, :3])).to(field)

        moving = _moving_nodes(field)
        offset = matrix[1:, :1] * np.arange(shape[0]) + matrix[1:, 3:]  # (2, D): differs where the stack is sheared
        self.box = _box(moving, matrix[1:, 1:3], offset, shape)
        if only is not None:
            pull = self.to_voxel.abs() @ field.abs().amax(dim=(0, 2, 3, 4))  # no voxel is pulled further
            self.box = about(only, self.box, OVERSHOOT * pull.cpu().numpy())
        through = spline_matrix(grid.shape[0], matrix[0, 0] * np.arange(shape[0]) + matrix[0, 3])
        field = torch.einsum("ab,pbkyx->pakyx", self.to_voxel, along_axis(field, through, 2))
        for axis in (3, 4):
            field = along_axis(field, coefficient_matrix(grid.shape[axis - 2]), axis)
        phases = self._on_the_stack(field, matrix[1:, 1:3], offset, grid.shape[1:])
        most = torch.maximum(phases.amax(dim=0), -phases.amin(dim=0))  # (3, d, h, w)
        self.largest_voxels = most.amax(dim=(1, 2, 3)).cpu().numpy()
        self._keep_moving(self._kept_inside(phases), most)

    def _keep_moving(self, phases: torch.Tensor, most: torch.Tensor) -> None:
        """Keep of a field (P, 3, d, h, w) in ``box`` what moves, and make the box that small; ``most`` (3, d, h, w)."""
        least = torch.from_numpy(STILL_MM / self.spacing_mm).to(most).view(3, 1, 1, 1)
        moves = (most > least).any(dim=0).cpu().numpy()
        if not moves.any():
            moves[0, 0, 0] = True
        self._phases = phases.flatten(2)[..., torch.from_numpy(np.flatnonzero(moves)).to(phases.device)]
        place = np.nonzero(moves)
        self.moving = np.ravel_multi_index(
            tuple(at + part.start for at, part in zip(place, self.box, strict=True)), self.shape
        )
        start = [0, *(int(at.min()) for at in place[1:])]
        stop = [self.shape[0], *(int(at.max()) + 1 for at in place[1:])]
        within = np.stack(place) - np.array(start)[:, None]
        size = [last - first for first, last in zip(start, stop, strict=True)]
        self._within = torch.from_numpy(np.ravel_multi_index(tuple(within), tuple(size))).to(phases.device)
        self.places = torch.from_numpy(within).to(phases).view(1, 3, 1, 1, -1)
        self.box = tuple(  # type: ignore[assignment]
            slice(part.start + first, part.start + last)
            for part, first, last in zip(self.box, start, stop, strict=True)
        )

    def _on_the_stack(
        self, coefficients: torch.Tensor, turn: np.ndarray, offset: np.ndarray, nodes: tuple[int, ...]
    ) -> torch.Tensor:
        """Return (P, 3, d, h, w) values in ``box`` of in-plane spline coefficients (P, 3, D, H + 2, W + 2)."""
        _, rows, columns = self.box
        plane = np.stack(
            np.meshgrid(np.arange(rows.start, rows.stop), np.arange(columns.start, columns.stop), indexing="ij")
        )
        place = torch.from_numpy(turn @ plane.reshape(2, -1))  # in 64 bits, which not every device has
        shape = (*coefficients.shape[:2], plane.shape[1], plane.shape[2])
        alike = bool(np.ptp(offset, axis=1).max() < 1e-9)
        groups = [slice(None)] if alike else [slice(k, k + 1) for k in range(self.shape[0])]
        parts = []
        for group in groups:
            y, x = place + torch.from_numpy(offset[:, group][:, :1].copy())
            inside = (y >= 0) & (y <= nodes[0] - 1) & (x >= 0) & (x <= nodes[1] - 1)
            index, weights = _tensor_weights(y, x, nodes)
            values = coefficients[:, :, group].flatten(3).movedim(3, 0)  # (coefficients, P, 3, slices)
            index, weights = index.to(values.device), (weights * inside[:, None]).to(values)
            bagged = embedding_bag(index, values.flatten(1).contiguous(), per_sample_weights=weights, mode="sum")
            parts.append(bagged.T.contiguous().view(*shape[:2], -1, *shape[2:]))
        return parts[0] if alike else torch.cat(parts, dim=2)

    def _kept_inside(self, field: torch.Tensor) -> torch.Tensor:
        """Return a field (P, 3, d, h, w), voxels of ``box``, that pulls nothing from beyond the slices' edges."""
        for axis in (1, 2):
            part, size = self.box[axis], self.shape[axis]
            near = math.ceil(2.0 * float(self.largest_voxels[axis]))  # further from an edge no pull is bent
            for outward, first, last in ((-1.0, part.start, min(part.stop, near)),
                                         (1.0, max(part.start, size - near), part.stop)):  # fmt: skip
                if first >= last:
                    continue
                places = torch.arange(first, last, device=field.device, dtype=field.dtype)
                room = ROOM * (places if outward < 0 else size - 1.0 - places).clamp(min=1e-6)
                strip = field[:, axis].narrow(axis + 1, first - part.start, last - first)
                room = room.view(-1, 1) if axis == 1 else room
                pull = (outward * strip).clamp(min=0.0)
                strip.div_((1.0 + (pull / room) ** BEND) ** (1.0 / BEND))
        return field

    def chunks(self) -> list[tuple[int, int]]:
        """Return the frames in chunks, (start, stop) each, in order."""
        voxels = CHUNK_VOXELS if self.device.type == "cpu" else GPU_CHUNK_VOXELS
        size = max(1, voxels // len(self.moving))
        return [(start, min(start + size, self.frames)) for start in range(0, self.frames, size)]

    def of_moving(self, start: int, stop: int) -> torch.Tensor:
        """Return frames start…stop at the voxels that move, (m, 3, 1, 1, n) voxels (k, j, i), as ``places`` is."""
        return (self._in_time[start:stop] @ self._phases.flatten(1)).view(stop - start, 3, 1, 1, -1)

    def displacement_voxels(self, start: int, stop: int) -> torch.Tensor:
        """Return frames start…stop as (m, 3, d, h, w) voxels (k, j, i) within ``box``."""
        size = [part.stop - part.start for part in self.box]
        field = self._phases.new_zeros(stop - start, 3, math.prod(size))
        field[..., self._within] = self.of_moving(start, stop).flatten(2)
        return field.view(-1, 3, *size)

    def displacement_mm(self, frame: int) -> np.ndarray:
        """Return one frame's pull displacement, (3, D, H, W), mm along the stack's axes (k, j, i)."""
        full = np.zeros((3, *self.shape), dtype=np.float32)
        field = self.displacement_voxels(frame, frame + 1)[0].cpu().numpy()
        full[(slice(None), *self.box)] = field * self.spacing_mm[:, None, None, None].astype(np.float32)
        return full

    def warp_all(self, channels: np.ndarray, progress: Callable[[int, int], None] | None = None) -> np.ndarray:
        """Warp (C, D, H, W) by every frame; returns (T, C, D, H, W) float32, linear, the anchor's frame a copy."""
        channels = np.ascontiguousarray(channels, dtype=np.float32)
        frames = np.repeat(channels[None], self.frames, axis=0)
        for start, stop in self.chunks():
            self._warp(frames[start:stop], channels, start, stop)
            if progress:
                progress(stop, self.frames)
        frames[self.still] = channels
        return frames

    def warp_one(self, channels: np.ndarray, frame: int) -> np.ndarray:
        """Warp (C, D, H, W) by one frame; returns the same shape, float32."""
        moved = np.array(channels, dtype=np.float32, order="C")  # written through a flat view
        self._warp(moved[None], moved.copy(), frame, frame + 1)
        return moved

    def _warp(self, frames: np.ndarray, channels: np.ndarray, start: int, stop: int) -> None:
        """Write into frames (m, C, D, H, W), copies of ``channels``, what moves in start…stop."""
        inside = torch.from_numpy(channels[(slice(None), *self.box)].copy()).to(self.device)
        positions = self.of_moving(start, stop) + self.places
        moved = sample_slices(inside[None].expand(stop - start, *inside.shape), positions)
        frames.reshape(*frames.shape[:2], -1)[..., self.moving] = moved.flatten(2).cpu().numpy()

    def folded_fraction(self, mask: np.ndarray | None = None, every: int = 4) -> float:
        """Return the fraction of voxels with det(I + ∇u) ≤ 0 over every n-th frame, within ``mask`` (D, H, W)."""
        where: tuple[slice, ...] = (slice(None),) * 3
        inside = None
        if mask is not None and mask[self.box].any():
            cropped = np.ascontiguousarray(mask[self.box])
            where = tuple(slice(max(n.min() - 1, 0), n.max() + 2) for n in np.nonzero(cropped))
            inside = torch.from_numpy(np.ascontiguousarray(cropped[where])).to(self.device)
        fields = (self.displacement_voxels(t, t + 1)[(..., *where)] for t in range(0, self.frames, every))
        return float(np.mean([folded_fraction(field, inside) for field in fields]))


def _moving_nodes(field: torch.Tensor) -> np.ndarray:
    """Return the nodes (H, W) bool of (P, 3, D, H, W) mm that move, with four beside each that a spline pulls along."""
    most = (field.abs().amax(dim=(0, 1, 2)) > STILL_MM).float()[None]
    return torch.nn.functional.max_pool2d(most, 9, stride=1, padding=4)[0].cpu().numpy() > 0


def _box(
    moving: np.ndarray, turn: np.ndarray, offset: np.ndarray, shape: tuple[int, int, int]
) -> tuple[slice, slice, slice]:
    """Return the box of a stack that holds the moving nodes of the motion grid; one voxel where none lies on it.

    Args:
        moving: (H, W) bool.
        turn: (2, 2) voxel (j, i) → index on the motion grid.
        offset: (2, D) of each slice.
        shape: (D, H, W) of the stack.
    """
    nothing = slice(0, shape[0]), slice(0, 1), slice(0, 1)
    if not moving.any():
        return nothing
    nodes = np.argwhere(moving).T[:, None] - offset[:, :, None]  # (2, D, nodes)
    places = np.einsum("ab,bkn->akn", np.linalg.inv(turn), nodes).reshape(2, -1)
    low = np.maximum(np.floor(places.min(axis=1)).astype(int), 0)
    high = np.minimum(np.ceil(places.max(axis=1)).astype(int) + 1, shape[1:])
    if (low >= high).any():
        return nothing
    return slice(0, shape[0]), slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1]))


def about(labels: np.ndarray, box: tuple[slice, slice, slice], pull_voxels: np.ndarray) -> tuple[slice, slice, slice]:
    """Return the part of a box in which labels (D, H, W) can be pulled from (3,) ``pull_voxels`` away at most."""
    sides = [box[0]]
    for axis, (part, pull) in enumerate(zip(box[1:], pull_voxels[1:], strict=True), start=1):
        held = np.flatnonzero(labels[box].any(axis=(0, 3 - axis)))
        margin = math.ceil(float(pull)) + 1
        first, last = (int(held[0]), int(held[-1])) if len(held) else (0, 0)
        low = part.start + max(first - margin, 0)
        sides.append(slice(low, max(min(part.start + last + margin + 1, part.stop), low + 1)))
    return sides[0], sides[1], sides[2]


def _tensor_weights(y: torch.Tensor, x: torch.Tensor, nodes: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return places among the coefficients (H + 2)·(W + 2) and weights of the tensor-product spline, each (n, 16)."""
    (row, row_weight), (column, column_weight) = weights_at(y, nodes[0]), weights_at(x, nodes[1])
    index = row[:, :, None] * (nodes[1] + 2) + column[:, None, :]
    return index.flatten(1), (row_weight[:, :, None] * column_weight[:, None, :]).flatten(1)


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
    return NativeMotion(displacement, grid, ready.frame, anchor.ijk_to_ras, anchor.shape, frames, still=still)
