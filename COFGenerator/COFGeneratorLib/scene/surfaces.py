"""Surfaces of the labels of one frame, on demand: surfaces of every frame would slow playback down."""

from typing import Any

from COFGeneratorLib.figures.surfaces import label_surface
from COFGeneratorLib.scene import attributes as names
from COFGeneratorLib.scene.bootstrap import nodes_of_class
from COFGeneratorLib.scene.result import ResultNodes
from COFGeneratorLib.scene.volumes import LABEL_COLOURS, ijk_to_ras_of, volume_array

SURFACE = "surface"
"""Role of the surface models of a result."""

OPACITY = {1: 1.0, 2: 0.35, 3: 0.6}
"""The wall is seen through."""


def show_surfaces(scene: Any, nodes: ResultNodes) -> list:
    """Add one model for each label of the shown frame and return them; those of an earlier frame are replaced."""
    result_id = nodes.browser.GetAttribute(names.RESULT)
    for model in surfaces_of(scene, result_id):
        scene.RemoveNode(model)
    proxy = nodes.proxy("labels")
    labels, ijk_to_ras = volume_array(proxy), ijk_to_ras_of(proxy)
    made = []
    for code, (words, colour) in enumerate(LABEL_COLOURS[1:], start=1):
        surface = label_surface(labels, code, ijk_to_ras)
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
