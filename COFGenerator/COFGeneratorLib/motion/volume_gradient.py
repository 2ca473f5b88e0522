"""How the volumes of cavities and wall answer to a stationary velocity: their values and gradients.

Training uses the gradients as a volume loss that costs a dot product; generation, to keep the wall's volume.
"""

import numpy as np
import torch

from COFGeneratorLib.motion.fields import along_axis, exponential, spline_matrix, warp


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


def relative_volumes(velocity: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """Return the volumes of LV cavity, wall and RV cavity under velocities, relative to the anchor's, (P, 3).

    Args:
        velocity: (P, 3, D, H, W) grid voxels.
        maps: (3, D', H', W') anatomy maps, refined: D' = (D − 1)·n + 1 and so on.
    """
    box, fine = _heart_box(maps), maps.shape[1:]
    cropped = maps[(slice(None), *box)]
    field = exponential(velocity)
    for axis, (nodes, size) in enumerate(zip(velocity.shape[2:], fine, strict=True)):
        rows = spline_matrix(nodes, np.linspace(0, nodes - 1, size))[box[axis]]
        field = along_axis(field, rows, 2 + axis)
    factor = torch.tensor([(m - 1) / (n - 1) for m, n in zip(fine, velocity.shape[2:], strict=True)])
    moved = warp(cropped[None], field * factor.view(1, 3, 1, 1, 1))
    return moved.sum(dim=(2, 3, 4)) / maps.sum(dim=(1, 2, 3)).clamp(min=1e-3)


def _heart_box(maps: torch.Tensor) -> tuple[slice, ...]:
    """Return the box of the refined grid that holds the heart, with a margin of three nodes."""
    inside = maps.sum(dim=0) > 0.02
    box = []
    for axis in range(3):
        used = torch.nonzero(inside.amax(dim=[a for a in range(3) if a != axis])).flatten()
        first, last = (int(used[0]), int(used[-1])) if len(used) else (0, 0)
        box.append(slice(max(first - 3, 0), min(last + 4, inside.shape[axis])))
    return tuple(box)
