"""Beating surfaces of a result: one sequence of models a structure, played by the result's own browser."""

from typing import Any

import numpy as np

from COFGeneratorLib.errors import SceneError
from COFGeneratorLib.figures.beating import Mesh, SurfaceGrid, beating_meshes
from COFGeneratorLib.scene import attributes as names
from COFGeneratorLib.scene.bootstrap import import_slicer, nodes_of_class, update_proxies
from COFGeneratorLib.scene.result import ResultNodes, find_results
from COFGeneratorLib.scene.saving import cine_array
from COFGeneratorLib.scene.volumes import LABEL_COLOURS, ijk_to_ras_of, new_sequence

SURFACE = "surface"
"""Role of the sequences of surface models of a result."""

STRUCTURES = (((1,), 1, 1.0), ((3,), 3, 0.75), ((1, 2), 2, 0.3))
"""Labels inside, the label that gives name and colour, opacity: the wall, drawn last, is seen through."""

MARGIN_MM = 12.0
"""Kept around the labels, so that the blur of their surfaces has room."""


def beating_surfaces(scene: Any, nodes: ResultNodes) -> list:
    """Return the models that show the surfaces of the shown frame; their sequences are made where there are none.

    Raises:
        SceneError: If the result has no labels.
    """
    if nodes.labels is None:
        raise SceneError("Surfaces need labels; found none. Generate the cine again with labels or a segmenter.")
    return surfaces_of(scene, nodes) or _make(scene, nodes)


def show_surfaces(scene: Any, nodes: ResultNodes) -> None:
    """Show the beating surfaces of a result and hide those of others, which lie in the same place.

    Raises:
        SceneError: If the result has no labels.
    """
    shown = beating_surfaces(scene, nodes)
    for result in find_results(scene):
        for model in surfaces_of(scene, result):
            if model is not None and model.GetDisplayNode() is not None:
                model.GetDisplayNode().SetVisibility(model in shown)


def surfaces_of(scene: Any, nodes: ResultNodes) -> list:
    """Return the surface models of a result, as far as they have been made."""
    result_id = nodes.browser.GetAttribute(names.RESULT)
    made = [
        sequence for sequence in nodes_of_class(scene, "vtkMRMLSequenceNode")
        if sequence.GetAttribute(names.ROLE) == SURFACE and sequence.GetAttribute(names.RESULT) == result_id
    ]  # fmt: skip
    return [nodes.browser.GetProxyNode(sequence) for sequence in made]


def _make(scene: Any, nodes: ResultNodes) -> list:
    labels, corner = _cropped(cine_array(nodes.labels), ijk_to_ras_of(nodes.labels.GetNthDataNode(0)))
    spacing_mm = np.linalg.norm(corner[:3, :3], axis=0)[::-1]
    across_mm = float(max(labels.shape[2] * spacing_mm[1], labels.shape[3] * spacing_mm[2]))
    grid = SurfaceGrid(tuple(spacing_mm), corner, across_mm)
    sequences = []
    for codes, named, opacity in STRUCTURES:
        mask = np.isin(labels, codes)
        if (labels == named).any():
            words, colour = LABEL_COLOURS[named]
            sequence = _sequence(scene, nodes, words, beating_meshes(mask, grid))
            sequences.append((sequence, colour, opacity))
    update_proxies(nodes.browser)
    return [_shown(nodes, *one) for one in sequences]


def _cropped(labels: np.ndarray, ijk_to_ras: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return labels (T, D, H, W) about what is labelled in any frame, and their (4, 4) ijk → RAS."""
    spacing_mm = np.linalg.norm(ijk_to_ras[:3, :3], axis=0)[::-1]
    spans = []
    for axis, step_mm in enumerate(spacing_mm, start=1):
        used = np.flatnonzero(labels.any(axis=tuple(other for other in range(4) if other != axis)))
        around = 1 if axis == 1 else round(MARGIN_MM / step_mm)
        first, last = (used[0], used[-1]) if len(used) else (0, labels.shape[axis] - 1)
        spans.append(slice(max(int(first) - around, 0), int(last) + around + 1))
    matrix = ijk_to_ras.copy()
    matrix[:3, 3] += ijk_to_ras[:3, :3] @ [span.start for span in reversed(spans)]
    return labels[:, spans[0], spans[1], spans[2]], matrix


def _sequence(scene: Any, nodes: ResultNodes, words: str, meshes: list[Mesh]) -> Any:
    """Add the sequence of a structure's surfaces to the scene and to the result's browser."""
    slicer = import_slicer()
    name = names.node_name(nodes.base_name, words)
    sequence = new_sequence(scene, name)
    model = slicer.vtkMRMLModelNode()
    model.SetName(name)
    model.SetAttribute(names.SYNTHETIC, "true")
    for frame, mesh in enumerate(meshes):
        model.SetAndObservePolyData(_poly_data(mesh))
        sequence.SetDataNodeAtValue(model, nodes.cine.GetNthIndexValue(frame))
    names.mark(sequence, SURFACE, nodes.browser.GetAttribute(names.RESULT), names.provenance_of(nodes.cine))
    nodes.browser.AddSynchronizedSequenceNodeID(sequence.GetID())
    nodes.browser.SetSaveChanges(sequence, False)
    return sequence


def _poly_data(mesh: Mesh) -> Any:
    """Return a mesh as vtkPolyData with normals that point outwards, also of a left-handed grid."""
    import vtk
    from vtk.util import numpy_support

    at, corners = mesh
    points, triangles = vtk.vtkPoints(), vtk.vtkCellArray()
    points.SetData(numpy_support.numpy_to_vtk(np.ascontiguousarray(at, np.float32), deep=True))
    cells = np.ascontiguousarray(corners, np.int64).ravel()
    offsets = np.arange(0, len(cells) + 1, 3, dtype=np.int64)
    triangles.SetData(
        numpy_support.numpy_to_vtkIdTypeArray(offsets, deep=True),
        numpy_support.numpy_to_vtkIdTypeArray(cells, deep=True),
    )
    surface = vtk.vtkPolyData()
    surface.SetPoints(points)
    surface.SetPolys(triangles)
    normals = vtk.vtkPolyDataNormals()
    normals.SetInputData(surface)
    normals.SplittingOff()
    normals.AutoOrientNormalsOn()
    normals.Update()
    return normals.GetOutput()


def _shown(nodes: ResultNodes, sequence: Any, colour: tuple[float, ...], opacity: float) -> Any:
    """Give the proxy of a sequence its colour and return it."""
    model = nodes.browser.GetProxyNode(sequence)
    model.CreateDefaultDisplayNodes()
    display = model.GetDisplayNode()
    display.SetColor(*colour[:3])
    display.SetScalarVisibility(False)
    display.SetOpacity(opacity)
    display.SetVisibility2D(False)
    return model
