"""How the volumes of cavities and wall answer to a stationary velocity: their values and gradients.

Training uses the gradients as a volume loss that costs a dot product; generation, to keep the wall's volume.
"""

import numpy as np
import torch

from COFGeneratorLib.motion.fields import along_axis, exponential, identity_positions, sample_slices, spline_matrix


def volume_sensitivity(velocity: torch.Tensor, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return how the volumes of cavities and wall answer to the velocity, measured finer than the motion grid.

    Args:
        velocity: (P, 3, D, H, W) grid voxels.
        maps: (3, D', H', W') anatomy maps (LV, myocardium, RV), refined: D' = (D − 1)·n + 1 and so on.

    Returns:
        Relative volumes (P, 3) and their gradients with respect to the velocity, (P, 3, 3, D, H, W): a volume loss
        that costs a dot product (first order about the truth).
    """
    velocity = velocity.detach().requires_grad_(True)
    volumes = relative_volumes(velocity, maps)
    gradients = [torch.autograd.grad(volumes[:, c].sum(), velocity, retain_graph=c < 2)[0] for c in range(3)]
    return volumes.detach(), torch.stack(gradients, dim=1)


def volume_directions(velocity: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """Return the gradients of ``volume_sensitivity``, nearly, and much faster: (P, 3, 3, D, H, W).

    What a change of velocity does to the displacement is taken to happen half-way of the path, which is exact where the
    flow does not stretch: within 10 % in a beating heart. For finding a direction, not for training.
    """
    field, positions, rows, cropped = _in_the_heart(velocity, maps)
    slopes = torch.stack(torch.gradient(cropped, dim=(1, 2, 3)), dim=1)  # (3, 3, d, h, w), by fine voxels
    moved = sample_slices(slopes.flatten(0, 1)[None].expand(len(velocity), -1, -1, -1, -1), positions)
    for axis, row in enumerate(rows):
        moved = along_axis(moved, row.T, 2 + axis)
    moved = moved.unflatten(1, (3, 3)) * _refinement(velocity, maps).view(3, 1, 1, 1)
    moved = moved / maps.sum(dim=(1, 2, 3)).clamp(min=1e-3).view(3, 1, 1, 1, 1)
    half_way = identity_positions(field.shape[2:], field.device, field.dtype) - 0.5 * field
    return sample_slices(moved.flatten(1, 2), half_way).unflatten(1, (3, 3))


def relative_volumes(velocity: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """Return the volumes of LV cavity, wall and RV cavity under velocities, relative to the anchor's, (P, 3).

    Args:
        velocity: (P, 3, D, H, W) grid voxels.
        maps: (3, D', H', W') anatomy maps, refined: D' = (D − 1)·n + 1 and so on.
    """
    _, positions, _, cropped = _in_the_heart(velocity, maps)
    moved = sample_slices(cropped[None].expand(len(velocity), -1, -1, -1, -1), positions)
    return moved.sum(dim=(2, 3, 4)) / maps.sum(dim=(1, 2, 3)).clamp(min=1e-3)


def _in_the_heart(
    velocity: torch.Tensor, maps: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, list[np.ndarray], torch.Tensor]:
    """Return displacements, where they pull the heart's box from, the box's rows of the splines, and its maps."""
    box, fine = _heart_box(maps), maps.shape[1:]
    field = exponential(velocity)
    dense, rows = field, []
    for axis, (nodes, size) in enumerate(zip(velocity.shape[2:], fine, strict=True)):
        rows.append(spline_matrix(nodes, np.linspace(0, nodes - 1, size))[box[axis]])
        dense = along_axis(dense, rows[-1], 2 + axis)
    dense = dense * _refinement(velocity, maps).view(1, 3, 1, 1, 1)
    positions = identity_positions(dense.shape[2:], dense.device, dense.dtype) + dense
    return field, positions, rows, maps[(slice(None), *box)]


def _refinement(velocity: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """Return how many fine voxels a voxel of the motion grid is along each axis, (3,)."""
    sizes = zip(maps.shape[1:], velocity.shape[2:], strict=True)
    return velocity.new_tensor([(fine - 1) / (nodes - 1) for fine, nodes in sizes])


def _heart_box(maps: torch.Tensor) -> tuple[slice, ...]:
    """Return the box of the refined grid that holds the heart, with a margin of three nodes."""
    inside = maps.sum(dim=0).cpu() > 0.02
    box = []
    for axis in range(3):
        used = torch.nonzero(inside.amax(dim=[a for a in range(3) if a != axis])).flatten()
        first, last = (int(used[0]), int(used[-1])) if len(used) else (0, 0)
        box.append(slice(max(first - 3, 0), min(last + 4, inside.shape[axis])))
    return tuple(box)
