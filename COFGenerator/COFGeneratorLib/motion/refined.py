"""Grey values at any place of a stack: splines in the plane, along the anatomy between the slices.

In the plane a quintic B-spline through the pixels is evaluated densely, once. Between two slices a place takes the grey
values of both where ``between.correspondence`` says that they show the same as it does.
"""

import numpy as np
import torch
from scipy.interpolate import make_interp_spline
from torch.nn.functional import grid_sample, pad

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

    The slices are laid under each other as one tall image, as torch's 2-D sampler is several times as fast as its 3-D
    one; and so is what corresponds, with as many rows a pixel less, so that one place serves both.

    Args:
        image: (D, H, W).
        guides: (C, D, H, W) what tells which places correspond, each channel from 0 to 1.
        spacing_mm: (3,) along (k, j, i).
    """

    def __init__(self, image: torch.Tensor, guides: torch.Tensor, spacing_mm: np.ndarray) -> None:
        self._depth, self._height, width = image.shape
        fine, factors = image, []
        for axis, (n, step) in enumerate(zip(image.shape[1:], spacing_mm[1:], strict=True)):
            factors.append(min(max(round(step / FINE_MM), LEAST), MOST) if n > 1 else 1)
            fine = along_axis(fine, _spline(n, np.linspace(0.0, n - 1.0, (n - 1) * factors[-1] + 1)), 1 + axis)
        fine = fine.clamp(image.min(), image.max())  # a spline overshoots beside an edge
        self._row = 2.0 / max(self._depth * self._height - 1, 1)  # a pixel, of −1…1 over the tall image
        self._column = 2.0 / max(width - 1, 1)
        below = factors[0] - 1
        tall = pad(fine[None], (0, 0, 0, below), mode="replicate").flatten(1, 2)
        self._fine = tall[:, : tall.shape[1] - below][None]  # (1, 1, rows, columns)
        self._apart = None
        if self._depth > 1:
            apart = correspondence(guides, (spacing_mm[1], spacing_mm[2])).movedim(1, 0)  # (2, D − 1, H, W)
            apart = apart * apart.new_tensor([self._row, self._column]).view(2, 1, 1, 1)
            self._apart = torch.cat([apart, apart[:, -1:]], dim=1).flatten(1, 2)[None]

    def sample(self, positions: torch.Tensor) -> torch.Tensor:
        """Return (n, D', H', W') grey values at voxel positions (n, 3, D', H', W') of the stack.

        Beyond its first and last slice a stack goes on as it ends.
        """
        k, j, i = positions.unbind(1)
        column, row = (i * self._column).sub_(1.0), j * self._row
        if self._apart is None:
            return self._grey(column, row, row.new_tensor(-1.0))
        k = k.clamp(0.0, self._depth - 1.0)
        below = k.floor().clamp_(max=self._depth - 2.0)
        place = k.sub_(below)
        slices = below.mul_(self._height * self._row).sub_(1.0)
        rows, columns = self._sampled(self._apart, column, row, slices)
        column.addcmul_(place, columns, value=-1.0)
        row.addcmul_(place, rows, value=-1.0)
        lower = self._grey(column, row, slices)
        upper = self._grey(column.add_(columns), row.add_(rows), slices.add_(self._height * self._row))
        share = place.sub_(PASSES[0]).mul_(1.0 / (PASSES[1] - PASSES[0])).clamp_(0.0, 1.0)
        return lower.lerp_(upper, share.square().mul_(share.mul_(-2.0).add_(3.0)))

    def _grey(self, column: torch.Tensor, row: torch.Tensor, slices: torch.Tensor) -> torch.Tensor:
        return self._sampled(self._fine, column, row, slices)[0]

    def _sampled(
        self, tall: torch.Tensor, column: torch.Tensor, row: torch.Tensor, slices: torch.Tensor
    ) -> torch.Tensor:
        """Sample a tall image (1, C, rows, columns) linearly within whole slices: (C, …).

        Args:
            tall: Slices under each other.
            column: (…) from −1 to 1 over the columns.
            row: (…) rows within a slice, in units of the tall image's −1…1.
            slices: (…) where each slice begins, from −1 to 1 over the rows.
        """
        down = row.clamp(0.0, (self._height - 1) * self._row).add_(slices)
        places = torch.view_as_real(torch.complex(column, down)).view(1, 1, -1, 2)
        seen = grid_sample(tall, places, padding_mode="border", align_corners=True)[0, :, 0]
        return seen.view(-1, *column.shape)


def _spline(nodes: int, places: np.ndarray) -> np.ndarray:
    """Return the (len(places), nodes) matrix of spline interpolation; of lower degree where there are few nodes."""
    if nodes <= DEGREE:
        return spline_matrix(nodes, places)
    return make_interp_spline(np.arange(nodes), np.eye(nodes), k=DEGREE)(places)
