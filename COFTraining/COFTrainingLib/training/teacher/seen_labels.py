"""The segmentation term of Stage 1: what a frozen network sees in the warped image, against what it sees in the target.

Warped image and target go through the network in its own space (COF v2, eqs. 4–6): the target's answer is made hard and
cleaned, the *teacher*; the warped image's stays soft, the *student*, and its gradients reach the motion.
"""

from collections.abc import Sequence

import numpy as np
import torch
from COFGeneratorLib.anatomy.segmenters.frozen_segmentation import FrozenSegmentation
from COFGeneratorLib.registration.similarity import dice_loss
from scipy.ndimage import label


def largest_components(hard: torch.Tensor) -> torch.Tensor:
    """Return masks (B, C, D, H, W) with the largest connected component of each, faces joined; float32."""
    masks = hard.detach().cpu().numpy() > 0.5
    kept = np.zeros_like(masks)
    for place in np.ndindex(*masks.shape[:2]):
        parts, count = label(masks[place])
        if count:
            sizes = np.bincount(parts.ravel())
            sizes[0] = 0
            kept[place] = parts == sizes.argmax()
    return torch.from_numpy(kept).to(hard.device, torch.float32)


def hard_labels(soft: torch.Tensor) -> torch.Tensor:
    """Return one-hot labels (B, 3, D, H, W) of soft ones, cleaned to the largest component of each class."""
    background = 1.0 - soft.sum(dim=1, keepdim=True)
    best = torch.cat([background, soft], dim=1).argmax(dim=1, keepdim=True)
    return largest_components(torch.cat([best == code for code in range(1, soft.shape[1] + 1)], dim=1).float())


def seen_loss(
    network: FrozenSegmentation, warped: torch.Tensor, target: torch.Tensor, spacing_mm: Sequence[float]
) -> torch.Tensor:
    """Return 1 − Dice of the student on the warped image with the teacher on the target, a scalar.

    Args:
        network: The frozen network.
        warped, target: (B, 1, D, H, W) on the registration's grid.
        spacing_mm: Its voxel along (k, j, i).
    """
    with torch.no_grad():
        truth = hard_labels(network(target, spacing_mm))
    return dice_loss(network(warped, spacing_mm), truth)
