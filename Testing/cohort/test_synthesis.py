"""Phantom cohorts: files that a user's readers read, exact truth, and the same content however it is made."""

import json
from dataclasses import replace

import numpy as np
import pytest
from COFGeneratorLib import read_ecg, read_labels, read_sax
from COFGeneratorLib.anatomy.readers import read_cine
from COFGeneratorLib.ecg import analyse_ecg
from COFGeneratorLib.errors import CohortError
from COFTrainingLib.cohort.manifest import read_cohort
from COFTrainingLib.cohort.nrrd import write_nrrd
from COFTrainingLib.cohort.synthetic import synthesis
from COFTrainingLib.cohort.synthetic.phantom_files import PhantomOptions
from COFTrainingLib.cohort.synthetic.synthesis import synthesize
from COFTrainingLib.phantom.cases import draw_case
from COFTrainingLib.phantom.prevalence import ENRICHED, NATURAL
from COFTrainingLib.phantom.subject import draw_subject
from support.small_cohort import OPTIONS, SEED

LABELS = {"lv": 1, "myo": 2, "rv": 3}


def test_the_files_are_the_case_of_the_held_out_comparison(phantoms):
    for subject in phantoms.subjects:
        case = draw_case(subject.facts["seed"], OPTIONS.spacing_mm, prevalence=ENRICHED)
        anchor = read_sax(phantoms.path(subject, "anchor"))
        np.testing.assert_allclose(anchor.ijk_to_ras, case.anchor.ijk_to_ras, atol=1e-9)
        np.testing.assert_array_equal(read_labels(phantoms.path(subject, "labels"), anchor, LABELS), case.labels)
        record = read_ecg(phantoms.path(subject, "ecg"))
        np.testing.assert_allclose(record.signal_mv, case.record.signal_mv, atol=6e-4)
        assert record.fs_hz == case.record.fs_hz
        assert record.duration_s == pytest.approx(10.0)
        assert analyse_ecg(record).rr_ms == pytest.approx(case.cycle.rr_ms, rel=0.005)


def test_the_geometry_is_oblique(phantoms):
    for subject in phantoms.subjects:
        axes = read_sax(phantoms.path(subject, "anchor")).ijk_to_ras[:3, :3]
        assert np.abs(axes / np.linalg.norm(axes, axis=0)).max() < 0.999


def test_blood_is_told_from_muscle_in_the_rendered_anchor(phantoms):
    apart = []
    for subject in phantoms.subjects:
        anchor = read_sax(phantoms.path(subject, "anchor"))
        labels = read_labels(phantoms.path(subject, "labels"), anchor, LABELS)
        blood, muscle = anchor.voxels[labels == 1], anchor.voxels[labels == 2]
        apart.append(abs(np.median(blood) - np.median(muscle)) / np.sqrt(0.5 * (blood.var() + muscle.var())))
    assert min(apart) > 0.15  # random contrasts hold dim ones
    assert max(apart) > 1.0


def test_the_truth_is_the_closed_form(phantoms):
    for subject in phantoms.subjects:
        truth = json.loads(phantoms.path(subject, "truth").read_text(encoding="utf-8"))
        heart = draw_subject(subject.facts["seed"], ENRICHED).heart
        curve = np.array(truth["function"]["lv_volume_ml"])
        np.testing.assert_allclose(curve, heart.lv_volume_ml(np.array(truth["function"]["time_ms"])), atol=1e-3)
        assert truth["function"]["ef_percent"] == pytest.approx(100 * (1 - curve.min() / curve.max()), abs=1e-3)
        assert truth["function"]["ef_percent"] == pytest.approx(100 * truth["physiology"]["ef"], abs=2.0)
        assert abs(truth["expected_from_ecg"]["ef_percent"] - truth["function"]["ef_percent"]) < 9.0
        assert truth["expected_from_ecg"]["es_time_ms"] == pytest.approx(truth["function"]["es_time_ms"], abs=25.0)


def test_a_cine_holds_every_frame_and_starts_with_the_anchor(cine_cohort):
    subject = cine_cohort.subjects[0]
    cine = read_cine(cine_cohort.path(subject, "cine"))
    anchor = read_sax(cine_cohort.path(subject, "anchor"))
    np.testing.assert_array_equal(cine.frames[0], anchor.voxels)
    assert len(cine.frames) == 8
    rr_ms = 60000.0 / subject.facts["hr_bpm"]
    np.testing.assert_allclose(cine.frame_times_ms, np.arange(8) / 8 * rr_ms, atol=1e-2)
    labels = read_cine(cine_cohort.path(subject, "cine_labels"))
    volume = (labels.frames == 1).sum(axis=(1, 2, 3)) * anchor.voxel_volume_ml
    assert 100 * (1 - volume.min() / volume.max()) == pytest.approx(subject.facts["ef_percent"], abs=8.0)


def test_the_anchor_is_the_same_with_and_without_a_cine(phantoms, cine_cohort):
    for role in ("anchor", "labels", "ecg"):
        assert phantoms.subjects[0].sha256[role] == cine_cohort.subjects[0].sha256[role]


def test_labels_move_by_the_displacement(cine_cohort):
    subject = cine_cohort.subjects[0]
    anchor = read_sax(cine_cohort.path(subject, "anchor"))
    labels = read_cine(cine_cohort.path(subject, "cine_labels")).frames
    pull = np.load(cine_cohort.path(subject, "displacement")).astype(np.float64)
    assert pull.shape == (8, 3, *anchor.shape)
    assert not pull[0].any()
    frame = int(np.argmin((labels == 1).sum(axis=(1, 2, 3))))
    voxels = np.indices(anchor.shape) + pull[frame] / anchor.spacing_mm.reshape(3, 1, 1, 1)
    case = draw_case(subject.facts["seed"], OPTIONS.spacing_mm, prevalence=ENRICHED)
    points = np.tensordot(voxels[::-1], case.plan.ijk_to_ras[:3, :3], axes=([0], [1])) + case.plan.ijk_to_ras[:3, 3]
    heart_points = points @ case.plan.ras_to_heart[:3, :3].T + case.plan.ras_to_heart[:3, 3]
    heart_points[..., 1:] += case.plan.shifts_mm[:, None, None, :]
    pulled = case.subject.heart.label_at(heart_points)
    assert (pulled == labels[frame]).mean() > 0.998


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_stopped_synthesis_is_finished_with_the_same_content(tmp_path, phantoms, monkeypatch, workers):
    real, made = synthesis.write_subject, []

    def stop_at_the_second(root, seed, *rest):
        if made:
            raise KeyboardInterrupt
        made.append(seed)
        return real(root, seed, *rest)

    monkeypatch.setattr(synthesis, "write_subject", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        synthesize(tmp_path / "c", 3, SEED, OPTIONS)
    assert not (tmp_path / "c" / "cohort.jsonl").exists()
    monkeypatch.undo()
    first = next((tmp_path / "c" / "subjects").glob("phantom-*/anchor.nrrd")).stat().st_mtime_ns
    if workers > 1:
        (tmp_path / "c" / "subjects" / ".phantom-431001.partial").mkdir()
    cohort = synthesize(tmp_path / "c", 3, SEED, OPTIONS, workers=workers)
    assert cohort.fingerprint() == phantoms.fingerprint()
    assert next((tmp_path / "c" / "subjects").glob("phantom-431000/anchor.nrrd")).stat().st_mtime_ns == first
    assert sorted(path.name for path in (tmp_path / "c" / "subjects").iterdir()) == [s.id for s in cohort.subjects]


def test_a_folder_is_not_continued_with_other_settings(tmp_path, phantoms):
    with pytest.raises(CohortError, match="spacing_mm"):
        synthesize(phantoms.folder, 3, SEED, replace(OPTIONS, spacing_mm=(10.0, 2.0)))
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(CohortError, match="other files"):
        synthesize(tmp_path, 1, 1)


def test_a_manifest_alone_lists_the_same_hearts(tmp_path, phantoms):
    listed = synthesize(tmp_path / "c", 3, SEED, OPTIONS, files=False)
    for planned, made in zip(listed.subjects, phantoms.subjects, strict=True):
        assert (planned.id, planned.split, planned.files) == (made.id, made.split, {})
        assert planned.facts.items() <= made.facts.items()
    assert read_cohort(tmp_path / "c") == listed


@pytest.mark.slow
def test_prevalence_decides_how_many_have_infarcts(tmp_path):
    def infarcts(prevalence, name):
        listed = synthesize(tmp_path / name, 30, 7, PhantomOptions(prevalence), files=False)
        return sum(bool(subject.facts["infarct_territory"]) for subject in listed.subjects)

    assert infarcts(NATURAL, "a") < infarcts(ENRICHED, "b")


@pytest.mark.parametrize("flip", [1, -1])
def test_a_written_volume_reads_back_in_its_place(tmp_path, rng, flip):
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = turn * np.array([1.5, 1.7, 9.0 * flip])
    matrix[:3, 3] = rng.normal(0.0, 80.0, 3)
    voxels = rng.integers(0, 900, (6, 20, 24)).astype(np.int16)
    write_nrrd(tmp_path / "a.nrrd", voxels, matrix)
    stack = read_sax(tmp_path / "a.nrrd")
    np.testing.assert_array_equal(stack.voxels, voxels)
    np.testing.assert_allclose(stack.ijk_to_ras, matrix, atol=1e-9)


def test_a_volume_of_another_type_is_refused(tmp_path):
    with pytest.raises(CohortError, match="float64"):
        write_nrrd(tmp_path / "a.nrrd", np.zeros((2, 3, 4)), np.eye(4))
    assert not list(tmp_path.iterdir())
