"""The square window about the heart in which a comparator sees every slice, and the way back onto the native grid."""

from dataclasses import dataclass

import numpy as np
import torch
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.errors import TrainingError
from torch.nn import functional

LOW_PERCENTILE, HIGH_PERCENTILE = 1.0, 99.5
"""Of the anchor within the window: they become −1 and 1."""
FEATHER = 3.0
"""Pixels of the window over which a generated image goes over into the still surroundings."""


@dataclass(frozen=True)
class ClipGrid:
    """What a clip is.

    Args:
        frames: Equidistant phases of one R–R, the anchor's first.
        size: Pixels of the square window.
        pixel_mm: Size of a pixel, mm.
    """

    frames: int = 10
    size: int = 64
    pixel_mm: float = 2.5

    def __post_init__(self) -> None:
        if self.frames < 4 or self.size < 16 or self.pixel_mm <= 0:
            raise TrainingError(
                "A clip has at least 4 frames and 16 pixels of a positive size; found "
                f"{self.frames}, {self.size} and {self.pixel_mm} mm. Correct the table clips."
            )


@dataclass(frozen=True)
class Window:
    """The window of one anchor.

    Args:
        grid: What a clip is.
        centre: (row, column) of the labelled heart's middle, voxels.
        spacing_mm: (row, column) of the stack, mm.
        shape: (rows, columns) of the stack.
        slices: Indices of the slices with heart.
        low, high: Intensities that become −1 and 1.
    """

    grid: ClipGrid
    centre: tuple[float, float]
    spacing_mm: tuple[float, float]
    shape: tuple[int, int]
    slices: tuple[int, ...]
    low: float
    high: float

    def into(self, volumes: np.ndarray) -> torch.Tensor:
        """Return the slices with heart of volumes (N, D, H, W) as images (len(slices), N, size, size) in −1 … 1.

        Twice as many points are sampled along each side and averaged, so that finer images do not alias.
        """
        images = torch.from_numpy(np.ascontiguousarray(volumes[:, list(self.slices)], dtype=np.float32))
        fine = 2 * self.grid.size
        at = (np.arange(fine) - (fine - 1) / 2) * self.grid.pixel_mm / 2
        where = self._unit(self.centre[0] + at / self.spacing_mm[0], self.centre[1] + at / self.spacing_mm[1])
        images = images.transpose(0, 1)  # (S, N, H, W)
        seen = functional.grid_sample(
            images, where.expand(len(images), -1, -1, -1), padding_mode="border", align_corners=True
        )
        span = max(self.high - self.low, 1e-6)
        return functional.avg_pool2d(seen, 2).sub(self.low).div(0.5 * span).sub(1.0).clamp(-1.0, 1.0)

    def out_of(self, clips: torch.Tensor, anchor: np.ndarray) -> np.ndarray:
        """Return clips (len(slices), F, size, size) laid into the anchor (D, H, W): (F, D, H, W), in its intensities.

        What lies outside of the window, and slices without heart, are the anchor's.
        """
        rows, columns = ((np.arange(n) - c) * s / self.grid.pixel_mm + (self.grid.size - 1) / 2
                         for n, c, s in zip(self.shape, self.centre, self.spacing_mm, strict=True))  # fmt: skip
        side = self.grid.size
        where = torch.from_numpy(
            np.stack(np.meshgrid(2 * columns / (side - 1) - 1, 2 * rows / (side - 1) - 1), axis=-1)[None]
        ).float()
        grey = (clips.float() + 1.0) * 0.5 * (self.high - self.low) + self.low
        back = functional.grid_sample(
            grey, where.expand(len(grey), -1, -1, -1), padding_mode="border", align_corners=True
        )
        inside = np.minimum.outer(_depth(rows, side), _depth(columns, side)).astype(np.float32)
        cine = np.repeat(anchor[None].astype(np.float32), clips.shape[1], axis=0)
        for place, index in enumerate(self.slices):
            cine[:, index] += inside * (back[place].numpy() - cine[:, index])
        return cine

    def _unit(self, rows: np.ndarray, columns: np.ndarray) -> torch.Tensor:
        """Return the sampling grid (1, R, C, 2) of rows and columns in voxels."""
        height, width = self.shape
        y, x = 2 * rows / max(height - 1, 1) - 1, 2 * columns / max(width - 1, 1) - 1
        return torch.from_numpy(np.stack(np.meshgrid(x, y), axis=-1)[None]).float()


def _depth(position: np.ndarray, side: int) -> np.ndarray:
    """Return 0 outside of the window, 1 well inside."""
    return np.clip(np.minimum(position, side - 1 - position) / FEATHER, 0.0, 1.0)


def window_of(anchor: SaxStack, labels: np.ndarray, grid: ClipGrid) -> Window:
    """Return the window of an anchor with labels (D, H, W).

    Raises:
        TrainingError: If the labels show no heart.
    """
    heart = labels > 0
    slices = tuple(int(n) for n in np.flatnonzero(heart.any(axis=(1, 2))))
    if not slices:
        raise TrainingError("An anchor's labels must show a heart; found none. Label it, or leave the subject out.")
    rows, columns = np.nonzero(heart.any(axis=0))
    centre = (float(rows.min() + rows.max()) / 2, float(columns.min() + columns.max()) / 2)
    spacing = (float(anchor.spacing_mm[1]), float(anchor.spacing_mm[2]))
    shape = (anchor.shape[1], anchor.shape[2])
    window = Window(grid, centre, spacing, shape, slices, 0.0, 1.0)
    reach = [grid.size * grid.pixel_mm / 2 / s for s in spacing]
    box = tuple(slice(max(int(c - r), 0), int(c + r) + 1) for c, r in zip(centre, reach, strict=True))
    seen = anchor.voxels[list(slices)][:, box[0], box[1]]
    low, high = np.percentile(seen, [LOW_PERCENTILE, HIGH_PERCENTILE])
    return Window(grid, window.centre, spacing, shape, slices, float(low), float(high))
