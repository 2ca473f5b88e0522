"""Labels as a segmentation that the Segment Editor can correct: those of a node, or those of the shown frame."""

from collections.abc import Mapping
from typing import Any

from COFGeneratorLib.errors import SceneError
from COFGeneratorLib.scene.bootstrap import import_slicer
from COFGeneratorLib.scene.export import STRUCTURES
from COFGeneratorLib.scene.result import ResultNodes
from COFGeneratorLib.scene.volumes import LABEL_COLOURS, ijk_to_ras_of, image_data, matrix_to_vtk, volume_array


def editable_labels(scene: Any, labels: Any, image: Any, mapping: Mapping[str, str]) -> Any:
    """Return labels as a segmentation node: the node itself if it is one, a new one of a label map.

    Args:
        scene: vtkMRMLScene.
        labels: vtkMRMLSegmentationNode or vtkMRMLLabelMapVolumeNode.
        image: The volume node that they belong to; its geometry becomes the segmentation's.
        mapping: Structure (``lv``, ``myo``, ``rv``) → code in a label map; its segments get these names.

    Raises:
        SceneError: If the label map cannot be taken over.
    """
    if labels.IsA("vtkMRMLSegmentationNode"):
        return labels
    slicer = import_slicer()
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{labels.GetName()} segmentation")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(image)
    if not slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(labels, segmentation):
        scene.RemoveNode(segmentation)
        raise SceneError(
            f"Labels to edit must be a label map with at least one label; {labels.GetName()!r} could not be taken "
            "over. Check it in the Volumes module."
        )
    _name_segments(segmentation, mapping)
    return segmentation


def found_labels(scene: Any, nodes: ResultNodes) -> Any:
    """Add a label map of what a result's first frame holds, with the names of its structures, and return it.

    Raises:
        SceneError: If the result has no labels.
    """
    if nodes.labels is None:
        raise SceneError("The result must have labels to edit; it has none. Choose labels of the anchor instead.")
    first = nodes.labels.GetNthDataNode(0)
    labels = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", f"{nodes.base_name} labels")
    labels.SetAndObserveImageData(image_data(volume_array(first)))
    labels.SetIJKToRASMatrix(matrix_to_vtk(ijk_to_ras_of(first)))
    labels.CreateDefaultDisplayNodes()
    labels.GetDisplayNode().SetAndObserveColorNodeID(nodes.proxy("labels").GetDisplayNode().GetColorNodeID())
    return labels


def _name_segments(segmentation: Any, mapping: Mapping[str, str]) -> None:
    """Call the segments of mapped codes by what they are, whatever name the label map gave them."""
    content = segmentation.GetSegmentation()
    for code, (words, colour) in zip(STRUCTURES, LABEL_COLOURS[1:], strict=True):
        for index in range(content.GetNumberOfSegments()):
            segment = content.GetNthSegment(index)
            if code in mapping and segment.GetLabelValue() == int(mapping[code]):
                segment.SetName(words)
                segment.SetColor(*colour[:3])
