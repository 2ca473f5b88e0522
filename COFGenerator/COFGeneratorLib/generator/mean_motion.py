"""Draw a heart's motion towards the mean motion of the hearts that the model learnt from.

What a network makes of one anatomy is right about that heart in part; the rest is noise of a finite training, and, in
recorded hearts, what phantoms have not shown it. Shrinking an estimate towards the population's mean takes noise away
(Stein): on 18 recorded hearts the mean's pattern does as well as the network's, and both together better
than either (``Resources/Docs/real-motion.md``). How much a heart moves and when stay the network's own.
"""

import numpy as np
import torch
from torch.nn.functional import max_pool3d

from COFGeneratorLib.motion.fields import along_axis

MARGIN_NODES = 5
"""Width of the window in which a node counts as near the heart."""


def toward_mean(
    velocity: torch.Tensor, maps: torch.Tensor, mean: torch.Tensor, along: float, in_plane: float, smoothing: float
) -> torch.Tensor:
    """Return velocities whose pattern is drawn towards the mean's at its end-systole.

    At each phase v' = (1 − s)·g∗v + s·a·E, with E the mean's pattern where it is strongest, a = ⟨g∗v, E⟩ / ⟨E, E⟩ near
    the heart, and g a Gaussian in the plane.

    Args:
        velocity: (T, 3, D, H, W) voxels of the motion grid, components (k, j, i).
        maps: (3, D, H, W) anatomy maps.
        mean: (P, 3, D, H, W) mean velocity of the training's hearts, in the heart's frame.
        along: Share of the mean along the long axis, 0…1.
        in_plane: Share in the plane, 0…1.
        smoothing: SD of the Gaussian, in nodes of the motion grid.
    """
    smooth = velocity
    if smoothing > 0.0:
        for axis in (-2, -1):
            smooth = along_axis(smooth, _gaussian(smooth.shape[axis], smoothing), smooth.ndim + axis)
    amount, pattern = amount_of_mean(smooth, maps, mean)
    share = velocity.new_tensor([along, in_plane, in_plane]).view(3, 1, 1, 1)
    return (1.0 - share) * smooth + share * amount.view(-1, 1, 1, 1, 1) * pattern


def amount_of_mean(velocity: torch.Tensor, maps: torch.Tensor, mean: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return how much of the mean's pattern is in velocities at each phase, and that pattern.

    Args:
        velocity: (…, T, 3, D, H, W).
        maps: (3, D, H, W) anatomy maps.
        mean: (P, 3, D, H, W).

    Returns:
        (…, T), 1 where they move as the mean at its strongest; (3, D, H, W).
    """
    near = max_pool3d((maps.sum(dim=0) > 0.5).to(velocity)[None, None], (1, MARGIN_NODES, MARGIN_NODES), 1,
                      (0, MARGIN_NODES // 2, MARGIN_NODES // 2))[0, 0]  # fmt: skip
    energy = (mean.square() * near).sum(dim=(1, 2, 3, 4))
    pattern = mean.index_select(0, energy.argmax()[None])[0]
    return (velocity * pattern * near).sum(dim=(-4, -3, -2, -1)) / energy.max().clamp(min=1e-6), pattern


def _gaussian(nodes: int, sd: float) -> np.ndarray:
    """Return the matrix (nodes, nodes) that smooths along an axis."""
    apart = np.subtract.outer(np.arange(nodes), np.arange(nodes))
    weights = np.exp(-0.5 * (apart / sd) ** 2)
    return weights / weights.sum(axis=1, keepdims=True)
