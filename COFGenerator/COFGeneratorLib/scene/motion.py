"""Motion as a sequence of grid transforms that Slicer applies to the anchor, its segmentation or any mesh.

The product's pull displacement, ``cine_t(x) = anchor(x + u_t(x))``, is what MRML calls a transform *from parent*:
vectors in RAS mm on an oriented grid. As plain floats, 50 frames of 12×128×128 take 118 MB. The field is therefore cut
to the box where anything moves, thinned in-plane as far as linear interpolation brings it back within
``MAX_GRID_ERROR_MM``, and its RAS components are rounded to ``QUANTUM_MM``, after which it compresses to about a third.
Rounding comes after the turn into RAS: an oblique stack would mix rounded components into unrounded ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from COFGeneratorLib.errors import SceneError
from COFGeneratorLib.scene.bootstrap import import_slicer
from COFGeneratorLib.scene.volumes import image_data, matrix_to_vtk, new_sequence

UNIT_MM = 1.0 / 256.0
"""Unit of the vectors of a ``StoredMotion``; an int16 then reaches 128 mm."""

QUANTUM_MM = 1.0 / 32.0
"""Step of stored vectors: a rounding error of at most 0.016 mm a component, a hundredth of a voxel."""

STILL_MM = 0.02
"""A voxel that never moves further than this counts as still; outside the stored box motion is zero."""

MAX_GRID_ERROR_MM = 0.10
"""Largest error that thinning may cause anywhere: less than a tenth of an in-plane voxel."""

STRIDES = (4, 3, 2, 1)
"""In-plane thinning factors that are tried, coarsest first."""


@dataclass(frozen=True)
class StoredMotion:
    """Displacement of all frames on the grid that is stored.

    Attributes:
        vectors: (T, d, h, w, 3) int16, components (k, j, i) along the stack's axes, unit ``UNIT_MM``.
        start: (3,) index (k, j, i) of the first stored node on the anchor's grid; may be negative by one stride.
        stride: In-plane distance of stored nodes in voxels.
        error_mm: Largest error of a component that box and thinning cause over all frames and voxels, mm; rounding to
            ``QUANTUM_MM`` adds half of that.
    """

    vectors: np.ndarray
    start: tuple[int, int, int]
    stride: int
    error_mm: float


def fit_motion_grid(displacement_mm: Callable[[int], np.ndarray], n_frames: int) -> StoredMotion:
    """Choose box and thinning for a motion, frame → (3, D, H, W) mm along (k, j, i), and return it on that grid.

    Raises:
        SceneError: If a displacement is not finite or too large to be a heart's.
    """
    full = np.stack([_quantise(displacement_mm(frame)) for frame in range(n_frames)])  # (T, D, H, W, 3) int16
    peak_mm = np.maximum(full.max(axis=(0, -1)), -full.min(axis=(0, -1))) * UNIT_MM  # (D, H, W)
    box = _moving_box(peak_mm)
    if box is None:
        return StoredMotion(np.zeros((n_frames, 1, 2, 2, 3), np.int16), (0, 0, 0), 1, float(peak_mm.max()))
    outside = peak_mm.copy()
    outside[box] = 0.0
    for stride in STRIDES:
        vectors, start = _thin(full, box, stride)
        error_mm = max(_thinning_error_mm(full, vectors, box, start, stride), float(outside.max()))
        if error_mm <= MAX_GRID_ERROR_MM or stride == 1:
            return StoredMotion(vectors, start, stride, error_mm)
    raise AssertionError("STRIDES ends with 1")


def motion_sequence(scene: Any, name: str, grid: StoredMotion, indices: list[str], ijk_to_ras: np.ndarray) -> Any:
    """Add the motion as a sequence of grid transforms and return the sequence node.

    Args:
        scene: vtkMRMLScene.
        name: Node name.
        grid: From ``fit_motion_grid``.
        indices: T index strings.
        ijk_to_ras: (4, 4) geometry of the anchor, mm.
    """
    slicer = import_slicer()
    spacing, directions, origin = _grid_geometry(grid, ijk_to_ras)
    direction_matrix = np.eye(4)
    direction_matrix[:3, :3] = directions
    to_ras = directions.T * (UNIT_MM / QUANTUM_MM)  # row vectors (i, j, k) → RAS in quanta

    sequence = new_sequence(scene, name)
    node = slicer.vtkMRMLGridTransformNode()
    node.SetName(name)
    for vectors, index in zip(grid.vectors, indices, strict=True):
        image = image_data((np.rint(vectors[..., ::-1] @ to_ras) * QUANTUM_MM).astype(np.float32))
        image.SetOrigin(*origin)
        image.SetSpacing(*spacing)
        transform = slicer.vtkOrientedGridTransform()
        transform.SetDisplacementGridData(image)
        transform.SetGridDirectionMatrix(matrix_to_vtk(direction_matrix))
        transform.SetInterpolationModeToLinear()
        node.SetAndObserveTransformFromParent(transform)
        sequence.SetDataNodeAtValue(node, index)
    return sequence


def displacement_at(transform_node: Any, points_ras: np.ndarray) -> np.ndarray:
    """Return a transform node's pull displacement at points, (n, 3) RAS mm, as Slicer would apply it."""
    transform = transform_node.GetTransformFromParent()
    return np.array([transform.TransformPoint(point) for point in points_ras]) - points_ras


def _quantise(displacement: np.ndarray) -> np.ndarray:
    """Return (3, D, H, W) mm as (D, H, W, 3) int16 steps."""
    largest = float(np.abs(displacement).max(initial=0.0))
    limit = np.iinfo(np.int16).max * UNIT_MM
    if not largest <= limit:
        raise SceneError(
            f"A displacement must be finite and below {limit:.0f} mm; found {largest} mm. "
            "Generate the cine again; if it persists, the model bundle is damaged."
        )
    return np.rint(np.moveaxis(displacement, 0, -1) / UNIT_MM).astype(np.int16)


def _moving_box(peak_mm: np.ndarray) -> tuple[slice, slice, slice] | None:
    """Return the smallest (k, j, i) box that holds every voxel that ever moves, or None."""
    moves = peak_mm > STILL_MM
    if not moves.any():
        return None
    spans = []
    for axis in range(3):
        used = np.flatnonzero(moves.any(axis=tuple(other for other in range(3) if other != axis)))
        spans.append(slice(int(used[0]), int(used[-1]) + 1))
    return spans[0], spans[1], spans[2]


def _thin(full: np.ndarray, box: tuple[slice, slice, slice], stride: int) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Return every ``stride``-th node of the box and one node of margin around it.

    Slicer extends a grid by its outermost nodes. They are zero, so that nothing outside the box moves, except where
    the anchor itself ends: there the last voxel is repeated.
    """
    steps = (1, stride, stride)
    first = tuple(span.start - step for span, step in zip(box, steps, strict=True))
    counts = tuple(-(-(span.stop - span.start) // step) + 2 for span, step in zip(box, steps, strict=True))
    nodes = [start + step * np.arange(count) for start, step, count in zip(first, steps, counts, strict=True)]
    size = full.shape[1:4]
    clipped = [np.clip(index, 0, length - 1) for index, length in zip(nodes, size, strict=True)]
    vectors = full[:, clipped[0]][:, :, clipped[1]][:, :, :, clipped[2]]
    for axis, (index, length, span) in enumerate(zip(nodes, size, box, strict=True), start=1):
        if span.start > 0:
            np.moveaxis(vectors, axis, 0)[index < span.start] = 0
        if span.stop < length:
            np.moveaxis(vectors, axis, 0)[index >= span.stop] = 0
    return vectors, first


def _thinning_error_mm(
    full: np.ndarray, vectors: np.ndarray, box: tuple[slice, slice, slice], start: tuple[int, int, int], stride: int
) -> float:
    """Return the largest error of linear interpolation between stored nodes, mm, in and just around the box.

    Frames with the largest motion come first, and the search ends at the first that is too far off.
    """
    if stride == 1:
        return 0.0
    span_j, span_i = (
        slice(max(span.start - stride, 0), min(span.stop + stride, size))
        for span, size in zip(box[1:], full.shape[2:4], strict=True)
    )
    rows = _linear_weights(span_j, start[1], stride, vectors.shape[2])  # (h, nodes)
    columns = _linear_weights(span_i, start[2], stride, vectors.shape[3]).T  # (nodes, w)
    slices = np.arange(box[0].start, box[0].stop)
    worst = 0.0
    for frame in np.argsort(-np.abs(vectors).max(axis=(1, 2, 3, 4)), kind="stable"):
        stored = np.moveaxis(vectors[frame][slices - start[0]], -1, 1).astype(np.float32)  # (d, 3, nodes, nodes)
        wanted = np.moveaxis(full[frame, slices, span_j, span_i], -1, 1)
        worst = max(worst, float(np.abs(rows @ stored @ columns - wanted).max()) * UNIT_MM)
        if worst > MAX_GRID_ERROR_MM:
            break
    return worst


def _linear_weights(span: slice, begin: int, step: int, count: int) -> np.ndarray:
    """Return (length, count) weights that bring node values to voxels, clamped outside the nodes as Slicer does."""
    position = np.clip((np.arange(span.start, span.stop) - begin) / step, 0, count - 1)
    lower = np.minimum(position.astype(int), count - 2)
    fraction = (position - lower).astype(np.float32)
    matrix = np.zeros((len(position), count), np.float32)
    row = np.arange(len(position))
    matrix[row, lower] = 1.0 - fraction
    matrix[row, lower + 1] += fraction
    return matrix


def _grid_geometry(grid: StoredMotion, ijk_to_ras: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return spacing (i, j, k) mm, direction columns (3, 3) and origin (RAS mm) of the stored grid."""
    lengths = np.linalg.norm(ijk_to_ras[:3, :3], axis=0)
    origin = ijk_to_ras[:3, :3] @ np.array(grid.start[::-1], float) + ijk_to_ras[:3, 3]
    return lengths * (grid.stride, grid.stride, 1.0), ijk_to_ras[:3, :3] / lengths, origin
