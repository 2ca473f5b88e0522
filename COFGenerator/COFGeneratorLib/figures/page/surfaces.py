"""Surfaces of the heart in every frame, small enough for a page: quantised to 16 bits."""

from dataclasses import dataclass

import numpy as np

from COFGeneratorLib.figures.beating import SurfaceGrid, beating_meshes
from COFGeneratorLib.figures.page.grid import PageGrid
from COFGeneratorLib.figures.palette import EPICARDIUM, LV, RV

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
    spacing_mm = (grid.slice_mm, grid.pixel_mm, grid.pixel_mm)
    place = SurfaceGrid(spacing_mm, grid.to_ras, grid.size_px * grid.pixel_mm)
    meshes = [beating_meshes(np.isin(labels, codes), place) for _, codes, _, _ in present]
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
