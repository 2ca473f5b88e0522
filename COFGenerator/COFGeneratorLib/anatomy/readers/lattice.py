"""Where the slices of a stack lie, and an even grid for them: every slice counts, whatever its distance."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from COFGeneratorLib.anatomy.readers.dicom_image import Image

EVEN_MM, EVEN_SHARE = 0.5, 0.05
"""How far a slice may lie off an even distance, mm and of it, and still be taken for lying on it."""
SAME_TILT = np.cos(np.deg2rad(0.2))


@dataclass(frozen=True)
class Lattice:
    """An even grid along a stack's normal.

    Args:
        first_mm: Level of its first plane.
        step_mm: Distance between planes.
        depth: Number of planes.
        position: (S,) where the slices lie on it, in steps; whole numbers where the stack is even.
        missing: Planes that no slice lies near.
        off_mm: How far slices lie off an even distance at most.
        even: Whether slices are taken as they are, without resampling between them.
    """

    first_mm: float
    step_mm: float
    depth: int
    position: np.ndarray
    missing: tuple[int, ...]
    off_mm: float
    even: bool


def fit_lattice(level_mm: np.ndarray) -> Lattice:
    """Fit an even grid to slices at levels (S,), increasing, mm; at least two.

    The distance is the median over all pairs of slices (Theil–Sen), so that one slice that lies elsewhere decides
    nothing. Slices that lie off it keep their place; the grid then covers the same length.
    """
    gaps = np.diff(level_mm)
    usual = _usual_gap(level_mm, gaps)
    steps = np.round(gaps / usual)
    number = np.concatenate([[0.0], np.cumsum(np.maximum(steps, 1.0))])
    later, earlier = np.triu_indices(len(level_mm), 1)[::-1]
    step = float(np.median((level_mm[later] - level_mm[earlier]) / (number[later] - number[earlier])))
    first = float(np.median(level_mm - step * number))
    off = np.abs(level_mm - first - step * number).max()
    missing = np.setdiff1d(np.arange(number[-1] + 1), number)
    if off <= max(EVEN_MM, EVEN_SHARE * step):
        slope, start = np.polyfit(number, level_mm, 1)
        return _lattice(float(start), float(slope), number, missing, float(off), even=True)
    extent = float(level_mm[-1] - level_mm[0])
    if abs(step * number[-1] - extent) > 0.25 * step or (steps < 1).any():  # odd gaps add up: cover their sum
        last = max(float(np.round(extent / usual)), 1.0)
        first, step = float(level_mm[0]), extent / last
    position = (level_mm - first) / step
    inserted = [np.arange(a + 1, b) for a, b in pairwise(position) if b - a > 1.6]
    filled = np.concatenate([np.empty(0), *inserted])
    return _lattice(first, step, position, np.round(filled), float(off), even=False)


def _lattice(first: float, step: float, position: np.ndarray, missing: np.ndarray, off: float, even: bool) -> Lattice:
    depth = int(np.round(position[-1])) + 1
    return Lattice(first, step, depth, position, tuple(int(k) for k in missing), off, even)


def _usual_gap(level: np.ndarray, gaps: np.ndarray) -> float:
    """Return the distance into whole multiples of which most gaps fall; of several the one with fewest holes."""
    two = (level[2:] - level[:-2]) / 2.0
    candidates = np.unique(np.round(np.concatenate([gaps, two, [gaps.mean(), np.median(gaps)]]), 3))
    candidates = candidates[candidates > 0.5] if (candidates > 0.5).any() else candidates

    def fit(step: float) -> float:
        whole = np.maximum(np.round(gaps / step), 1.0)
        off = np.minimum(np.abs(gaps / step - whole) / 0.25, 1.0)
        return float((1.0 - off**2).sum() - 0.3 * (whole - 1.0).sum())

    return float(max(candidates, key=lambda step: (round(fit(step), 6), step)))


def mean_normal(images: list[Image], like: np.ndarray) -> np.ndarray:
    """Return the (3,) mean unit normal of images, on the side of `like`; `like` itself where none is tilted."""
    normals = np.array([im.normal * np.sign(im.normal @ like) for im in images])
    if (normals @ like).min() > SAME_TILT:
        return like
    mean = normals.mean(axis=0)
    return mean / np.linalg.norm(mean)


def turned_alike(image: Image, model: np.ndarray) -> Image:
    """Turn an image by right angles, or mirror its storage, so that rows and columns run as `model` (3, 2) has them.

    Nothing moves in the patient: only which pixel is stored first.
    """
    axes = image.to_lps[:3, :2] / np.linalg.norm(image.to_lps[:3, :2], axis=0)
    along = axes.T @ model  # how much each stored axis (row direction, column direction) runs along each wanted one
    transpose = abs(along[0, 1]) + abs(along[1, 0]) > abs(along[0, 0]) + abs(along[1, 1])
    matrix, shape = image.to_lps.copy(), image.shape
    if transpose:
        matrix[:, [0, 1]], shape, along = matrix[:, [1, 0]], shape[::-1], along[::-1]
    back = (bool(along[0, 0] < 0), bool(along[1, 1] < 0))
    for column, reverse, length in ((0, back[0], shape[1]), (1, back[1], shape[0])):
        if reverse:
            matrix[:3, 3] += matrix[:3, column] * (length - 1)
            matrix[:3, column] *= -1.0
    if not (transpose or any(back)):
        return image
    normal = np.cross(matrix[:3, 0], matrix[:3, 1])
    matrix[:3, 2] = normal / np.linalg.norm(normal)
    return replace(image, to_lps=matrix, shape=shape, turn=(bool(transpose), *back))


def usual_axes(images: list[Image]) -> np.ndarray:
    """Return the (3, 2) unit rows and columns that most images have; of equals the ones that run to the left."""
    axes = np.array([im.to_lps[:3, :2] / np.linalg.norm(im.to_lps[:3, :2], axis=0) for im in images])
    distinct, counts = np.unique(np.round(axes, 2), axis=0, return_counts=True)
    near = [counts[np.abs(distinct - one).max(axis=(1, 2)) < 0.06].sum() for one in distinct]
    best = max(range(len(distinct)), key=lambda n: (near[n], distinct[n][0, 0]))
    return axes[int(np.abs(axes - distinct[best]).max(axis=(1, 2)).argmin())]


def between_planes(values: np.ndarray, level: np.ndarray, depth: int) -> np.ndarray:
    """Bring slices onto an even grid, linearly between the two nearest; a slice on the grid is copied.

    Args:
        values: (S, H, W) float32, in order.
        level: (S,) or (S, H, W) where each lies, in steps of the grid.
        depth: Planes of the grid.

    Returns:
        (depth, H, W) float32; beyond the outermost slices these themselves.
    """
    where = level.reshape(len(level), 1, 1) if level.ndim == 1 else level
    last = len(values) - 1
    out = np.empty((depth, *values.shape[1:]), np.float32)
    for k in range(depth):
        below = np.clip((where <= k).sum(axis=0, keepdims=True) - 1, 0, last)
        above = np.minimum(below + 1, last)
        low, high = np.take_along_axis(where, below, 0), np.take_along_axis(where, above, 0)
        share = np.where(high > low, (k - low) / np.where(high > low, high - low, 1.0), 0.0).clip(0.0, 1.0)
        full = np.broadcast_to
        a = np.take_along_axis(values, full(below, (1, *values.shape[1:])), 0)
        b = np.take_along_axis(values, full(above, (1, *values.shape[1:])), 0)
        out[k] = (a + share.astype(np.float32) * (b - a))[0]
    return out
