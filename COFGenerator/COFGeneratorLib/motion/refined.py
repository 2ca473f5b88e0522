"""Grey values at any place of a stack: splines in the plane, along the anatomy between the slices.

In the plane a quintic B-spline through the pixels is evaluated densely, once. Between two slices a place takes the grey
values of both where ``between.correspondence`` says that they show the same as it does.
"""

import numpy as np
import torch
from scipy.interpolate import make_interp_spline
from torch.nn.functional import grid_sample

from COFGeneratorLib.motion.between import correspondence
from COFGeneratorLib.motion.fields import along_axis, spline_matrix

PASSES = (0.35, 0.65)
"""Where between two slices grey values pass from one to the other. Averaging blurs what the eye takes for sharpness,
texture and noise; a slice is about as thick as the gap is wide, so near it its own grey values are the best guess."""
DEGREE = 5
"""Of the spline: half a pixel off, a cubic one loses 3 % more of the gradient."""
FINE_MM = 0.45
LEAST, MOST = 2, 4
"""Pixels are refined to about ``FINE_MM``, that many times, and sampled linearly from there."""


class RefinedStack:
    """A stack, or a box of one, to be sampled.

    Args:
        image: (D, H, W).
        guides: (C, D, H, W) what tells which places correspond, each channel from 0 to 1.
        spacing_mm: (3,) along (k, j, i).
    """

    def __init__(self, image: torch.Tensor, guides: torch.Tensor, spacing_mm: np.ndarray) -> None:
        self._depth, *size = image.shape
        self._scale = [1.0, 1.0]
        fine = image
        for axis, (n, step) in enumerate(zip(size, spacing_mm[1:], strict=True)):
            factor = min(max(round(step / FINE_MM), LEAST), MOST) if n > 1 else 1
            self._scale[axis] = float(factor)
            fine = along_axis(fine, _spline(n, np.linspace(0.0, n - 1.0, (n - 1) * factor + 1)), 1 + axis)
        self._fine = fine.clamp(image.min(), image.max())  # a spline overshoots beside an edge
        self._apart = correspondence(guides, (spacing_mm[1], spacing_mm[2])) if self._depth > 1 else None

    def sample(self, positions: torch.Tensor) -> torch.Tensor:
        """Return (n, D', H', W') grey values at voxel positions (n, 3, D', H', W') of the stack.

        Beyond its first and last slice a stack goes on as it ends.
        """
        k, j, i = positions.movedim(1, 0).flatten(1)  # one long row: all frames sample the same stack
        if self._apart is None:
            return self._at(torch.zeros_like(k), j, i).view(positions[:, 0].shape)
        k = k.clamp(0.0, self._depth - 1.0)
        below = k.floor().clamp_(max=self._depth - 2.0)
        place = k - below
        rows, columns = self._apart_at(below, j, i)
        lower = self._at(below, j - place * rows, i - place * columns)
        rest = 1.0 - place
        upper = self._at(below + 1.0, j + rest * rows, i + rest * columns)
        share = ((place - PASSES[0]) / (PASSES[1] - PASSES[0])).clamp_(0.0, 1.0)
        return torch.lerp(lower, upper, share * share * (3.0 - 2.0 * share)).view(positions[:, 0].shape)

    def _at(self, slices: torch.Tensor, j: torch.Tensor, i: torch.Tensor) -> torch.Tensor:
        """Return grey values within whole slices (n,) at pixels (n,), (n,)."""
        return _sampled(self._fine[None], slices, j * self._scale[0], i * self._scale[1])[0]

    def _apart_at(self, slices: torch.Tensor, j: torch.Tensor, i: torch.Tensor) -> torch.Tensor:
        """Return how the slice at (n,) and the next one correspond, (2, n) pixels."""
        assert self._apart is not None
        return _sampled(self._apart.movedim(1, 0), slices, j, i)


def _sampled(image: torch.Tensor, slices: torch.Tensor, j: torch.Tensor, i: torch.Tensor) -> torch.Tensor:
    """Sample (C, D, H, W) linearly within whole slices (n,) at rows and columns (n,): (C, n).

    The slices are laid under each other as one tall image: torch's 2-D sampler is several times as fast as its 3-D one.
    """
    channels, depth, height, width = image.shape
    down = (slices * height + j.clamp(0.0, height - 1.0)) * (2.0 / max(depth * height - 1, 1)) - 1.0
    grid = torch.view_as_real(torch.complex(i * (2.0 / max(width - 1, 1)) - 1.0, down))
    tall = image.reshape(1, channels, depth * height, width)
    return grid_sample(tall, grid[None, None], padding_mode="border", align_corners=True)[0, :, 0]


def _spline(nodes: int, places: np.ndarray) -> np.ndarray:
    """Return the (len(places), nodes) matrix of spline interpolation; of lower degree where there are few nodes."""
    if nodes <= DEGREE:
        return spline_matrix(nodes, places)
    return make_interp_spline(np.arange(nodes), np.eye(nodes), k=DEGREE)(places)
