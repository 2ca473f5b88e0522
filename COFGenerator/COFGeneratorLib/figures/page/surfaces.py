"""Surfaces of the heart in every frame, small enough for a page: closed, smooth, and quantised to 16 bits."""

from dataclasses import dataclass

import numpy as np

from COFGeneratorLib.figures.page.grid import PageGrid
from COFGeneratorLib.figures.palette import EPICARDIUM, LV, RV

SMOOTHING_MM = 3.0
"""The blur that makes a smooth body of a stack of label masks."""
STEP_MM, STEPS = 3.6, 32
"""Grid of the marching cubes: not finer than this, and not more steps across the picture, whatever the heart's size. A
coarse grid bounds the triangles as decimation would, at a tenth of the time."""
STRUCTURES = (("LV cavity", (1,), LV, 1.0), ("RV cavity", (3,), RV, 0.75), ("myocardium", (1, 2), EPICARDIUM, 0.3))
"""Name, labels inside, colour, opacity: the wall, drawn last, is seen through."""


@dataclass(frozen=True)
class Surfaces:
    """The surfaces of all frames.

    Attributes:
        structures: (name, colour, opacity) of each.
        counts: (T, structures, 2) points and triangles.
        low_mm, high_mm: (3,) RAS box in which points are quantised, mm.
        data: Frame by frame and structure by structure uint16, little endian: points (RAS), then corners.
    """

    structures: tuple[tuple[str, str, float], ...]
    counts: np.ndarray
    low_mm: np.ndarray
    high_mm: np.ndarray
    data: bytes


def beating_surfaces(labels: np.ndarray, grid: PageGrid) -> Surfaces | None:
    """Return the surfaces of labels (T, D, n, n) on the page's grid; None where nothing is labelled.

    Raises:
        ImportError: If there is no vtk.
    """
    present = [structure for structure in STRUCTURES if np.isin(labels[0], structure[1]).any()]
    meshes = [[_mesh(body, grid, step) for body in bodies] for bodies, step in
              (_bodies(np.isin(labels, codes), grid) for _, codes, _, _ in present)]  # fmt: skip
    points = [points for structure in meshes for points, _ in structure if len(points)]
    if not points:
        return None
    low, high = np.min([p.min(axis=0) for p in points], axis=0), np.max([p.max(axis=0) for p in points], axis=0)
    counts = np.array(
        [[(len(points), len(corners)) for points, corners in frame] for frame in zip(*meshes, strict=True)]
    )
    parts = []
    for frame in zip(*meshes, strict=True):
        for at, corners in frame:
            parts += [np.rint((at - low) / (high - low) * 65535).astype("<u2"), corners.astype("<u2")]
    words = tuple((name, colour, opacity) for name, _, colour, opacity in present)
    return Surfaces(words, counts, low, high, b"".join(part.tobytes() for part in parts))


def _bodies(mask: np.ndarray, grid: PageGrid) -> tuple[np.ndarray, np.ndarray]:
    """Return soft masks (T, D', n', n') in nearly cubic voxels, one empty slice more at each end, and their step.

    The blur in the plane lets neighbouring slices of other width meet halfway when they are interpolated.
    """
    from scipy.ndimage import gaussian_filter1d

    step_mm = max(STEP_MM, grid.size_px * grid.pixel_mm / STEPS)
    stride = max(1, round(step_mm / grid.pixel_mm))
    soft = np.pad(mask, ((0, 0), (1, 1), (2, 2), (2, 2))).astype(np.float32)
    for axis in (2, 3):
        soft = gaussian_filter1d(soft, SMOOTHING_MM / grid.pixel_mm, axis=axis, truncate=3.0)
    soft = soft[:, :, ::stride, ::stride]
    finer = max(1, round(grid.slice_mm / step_mm))
    depth = soft.shape[1]
    at = np.arange((depth - 1) * finer + 1) / finer
    weights = np.maximum(0.0, 1.0 - np.abs(at[:, None] - np.arange(depth))).astype(np.float32)
    dense = np.einsum("ek,tkyx->teyx", weights, soft)
    return gaussian_filter1d(dense, 0.4 * finer, axis=1), np.array([stride, stride, 1.0 / finer])


def _mesh(body: np.ndarray, grid: PageGrid, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return points (N, 3) in RAS, mm, and triangles (M, 3) of the surface at one half."""
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D

    image = vtkImageData()
    image.SetDimensions(*body.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(body).ravel()))
    edges = vtkFlyingEdges3D()
    edges.SetInputData(image)
    edges.SetValue(0, 0.5)
    edges.ComputeNormalsOff()
    edges.ComputeScalarsOff()
    edges.Update()
    surface = edges.GetOutput()
    if surface.GetNumberOfCells() == 0:
        return np.zeros((0, 3)), np.zeros((0, 3), int)
    corners = vtk_to_numpy(surface.GetPolys().GetConnectivityArray()).reshape(-1, 3)
    xyz = vtk_to_numpy(surface.GetPoints().GetData()) * step - np.array([2.0, 2.0, 1.0])
    return xyz @ grid.to_ras[:3, :3].T + grid.to_ras[:3, 3], corners
