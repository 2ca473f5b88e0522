"""Slicer scenes as anchors: what Slicer itself saves is read, and what means harm or leaves a choice is refused."""

import zipfile
from urllib.parse import quote

import numpy as np
import pytest
from COFGeneratorLib.anatomy import read_cine, read_sax
from COFGeneratorLib.errors import AnatomyError

SEQUENCE = """<Sequence id="S{n}" name="private name" references="storage:SS{n};" indexName="time" indexUnit=""/>
<VolumeSequenceStorage id="SS{n}" fileName="{file}"/>"""
VOLUME = """<Volume id="V{n}" name="private name" references="storage:VS{n};{more}"/>
<VolumeArchetypeStorage id="VS{n}" fileName="{file}"/>"""
LABELS = VOLUME.replace("<Volume ", "<LabelMapVolume ")
BROWSER = '<SequenceBrowser id="B" references="dataNodeRef0:V1;sequenceNodeRef0:S1;"/>'


def scene(*nodes: str) -> str:
    return '<?xml version="1.0" encoding="UTF-8"?>\n<MRML version="5">' + "\n".join(nodes) + "</MRML>"


@pytest.fixture(scope="module")
def files(tmp_path_factory, voxels, oblique, write_image, heart_labels):
    """Return the bytes of a cine, a volume and a label map."""
    folder = tmp_path_factory.mktemp("scene")
    cine = np.stack([voxels + 1000 * t for t in range(6)])
    labels = np.zeros(voxels.shape, np.uint8)
    labels[1:4, 3:8, 3:8] = 1
    paths = {
        "cine": write_image(folder / "c.nrrd", cine, oblique, 140.0),
        "volume": write_image(folder / "v.nrrd", voxels, oblique),
        "labels": write_image(folder / "l.nrrd", labels, oblique),
    }
    return {name: path.read_bytes() for name, path in paths.items()}


@pytest.fixture
def mrb(tmp_path):
    def make(mrml: str, **members: bytes):
        path = tmp_path / "scene.mrb"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("scene/scene.mrml", mrml)
            for name, content in members.items():
                archive.writestr(f"scene/Data/{name}", content)
        return path

    return make


def test_the_cine_of_a_scene_is_taken_and_not_its_proxy_or_labels(mrb, files, voxels, oblique):
    nodes = (
        SEQUENCE.format(n=1, file="Data/a%20b.nrrd"),
        VOLUME.format(n=1, file="Data/proxy.nrrd", more=""),
        LABELS.format(n=2, file="Data/labels.nrrd", more=""),
        BROWSER,
    )
    members = {"a b.nrrd": files["cine"], "proxy.nrrd": files["volume"], "labels.nrrd": files["labels"]}
    path = mrb(scene(*nodes), **members)
    stack = read_sax(path, frame=4)
    np.testing.assert_array_equal(stack.voxels, voxels + 4000)
    np.testing.assert_allclose(stack.ijk_to_ras, oblique, atol=1e-5)
    assert len(stack.frame_times_ms) == 6
    assert len(read_cine(path).frames) == 6
    assert not any("private name" in warning for warning in stack.warnings)


def test_a_single_volume_beside_its_label_map_is_taken(mrb, files, voxels):
    nodes = VOLUME.format(n=1, file="Data/v.nrrd", more=""), VOLUME.format(n=2, file="Data/l.nrrd", more="")
    path = mrb(scene(*nodes), **{"v.nrrd": files["volume"], "l.nrrd": files["labels"]})
    np.testing.assert_array_equal(read_sax(path).voxels, voxels)


def test_a_volume_under_a_transform_is_said(mrb, files):
    moved = VOLUME.format(n=1, file="Data/v.nrrd", more="transform:T1;")
    assert any("transform" in w for w in read_sax(mrb(scene(moved), **{"v.nrrd": files["volume"]})).warnings)
    nodes = SEQUENCE.format(n=1, file="Data/c.nrrd"), VOLUME.format(n=1, file="x", more="transform:T1;"), BROWSER
    assert any("transform" in w for w in read_sax(mrb(scene(*nodes), **{"c.nrrd": files["cine"]})).warnings)


def test_a_mrml_file_leads_to_the_files_beside_it(tmp_path, files, voxels):
    (tmp_path / "Data").mkdir()
    (tmp_path / "Data" / "v.nrrd").write_bytes(files["volume"])
    (tmp_path / "scene.mrml").write_text(scene(VOLUME.format(n=1, file="Data/v.nrrd", more="")))
    np.testing.assert_array_equal(read_sax(tmp_path / "scene.mrml").voxels, voxels)


@pytest.mark.parametrize(
    "name", ["../secret.nrrd", "{absolute}", "Data/../../secret.nrrd", "link.nrrd", "absent.nrrd", "x" * 300 + ".nrrd"]
)
def test_a_mrml_file_that_points_elsewhere_finds_nothing(tmp_path, files, name):
    (tmp_path / "secret.nrrd").write_bytes(files["volume"])
    folder = tmp_path / "scene"
    folder.mkdir()
    (folder / "link.nrrd").symlink_to(tmp_path / "secret.nrrd")
    file = quote(name.format(absolute=tmp_path / "secret.nrrd"))
    (folder / "scene.mrml").write_text(scene(VOLUME.format(n=1, file=file, more="")))
    with pytest.raises(AnatomyError, match="found none"):
        read_sax(folder / "scene.mrml")


def test_scenes_without_or_with_several_images_are_refused(mrb, files):
    with pytest.raises(AnatomyError, match="found none"):
        read_sax(mrb(scene()))
    nodes = VOLUME.format(n=1, file="Data/v.nrrd", more=""), VOLUME.format(n=2, file="Data/w.nrrd", more="")
    with pytest.raises(AnatomyError, match="0 cines and 2 single volumes") as caught:
        read_sax(mrb(scene(*nodes), **{"v.nrrd": files["volume"], "w.nrrd": files["volume"]}))
    assert "private name" not in str(caught.value)


@pytest.mark.parametrize(
    "mrml",
    [
        "<MRML",
        '<!DOCTYPE x [<!ENTITY a "b">]><MRML>&a;</MRML>',
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><MRML>&a;</MRML>',
    ],
)
def test_damaged_and_harmful_scenes_are_refused(mrb, mrml):
    with pytest.raises(AnatomyError, match="well-formed XML"):
        read_sax(mrb(mrml))


@pytest.mark.parametrize("unit", ["", "ms", "s"])
def test_a_scene_that_slicer_saved_is_read(tmp_path, voxels, oblique, unit):
    """The archive is written by Slicer's own libraries, with whatever unit the sequence had."""
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
    vtk = pytest.importorskip("vtk")
    from COFGeneratorLib.scene.bootstrap import standalone_scene
    from vtk.util.numpy_support import numpy_to_vtk

    cine = np.stack([voxels + 1000 * t for t in range(8)])
    with standalone_scene() as nodes:
        sequence = nodes.AddNewNodeByClass("vtkMRMLSequenceNode", "private name")
        sequence.SetIndexName("time")
        sequence.SetIndexUnit(unit)
        matrix = vtk.vtkMatrix4x4()
        for row, column in np.ndindex(4, 4):
            matrix.SetElement(row, column, oblique[row, column])
        for t, frame in enumerate(cine):
            image = vtk.vtkImageData()
            image.SetDimensions(*voxels.shape[::-1])
            image.GetPointData().SetScalars(numpy_to_vtk(frame.ravel(), deep=1))
            volume = slicer.vtkMRMLScalarVolumeNode()
            volume.SetAndObserveImageData(image)
            volume.SetIJKToRASMatrix(matrix)
            sequence.SetDataNodeAtValue(volume, f"{0.1 * t:.3f}" if unit == "s" else str(100 * t))
        path = tmp_path / "scene.mrb"
        (tmp_path / "root").mkdir()
        nodes.SetRootDirectory(str(tmp_path / "root"))
        assert nodes.WriteToMRB(str(path))
    found = read_cine(path)
    np.testing.assert_array_equal(found.frames, cine)
    np.testing.assert_allclose(found.ijk_to_ras, oblique, atol=1e-5)
    np.testing.assert_allclose(found.frame_times_ms, 100.0 * np.arange(8), atol=1e-3)
