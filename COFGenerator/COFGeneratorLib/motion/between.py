"""Between the slices of a stack: which places of neighbouring slices show the same wall, and the slices in between.

Slices lie 8 to 10 mm apart, and from one to the next the ventricle narrows by several pixels. Grey values that are
mixed straight across show two walls; mixed along the anatomy's correspondence they show one, at the place between.
"""

import math
from functools import lru_cache

import numpy as np
import torch
from torch.nn.functional import avg_pool2d, grid_sample, interpolate, pad

NODE_MM = 3.0
"""Spacing at which correspondence is sought: half the thickness of a thin wall."""
LEVELS = ((2, 8), (1, 6))
"""Coarse to fine: factor of the spacing, and iterations."""
SMOOTH_NODES, SMOOTH_STEP_NODES = 1.0, 1.0
"""Standard deviation of the blur of the correspondence after each step, and of each step."""
LARGEST_STEP = 0.5
"""Of one iteration, in nodes."""
IMAGE_WEIGHT = 0.5
"""Of grey values beside the labels, both from 0 to 1: they tell what no label names, papillary muscles and vessels."""


def correspondence(slices: torch.Tensor, spacing_mm: tuple[float, float]) -> torch.Tensor:
    """Return how neighbouring slices correspond: half of each to half of the next, by symmetric demons.

    Args:
        slices: (C, D, H, W) what is to be brought together, each channel from 0 to 1.
        spacing_mm: In the plane, (row, column).

    Returns:
        d, (D − 1, 2, H, W) pixels (row, column): ``slice_k(x − d/2)`` shows what ``slice_{k+1}(x + d/2)`` does.
    """
    size = slices.shape[2:]
    below, above = slices[:, :-1].movedim(1, 0), slices[:, 1:].movedim(1, 0)  # (pairs, C, H, W)
    found = slices.new_zeros(len(below), 2, 1, 1)
    for factor, iterations in LEVELS:
        nodes = [max(8, math.ceil(n * step / (NODE_MM * factor))) for n, step in zip(size, spacing_mm, strict=True)]
        pair = [_shrunk(part, nodes) for part in (below, above)]
        found = _resized(found, nodes)
        for _ in range(iterations):
            one, two = _moved(pair[0], -0.5 * found), _moved(pair[1], 0.5 * found)
            apart = one - two
            slope = 0.5 * _gradient(one + two)  # (pairs, C, 2, H, W)
            force = (apart[:, :, None] * slope).sum(dim=1)
            step = force / (slope.square().sum(dim=(1, 2)) + apart.square().sum(dim=1) + 1e-4)[:, None]
            step = _blurred(step.clamp(-LARGEST_STEP, LARGEST_STEP), SMOOTH_STEP_NODES)
            found = _blurred(found + step, SMOOTH_NODES)
    return _resized(found, size)


def _resized(field: torch.Tensor, size: "torch.Size | list[int]") -> torch.Tensor:
    """Resize a field (B, 2, h, w) of pixels to another grid over the same extent."""
    if field.shape[2] == 1:
        return field.expand(-1, -1, *size)
    scale = field.new_tensor([(new - 1) / (old - 1) for new, old in zip(size, field.shape[2:], strict=True)])
    return interpolate(field, tuple(size), mode="bilinear", align_corners=True) * scale.view(1, 2, 1, 1)


def _shrunk(part: torch.Tensor, nodes: list[int]) -> torch.Tensor:
    """Bring slices to fewer nodes, averaged over each node's cell."""
    width = [max(1, 2 * round(0.5 * old / new) - 1) for old, new in zip(part.shape[2:], nodes, strict=True)]
    smooth = avg_pool2d(
        pad(part, (width[1] // 2,) * 2 + (width[0] // 2,) * 2, mode="replicate"), tuple(width), stride=1
    )
    return interpolate(smooth, tuple(nodes), mode="bilinear", align_corners=True)


def _moved(part: torch.Tensor, field: torch.Tensor) -> torch.Tensor:
    """Return ``part(x + field)`` of (B, C, H, W) and pixels (B, 2, H, W)."""
    return grid_sample(part, moved_grid(field), padding_mode="border", align_corners=True)


def moved_grid(field: torch.Tensor) -> torch.Tensor:
    """Return the sampler's grid (B, H, W, 2) of a field in pixels."""
    height, width = field.shape[2:]
    rows = torch.linspace(-1.0, 1.0, height, device=field.device).view(-1, 1) + field[:, 0] * (2.0 / max(height - 1, 1))
    columns = torch.linspace(-1.0, 1.0, width, device=field.device) + field[:, 1] * (2.0 / max(width - 1, 1))
    return torch.view_as_real(torch.complex(columns, rows))


def _gradient(part: torch.Tensor) -> torch.Tensor:
    """Return central differences (B, C, 2, H, W)."""
    rows, columns = pad(part, (0, 0, 1, 1), mode="replicate"), pad(part, (1, 1, 0, 0), mode="replicate")
    return 0.5 * torch.stack([rows[:, :, 2:] - rows[:, :, :-2], columns[..., 2:] - columns[..., :-2]], dim=2)


def _blurred(field: torch.Tensor, sigma: float) -> torch.Tensor:
    """Blur (B, 2, H, W) by a Gaussian, nodes; beyond its edges the field goes on as it ends."""
    rows, columns = (torch.from_numpy(_blur_matrix(n, sigma)).to(field) for n in field.shape[2:])
    return rows @ field @ columns.T


@lru_cache(maxsize=16)
def _blur_matrix(nodes: int, sigma: float) -> np.ndarray:
    """Return the (nodes, nodes) matrix of the blur: on few nodes a product is many times as fast as a convolution."""
    reach = max(1, math.ceil(3.0 * sigma))
    steps = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (steps / sigma) ** 2)
    matrix = np.zeros((nodes, nodes))
    for step, weight in zip(steps, kernel / kernel.sum(), strict=True):
        at = np.arange(nodes)
        matrix[at, np.clip(at + step, 0, nodes - 1)] += weight
    return matrix
