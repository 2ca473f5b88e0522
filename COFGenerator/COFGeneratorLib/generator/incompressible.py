"""Keep the myocardium's volume: the wall is nearly incompressible, a regressed velocity on a coarse grid is not.

Averaging over what anatomy leaves open blurs the strong compression of the cavity into the wall, which then loses up
to a tenth of its volume by end-systole (a fifth on thin walls). One Gauss–Newton step per phase changes the velocity
along the smoothed gradients of the three volumes, so that the wall's comes back and those of both cavities stay.
"""

import numpy as np
import torch

from COFGeneratorLib.motion.volume_gradient import volume_sensitivity

WALL_RANGE = (0.985, 1.015)
"""Relative wall volume that is left alone; what lies outside is brought to the nearer end."""
LARGEST_STEP_VOXELS = 0.5
"""Of the correction, at any node: it polishes the motion, it does not make it."""
RIDGE = 1e-3


def keep_wall_volume(velocity: torch.Tensor, fine_maps: torch.Tensor, wall_ratio: np.ndarray) -> torch.Tensor:
    """Return velocities (T, 3, D, H, W), voxels of the motion grid, corrected so that the wall keeps its volume.

    ``fine_maps`` are refined anatomy maps (3, D', H', W'); ``wall_ratio`` (T,) is the wall's volume under these
    velocities relative to the anchor's, measured on the native grid. Without a wall they stay as they are.
    """
    if float(fine_maps[1].sum()) < 1.0 or not np.isfinite(wall_ratio).all():
        return velocity
    with torch.enable_grad():
        _, gradients = volume_sensitivity(velocity.clone(), fine_maps)  # (T, 3, 3, D, H, W)
    directions = _smooth(gradients)
    gram = torch.einsum("tacdhw,tbcdhw->tab", gradients, directions)
    ridge = RIDGE * gram.diagonal(dim1=1, dim2=2).amax(dim=1).clamp(min=1e-12)
    wanted = torch.zeros(len(velocity), 3)
    wanted[:, 1] = torch.as_tensor(np.clip(wall_ratio, *WALL_RANGE) - wall_ratio, dtype=torch.float32)
    share = torch.linalg.solve(gram + ridge[:, None, None] * torch.eye(3), wanted[..., None])
    change = torch.einsum("ta,tacdhw->tcdhw", share[..., 0], directions)
    largest = change.abs().amax(dim=(1, 2, 3, 4), keepdim=True).clamp(min=1e-9)
    change = change * (LARGEST_STEP_VOXELS / largest).clamp(max=1.0)
    change[0] = 0.0
    return velocity + change


def _smooth(gradients: torch.Tensor) -> torch.Tensor:
    """Blur (T, 3, 3, D, H, W) by a binomial kernel along every axis, twice: velocities stay smooth."""
    shape = gradients.shape
    x = gradients.reshape(-1, 1, *shape[3:])
    kernel = torch.tensor([0.25, 0.5, 0.25])
    for _ in range(2):
        for axis in range(3):
            size = [1, 1, 1, 1, 1]
            size[2 + axis] = 3
            padding = [0, 0, 0]
            padding[axis] = 1
            x = torch.nn.functional.conv3d(x, kernel.view(size), padding=padding)
    return x.view(shape)
