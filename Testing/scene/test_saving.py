"""A result out of the scene into files of other programs."""

import numpy as np
import pytest
from COFGeneratorLib.errors import SceneError
from COFGeneratorLib.scene import build_result, read_scene, saving, standalone_scene, volumes


@pytest.fixture
def nodes(a_cine, scene):
    return build_result(a_cine, scene, "P01")


def test_sequences_are_saved_with_their_provenance_and_the_scene_keeps_its_nodes(nodes, a_cine, tmp_path):
    import slicer

    written = saving.save_result(nodes, tmp_path / "heart.seq.nrrd")
    assert {path.name for path in written} == {
        "heart.seq.nrrd", "heart-labels.seq.nrrd", "heart-motion.seq.nrrd",
    }  # fmt: skip
    assert nodes.cine.GetStorageNode() is None
    header = (tmp_path / "heart.seq.nrrd").read_bytes()[:9000].decode("latin-1")
    assert "COF.synthetic" in header
    assert "COF.seed" in header
    with standalone_scene() as other:
        storage = slicer.vtkMRMLVolumeSequenceStorageNode()
        storage.SetFileName(str(tmp_path / "heart.seq.nrrd"))
        back = other.AddNewNodeByClass("vtkMRMLSequenceNode", "back")
        assert storage.ReadData(back)
        assert back.GetIndexUnit() == "ms"
        assert back.GetNthIndexValue(3) == nodes.cine.GetNthIndexValue(3)


def test_nifti_has_the_place_the_frames_and_the_time_step_of_the_cine(nodes, a_cine, tmp_path):
    import SimpleITK as sitk

    saving.save_result(nodes, tmp_path / "heart.nii.gz")
    image = sitk.ReadImage(str(tmp_path / "heart.nii.gz"))
    assert image.GetDimension() == 4
    frames = sitk.GetArrayFromImage(image)
    assert np.abs(frames - a_cine.frames).max() <= 0.5
    assert image.GetSpacing()[3] == pytest.approx((a_cine.time_ms[1] - a_cine.time_ms[0]) / 1000.0, rel=1e-4)
    place = np.array(image.TransformContinuousIndexToPhysicalPoint([3.0, 5.0, 2.0, 0.0])[:3])
    wanted = (a_cine.anchor.ijk_to_ras @ [3.0, 5.0, 2.0, 1.0])[:3] * [-1.0, -1.0, 1.0]
    assert np.abs(place - wanted).max() < 1e-2
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "heart-labels.nii.gz")))
    assert np.array_equal(labels, a_cine.labels)


def test_a_scene_of_one_result_holds_that_result_alone(nodes, a_cine, scene, tmp_path):
    build_result(a_cine, scene, "Another")
    saving.save_result(nodes, tmp_path / "heart.mrb")
    with standalone_scene() as other:
        (back,) = read_scene(tmp_path / "heart.mrb", other)
        assert back.cine.GetName() == "P01 synthetic cine"
        back.show_frame(4)
        assert np.abs(volumes.volume_array(back.proxy("cine")) - a_cine.frames[4]).max() <= 0.5
        assert back.facts["edv_ml"] == pytest.approx(a_cine.function.edv_ml)
        assert back.browser.GetNodeReference("COF.ECG12").GetNumberOfColumns() == 13
        assert back.cine.GetAttribute("COF.synthetic") == "true"


def test_tables_surfaces_and_dicom_come_out_of_the_scene(nodes, a_cine, tmp_path):
    import zipfile

    tables = saving.save_result(nodes, tmp_path / "heart.csv")
    assert {path.name for path in tables} >= {"heart-read_outs.csv", "heart-curves.csv"}
    assert f"{a_cine.function.ef_percent:.3f}"[:4] in (tmp_path / "heart-read_outs.csv").read_text()
    saving.save_result(nodes, tmp_path / "heart.glb")
    assert (tmp_path / "heart.glb").read_bytes()[:4] == b"glTF"
    pytest.importorskip("highdicom", reason="labels as DICOM SEG need highdicom")
    saving.save_result(nodes, tmp_path / "heart.zip")
    with zipfile.ZipFile(tmp_path / "heart.zip") as archive:
        assert len(archive.namelist()) == len(a_cine.frames) * (a_cine.frames.shape[1] + 1)
        assert b"SYNTHETIC - research only" in archive.read("cine-t000-s00.dcm")
    assert {path.suffix for path in tmp_path.iterdir()} == {".csv", ".glb", ".zip"}


def test_a_film_says_that_it_is_synthetic_and_lasts_one_cycle(nodes, a_cine, tmp_path):
    from PIL import Image

    saving.save_result(nodes, tmp_path / "heart.gif")
    with Image.open(tmp_path / "heart.gif") as film:
        assert film.n_frames == len(a_cine.frames)
        assert b"SYNTHETIC" in film.info["comment"]
        assert film.info["duration"] * film.n_frames == pytest.approx(a_cine.rr_ms, rel=0.1)
        assert film.info["loop"] == 0
        first = np.asarray(film.convert("L")).astype(int)
        film.seek(len(a_cine.frames) // 2)
        assert np.abs(np.asarray(film.convert("L")).astype(int) - first).max() > 40  # it moves


def test_an_mp4_is_offered_only_where_it_can_be_made(nodes, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ".mp4" not in saving.formats()
    with pytest.raises(SceneError, match="ffmpeg"):
        saving.save_result(nodes, tmp_path / "heart.mp4")
    program = tmp_path / "ffmpeg"
    program.write_text('#!/bin/sh\nfor last; do :; done\necho "$@" > "$last"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert ".mp4" in saving.formats()
    (written,) = saving.save_result(nodes, tmp_path / "heart.mp4")
    assert "yuv420p" in written.read_text()


def test_other_endings_and_places_are_refused(nodes, tmp_path):
    with pytest.raises(SceneError, match=r"\.seq\.nrrd"):
        saving.save_result(nodes, tmp_path / "heart.dcm")
    (tmp_path / "file").write_text("")
    with pytest.raises(SceneError, match="another folder"):
        saving.save_result(nodes, tmp_path / "file" / "heart.gif")
