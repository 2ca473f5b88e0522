"""Trainings on labelled recordings: which frames, how they are cut and varied, who is kept apart; nnU-Net."""

import json
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from COFGeneratorLib.errors import CohortError, TrainingError
from COFTrainingLib.cli import main
from COFTrainingLib.cohort.disjoint import disjoint_from
from COFTrainingLib.cohort.labelled_frames import chosen_frames, has_labels, labelled_frames
from COFTrainingLib.cohort.manifest import Cohort, CohortHeader, Subject, read_cohort, write_cohort
from COFTrainingLib.cohort.nrrd import write_nrrd
from COFTrainingLib.cohort.people import people_of
from COFTrainingLib.training.segmenter import nnunet
from COFTrainingLib.training.segmenter.recorded import (
    RecordedBatches,
    RecordedStacks,
    StackSizes,
    batches_of,
    cut_cohort,
)
from COFTrainingLib.training.segmenter.segmenter_batches import BatchConfig

FRAMES, PIXEL, PITCH = 6, 2.0, 10.0
SIZES = StackSizes(fine_size=64, fine_mm=1.9, coarse_size=24, coarse_mm=6.0)
GREYS = np.array([40, 200, 90, 190])


def hearts(frames=FRAMES, codes=(0, 1, 2, 3)):
    """Return (T, D, H, W) labels of a tapered LV that beats beside an RV, in codes of one's own."""
    y, x = np.mgrid[:48, :48] - 24.0
    labels = np.zeros((frames, 6, 48, 48), dtype=np.uint8)
    for t in range(frames):
        squeeze = 1.0 - 0.4 * np.sin(np.pi * t / frames) ** 2
        for k in range(6):
            radius = np.hypot(y, x)
            labels[t, k][(np.hypot(y, (x + 15) / 0.8) < 9 - k) & (radius > 14 - k)] = 3
            labels[t, k][radius < 13 - k] = 2
            labels[t, k][radius < (9 - k) * squeeze] = 1
    return np.array(codes, dtype=np.uint8)[labels]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """Five persons with labelled cines: three to train on, one to validate, one to test; other codes than ours."""
    root = tmp_path_factory.mktemp("labelled")
    matrix, codes = np.diag([PIXEL, PIXEL, PITCH, 1.0]), {"lv": 3, "myo": 2, "rv": 1}
    labels, subjects = hearts(), []
    for n, split in enumerate(("train", "train", "train", "valid", "test")):
        folder = root / f"s{n}"
        folder.mkdir()
        write_nrrd(folder / "cine.nrrd", GREYS[labels].astype(np.int16) + n, matrix, np.arange(FRAMES) * 100.0)
        write_nrrd(folder / "labels.nrrd", hearts(codes=(0, 3, 2, 1)), matrix, np.arange(FRAMES) * 100.0)
        files = {"cine": f"s{n}/cine.nrrd", "cine_labels": f"s{n}/labels.nrrd"}
        subjects.append(Subject(f"s{n}", f"p{n}", split, files, {"label_map": codes}))
    write_cohort(Cohort(root, CohortHeader("labelled", "table", licence="mine"), tuple(subjects)))
    return read_cohort(root)


def test_a_labelled_cine_gives_its_extremes_in_our_codes(labelled):
    frames = list(labelled_frames(labelled, labelled.subjects[0], most=2))
    assert len(frames) == 2
    (first, at_ed), (_, at_es) = frames
    np.testing.assert_array_equal(at_ed, hearts()[0])
    np.testing.assert_array_equal(at_es, hearts()[3])
    np.testing.assert_array_equal(first.voxels, GREYS[hearts()[0]])


def test_chosen_frames_are_the_extremes_and_others_between():
    assert chosen_frames(np.array([100.0, 80, 60, 50, 70, 90]), 2) == [0, 3]
    assert chosen_frames(np.array([100.0, 80, 60, 50, 70, 90]), 9) == [0, 1, 2, 3, 4, 5]
    assert chosen_frames(np.array([0.0, 80, 0, 50]), 4) == [1, 3]
    assert chosen_frames(np.zeros(4), 4) == []


def test_files_of_single_frames_are_labelled_frames_too(labelled, tmp_path):
    matrix = np.diag([PIXEL, PIXEL, PITCH, 1.0])
    for name, frame in (("ed", 0), ("es", 3)):
        write_nrrd(tmp_path / f"{name}.nrrd", GREYS[hearts()[frame]].astype(np.int16), matrix)
        write_nrrd(tmp_path / f"{name}_gt.nrrd", hearts(codes=(0, 3, 2, 1))[frame], matrix)
    files = {"anchor": "ed.nrrd", "labels": "ed_gt.nrrd", "target": "es.nrrd", "target_labels": "es_gt.nrrd"}
    subject = Subject("a", "a", "train", files, {"label_map": {"lv": 3, "myo": 2, "rv": 1}, "anchor_frame": 0})
    cohort = Cohort(tmp_path, CohortHeader("pairs", "table"), (subject,))
    found = [labels for _, labels in labelled_frames(cohort, subject)]
    np.testing.assert_array_equal(np.stack(found), hearts()[[0, 3]])
    assert has_labels(subject)
    assert not has_labels(replace(subject, files={"anchor": "ed.nrrd"}))


def test_cut_frames_show_their_labels_upright_and_base_first(labelled, tmp_path):
    stacks = cut_cohort(tmp_path / "cut", labelled, "train", SIZES)
    assert len(stacks) == 3 * FRAMES
    image, label, inside = stacks.pair("fine", 0)
    assert image.shape == label.shape == inside.shape == (6, 64, 64)
    assert label.sum(axis=(1, 2))[0] > label.sum(axis=(1, 2))[-1]  # the base is the larger one
    assert image[label == 1].mean() > 1.8 * image[label == 2].mean()  # 200 to 90
    shares = [(label == code).sum() / (hearts()[0] == code).sum() for code in (1, 2, 3)]
    np.testing.assert_allclose(shares, (PIXEL / SIZES.fine_mm) ** 2, rtol=0.08)
    assert not label[~inside].any()
    again = RecordedStacks(tmp_path / "cut")
    np.testing.assert_array_equal(again.pair("coarse", 5)[1], stacks.pair("coarse", 5)[1])


def test_batches_are_drawn_anew_and_the_same_for_the_same_step(labelled, tmp_path):
    stacks = cut_cohort(tmp_path / "cut", labelled, "train", SIZES)
    config = BatchConfig("fine", batch=2, slices=(4, 9), size=48, spacing_mm=2.5, away=0.0, heartless=0.0)
    batches = batches_of(stacks, config)
    assert isinstance(batches, RecordedBatches)
    one, same, other = batches(3), RecordedBatches(stacks, config)(3), batches(4)
    assert one["image"].shape[:2] == (2, 1)
    assert one["image"].shape[3:] == one["label"].shape[2:] == (48, 48)
    assert 4 <= one["image"].shape[2] <= 6
    assert one["image"].equal(same["image"])
    assert one["image"].shape != other["image"].shape or not one["image"].equal(other["image"])
    assert set(one["label"].unique().tolist()) <= {0, 1, 2, 3}
    lit, wall = one["image"][:, 0][one["label"] == 1].mean(), one["image"][:, 0][one["label"] == 2].mean()
    assert lit > wall


def test_a_cache_of_another_cohort_is_refused_and_so_is_a_split_without_labels(labelled, tmp_path):
    cut_cohort(tmp_path / "cut", labelled, "train", SIZES)
    with pytest.raises(TrainingError, match="made of others"):
        cut_cohort(tmp_path / "cut", labelled, "valid", SIZES)
    bare = replace(labelled, subjects=tuple(replace(s, files={"cine": s.files["cine"]}) for s in labelled.subjects))
    with pytest.raises(TrainingError, match="found none in the split train"):
        cut_cohort(tmp_path / "other", bare, "train", SIZES)


def test_people_of_another_cohort_are_taken_out_and_counted(labelled):
    visit = replace(labelled.subjects[0], id="again")
    benchmark = Cohort(labelled.folder, CohortHeader("benchmark", "ukbiobank"), (replace(visit, split="test"),))
    apart, audit = disjoint_from(labelled, [benchmark])
    assert audit["persons"] == {"source": 5, "overlap": 1, "left": 4}
    assert [subject.id for subject in apart.used("train")] == ["s1", "s2"]
    assert len(read_cohort(labelled.folder).used("train")) == 3  # the manifest stays as it is
    with pytest.raises(CohortError, match="Somebody must be left"):
        disjoint_from(labelled, [replace(labelled, header=CohortHeader("same", "table"))])


def test_nnunet_gets_its_raw_data_set_and_a_split_without_names(labelled, tmp_path):
    cases = nnunet.write_dataset(labelled, tmp_path)
    assert {name: len(listed) for name, listed in cases.items()} == {"train": 6, "val": 2}
    raw = tmp_path / nnunet.RAW / nnunet.DATASET
    described = json.loads((raw / "dataset.json").read_text(encoding="utf-8"))
    assert described["labels"] == {"background": 0, "lv": 1, "myo": 2, "rv": 3}
    assert described["numTraining"] == 8
    case = cases["train"][0]
    assert "s0" not in case
    image, label = (
        sitk.ReadImage(str(raw / part)) for part in (f"imagesTr/{case}_0000.nii.gz", f"labelsTr/{case}.nii.gz")
    )
    np.testing.assert_allclose(image.GetSpacing(), (PIXEL, PIXEL, PITCH), rtol=1e-5)
    assert image.GetDirection() == pytest.approx(label.GetDirection())
    np.testing.assert_array_equal(sitk.GetArrayFromImage(label), hearts()[0])


def test_nnunet_s_own_commands_run_in_its_own_folders(labelled, tmp_path):
    ran = []

    def execute(command, environment):
        ran.append(list(command))
        plan = nnunet.NnUnetPlan("2d", 1, "cpu")
        split = tmp_path / nnunet.PREPROCESSED / nnunet.DATASET / "splits_final.json"
        assert environment[nnunet.RAW] == str(tmp_path / nnunet.RAW)
        assert set(json.loads(split.read_text(encoding="utf-8"))[0]) == {"train", "val"}
        if "-tr" in command:
            fold = plan.folder(tmp_path) / "fold_0"
            fold.mkdir(parents=True)
            (fold / "checkpoint_final.pth").write_bytes(b"")
        return 0

    plan = nnunet.NnUnetPlan("2d", 1, "cpu")
    folder = nnunet.train_nnunet(labelled, tmp_path, plan, execute=execute)
    assert folder.name == "nnUNetTrainer_1epoch__nnUNetPlans__2d"
    assert ran[0][3:] == ["-d", "501", "-c", "2d", "--verify_dataset_integrity"]
    assert ran[1][3:] == ["501", "2d", "0", "-tr", "nnUNetTrainer_1epoch", "-device", "cpu"]
    with pytest.raises(TrainingError, match="folder of its own"):
        nnunet.train_nnunet(labelled, tmp_path, plan, execute=execute)
    with pytest.raises(TrainingError, match="exit code 3"):
        nnunet.train_nnunet(labelled, tmp_path, plan, resume=True, execute=lambda *_: 3)
    with pytest.raises(TrainingError, match="1000"):
        nnunet.NnUnetPlan(epochs=7)


def test_the_uk_biobank_page_names_the_folder_that_nnunet_leaves(labelled, repository, tmp_path, monkeypatch):
    """Its line is run as written with a stand-in of the package; the lines after it name what it leaves."""
    page = (repository / "Resources" / "Docs" / "uk-biobank.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("cof ") and "nnunet" in line]
    assert [line.split()[1] for line in lines] == ["train", "cohort", "train"]
    for name, splits in (("annotated", {}), ("ukb", {"p0": "test"})):
        subjects = [replace(s, split=splits.get(s.person, s.split)) for s in labelled.subjects]
        kept = [s for s in subjects if not splits or s.person in splits]
        header = replace(labelled.header, root=str(labelled.folder))
        write_cohort(Cohort(tmp_path / name, header, tuple(kept)))

    def train(command, environment):
        if "-tr" in command:
            fold = nnunet.NnUnetPlan().folder(tmp_path / "run" / "nnunet") / "fold_0"
            fold.mkdir(parents=True)
            (fold / "checkpoint_final.pth").write_bytes(b"")
        return 0

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(nnunet, "_execute", train)
    monkeypatch.setattr(nnunet.importlib.util, "find_spec", lambda name: object())
    assert main(lines[0].split()[1:]) == 0
    for line in lines[1:]:
        words = line.split()
        folder = tmp_path / words[words.index("--segmenter") + 1]
        assert (folder / "fold_0" / "checkpoint_final.pth").is_file()
        assert len(people_of(folder)) == 3  # five persons, one of the benchmark's, one of the test split
    audit = json.loads((tmp_path / "run" / "nnunet" / "disjoint.json").read_text(encoding="utf-8"))
    assert audit["persons"] == {"source": 5, "overlap": 1, "left": 4}


@pytest.mark.skipif(nnunet.importlib.util.find_spec("nnunetv2") is not None, reason="nnunetv2 is installed here")
def test_without_its_package_nnunet_is_asked_for(labelled, tmp_path):
    with pytest.raises(TrainingError, match=r"chainofflow\[nnunet\]"):
        nnunet.train_nnunet(labelled, tmp_path, nnunet.NnUnetPlan())


@pytest.mark.slow
@pytest.mark.skipif(nnunet.importlib.util.find_spec("nnunetv2") is None, reason="the extra nnunet is not installed")
def test_the_real_nnunet_trains_an_epoch(labelled, tmp_path):
    folder = nnunet.train_nnunet(labelled, tmp_path, nnunet.NnUnetPlan("2d", 1, "cpu"))
    assert (folder / "fold_0" / "checkpoint_final.pth").is_file()
