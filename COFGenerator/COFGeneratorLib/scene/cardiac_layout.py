"""A layout for hearts: short axis and 3-D above, two long axes and the curves below, in views of its own.

The user's own views and layout stay as they are and come back by ``restore_layout``.
"""

from typing import Any

from COFGeneratorLib.errors import SceneError
from COFGeneratorLib.scene.bootstrap import nodes_of_class
from COFGeneratorLib.scene.heart_planes import HeartPlanes, heart_planes, place_slice
from COFGeneratorLib.scene.result import ResultNodes
from COFGeneratorLib.scene.surfaces import show_surfaces

LAYOUT = 58210
"""Number of the layout among Slicer's; its own end far below."""
BEFORE = "COF.layoutBefore"
"""Attribute of the layout node: the arrangement that the user had."""
CONVENTIONAL = 2

SHORT_AXIS, HORIZONTAL, VERTICAL = "COFShortAxis", "COFHorizontalLongAxis", "COFVerticalLongAxis"
HEART, CURVES = "COFHeart", "COFCurves"
LABEL_OPACITY = 0.8

_VIEWS = {
    SHORT_AXIS: ("vtkMRMLSliceNode", "SA", "#DC3D3D"),
    HEART: ("vtkMRMLViewNode", "3D", "#7D7DBF"),
    HORIZONTAL: ("vtkMRMLSliceNode", "HLA", "#4582DE"),
    VERTICAL: ("vtkMRMLSliceNode", "VLA", "#5CB85C"),
    CURVES: ("vtkMRMLPlotViewNode", "Curves", "#8C8C8C"),
}
"""Tag of a view → class of its node, short label, colour."""


def add_layout(scene: Any) -> Any:
    """Make the layout known to the scene's layout node and return that node, or None where there is no application."""
    node = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    if node is not None and not node.IsLayoutDescription(LAYOUT):
        node.AddLayoutDescription(LAYOUT, description())
    return node


def description() -> str:
    """Return the layout as Slicer reads it."""
    rows = ((SHORT_AXIS, HEART), (HORIZONTAL, VERTICAL, CURVES))
    items = "".join(f'<item><layout type="horizontal">{"".join(map(_item, row))}</layout></item>' for row in rows)
    return f'<layout type="vertical" split="true">{items}</layout>'


def is_shown(scene: Any) -> bool:
    """Return whether the layout is the one that is shown."""
    node = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    return node is not None and node.GetViewArrangement() == LAYOUT


def show_cardiac_layout(scene: Any, nodes: ResultNodes, labels: bool = True) -> HeartPlanes:
    """Show a result in the layout: its planes, beating surfaces and chart; the user's arrangement is remembered.

    Args:
        scene: The application's scene.
        nodes: The result.
        labels: Whether outlines are drawn over the slices.

    Raises:
        SceneError: If there is no application to show anything.
    """
    layout = add_layout(scene)
    if layout is None:
        raise SceneError("Views need the Slicer application; found a scene without a layout. Open it in 3D Slicer.")
    before = layout.GetViewArrangement()
    if before != LAYOUT:
        layout.SetAttribute(BEFORE, str(before))
        layout.SetViewArrangement(LAYOUT)
    planes = heart_planes(nodes)
    place_slices(scene, planes)
    show_labels(scene, nodes, labels)
    body = scene.GetSingletonNode(HEART, "vtkMRMLViewNode")
    body.SetBoxVisible(False)
    body.SetAxisLabelsVisible(False)
    if nodes.labels is not None:
        show_surfaces(scene, nodes)
    curves = scene.GetSingletonNode(CURVES, "vtkMRMLPlotViewNode")
    curves.SetPlotChartNodeID(nodes.chart.GetID() if nodes.chart is not None else None)
    return planes


def place_slices(scene: Any, planes: HeartPlanes) -> None:
    """Turn the layout's slice views into the heart's planes; again once they have got their size on the screen."""
    for tag, plane in (
        (SHORT_AXIS, planes.short_axis),
        (HORIZONTAL, planes.horizontal_long_axis),
        (VERTICAL, planes.vertical_long_axis),
    ):
        place_slice(scene.GetSingletonNode(tag, "vtkMRMLSliceNode"), plane, planes.extent_mm)


def show_labels(scene: Any, nodes: ResultNodes, on: bool) -> None:
    """Put the cine into the layout's slice views, with or without outlines of its labels."""
    shown = nodes.labels is not None and on
    for composite in nodes_of_class(scene, "vtkMRMLSliceCompositeNode"):
        if composite.GetLayoutName() in (SHORT_AXIS, HORIZONTAL, VERTICAL):
            composite.SetBackgroundVolumeID(nodes.proxy("cine").GetID())
            composite.SetLabelVolumeID(nodes.proxy("labels").GetID() if shown else None)
            composite.SetLabelOpacity(LABEL_OPACITY)
    for tag in (SHORT_AXIS, HORIZONTAL, VERTICAL):
        slice_node = scene.GetSingletonNode(tag, "vtkMRMLSliceNode")
        if slice_node is not None:
            slice_node.SetUseLabelOutline(True)


def restore_layout(scene: Any) -> None:
    """Bring the user's own arrangement back; nothing happens where another one is shown already."""
    if is_shown(scene):
        layout = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
        layout.SetViewArrangement(int(layout.GetAttribute(BEFORE) or CONVENTIONAL))


def _item(tag: str) -> str:
    kind, label, colour = _VIEWS[tag]
    properties = {"viewlabel": label, "viewcolor": colour}
    if kind == "vtkMRMLSliceNode":
        properties["orientation"] = "Axial"  # a plane has to be named; the heart's own follows
    words = "".join(
        f'<property name="{name}" action="default">{value}</property>' for name, value in properties.items()
    )
    return f'<item><view class="{kind}" singletontag="{tag}">{words}</view></item>'
