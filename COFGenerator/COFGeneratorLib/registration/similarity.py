"""What a registration optimises: local correlation, overlap of labels, smoothness and size of the field.

All functions take (B, C, D, H, W) tensors, compute in float32 and return a scalar that is 0 for a perfect match.
"""

from collections.abc import Sequence

import torch
from torch.nn.functional import avg_pool3d, relu

from COFGeneratorLib.motion.constants import constant
from COFGeneratorLib.motion.fields import Spacing, jacobian_determinant

LOCAL_WINDOW = (1, 9, 9)
"""In-plane windows: neighbouring short-axis slices lie about 10 mm apart and show different anatomy."""
FLAT_VARIANCE = 1e-4
"""Local variance of images scaled to 0…1 below which a window holds noise only: (1 % of the range)²."""
LARGEST_MM = (20.0, 18.0, 18.0)
"""Largest plausible displacement along (k, j, i): above it the maximum-field term acts."""


def box_mean(image: torch.Tensor, window: Sequence[int]) -> torch.Tensor:
    """Return the mean of each voxel's window (odd sizes along k, j, i); at the border, of what lies inside."""
    for axis, size in enumerate(window):
        if size > 1:
            kernel, padding = [1, 1, 1], [0, 0, 0]
            kernel[axis], padding[axis] = size, size // 2
            image = avg_pool3d(image, kernel, stride=1, padding=padding, count_include_pad=False)
    return image


def local_correlation(
    one: torch.Tensor, other: torch.Tensor, window: Sequence[int] = LOCAL_WINDOW
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the local normalised cross-correlation −1…1 and the smaller local variance, both (B, C, D, H, W).

    MONAI's loss squares the correlation and has cubic windows only; between frames of one cine contrast keeps its
    sign, and slices need a flat window.
    """
    one, other = one.float(), other.float()
    middle = 0.5 * (one.mean() + other.mean())  # variances as differences of squares: keep the squares small
    one, other = one - middle, other - middle
    mean_one, mean_other = box_mean(one, window), box_mean(other, window)
    variance_one = (box_mean(one * one, window) - mean_one**2).clamp(min=0.0)
    variance_other = (box_mean(other * other, window) - mean_other**2).clamp(min=0.0)
    covariance = box_mean(one * other, window) - mean_one * mean_other
    correlation = covariance / torch.sqrt(variance_one * variance_other + 0.01 * FLAT_VARIANCE**2)
    return correlation.clamp(-1.0, 1.0), torch.minimum(variance_one, variance_other)


def correlation_loss(
    one: torch.Tensor,
    other: torch.Tensor,
    window: Sequence[int] = LOCAL_WINDOW,
    mask: torch.Tensor | None = None,
    scales: Sequence[tuple[int, float]] = ((1, 1.0), (2, 0.5)),
) -> torch.Tensor:
    """Return 1 − local correlation, averaged over textured voxels and over scales.

    Args:
        one, other: (B, 1, D, H, W), intensities scaled to about 0…1.
        window: Odd window size along (k, j, i).
        mask: (B or 1, 1, D, H, W) weight, or None.
        scales: (in-plane reduction, weight) of each scale.
    """
    total = one.new_zeros((), dtype=torch.float32)
    weight_sum = sum(weight for _, weight in scales)
    for reduction, weight in scales:
        kernel = (1, reduction, reduction)
        a, b = (image if reduction == 1 else avg_pool3d(image, kernel) for image in (one, other))
        correlation, variance = local_correlation(a, b, window)
        inside = variance.detach() / (variance.detach() + FLAT_VARIANCE)
        if mask is not None:
            inside = inside * (mask if reduction == 1 else avg_pool3d(mask.float(), kernel))
        total = total + weight * ((1.0 - correlation) * inside).sum() / inside.sum().clamp(min=1.0)
    return total / weight_sum


def confidence_map(one: torch.Tensor, other: torch.Tensor, window: Sequence[int] = LOCAL_WINDOW) -> torch.Tensor:
    """Return how well two images agree around each voxel, 0…1: clipped local correlation, 0 where all is flat."""
    correlation, variance = local_correlation(one, other, window)
    return correlation.clamp(0.0, 1.0) * variance / (variance + FLAT_VARIANCE)


def dice_loss(
    probability: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor | None = None, epsilon: float = 1e-5
) -> torch.Tensor:
    """Return 1 − mean soft Dice with squared denominators over foreground classes (COF v2, eq. 5).

    A class that is in neither volume is left out.

    Args:
        probability, truth: (B, C, D, H, W), foreground channels only.
        mask: (B or 1, 1, D, H, W) weight, or None.
    """
    probability, truth = probability.float(), truth.float()
    if mask is not None:
        probability, truth = probability * mask, truth * mask
    overlap = 2.0 * (probability * truth).sum(dim=(2, 3, 4))
    size = (probability**2).sum(dim=(2, 3, 4)) + (truth**2).sum(dim=(2, 3, 4))
    present = (size.detach() > 1.0).float()
    dice = (overlap + epsilon) / (size + epsilon)
    return ((1.0 - dice) * present).sum() / present.sum().clamp(min=1.0)


def smoothness_loss(field_mm: torch.Tensor, spacing_mm: Spacing) -> torch.Tensor:
    """Return the mean squared gradient of a field (B, 3, D, H, W) in mm per mm; ``spacing_mm`` (3,) or (B, 3)."""
    spacing = torch.as_tensor(spacing_mm, dtype=torch.float32, device=field_mm.device).view(-1, 3, 1, 1, 1)
    total = field_mm.new_zeros((), dtype=torch.float32)
    for axis in range(3):
        if field_mm.shape[2 + axis] > 1:
            gradient = torch.diff(field_mm.float(), dim=2 + axis) / spacing[:, axis : axis + 1]
            total = total + gradient.square().mean()
    return 3.0 * total  # per vector, not per component


def folding_loss(displacement: torch.Tensor, margin: float = 0.1) -> torch.Tensor:
    """Return the mean shortfall of det(I + ∇u) below ``margin``, 0 where nothing is near to folding.

    An exponential folds nowhere, but slices lie far apart: their finite differences may.

    Args:
        displacement: (B, 3, D, H, W), voxels.
        margin: Determinant that is left, as a share of the volume.
    """
    return relu(margin - jacobian_determinant(displacement.float())).mean()


def largest_field_loss(displacement_mm: torch.Tensor, largest_mm: Sequence[float] = LARGEST_MM) -> torch.Tensor:
    """Return the squared excess, mm², of the largest displacements over a plausible limit (softly pooled maximum)."""
    limit = constant(tuple(largest_mm), torch.float32, displacement_mm.device).view(1, 3, 1, 1, 1)
    excess = relu(displacement_mm.float().abs() - limit).square().sum(dim=1).flatten(1)  # (B, voxels)
    return (torch.softmax(excess, dim=1) * excess).sum(dim=1).mean()
