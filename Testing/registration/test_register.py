"""Motion of a real cine: demons against a known motion, what is said without a teacher, the command end to end."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.errors import MotionError
from COFGeneratorLib.registration.demons import demons
from COFGeneratorLib.registration.pipeline import WITHOUT_TEACHER, find_teacher, register_cine
from COFTrainingLib.cli import main

SHAPE, FRAMES = (5, 56, 56), 4
GEOMETRY = np.diag([1.8, 1.8, 8.0, 1.0])


def ring(radius: float):
    """Return image and labels of a bright cavity in a grey wall, pixels."""
    j, i = np.mgrid[: SHAPE[1], : SHAPE[2]] - 27.5
    distance = np.hypot(i, j)
    wall = np.sqrt(radius**2 + 150.0)  # the wall keeps its area
    soft = lambda edge: 1.0 / (1.0 + np.exp((distance - edge) * 1.5))  # noqa: E731
    image = 200.0 + 500.0 * soft(radius) - 150.0 * (soft(wall) - soft(radius))
    labels = np.where(distance < radius, 1, np.where(distance < wall, 2, 0))
    return np.repeat(image[None], SHAPE[0], 0).astype(np.float32), np.repeat(labels[None], SHAPE[0], 0).astype(np.uint8)


@pytest.fixture(scope="module")
def a_real_cine():
    radii = [12.0, 10.5, 9.0, 10.5]
    return np.stack([ring(radius)[0] for radius in radii]), ring(radii[0])[1]


def test_demons_find_a_known_contraction(a_real_cine):
    frames, _ = a_real_cine
    field_mm = demons(frames[0], frames[2], (8.0, 1.8, 1.8))
    # At the contracted edge, 9 pixels right of the centre, the anchor is looked up 3 pixels further out.
    assert field_mm[2, 2, 28, 36] == pytest.approx(3 * 1.8, abs=1.2)
    assert field_mm[2, 2, 28, 19] == pytest.approx(-3 * 1.8, abs=1.2)
    assert np.abs(field_mm[0]).max() < 1.0


@pytest.mark.slow
def test_a_registered_cine_has_the_volumes_of_the_real_one(a_real_cine):
    frames, labels = a_real_cine
    cine = register_cine(SaxStack(frames[0], GEOMETRY), frames, 800.0, labels=labels, labels_from="user")
    assert np.array_equal(cine.frames[0], frames[0])
    assert np.abs(cine.frames[2] - frames[2]).mean() < 0.35 * np.abs(frames[0] - frames[2]).mean()
    true_fraction = 1.0 - (9.0 / 12.0) ** 2
    measured = 1.0 - cine.function.lv_volume_ml[2] / cine.function.lv_volume_ml[0]
    assert measured == pytest.approx(true_fraction, abs=0.08)
    assert cine.record is None
    assert cine.provenance["method"] == "demons (SimpleITK)"
    assert WITHOUT_TEACHER in cine.provenance["warnings"]


@pytest.mark.slow
def test_another_anchor_frame_starts_the_cycle(a_real_cine):
    frames, _ = a_real_cine
    cine = register_cine(SaxStack(frames[2], GEOMETRY, frame=2), frames, 800.0)
    assert np.array_equal(cine.frames[0], frames[2])
    error = np.abs(cine.frames[2] - frames[0]).mean()
    assert error < 0.5 * np.abs(frames[2] - frames[0]).mean()
    assert cine.function is None


def test_frames_of_another_grid_are_refused(a_real_cine):
    frames, _ = a_real_cine
    with pytest.raises(MotionError, match="grid"):
        register_cine(SaxStack(frames[0], GEOMETRY), frames[:, :4], 800.0)


@pytest.mark.slow
def test_a_teacher_is_found_in_a_bundle_and_used(a_real_cine, tmp_path):
    from COFGeneratorLib.registration.teacher import RegistrationTeacher
    from COFGeneratorLib.registration.teacher_network import TeacherConfig, TeacherNetwork

    folder = tmp_path / "bundle" / "models" / "teacher"
    RegistrationTeacher(TeacherNetwork(TeacherConfig())).save(folder)
    assert find_teacher(tmp_path / "bundle") == folder
    frames, _ = a_real_cine
    cine = register_cine(SaxStack(frames[0], GEOMETRY), frames[[0, 2]], 800.0, teacher=folder)
    assert cine.provenance["method"].startswith("teacher")
    assert WITHOUT_TEACHER not in cine.provenance["warnings"]
    assert np.isfinite(cine.frames).all()


class OneWhoSees:
    """A segmenter that knows the labels of anchor and frames, as one that is never wrong would."""

    def __init__(self, labels):
        self.seen = np.stack([[one == code for code in (1, 2, 3)] for one in labels]).astype(np.float32)

    def segment(self, stack):
        return SimpleNamespace()

    def follow(self, stack, found, frames):
        assert frames[0] is stack.voxels or np.array_equal(frames[0], stack.voxels)
        return np.concatenate([self.seen[:1], self.seen])


@pytest.mark.slow
def test_what_a_segmenter_sees_guides_the_teacher_where_images_show_nothing(tmp_path):
    from COFGeneratorLib.registration.teacher import RegistrationTeacher
    from COFGeneratorLib.registration.teacher_network import TeacherConfig, TeacherNetwork

    RegistrationTeacher(TeacherNetwork(TeacherConfig(plane=(32, 32), filters=(8, 12, 16)))).save(tmp_path)
    frames = np.full((4, *SHAPE), 300.0, dtype=np.float32)
    labels = [ring(radius)[1] for radius in (12.0, 9.0, 9.0, 12.0)]
    anchor = SaxStack(frames[0], GEOMETRY)
    told = {"labels": labels[0], "labels_from": "user", "teacher": tmp_path}
    blind = register_cine(anchor, frames, 800.0, **told)
    led = register_cine(anchor, frames, 800.0, **told, segmenter=OneWhoSees(labels))
    still, moved = (cine.function.lv_volume_ml / cine.function.lv_volume_ml[0] for cine in (blind, led))
    assert still == pytest.approx(np.ones(4), abs=0.05)
    assert moved == pytest.approx([1.0, (9.0 / 12.0) ** 2, (9.0 / 12.0) ** 2, 1.0], abs=0.08)
    assert led.function.folded_fraction == 0.0


@pytest.mark.slow
def test_the_command_writes_the_outputs_of_a_generation(a_real_cine, tmp_path, capsys):
    sitk = pytest.importorskip("SimpleITK")
    pytest.importorskip("slicer")
    frames, labels = a_real_cine
    image = sitk.JoinSeries([sitk.GetImageFromArray(frame) for frame in frames])
    image.SetSpacing([1.8, 1.8, 8.0, 0.2])
    sitk.WriteImage(image, str(tmp_path / "cine.nii.gz"))
    mask = sitk.GetImageFromArray(labels)
    mask.SetSpacing([1.8, 1.8, 8.0])
    sitk.WriteImage(mask, str(tmp_path / "labels.nii.gz"))
    arguments = ["register", "--cine", str(tmp_path / "cine.nii.gz"), "--labels", str(tmp_path / "labels.nii.gz")]
    arguments += ["--label-map", "lv=1,myo=2", "--rr", "800", "--out", str(tmp_path / "out")]
    assert main([*arguments, "--teacher", "demons"]) == 0, capsys.readouterr()
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"cine.seq.nrrd", "motion.seq.nrrd", "labels.seq.nrrd", "scene.mrb", "function.json", "run.json"} <= written
    facts = json.loads((tmp_path / "out" / "run.json").read_text())
    assert facts["method"] == "demons (SimpleITK)"
    told = capsys.readouterr()
    assert "demons" in told.out
    assert WITHOUT_TEACHER not in told.out + told.err  # they were asked for
