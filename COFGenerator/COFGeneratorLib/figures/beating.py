"""Closed, smooth surfaces of a structure in every frame, by VTK, on a grid so coarse that all of them cost little."""

from dataclasses import dataclass

import numpy as np

SMOOTHING_MM = 3.0
"""The blur that makes a smooth body of a stack of label masks."""
STEP_MM, STEPS = 3.6, 32
"""Grid of the marching cubes: not finer than this, and not more steps across the picture, whatever the heart's size. A
coarse grid bounds the triangles as decimation would, at a tenth of the time."""
Mesh = tuple[np.ndarray, np.ndarray]
"""Points (N, 3) in RAS, mm, and triangles (M, 3) of their indices."""
EDGE, LEVELS = 0.0, (-0.7, 0.3)
"""Where the surface of a body lies, and how far from there it may go to enclose the mask's volume."""
FARTHEST = 3.0
"""Distance from the edge, in blurs, beyond which all is equally inside or outside."""
MARGIN_PX, MARGIN_SLICES = 2, 1
"""Empty voxels around a mask, so that its surface closes."""


@dataclass(frozen=True)
class SurfaceGrid:
    """Where masks (T, D, H, W) lie.

    Attributes:
        spacing_mm: Of slices, rows and columns, mm.
        to_ras: (4, 4) from homogeneous (x, y, z) = (column, row, slice) to RAS, mm.
        across_mm: Width of what is shown, mm.
    """

    spacing_mm: tuple[float, float, float]
    to_ras: np.ndarray
    across_mm: float


def beating_meshes(mask: np.ndarray, grid: SurfaceGrid) -> list[Mesh]:
    """Return the surface of a mask (T, D, H, W) in each frame; without points where it is empty.

    Raises:
        ImportError: If there is no vtk.
    """
    bodies, step = _bodies(mask, grid)
    return [_mesh(body, _level(body, frame.sum() / step.prod()), grid, step)
            for body, frame in zip(bodies, mask, strict=True)]  # fmt: skip


def _bodies(mask: np.ndarray, grid: SurfaceGrid) -> tuple[np.ndarray, np.ndarray]:
    """Return bodies (T, D', H', W') in nearly cubic voxels, empty around, and their step in voxels (x, y, z).

    A body is positive inside. Its values are distances from the edge, in blurs, as the blur of a straight edge tells
    them; between slices of other width they are interpolated, which slopes where masks would step.
    """
    from scipy.ndimage import gaussian_filter1d
    from scipy.special import ndtri

    step_mm = max(STEP_MM, grid.across_mm / STEPS)
    slice_mm, row_mm, column_mm = grid.spacing_mm
    rows, columns = max(1, round(step_mm / row_mm)), max(1, round(step_mm / column_mm))
    around = ((0, 0), (MARGIN_SLICES,) * 2, (MARGIN_PX,) * 2, (MARGIN_PX,) * 2)
    soft = np.pad(mask, around).astype(np.float32)
    for axis, pixel_mm in ((2, row_mm), (3, column_mm)):
        soft = gaussian_filter1d(soft, SMOOTHING_MM / pixel_mm, axis=axis, truncate=3.0)
    away = np.clip(ndtri(soft[:, :, ::rows, ::columns]), -FARTHEST, FARTHEST)
    finer = max(1, round(slice_mm / step_mm))
    depth = away.shape[1]
    at = np.arange((depth - 1) * finer + 1) / finer
    weights = np.maximum(0.0, 1.0 - np.abs(at[:, None] - np.arange(depth))).astype(np.float32)
    dense = np.einsum("ek,tkyx->teyx", weights, away)
    return gaussian_filter1d(dense, 0.5 * finer, axis=1), np.array([columns, rows, 1.0 / finer])


def _level(body: np.ndarray, voxels: float) -> float:
    """Return the value that so many voxels of a body exceed: at the edge, the blur would shrink what is small."""
    count = round(voxels)
    if not 0 < count < body.size:
        return EDGE
    return float(np.clip(np.partition(body, -count, axis=None)[-count], *LEVELS))


def _mesh(body: np.ndarray, level: float, grid: SurfaceGrid, step: np.ndarray) -> Mesh:
    """Return the surface of a body at a level."""
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D

    image = vtkImageData()
    image.SetDimensions(*body.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(body).ravel()))
    edges = vtkFlyingEdges3D()
    edges.SetInputData(image)
    edges.SetValue(0, level)
    edges.ComputeNormalsOff()
    edges.ComputeScalarsOff()
    edges.Update()
    surface = edges.GetOutput()
    if surface.GetNumberOfCells() == 0:
        return np.zeros((0, 3)), np.zeros((0, 3), int)
    corners = vtk_to_numpy(surface.GetPolys().GetConnectivityArray()).reshape(-1, 3)
    xyz = vtk_to_numpy(surface.GetPoints().GetData()) * step - np.array([MARGIN_PX, MARGIN_PX, MARGIN_SLICES])
    return xyz @ grid.to_ras[:3, :3].T + grid.to_ras[:3, 3], corners
