"""The planes in which hearts are looked at, from a result's labels: short axis, and two long axes through its middle.

The short axis is the stack's own plane, turned by whole quarters so that the right ventricle lies on the left and the
anterior wall on top. The long axes follow the heart's frame, with the base on top.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from COFGeneratorLib.figures.view import frame_of
from COFGeneratorLib.scene.result import ResultNodes
from COFGeneratorLib.scene.volumes import ijk_to_ras_of, matrix_to_vtk, volume_array

MARGIN_MM = 14.0
"""Shown around the labels on each side."""
EYE = (-0.35, -0.75, -0.45)
"""Where the 3-D view looks from, along the heart's (k, j, i): from before, a little from the base and the right."""
EYE_WIDTHS = 1.6
"""How far away that is, in widths of the heart."""


@dataclass(frozen=True)
class HeartPlanes:
    """Planes of one heart, (4, 4) slice → RAS with columns right, up, normal and centre, and where to look from.

    Attributes:
        short_axis: In the stack's own plane.
        horizontal_long_axis: From septum to lateral wall, as in a four-chamber view.
        vertical_long_axis: From anterior to inferior wall, as in a two-chamber view.
        extent_mm: Width and height that hold the heart.
        eye_ras, up_ras: (3,) position of a camera that looks at the centre, and what is up in it.
    """

    short_axis: np.ndarray
    horizontal_long_axis: np.ndarray
    vertical_long_axis: np.ndarray
    extent_mm: float
    eye_ras: np.ndarray
    up_ras: np.ndarray

    @property
    def centre_ras(self) -> np.ndarray:
        """(3,) where all planes meet, RAS mm."""
        return self.short_axis[:3, 3]


def heart_planes(nodes: ResultNodes) -> HeartPlanes:
    """Return the planes of a result; of one without labels those of a heart that lies in its stack as hearts do."""
    image = nodes.cine.GetNthDataNode(0)
    geometry = ijk_to_ras_of(image)
    labels = None if nodes.labels is None else volume_array(nodes.labels.GetNthDataNode(0))
    labels = labels if labels is not None and (labels == 1).any() else None
    frame = frame_of(geometry, labels)
    shown = np.ones(image.GetImageData().GetDimensions()[::-1], bool) if labels is None else labels > 0
    middle = shown if labels is None else labels == 1
    centre = _ras_of(middle, geometry).mean(axis=0)
    extent_mm = 2.0 * (np.linalg.norm(_ras_of(shown, geometry) - centre, axis=1).max() + MARGIN_MM)
    apex, inferior, lateral = frame.axes_ras
    in_plane = geometry[:3, :2] / np.linalg.norm(geometry[:3, :2], axis=0)
    right, up = _nearest(in_plane, lateral), _nearest(in_plane, -inferior)
    short_axis = _plane(right, up, -apex, centre)
    return HeartPlanes(
        short_axis=short_axis,
        horizontal_long_axis=_plane(lateral, -apex, inferior, centre),
        vertical_long_axis=_plane(inferior, -apex, -lateral, centre),
        extent_mm=float(extent_mm),
        eye_ras=centre + EYE_WIDTHS * extent_mm * (np.array(EYE) / np.linalg.norm(EYE)) @ frame.axes_ras,
        up_ras=-apex,
    )


def place_slice(slice_node: Any, slice_to_ras: np.ndarray, extent_mm: float) -> None:
    """Turn a vtkMRMLSliceNode into a plane, its centre in the middle, and zoom so that the extent is seen."""
    slice_node.GetSliceToRAS().DeepCopy(matrix_to_vtk(slice_to_ras))
    slice_node.UpdateMatrices()
    width_px, height_px = (max(size, 1) for size in slice_node.GetDimensions()[:2])
    mm_per_px = extent_mm / min(width_px, height_px)
    slice_node.SetFieldOfView(width_px * mm_per_px, height_px * mm_per_px, slice_node.GetFieldOfView()[2])
    slice_node.SetXYZOrigin(0.0, 0.0, 0.0)


def _plane(right: np.ndarray, up: np.ndarray, normal: np.ndarray, centre: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3] = np.stack([right, up, normal, centre], axis=1)
    return matrix


def _nearest(axes: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the one of the columns, or of their opposites, that points most like a vector."""
    share = wanted @ axes
    best = int(np.abs(share).argmax())
    return axes[:, best] * np.sign(share[best])


def _ras_of(mask: np.ndarray, geometry: np.ndarray) -> np.ndarray:
    """Return the (n, 3) places of a mask's voxels, RAS mm."""
    return np.argwhere(mask)[:, ::-1] @ geometry[:3, :3].T + geometry[:3, 3]
