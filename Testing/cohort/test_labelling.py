"""Cines without labels, labelled by a segmenter: what an evaluation then compares with."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from COFGeneratorLib.anatomy.readers import read_cine
from COFGeneratorLib.anatomy.segmenters import segmenter
from COFGeneratorLib.errors import AnatomyError, CohortError
from COFTrainingLib.cli import main
from COFTrainingLib.cohort import labelling
from COFTrainingLib.cohort.check import check_cohort
from COFTrainingLib.cohort.labelling import label_cohort
from COFTrainingLib.cohort.manifest import Cohort, read_cohort, write_cohort
from COFTrainingLib.evaluation.case_files import read_case


@pytest.fixture
def unlabelled(cine_cohort, tmp_path) -> Cohort:
    """Return the cohort as recordings come: a cine and an ECG that lie elsewhere, in codes of the lab's own."""
    (subject,) = cine_cohort.subjects
    files = {role: subject.files[role] for role in ("cine", "ecg")}
    facts = {"anchor_frame": 0, "label_map": {"lv": 7, "myo": 5, "rv": 2}}
    header = replace(cine_cohort.header, kind="table", root=str(cine_cohort.folder), needs=("cine", "ecg"))
    write_cohort(Cohort(tmp_path / "mine", header, (replace(subject, files=files, facts=facts, sha256={}),)))
    return read_cohort(tmp_path / "mine")


@pytest.fixture
def known(cine_cohort):
    """Return the true labels of every frame of the cohort's cine, by its voxels' bytes."""
    (subject,) = cine_cohort.subjects
    return {
        image.tobytes(): labels
        for image, labels in zip(
            read_cine(cine_cohort.path(subject, "cine")).frames,
            read_cine(cine_cohort.path(subject, "cine_labels")).frames,
            strict=True,
        )
    }


@pytest.fixture
def reader(known, monkeypatch, tmp_path):
    """Put a reader in the segmenter's place that knows the truth of every frame; returns the list of what it read."""
    (tmp_path / "segmenter.json").write_text("{}")  # a segmenter of ours has this file
    seen = []

    def segment(stack):
        seen.append(stack.frame)
        return SimpleNamespace(labels=known[stack.voxels.tobytes()].astype(np.uint8))

    def follow(stack, found, frames):
        seen.extend(range(len(frames)))
        labels = np.stack([known[frame.tobytes()] for frame in frames])
        return np.stack([labels == code for code in (1, 2, 3)], axis=1).astype(np.float32)

    monkeypatch.setattr(segmenter, "own_segmenter", lambda _: SimpleNamespace(segment=segment, follow=follow))
    return seen


@pytest.mark.slow
def test_a_labelled_cohort_can_be_evaluated(unlabelled, cine_cohort, reader, tmp_path):
    with pytest.raises(CohortError, match="labels are needed"):
        read_case(unlabelled, unlabelled.subjects[0])
    labelled, failed = label_cohort(unlabelled, tmp_path)
    assert failed == {}
    again = read_cohort(unlabelled.folder)
    assert again.subjects == labelled.subjects
    assert again.subjects[0].facts["cine_labels_from"].startswith("segmenter ")
    assert check_cohort(again).ok
    case, true = read_case(again, again.subjects[0]), cine_cohort.subjects[0]
    expected = read_cine(cine_cohort.path(true, "cine_labels")).frames
    assert (case.reference_labels != expected).mean() < 1e-4  # voxels that hang by a corner are cleaned away
    assert set(np.unique(read_cine(again.path(again.subjects[0], "cine_labels")).frames)) == {0, 2, 5, 7}


def test_a_stopped_labelling_goes_on_and_a_finished_one_has_nothing_to_do(unlabelled, reader, tmp_path):
    label_cohort(unlabelled, tmp_path)
    read = len(reader)
    assert read == 8
    write_cohort(unlabelled)  # as if it had been stopped before the manifest was written
    label_cohort(unlabelled, tmp_path)
    assert len(reader) == read
    with pytest.raises(CohortError, match="Nothing is left to do"):
        label_cohort(read_cohort(unlabelled.folder), tmp_path)


def test_a_cine_in_which_no_heart_is_found_stays_without_labels(unlabelled, monkeypatch, tmp_path, capsys):
    def segment(stack):
        raise AnatomyError("A heart in view was expected; found none.")

    monkeypatch.setattr(segmenter, "own_segmenter", lambda _: SimpleNamespace(segment=segment))
    assert main(["cohort", "label", str(unlabelled.folder)]) == 0
    shown = capsys.readouterr().out
    assert "0 of 1 subjects" in shown
    assert "found none" in shown
    assert "cine_labels" not in read_cohort(unlabelled.folder).subjects[0].files


def test_labels_of_another_grid_or_number_of_frames_are_found(unlabelled, cine_cohort, reader, tmp_path):
    from COFTrainingLib.cohort.nrrd import write_nrrd

    labelled, _ = label_cohort(unlabelled, tmp_path)
    path = labelled.path(labelled.subjects[0], "cine_labels")
    marked = read_cine(path)
    write_nrrd(path, marked.frames[:5].astype(np.uint8), marked.ijk_to_ras, np.arange(5.0))
    report = check_cohort(labelled)
    assert [kind for kind, _ in report.problems[labelled.subjects[0].id]] == ["unusable labels"]
    assert "5 frames, the cine has 8" in report.problems[labelled.subjects[0].id][0][1]
    away = marked.ijk_to_ras.copy()
    away[:3, 3] += 40.0
    write_nrrd(path, marked.frames.astype(np.uint8), away, np.arange(8.0))
    assert "mL are found" in check_cohort(labelled).problems[labelled.subjects[0].id][0][1]


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_labels_stored_the_other_way_round_are_the_same_labels(unlabelled, reader, tmp_path, axis):
    from COFTrainingLib.cohort.nrrd import write_nrrd

    labelled, _ = label_cohort(unlabelled, tmp_path)
    subject = labelled.subjects[0]
    path, expected = labelled.path(subject, "cine_labels"), read_case(labelled, subject).reference_labels
    marked = read_cine(path)
    matrix, column = marked.ijk_to_ras.copy(), 3 - axis
    matrix[:3, 3] += (marked.frames.shape[axis] - 1) * matrix[:3, column]
    matrix[:3, column] *= -1
    write_nrrd(path, np.flip(marked.frames, axis).astype(np.uint8), matrix, np.arange(8.0))
    assert check_cohort(labelled).ok
    np.testing.assert_array_equal(read_case(labelled, subject).reference_labels, expected)


def test_a_segmenter_of_others_labels_every_frame_by_itself(unlabelled, cine_cohort, known, monkeypatch, tmp_path):
    from COFGeneratorLib.anatomy.segmenters import foreign_segmenter

    asked, seen = [], []

    def segment(stack):
        seen.append(stack.frame)
        return SimpleNamespace(labels=known[stack.voxels.tobytes()])

    def load(folder, classes=None):
        asked.append(classes)
        return SimpleNamespace(segment=segment)

    labelling._of_others.cache_clear()
    monkeypatch.setattr(foreign_segmenter, "load_segmenter", load)
    (tmp_path / "fold_0").mkdir()
    (tmp_path / "fold_0" / "checkpoint_final.pth").write_bytes(b"weights")
    words = ["cohort", "label", str(unlabelled.folder), "--segmenter", str(tmp_path), "--segmenter-labels"]
    assert main([*words, "lv=3,myo=2,rv=1", "--quiet"]) == 0
    labelling._of_others.cache_clear()
    assert asked == [{"lv": 3, "myo": 2, "rv": 1}]
    assert seen == list(range(8))
    labelled = read_cohort(unlabelled.folder)
    (true,) = cine_cohort.subjects
    expected = read_cine(cine_cohort.path(true, "cine_labels")).frames
    found = read_cine(labelled.path(labelled.subjects[0], "cine_labels"))
    np.testing.assert_array_equal(found.frames, np.array([0, 7, 5, 2])[expected.astype(int)])
    assert "-single" in labelled.subjects[0].files["cine_labels"]


def test_a_folder_that_is_no_segmenter_is_refused_before_any_work(unlabelled, tmp_path, capsys):
    assert main(["cohort", "label", str(unlabelled.folder), "--segmenter", str(tmp_path), "--quiet"]) == 2
    assert "nnU-Net v2 model folder" in capsys.readouterr().err
