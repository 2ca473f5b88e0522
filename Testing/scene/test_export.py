"""Inputs out of a scene into files, as the child process reads them."""

import numpy as np
import pytest
from COFGeneratorLib.anatomy import read_labels, read_sax
from COFGeneratorLib.ecg import read_ecg
from COFGeneratorLib.errors import SceneError
from COFGeneratorLib.scene import build_result, export, volumes


@pytest.fixture
def an_anchor(a_cine, scene):
    return add_volume(scene, a_cine.anchor.voxels, a_cine.anchor.ijk_to_ras)


@pytest.fixture
def a_label_map(a_cine, scene):
    return add_volume(scene, a_cine.labels[0], a_cine.anchor.ijk_to_ras, "vtkMRMLLabelMapVolumeNode")


@pytest.fixture
def a_segmentation(a_label_map, scene):
    import slicer

    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Heart")
    logic = slicer.vtkSlicerSegmentationsModuleLogic()
    logic.SetMRMLScene(scene)
    assert logic.ImportLabelmapToSegmentationNode(a_label_map, node)
    for index, name in enumerate(("LV blood pool", "LV myocardium", "Right ventricle")):
        node.GetSegmentation().GetNthSegment(index).SetName(name)
    return node


def add_volume(scene, array, matrix, class_name="vtkMRMLScalarVolumeNode"):
    node = scene.AddNewNodeByClass(class_name, "A")
    node.SetAndObserveImageData(volumes.image_data(array))
    node.SetIJKToRASMatrix(volumes.matrix_to_vtk(matrix))
    return node


def test_an_anchor_arrives_with_its_voxels_and_place(an_anchor, a_cine, tmp_path):
    export.export_volume(an_anchor, tmp_path / "anchor.nrrd")
    back = read_sax(tmp_path / "anchor.nrrd")
    assert np.array_equal(back.voxels, a_cine.anchor.voxels)
    assert np.abs(back.ijk_to_ras - a_cine.anchor.ijk_to_ras).max() < 1e-9


def test_a_segmentation_arrives_on_the_anchor_grid_and_the_scene_is_left_as_it_was(
    an_anchor, a_segmentation, a_cine, scene, tmp_path
):
    names = export.label_names(a_segmentation)
    mapping = export.parse_label_mapping(export.guess_label_mapping(names), names)
    count = scene.GetNumberOfNodes()
    option = export.export_labels(a_segmentation, mapping, an_anchor, tmp_path / "labels.nrrd")
    assert scene.GetNumberOfNodes() == count
    codes = {part.split("=")[0]: int(part.split("=")[1]) for part in option.split(",")}
    export.export_volume(an_anchor, tmp_path / "anchor.nrrd")
    back = read_labels(tmp_path / "labels.nrrd", like=read_sax(tmp_path / "anchor.nrrd"), label_map=codes)
    assert np.array_equal(back, a_cine.labels[0])


def test_a_label_map_keeps_its_codes(a_label_map, an_anchor, tmp_path):
    mapping = export.parse_label_mapping("lv=1, myo=2", export.label_names(a_label_map))
    assert export.export_labels(a_label_map, mapping, an_anchor, tmp_path / "labels.nrrd") == "lv=1,myo=2"


def test_an_ecg_table_arrives_as_an_ecg(a_cine, scene, tmp_path):
    nodes = build_result(a_cine, scene)
    export.export_ecg_table(nodes.ecg_12, tmp_path / "ecg.csv")
    back = read_ecg(tmp_path / "ecg.csv")
    assert back.fs_hz == pytest.approx(a_cine.record.fs_hz)
    assert back.signal_mv == pytest.approx(a_cine.record.signal_mv, abs=1e-5)


def test_a_slicerheart_table_leads_to_its_twelve_leads_and_alone_is_refused_by_name(a_cine, scene, tmp_path):
    nodes = build_result(a_cine, scene)
    export.export_ecg_table(nodes.ecg, tmp_path / "ecg.csv")
    assert np.abs(read_ecg(tmp_path / "ecg.csv").signal_mv - a_cine.record.signal_mv).max() < 1e-3
    for holder in (nodes.browser, nodes.cine, nodes.proxy("cine")):
        holder.SetNodeReferenceID("COF.ECG12", "")
    with pytest.raises(SceneError, match="12 leads"):
        export.export_ecg_table(nodes.ecg, tmp_path / "ecg.csv")


def test_a_region_of_interest_becomes_its_box_in_ras(scene):
    roi = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Heart")
    roi.SetXYZ(10.0, -20.0, 30.0)
    roi.SetRadiusXYZ(40.0, 50.0, 60.0)
    assert [float(word) for word in export.roi_text(roi).split(",")] == [-30.0, 50.0, -70.0, 30.0, -30.0, 90.0]
    empty = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Nothing")
    with pytest.raises(SceneError, match="no extent"):
        export.roi_text(empty)


def test_what_cannot_be_an_anchor_is_told_why(an_anchor, a_cine, scene):
    assert "Choose" in export.why_not_an_anchor(None)
    assert export.why_not_an_anchor(an_anchor) == ""
    flat = add_volume(scene, a_cine.anchor.voxels[:1], a_cine.anchor.ijk_to_ras)
    assert "stack" in export.why_not_an_anchor(flat)
    colour = add_volume(scene, np.zeros((4, 5, 6, 3), np.uint8), np.eye(4))
    assert "grey" in export.why_not_an_anchor(colour)
    assert "empty" in export.why_not_an_anchor(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode"))
    moved = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    an_anchor.SetAndObserveTransformNodeID(moved.GetID())
    assert "Harden" in export.why_not_an_anchor(an_anchor)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["1", "2", "3"], "lv=1, myo=2, rv=3"),
        (["LV", "Myo", "RV"], "lv=LV, myo=Myo, rv=RV"),
        (["left ventricle", "left ventricle wall", "right ventricle"],
         "lv=left ventricle, myo=left ventricle wall, rv=right ventricle"),
        (["RV myocardium", "LV cavity"], "lv=LV cavity"),
        (["liver"], ""),
    ],
)  # fmt: skip
def test_mappings_are_guessed_from_names(names, expected):
    assert export.guess_label_mapping(names) == expected


@pytest.mark.parametrize(
    ("text", "words"), [("la=1", "lv, myo and rv"), ("lv=9", "one of: 1, 2"), ("myo=2", "needs the LV"), ("", "needs")]
)
def test_mappings_that_make_no_sense_are_refused(text, words):
    with pytest.raises(SceneError, match=words):
        export.parse_label_mapping(text, ["1", "2"])


def test_the_browser_behind_a_proxy_is_found(a_cine, an_anchor, scene):
    nodes = build_result(a_cine, scene)
    browser, sequence = export.browser_showing(nodes.proxy("cine"))
    assert browser is nodes.browser
    assert sequence is nodes.cine
    assert export.browser_showing(an_anchor) == (None, None)
