"""Surfaces of the labels of one frame, on demand: surfaces of every frame would slow playback down."""

from typing import Any

from COFGeneratorLib.scene import attributes as names
from COFGeneratorLib.scene.bootstrap import nodes_of_class
from COFGeneratorLib.scene.result import ResultNodes
from COFGeneratorLib.scene.volumes import LABEL_COLOURS

SURFACE = "surface"
"""Role of the surface models of a result."""

SMOOTHING, PASS_BAND = 25, 0.02
OPACITY = {1: 1.0, 2: 0.35, 3: 0.6}
"""The wall is seen through."""


def show_surfaces(scene: Any, nodes: ResultNodes) -> list:
    """Add one model for each label of the shown frame and return them; those of an earlier frame are replaced."""
    import vtk

    result_id = nodes.browser.GetAttribute(names.RESULT)
    for model in surfaces_of(scene, result_id):
        scene.RemoveNode(model)
    proxy = nodes.proxy("labels")
    ijk_to_ras = vtk.vtkMatrix4x4()
    proxy.GetIJKToRASMatrix(ijk_to_ras)
    to_ras = vtk.vtkTransform()
    to_ras.SetMatrix(ijk_to_ras)
    made = []
    for code, (words, colour) in enumerate(LABEL_COLOURS[1:], start=1):
        surface = _surface(vtk, proxy.GetImageData(), code, to_ras)
        if surface.GetNumberOfPoints() == 0:
            continue
        model = scene.AddNewNodeByClass("vtkMRMLModelNode", names.node_name(nodes.base_name, words))
        model.SetAndObservePolyData(surface)
        model.CreateDefaultDisplayNodes()
        display = model.GetDisplayNode()
        display.SetColor(*colour[:3])
        display.SetScalarVisibility(False)
        display.SetOpacity(OPACITY[code])
        display.SetVisibility2D(False)
        model.SetAttribute(names.ROLE, SURFACE)
        model.SetAttribute(names.RESULT, result_id)
        model.SetAttribute(names.SYNTHETIC, "true")
        made.append(model)
    return made


def surfaces_of(scene: Any, result_id: str) -> list:
    """Return the surface models of a result."""
    return [
        model for model in nodes_of_class(scene, "vtkMRMLModelNode") if model.GetAttribute(names.ROLE) == SURFACE
        and model.GetAttribute(names.RESULT) == result_id
    ]  # fmt: skip


def _surface(vtk: Any, image: Any, code: int, to_ras: Any) -> Any:
    """Return the smoothed surface of one label in RAS; the image is padded, so that it closes at base and apex."""
    padding = vtk.vtkImageConstantPad()
    padding.SetInputData(image)
    extent = list(image.GetExtent())
    padding.SetOutputWholeExtent(*(bound + (-1 if index % 2 == 0 else 1) for index, bound in enumerate(extent)))
    padding.SetConstant(0)
    edges = vtk.vtkDiscreteMarchingCubes()
    edges.SetInputConnection(padding.GetOutputPort())
    edges.SetValue(0, code)
    smooth = vtk.vtkWindowedSincPolyDataFilter()
    smooth.SetInputConnection(edges.GetOutputPort())
    smooth.SetNumberOfIterations(SMOOTHING)
    smooth.SetPassBand(PASS_BAND)
    smooth.NonManifoldSmoothingOn()
    smooth.NormalizeCoordinatesOn()
    place = vtk.vtkTransformPolyDataFilter()
    place.SetInputConnection(smooth.GetOutputPort())
    place.SetTransform(to_ras)
    normals = vtk.vtkPolyDataNormals()
    normals.SetInputConnection(place.GetOutputPort())
    normals.SetFeatureAngle(80.0)
    normals.Update()
    return normals.GetOutput()
