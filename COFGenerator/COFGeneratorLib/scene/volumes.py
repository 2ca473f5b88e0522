"""Cine frames and label maps as sequences of volume nodes."""

import os
from typing import Any

import numpy as np

from COFGeneratorLib.errors import SceneError
from COFGeneratorLib.scene.attributes import INDEX_NAME, INDEX_UNIT
from COFGeneratorLib.scene.bootstrap import import_slicer

LABEL_COLOURS = (
    ("background", (0.0, 0.0, 0.0, 0.0)),
    ("LV cavity", (0.86, 0.24, 0.24, 1.0)),
    ("LV myocardium", (0.36, 0.72, 0.36, 1.0)),
    ("RV cavity", (0.27, 0.51, 0.87, 1.0)),
)
"""Name and RGBA of label 0, 1, 2, 3."""


def volume_sequence(
    scene: Any, name: str, frames: np.ndarray, indices: list[str], ijk_to_ras: np.ndarray, labels: bool = False
) -> Any:
    """Add a sequence of scalar (or label map) volumes to a scene.

    Args:
        scene: vtkMRMLScene.
        name: Node name.
        frames: (T, D, H, W) of a type that VTK knows (int16, uint8, float32, …).
        indices: T index strings, see ``attributes.index_strings``.
        ijk_to_ras: (4, 4), mm.
        labels: Make label map volumes.

    Returns:
        vtkMRMLSequenceNode.

    Raises:
        SceneError: If frames and indices do not match.
    """
    slicer = import_slicer()
    if frames.ndim != 4 or len(frames) != len(indices):
        raise SceneError(
            f"A volume sequence needs frames (T, slices, rows, columns) and one time a frame; found shape "
            f"{frames.shape} and {len(indices)} times. Give every frame exactly one time."
        )
    sequence = new_sequence(scene, name)
    volume = slicer.vtkMRMLLabelMapVolumeNode() if labels else slicer.vtkMRMLScalarVolumeNode()
    volume.SetName(name)
    volume.SetIJKToRASMatrix(matrix_to_vtk(ijk_to_ras))
    for frame, index in zip(frames, indices, strict=True):
        volume.SetAndObserveImageData(image_data(frame))
        sequence.SetDataNodeAtValue(volume, index)  # a deep copy, so one volume node serves all frames
    return sequence


def new_sequence(scene: Any, name: str) -> Any:
    """Add an empty sequence node with this product's index name and unit."""
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
    sequence.SetIndexName(INDEX_NAME)
    sequence.SetIndexUnit(INDEX_UNIT)
    sequence.SetIndexType(import_slicer().vtkMRMLSequenceNode.NumericIndex)
    return sequence


def index_values(sequence: Any) -> np.ndarray:
    """Return the index values of a sequence, (T,), ms where this product made it."""
    return np.array([float(sequence.GetNthIndexValue(index)) for index in range(sequence.GetNumberOfDataNodes())])


def label_colours(scene: Any, name: str) -> Any:
    """Add the colour table of the four labels and return it."""
    slicer = import_slicer()
    table = scene.AddNewNodeByClass("vtkMRMLColorTableNode", name)
    table.SetTypeToUser()
    table.SetNumberOfColors(len(LABEL_COLOURS))
    for index, (label, rgba) in enumerate(LABEL_COLOURS):
        table.SetColor(index, label, *rgba)
    storage = slicer.vtkMRMLColorTableStorageNode()
    table.SetAndObserveStorageNodeID(scene.AddNode(storage).GetID())
    return table


def window_level(voxels: np.ndarray) -> tuple[float, float]:
    """Return window and level from the 1st and 99.5th percentile; one pair for all frames, or a cine would flicker."""
    low, high = np.percentile(voxels, (1.0, 99.5))
    return max(float(high - low), 1e-3), float(high + low) / 2.0


def load_volume(scene: Any, path: str | os.PathLike, name: str, labels: bool = False) -> Any:
    """Add a volume read from a file, with a display, and return its node.

    Raises:
        SceneError: If it cannot be read.
    """
    slicer = import_slicer()
    kind = "vtkMRMLLabelMapVolumeNode" if labels else "vtkMRMLScalarVolumeNode"
    node = scene.AddNewNodeByClass(kind, scene.GenerateUniqueName(name))
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    if not storage.ReadData(node):
        scene.RemoveNode(node)
        raise SceneError(f"A readable volume was expected at {path}; found none. Check the file.")
    node.CreateDefaultDisplayNodes()
    return node


def image_data(array: np.ndarray) -> Any:
    """Return a (D, H, W) or (D, H, W, C) array as vtkImageData that owns a copy of it."""
    import vtk
    from vtk.util import numpy_support

    image = vtk.vtkImageData()
    depth, height, width = array.shape[:3]
    image.SetDimensions(width, height, depth)
    flat = np.ascontiguousarray(array).reshape(depth * height * width, -1)
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(flat, deep=True))
    return image


def volume_array(node: Any) -> np.ndarray:
    """Return a copy of a volume node's voxels, (D, H, W)."""
    from vtk.util import numpy_support

    image = node.GetImageData()
    width, height, depth = image.GetDimensions()
    return numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(depth, height, width).copy()


def matrix_to_vtk(matrix: np.ndarray) -> Any:
    """Return a (4, 4) array as vtkMatrix4x4."""
    import vtk

    result = vtk.vtkMatrix4x4()
    result.DeepCopy([float(value) for value in np.asarray(matrix).ravel()])
    return result


def ijk_to_ras_of(node: Any) -> np.ndarray:
    """Return a volume node's (4, 4) ijk → RAS matrix, mm."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
