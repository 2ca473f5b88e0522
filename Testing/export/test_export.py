"""What other programs read back of an export lies where it lay, beats as it beat and says that it is synthetic."""

import csv
import json
import struct

import numpy as np
import pytest
import SimpleITK as sitk
from COFGeneratorLib.anatomy import read_sax
from COFGeneratorLib.anatomy.geometry import LPS_TO_RAS
from COFGeneratorLib.anatomy.readers import read_cine
from COFGeneratorLib.errors import ChainOfFlowError, FunctionError
from COFGeneratorLib.export import FORMATS, Heart, read_heart, write_export
from COFGeneratorLib.jobs.stopwatch import Stopwatch
from COFGeneratorLib.results.folder import write_manifest
from COFGeneratorLib.results.writer import write_result

MARK = "SYNTHETIC - research only"


@pytest.fixture(scope="module", params=[False, True], ids=["right-handed", "left-handed"])
def cine(request, make_cine, oblique_geometry):
    return make_cine(ijk_to_ras=oblique_geometry(left_handed=request.param), n_frames=4)


@pytest.fixture(scope="module")
def heart(cine):
    return Heart.of(cine)


@pytest.fixture(scope="module")
def exported(heart, tmp_path_factory):
    """Return the folder that holds every export."""
    pytest.importorskip("highdicom", reason="labels as DICOM SEG need highdicom")
    folder = tmp_path_factory.mktemp("exported")
    for form in FORMATS:
        assert write_export(heart, folder, form)
    return folder


def same_place(found_to_ras, wanted_to_ras, shape):
    """Return whether two grids of a shape (D, H, W) lie in one place, to a hundredth of a millimetre."""
    corners = np.array([(i, j, k, 1.0) for i in (0, shape[2]) for j in (0, shape[1]) for k in (0, shape[0])]).T
    return np.abs(found_to_ras @ corners - wanted_to_ras @ corners).max() < 0.01


def at(volume, ijk_to_ras, heart, ijk):
    """Return what a volume holds where the heart has a voxel, whatever the order of slices; it must hit a voxel."""
    place = (np.linalg.inv(ijk_to_ras) @ heart.ijk_to_ras @ [*ijk, 1.0])[:3]
    assert np.abs(place - np.rint(place)).max() < 0.01
    i, j, k = np.rint(place).astype(int)
    return volume[k, j, i]


# ---------------------------------------------------------------- NIfTI


def test_nibabel_reads_the_place_the_time_and_the_mark(exported, heart):
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.load(exported / "cine.nii.gz")
    assert np.array_equal(np.asarray(image.dataobj).transpose(3, 2, 1, 0), heart.frames)
    assert same_place(image.affine, heart.ijk_to_ras, heart.frames.shape[1:])
    assert image.header.get_xyzt_units() == ("mm", "sec")
    assert image.header.get_zooms()[3] == pytest.approx(heart.rr_ms / 1000.0 / len(heart.frames))
    assert MARK in image.header["descrip"].item().decode()
    (extension,) = image.header.extensions
    facts = json.loads(extension.get_content().rstrip(b"\0"))
    assert facts["synthetic"] is True
    assert facts["time_ms"] == pytest.approx(heart.time_ms.tolist())
    labels = nibabel.load(exported / "labels.nii.gz")
    assert np.array_equal(np.asarray(labels.dataobj).transpose(3, 2, 1, 0), heart.labels)


def test_simpleitk_and_our_own_reader_read_the_nifti(exported, heart):
    image = sitk.ReadImage(str(exported / "cine.nii.gz"))
    assert np.array_equal(sitk.GetArrayFromImage(image), heart.frames)
    assert MARK in image.GetMetaData("descrip")
    back = read_cine(exported / "cine.nii.gz")
    assert np.array_equal(back.frames, heart.frames)
    assert same_place(back.ijk_to_ras, heart.ijk_to_ras, heart.frames.shape[1:])
    assert np.allclose(back.frame_times_ms, heart.time_ms, atol=0.01)


def test_slicer_reads_the_nifti_as_the_same_volume(exported, heart):
    slicer = pytest.importorskip("slicer")
    from COFGeneratorLib.scene import standalone_scene
    from COFGeneratorLib.scene.volumes import ijk_to_ras_of, volume_array

    with standalone_scene() as scene:
        sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "back")
        storage = slicer.vtkMRMLVolumeSequenceStorageNode()
        storage.SetFileName(str(exported / "cine.nii.gz"))
        if not storage.ReadData(sequence):  # 4D NIfTI as a sequence: newer Slicer only; a volume: every Slicer
            pytest.skip("this Slicer reads no 4D NIfTI as a sequence")
        for phase in (0, 3):
            node = sequence.GetNthDataNode(phase)
            assert (
                at(volume_array(node), ijk_to_ras_of(node), heart, (7, 11, 2)) == heart.frames[phase, 2, 11, 7]
            )  # Slicer turns left-handed stacks round


# ---------------------------------------------------------------- DICOM


def test_pydicom_reads_derived_research_images_of_nobody(exported, heart):
    import pydicom

    images = [pydicom.dcmread(path) for path in sorted((exported / "dicom").glob("cine-*.dcm"))]
    assert len(images) == heart.frames.shape[0] * heart.frames.shape[1]
    assert len({image.SOPInstanceUID for image in images}) == len(images)
    assert len({image.SeriesInstanceUID for image in images}) == 1
    for image in images:
        assert image.ImageType[:2] == ["DERIVED", "SECONDARY"]
        assert image.ImageType[3] == "SYNTHETIC"
        assert MARK in image.DerivationDescription
        assert MARK in image.SeriesDescription
        assert image.ContentQualification == "RESEARCH"
        assert str(image.PatientName) == "SYNTHETIC^RESEARCH ONLY"
        assert image.PatientID.startswith("COF-")
        assert not image.PatientBirthDate
    depth = heart.frames.shape[1]
    for number, image in enumerate(images):
        phase, place = divmod(number, depth)
        assert float(image.TriggerTime) == pytest.approx(heart.time_ms[phase], abs=1e-3)
        assert np.array_equal(
            image.pixel_array * image.RescaleSlope + image.RescaleIntercept, heart.frames[phase, place]
        )
        lps = LPS_TO_RAS @ heart.ijk_to_ras @ [0.0, 0.0, place, 1.0]
        assert np.allclose(np.array(image.ImagePositionPatient, float), lps[:3], atol=1e-6)


def test_simpleitk_and_our_own_reader_read_the_dicom(exported, heart, tmp_path):
    files = [str(path) for path in sorted((exported / "dicom").glob("cine-t002-*.dcm"))]
    image = sitk.ReadImage(files)
    volume = sitk.GetArrayFromImage(image)
    normal = np.linalg.det(heart.ijk_to_ras[:3, :3]) > 0
    if normal:
        assert np.array_equal(volume, heart.frames[2])
        corner = image.TransformIndexToPhysicalPoint((3, 5, 2))
        assert np.allclose(corner, (LPS_TO_RAS @ heart.ijk_to_ras @ [3.0, 5.0, 2.0, 1.0])[:3], atol=1e-2)
    back = read_cine(exported / "dicom")
    assert back.frames.shape == heart.frames.shape
    for phase in (0, 3):
        assert at(back.frames[phase], back.ijk_to_ras, heart, (7, 11, 2)) == heart.frames[phase, 2, 11, 7]
    assert np.allclose(back.frame_times_ms, heart.time_ms, atol=1.0)


def test_highdicom_reads_labels_that_refer_to_their_images(exported, heart):
    import highdicom
    import pydicom

    phase = 3
    images = [pydicom.dcmread(path) for path in sorted((exported / "dicom").glob(f"cine-t{phase:03d}-*.dcm"))]
    labels = highdicom.seg.segread(exported / "dicom" / f"labels-t{phase:03d}.dcm")
    assert [labels.get_segment_description(number).segment_label for number in labels.segment_numbers] == [
        "LV cavity", "LV myocardium", "RV cavity",
    ]  # fmt: skip
    found = labels.get_pixels_by_source_instance(
        [image.SOPInstanceUID for image in images], combine_segments=True, ignore_spatial_locations=True,
        assert_missing_frames_are_empty=True,
    )  # fmt: skip
    assert np.array_equal(found, heart.labels[phase])
    assert MARK in labels.SeriesDescription
    assert labels.ContentQualification == "RESEARCH"
    assert labels.FrameOfReferenceUID == images[0].FrameOfReferenceUID


def test_intensities_that_are_no_integers_keep_sixteen_bits(make_cine, tmp_path):
    import pydicom

    heart = Heart.of(make_cine(integer=False, n_frames=4, with_labels=False))
    write_export(heart, tmp_path, "dicom")
    back = [pydicom.dcmread(path) for path in sorted((tmp_path / "dicom").glob("cine-t000*.dcm"))]
    values = np.stack([image.pixel_array * float(image.RescaleSlope) + float(image.RescaleIntercept) for image in back])
    assert np.abs(values - heart.frames[0]).max() <= 0.51 * np.ptp(heart.frames) / 65535


# ---------------------------------------------------------------- tables and surfaces


def rows_of(path):
    lines = path.read_text("utf-8").splitlines()
    assert MARK in lines[0]
    return list(csv.DictReader(lines[1:]))


def test_tables_hold_what_was_measured_and_the_mark(exported, cine):
    read_outs = {row["name"]: row["value"] for row in rows_of(exported / "read_outs.csv")}
    assert float(read_outs["ef_percent"]) == pytest.approx(cine.function.ef_percent)
    curves = rows_of(exported / "curves.csv")
    assert [float(row["lv_volume_ml"]) for row in curves] == pytest.approx(
        cine.function.lv_volume_ml.tolist(), rel=1e-3
    )


def test_surfaces_lie_around_their_labels_and_say_what_they_are(exported, heart):
    vtk = pytest.importorskip("vtk")
    from vtk.util import numpy_support

    files = sorted((exported / "mesh").glob("*.vtp"))
    assert len(files) == len(heart.frames)
    for phase in (0, 2):
        reader = vtk.vtkXMLPolyDataReader()
        reader.SetFileName(str(files[phase]))
        reader.Update()
        surface = reader.GetOutput()
        assert surface.GetFieldData().GetAbstractArray("mark").GetValue(0) == MARK
        assert surface.GetFieldData().GetAbstractArray("TimeValue").GetValue(0) == pytest.approx(heart.time_ms[phase])
        labels = numpy_support.vtk_to_numpy(surface.GetCellData().GetArray("label"))
        assert set(labels) == {1, 2, 3}
        lv = vtk.vtkThreshold()
        lv.SetInputData(surface)
        lv.SetInputArrayToProcess(0, 0, 0, vtk.vtkDataObject.FIELD_ASSOCIATION_CELLS, "label")
        lv.SetLowerThreshold(1), lv.SetUpperThreshold(1)
        skin = vtk.vtkGeometryFilter()
        skin.SetInputConnection(lv.GetOutputPort())
        volume = vtk.vtkMassProperties()
        volume.SetInputConnection(skin.GetOutputPort())
        wanted = (heart.labels[phase] == 1).sum() * abs(np.linalg.det(heart.ijk_to_ras[:3, :3]))
        assert volume.GetVolume() == pytest.approx(wanted, rel=0.1)
        centre = np.array(skin.GetOutput().GetCenter())
        k, j, i = (axis.mean() for axis in np.nonzero(heart.labels[phase] == 1))
        assert np.linalg.norm(centre - (heart.ijk_to_ras @ [i, j, k, 1.0])[:3]) < 2.0
    assert (exported / "mesh" / "heart.pvd").read_text().count("<DataSet") == len(files)


def test_the_beating_glb_is_whole_and_shows_one_frame_at_a_time(exported, heart):
    data = (exported / "mesh" / "heart.glb").read_bytes()
    magic, version, size = struct.unpack_from("<4sII", data)
    assert (magic, version, size) == (b"glTF", 2, len(data))
    (length,) = struct.unpack_from("<I", data, 12)
    content = json.loads(data[20 : 20 + length])
    binary = data[20 + length + 8 :]
    assert content["asset"]["copyright"] == MARK
    assert content["asset"]["extras"]["synthetic"] is True
    assert content["buffers"][0]["byteLength"] == len(binary)

    def array(index):
        accessor = content["accessors"][index]
        view = content["bufferViews"][accessor["bufferView"]]
        kind = {5126: "<f4", 5125: "<u4"}[accessor["componentType"]]
        columns = {"SCALAR": 1, "VEC3": 3}[accessor["type"]]
        found = np.frombuffer(binary, kind, accessor["count"] * columns, view["byteOffset"])
        assert found.nbytes == view["byteLength"]
        return found.reshape(-1, columns)

    (animation,) = content["animations"]
    shown = np.stack([array(sampler["output"])[:, 0] for sampler in animation["samplers"]])
    assert np.array_equal(shown[:, :-1], np.eye(len(heart.frames)))
    assert array(animation["samplers"][0]["input"])[-1, 0] == pytest.approx(heart.rr_ms / 1000.0)
    for mesh in content["meshes"]:
        for part in mesh["primitives"]:
            points, triangles = array(part["attributes"]["POSITION"]), array(part["indices"])
            assert triangles.max() == len(points) - 1
            assert np.allclose(np.linalg.norm(array(part["attributes"]["NORMAL"]), axis=1), 1.0, atol=1e-5)


def test_vtk_itself_opens_the_glb(exported, heart):
    vtk = pytest.importorskip("vtk")
    reader = vtk.vtkGLTFReader()
    reader.SetFileName(str(exported / "mesh" / "heart.glb"))
    reader.Update()
    assert reader.GetNumberOfAnimations() == 1
    assert reader.GetAnimationDuration(0) == pytest.approx(heart.rr_ms / 1000.0, rel=1e-4)


# ---------------------------------------------------------------- the command, and refusals


@pytest.fixture(scope="module")
def result(cine, tmp_path_factory):
    """Return a result's folder as ``cof generate --write cine,labels,function`` leaves it."""
    pytest.importorskip("slicer", reason="sequences are written by slicer-core")
    folder = tmp_path_factory.mktemp("results") / "heart"
    folder.mkdir()
    watch = Stopwatch()
    write_result(cine, folder, watch, parts=("cine", "labels", "function"))
    assert {path.name for path in folder.iterdir()} == {
        "cine.seq.nrrd", "labels.seq.nrrd", "ecg.csv", "function.json", "function.csv",
    }  # fmt: skip
    write_manifest(folder, "generate", {"seed": 3, "model": "test", "inputs": {"ecg": "Mustermann"}}, watch, [])
    return folder


def test_a_result_read_back_is_the_heart_that_was_written(result, heart):
    back = read_heart(result)
    assert np.array_equal(back.frames, heart.frames)
    assert np.array_equal(back.labels, heart.labels)
    assert np.allclose(back.ijk_to_ras, heart.ijk_to_ras, atol=1e-4)
    assert np.allclose(back.time_ms, heart.time_ms, atol=1e-3)
    assert back.rr_ms == pytest.approx(heart.rr_ms, abs=0.01)
    assert back.facts == {"seed": 3, "model": "test"}


def test_the_command_exports_beside_the_result_and_replaces_only_when_told(cof, result):
    run = cof("export", result, "--to", "csv")
    assert run.code == 0, run.err
    out = result.with_name("heart-csv")
    assert {path.name for path in out.iterdir()} == {"read_outs.csv", "curves.csv", "segments.csv", "run.json"}
    facts = json.loads((out / "run.json").read_text())
    assert facts["synthetic"] is True
    assert cof("export", result, "--to", "csv").code == 0  # the same again
    other = cof("export", result, "--to", "nifti", "--out", out)
    assert other.code == 2
    assert "--overwrite" in other.err
    assert cof("export", result, "--to", "nifti", "--out", out, "--overwrite").code == 0
    assert {path.name for path in out.iterdir()} == {"cine.nii.gz", "labels.nii.gz", "run.json"}


def test_exports_can_be_written_with_the_result(cine, tmp_path):
    warnings = write_result(cine, tmp_path, Stopwatch(), parts=("nifti", "csv", "function"))
    assert {path.name for path in tmp_path.iterdir()} == {
        "cine.nii.gz", "labels.nii.gz", "read_outs.csv", "curves.csv", "segments.csv", "function.json", "function.csv",
    }  # fmt: skip
    assert not any("not exported" in warning for warning in warnings)


def test_what_cannot_be_exported_is_refused_in_words(make_cine, tmp_path, cof):
    bare = Heart.of(make_cine(with_labels=False, n_frames=4))
    for form in ("mesh", "csv"):
        with pytest.raises(FunctionError, match="labels"):
            write_export(bare, tmp_path, form)
    with pytest.raises(ChainOfFlowError, match="nifti, dicom, csv, mesh"):
        write_export(bare, tmp_path, "tiff")
    warnings = write_result(make_cine(with_labels=False, n_frames=4), tmp_path, Stopwatch(), parts=("nifti", "mesh"))
    assert any("not exported as mesh" in warning for warning in warnings)
    run = cof("export", tmp_path, "--to", "nifti")
    assert run.code == 2
    assert "cof generate" in run.err


def test_a_cine_in_memory_is_saved_whole(cine, tmp_path):
    assert "4 frames of 6×40×44" in repr(cine)
    assert read_sax(cine.to_nifti(tmp_path / "one.nii.gz"), 2).shape == (6, 40, 44)
    folder = cine.save(tmp_path / "saved")
    assert {path.name for path in folder.iterdir()} == {"cine.nii.gz", "labels.nii.gz", "function.json", "function.csv"}
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ChainOfFlowError, match="overwrite"):
        cine.save(folder)
    cine.save(folder, overwrite=True)
    assert (folder / "notes.txt").read_text() == "mine"
