"""Hearts in views of their own: planes of the heart, surfaces that beat with the images, the user's layout back."""

import numpy as np
import pytest
import slicer
from COFGeneratorLib.scene import build_result, standalone_scene
from COFGeneratorLib.scene import cardiac_layout as layout
from COFGeneratorLib.scene.bootstrap import nodes_of_class
from COFGeneratorLib.scene.heart_planes import heart_planes
from COFGeneratorLib.scene.surfaces import beating_surfaces
from COFGeneratorLib.scene.volumes import ijk_to_ras_of, volume_array

USERS_OWN = 3
BLUR = 0.1
"""Share of a small cavity that the smoothing of its surface may take."""


@pytest.fixture
def desktop(scene):
    """Return the scene with the layout logic that an application has, in an arrangement of the user's."""
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    logic = slicer.vtkMRMLLayoutLogic()
    logic.SetMRMLScene(scene)
    logic.GetLayoutNode().SetViewArrangement(USERS_OWN)
    yield scene
    logic.SetMRMLScene(None)


def volume_ml(model):
    import vtk

    mass = vtk.vtkMassProperties()
    mass.SetInputData(model.GetPolyData())
    return mass.GetVolume() / 1000.0


def models_by_words(models):
    return {model.GetName().split("synthetic ")[1]: model for model in models}


@pytest.mark.parametrize("left_handed", [False, True])
def test_surfaces_of_a_frame_are_shown_at_that_frame(scene, make_cine, oblique_geometry, left_handed):
    cine = make_cine(ijk_to_ras=oblique_geometry(left_handed=left_handed))
    nodes = build_result(cine, scene)
    models = models_by_words(beating_surfaces(scene, nodes))
    assert set(models) == {"LV cavity", "LV myocardium", "RV cavity"}
    voxel_ml = abs(np.linalg.det(cine.anchor.ijk_to_ras[:3, :3])) / 1000.0
    shown_ml = []
    for frame in range(len(cine.time_ms)):
        nodes.show_frame(frame)
        labelled_ml = (cine.labels[frame] == 1).sum() * voxel_ml
        shown_ml.append(volume_ml(models["LV cavity"]))
        assert shown_ml[-1] == pytest.approx(labelled_ml, rel=BLUR)
    assert int(np.argmin(shown_ml)) == cine.function.es_frame
    k, j, i = np.argwhere(volume_array(nodes.proxy("labels")) == 1).mean(axis=0)
    centre = (cine.anchor.ijk_to_ras @ [i, j, k, 1.0])[:3]
    assert np.linalg.norm(np.array(models["LV cavity"].GetPolyData().GetCenter()) - centre) < 8.0
    normals = models["LV cavity"].GetPolyData().GetPointData().GetNormals()
    points = models["LV cavity"].GetPolyData().GetPoints()
    outward = [
        np.dot(normals.GetTuple3(n), np.array(points.GetPoint(n)) - centre) for n in range(points.GetNumberOfPoints())
    ]
    assert np.mean(np.array(outward) > 0) > 0.95


def test_surfaces_are_made_once_and_saved_with_the_scene(scene, a_cine, tmp_path):
    nodes = build_result(a_cine, scene)
    models = beating_surfaces(scene, nodes)
    assert beating_surfaces(scene, nodes) == models
    nodes.show_frame(4)
    es_ml = volume_ml(models_by_words(models)["LV cavity"])
    scene.SetRootDirectory(str(tmp_path))
    assert scene.WriteToMRB(str(tmp_path / "saved.mrb"))
    from COFGeneratorLib.scene import find_results

    with standalone_scene() as again:
        assert again.ReadFromMRB(str(tmp_path / "saved.mrb"), True)
        (found,) = find_results(again)
        count = len(nodes_of_class(again, "vtkMRMLModelNode"))
        shown = models_by_words(beating_surfaces(again, found))
        assert len(nodes_of_class(again, "vtkMRMLModelNode")) == count
        found.show_frame(0)
        assert volume_ml(shown["LV cavity"]) > 1.2 * es_ml
        found.show_frame(4)
        assert volume_ml(shown["LV cavity"]) == pytest.approx(es_ml, rel=1e-3)


def test_the_short_axis_is_the_stacks_own_plane_the_right_way_up(scene, a_cine):
    nodes = build_result(a_cine, scene)
    planes = heart_planes(nodes)
    geometry = ijk_to_ras_of(nodes.cine.GetNthDataNode(0))
    axes = geometry[:3, :3] / np.linalg.norm(geometry[:3, :3], axis=0)
    right, up, normal = planes.short_axis[:3, :3].T
    for vector in (right, up, normal):
        assert np.abs(axes.T @ vector).max() == pytest.approx(1.0, abs=1e-6)
    rv = np.argwhere(a_cine.labels[0] == 3).mean(axis=0)[::-1]
    lv = np.argwhere(a_cine.labels[0] == 1).mean(axis=0)[::-1]
    to_rv = geometry[:3, :3] @ (rv - lv)
    assert right @ to_rv < -0.9 * np.linalg.norm(to_rv)  # the right ventricle is on the left
    assert np.allclose(planes.centre_ras, geometry[:3, :3] @ lv + geometry[:3, 3])


def test_long_axes_hold_the_axis_and_stand_base_up(scene, a_cine):
    planes = heart_planes(build_result(a_cine, scene))
    base = planes.short_axis[:3, 2]
    for plane in (planes.horizontal_long_axis, planes.vertical_long_axis):
        assert np.allclose(plane[:3, 1], base)
        assert np.allclose(plane[:3, :3].T @ plane[:3, :3], np.eye(3), atol=1e-9)
        assert abs(plane[:3, 2] @ base) < 1e-9
    assert abs(planes.horizontal_long_axis[:3, 2] @ planes.vertical_long_axis[:3, 2]) < 1e-9
    assert (planes.eye_ras - planes.centre_ras) @ base > 0


def test_a_result_without_labels_has_planes_too(scene, make_cine):
    planes = heart_planes(build_result(make_cine(with_labels=False), scene))
    assert np.isfinite(planes.short_axis).all()
    assert planes.extent_mm > 50.0


def test_the_layout_shows_the_heart_and_gives_the_users_back(desktop, a_cine):
    nodes = build_result(a_cine, desktop)
    red = desktop.GetSingletonNode("Red", "vtkMRMLSliceNode")
    before = [red.GetSliceToRAS().GetElement(row, column) for row in range(3) for column in range(4)]
    planes = layout.show_cardiac_layout(desktop, nodes)
    assert layout.is_shown(desktop)
    for tag, plane in ((layout.SHORT_AXIS, planes.short_axis), (layout.HORIZONTAL, planes.horizontal_long_axis),
                       (layout.VERTICAL, planes.vertical_long_axis)):  # fmt: skip
        node = desktop.GetSingletonNode(tag, "vtkMRMLSliceNode")
        matrix = [[node.GetSliceToRAS().GetElement(row, column) for column in range(4)] for row in range(4)]
        assert np.allclose(matrix, plane)
        assert min(node.GetFieldOfView()[:2]) == pytest.approx(planes.extent_mm)
    curves = desktop.GetSingletonNode(layout.CURVES, "vtkMRMLPlotViewNode")
    assert curves.GetPlotChartNodeID() == nodes.chart.GetID()
    assert [red.GetSliceToRAS().GetElement(row, column) for row in range(3) for column in range(4)] == before
    short_axis = desktop.GetSingletonNode(layout.SHORT_AXIS, "vtkMRMLSliceNode")
    short_axis.SetDimensions(600, 400, 1)  # the view gets its size on the screen
    layout.place_slices(desktop, planes)
    assert short_axis.GetFieldOfView()[:2] == pytest.approx((1.5 * planes.extent_mm, planes.extent_mm))
    layout.show_cardiac_layout(desktop, nodes)  # again: what the user had is not forgotten
    layout.restore_layout(desktop)
    assert desktop.GetFirstNodeByClass("vtkMRMLLayoutNode").GetViewArrangement() == USERS_OWN
    layout.restore_layout(desktop)
    assert desktop.GetFirstNodeByClass("vtkMRMLLayoutNode").GetViewArrangement() == USERS_OWN
