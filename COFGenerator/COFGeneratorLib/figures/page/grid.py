"""What the page shows of a cine: the heart's part of the stack, upright, in square pixels, from base to apex."""

import io
import math
from dataclasses import dataclass, replace

import numpy as np

from COFGeneratorLib.cine import Cine
from COFGeneratorLib.figures.view import HeartView, choose_view

MIN_SIZE_PX, MAX_SIZE_PX, MAX_SLICES = 64, 160, 32
RANGE_PERCENTILES = (0.05, 99.95)
"""Intensities that become the ends of 8 bits: wider than a usual window, so that the page can change it."""


@dataclass(frozen=True)
class PageGrid:
    """The page's own grid (z, y, x): z from base to apex, y and x as on the screen.

    Attributes:
        view: How the stack is looked at.
        slices: Stored slice of each z.
        size_px: Rows and columns.
        pixel_mm, slice_mm: Spacing in the plane and between slices, mm.
        to_ras: (4, 4) from homogeneous (x, y, z) to RAS, mm.
    """

    view: HeartView
    slices: tuple[int, ...]
    size_px: int
    pixel_mm: float
    slice_mm: float
    to_ras: np.ndarray

    def images(self, cine: Cine) -> tuple[np.ndarray, tuple[float, float]]:
        """Return (T, D, n, n) uint8 and the intensities that 0 and 255 stand for."""
        stored = cine.frames[:, list(self.slices)]
        low, high = (float(value) for value in np.percentile(stored[:: max(1, len(stored) // 6)], RANGE_PERCENTILES))
        high = max(high, low + 1e-6)
        shown = np.empty((*stored.shape[:2], self.size_px, self.size_px), np.uint8)
        for place in np.ndindex(stored.shape[:2]):
            grey = (self.view.shown(stored[place], self.size_px) - low) * (255.0 / (high - low))
            shown[place] = np.clip(np.rint(grey), 0, 255)
        return shown, (low, high)

    def labels(self, labels: np.ndarray) -> np.ndarray:
        """Return labels (T, D, H, W) on this grid, nearest neighbour, (T, D, n, n) uint8."""
        turned = labels[:, list(self.slices)]
        turned = turned.swapaxes(2, 3) if self.view.swap else turned
        rows_step, columns_step = (-1 if flip else 1 for flip in (self.view.flip_rows, self.view.flip_columns))
        turned = turned[:, :, ::rows_step, ::columns_step]
        left, top, right, bottom = self.view.box
        at = (np.arange(self.size_px) + 0.5) / self.size_px
        rows = np.floor(top + at * (bottom - top)).astype(int)
        columns = np.floor(left + at * (right - left)).astype(int)
        height, width = turned.shape[2:]
        shown = turned[:, :, rows.clip(0, height - 1)[:, None], columns.clip(0, width - 1)]
        inside = ((rows >= 0) & (rows < height))[:, None] & (columns >= 0) & (columns < width)
        return (shown * inside).astype(np.uint8)


def page_grid(cine: Cine, max_size_px: int = MAX_SIZE_PX) -> PageGrid:
    """Choose the grid: the heart's slices with one beyond at each end, not finer in the plane than the stack is."""
    depth = cine.anchor.shape[0]
    view = choose_view(cine.anchor, cine.labels, depth)
    first, last = view.slices[0], view.slices[-1]
    step = 1 if last >= first else -1
    around = range(first - step, last + 2 * step, step)
    slices = [k for k in around if 0 <= k < depth]
    stride = math.ceil(len(slices) / MAX_SLICES)
    slices = slices[::stride]
    left, top, right, bottom = view.box
    view = replace(view, box=(round(left), round(top), round(left) + right - left, round(top) + bottom - top))
    size_px = round(min(max(right - left, bottom - top, MIN_SIZE_PX), max_size_px))
    to_ras = _to_ras(view, slices[0], step * stride, size_px, cine)
    pixel_mm, _, slice_mm = np.linalg.norm(to_ras[:3, :3], axis=0)
    return PageGrid(view, tuple(slices), size_px, float(pixel_mm), float(slice_mm), to_ras)


def _to_ras(view: HeartView, first: int, k_step: int, size_px: int, cine: Cine) -> np.ndarray:
    """Return the page's geometry: pixel (x, y) → turned column, row → stored i, j → RAS."""
    height, width = cine.anchor.shape[1:]
    turned_height, turned_width = (width, height) if view.swap else (height, width)
    left, top, right, bottom = view.box

    def along(low: float, high: float, length: int, flip: bool) -> tuple[float, float]:
        scale, start = (high - low) / size_px, low + 0.5 * (high - low) / size_px - 0.5
        return (-scale, length - 1 - start) if flip else (scale, start)

    column, row = along(left, right, turned_width, view.flip_columns), along(top, bottom, turned_height, view.flip_rows)
    to_ijk = np.zeros((4, 4))
    i_axis, j_axis = (1, 0) if view.swap else (0, 1)
    to_ijk[i_axis, 0], to_ijk[i_axis, 3] = column
    to_ijk[j_axis, 1], to_ijk[j_axis, 3] = row
    to_ijk[2, 2], to_ijk[2, 3], to_ijk[3, 3] = k_step, first, 1.0
    return cine.anchor.ijk_to_ras @ to_ijk


def atlases(images: np.ndarray, quality: int) -> tuple[list[bytes], int]:
    """Return one WebP a frame of its slices side by side, (T, D, n, n) uint8, and how many stand in a row."""
    from PIL import Image

    count, depth, size, _ = images.shape
    across = math.ceil(math.sqrt(depth))
    down = math.ceil(depth / across)
    padded = np.zeros((count, down * across, size, size), np.uint8)
    padded[:, :depth] = images
    sheets = padded.reshape(count, down, across, size, size).swapaxes(2, 3).reshape(count, down * size, across * size)
    encoded = []
    for sheet in sheets:
        out = io.BytesIO()
        Image.fromarray(sheet).save(out, "WEBP", quality=quality, method=1)
        encoded.append(out.getvalue())
    return encoded, across
