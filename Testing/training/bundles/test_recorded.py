"""A cohort of recordings, in UK Biobank's layout, from its downloads to a bundle that says what it learnt from."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from COFGeneratorLib import load_bundle, read_ecg
from COFGeneratorLib.anatomy.readers import read_cine
from COFGeneratorLib.errors import CohortError, TrainingError
from COFGeneratorLib.generator.networks.grid import MotionGrid
from COFTrainingLib.cli import main
from COFTrainingLib.cohort.importers.ukbiobank import import_ukbiobank
from COFTrainingLib.cohort.manifest import Cohort, read_cohort, write_cohort
from COFTrainingLib.cohort.people import people_of, refuse_leaks, write_people
from COFTrainingLib.cohort.splits import SplitRule
from COFTrainingLib.phantom.cases import draw_case
from COFTrainingLib.training.configurations import read_configuration
from COFTrainingLib.training.examples.cine_data import cine_recipe, load_cines
from COFTrainingLib.training.examples.cine_example import make_examples
from COFTrainingLib.training.examples.cine_motion import CineMotion
from COFTrainingLib.training.examples.example_store import plan
from COFTrainingLib.training.motion.stage_two import train_stage_two
from COFTrainingLib.training.teacher.teacher_cohort import cohort_pairs

SEED, SPACING = 8_400_000, (14.0, 3.0)
SEEN, TESTED, RULE = 6, 2, SplitRule(0.75, 0.0, 0.25)
"""Of the page's eight visits, those that training sees and those that it does not."""


@pytest.fixture(scope="module")
def folder(own_patients) -> Path:
    """Return the folder in which the page's commands on one's own patients were run."""
    return own_patients


def seen_of(cohort: Cohort) -> Cohort:
    """Return the cohort less its test subjects, which training never touches."""
    return replace(cohort, subjects=tuple(subject for subject in cohort.subjects if subject.split != "test"))


def imported(downloads: Path, out: Path, rule: SplitRule = RULE) -> Cohort:
    """Import downloads with their labels, as the page does."""
    return import_ukbiobank(downloads, out, splits=rule, labels=downloads / "labels")


def without_labels(cohort: Cohort) -> Cohort:
    """Return the cohort as it is without a segmentation of the lab's own."""
    return replace(cohort, subjects=tuple(
        replace(s, files={role: file for role, file in s.files.items() if role != "cine_labels"})
        for s in cohort.subjects
    ))  # fmt: skip


def test_the_model_is_judged_on_those_whom_it_never_saw(folder):
    metrics = json.loads((folder / "own-report" / "metrics.json").read_text(encoding="utf-8"))
    cohort = read_cohort(folder / "ukb")
    assert metrics["subjects"] == TESTED
    assert metrics["provenance"]["cohort"]["subjects"] == [subject.id for subject in cohort.used("test")]
    assert metrics["failures"] == []
    for arm in ("own", "own · null ECG", "own · shuffled ECG", "copy anchor"):
        assert 0 <= metrics["arms"][arm]["ef_mae_points"] < 100, arm
    assert metrics["arms"]["copy anchor"]["ef_mae_points"] > 10  # the hearts do beat
    assert (folder / "own-report" / "report.html").stat().st_size > 10_000


def test_those_whom_a_model_learnt_from_do_not_judge_it_whatever_was_added_to_their_manifest(folder, tmp_path, capsys):
    bare = imported(folder / "downloads", tmp_path / "again")
    write_cohort(without_labels(bare))  # another manifest of the same people
    for cohort in (folder / "ukb", tmp_path / "again"):
        command = ["evaluate", "--cohort", str(cohort), "--model", str(folder / "own-model"), "--library", "0"]
        assert main([*command, "--out", str(tmp_path / "report")]) == 2
        assert "Use --split test" in capsys.readouterr().err


def test_the_downloads_are_the_phantoms(folder):
    case = draw_case(SEED, SPACING)
    cine = read_cine(folder / "downloads" / f"{1_000_000 + SEED % 9_000_000}_20209_2_0.zip")
    assert cine.frames.shape == (8, *case.anchor.shape)
    np.testing.assert_allclose(cine.ijk_to_ras, case.anchor.ijk_to_ras, atol=1e-4)
    record = read_ecg(folder / "downloads" / f"{1_000_000 + SEED % 9_000_000}_20205_2_0.xml")
    np.testing.assert_allclose(record.signal_mv, case.record.signal_mv, atol=2.6e-3)


def test_the_bundle_says_what_it_learnt_from(folder):
    facts = load_bundle(folder / "own-model").metadata["training"]
    assert "recorded cines" in facts["kind"]
    assert facts["licence"].startswith("UK Biobank")
    assert facts["motion"]["source"] == "teacher"
    assert facts["motion"]["labels_from"] == {"file": SEEN}
    assert len(facts["motion"]["networks"]["teacher"]) == 64
    assert facts["used_for_training"] == 2 * (SEEN - 2)
    card = (folder / "own-model" / "docs" / "README.md").read_text(encoding="utf-8")
    for words in ("motion found by | teacher", "segmenter", "as a registration saw it", "--ukbiobank DOWNLOADS"):
        assert words in card, words
    assert "seen no patient" not in card
    assert not list((folder / "own-model").rglob("people*"))  # who they are stays in the run


def test_the_bundle_moves_an_anchor(folder):
    from COFGeneratorLib.generator import generate

    case = draw_case(SEED + 100, SPACING)
    cine = generate(case.anchor, case.record, load_bundle(folder / "own-model"), labels=case.labels, frames=4)
    assert np.abs(cine.frames[1] - cine.frames[0]).max() > 0


def test_what_was_made_is_found_again_and_only_the_rest_is_made(folder, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(folder / "own" / "cache", store)
    cohort = read_cohort(folder / "ukb")
    recipe = cine_recipe(
        MotionGrid(**_tuples(folder)), CineMotion(frames=6, copies=2, refinement_steps=2), folder / "own", None, None
    )
    made, jobs = plan(store, seen_of(cohort), recipe, lambda _: 2)
    assert (len(made), jobs) == (SEEN, [])
    lost = next((store / "objects").glob("*/*.safetensors"))
    lost.unlink()
    _, jobs = plan(store, seen_of(cohort), recipe, lambda _: 2)
    assert len(jobs) == 1
    before = {path: path.stat().st_mtime_ns for path in (store / "objects").glob("*/*.safetensors")}
    load_cines(store, cohort, recipe)
    assert lost.is_file()
    assert all(path.stat().st_mtime_ns == at for path, at in before.items())
    other = replace(recipe, grid=MotionGrid(phases=4))
    assert len(plan(store, seen_of(cohort), other, lambda _: 2)[1]) == SEEN  # another recipe is another address


def test_a_copy_of_the_files_gives_the_same_examples_without_work(folder, tmp_path, monkeypatch):
    from COFTrainingLib.training.examples import example_store

    shutil.copytree(folder / "downloads", tmp_path / "elsewhere")
    cohort = imported(tmp_path / "elsewhere", tmp_path / "ukb")
    recipe = cine_recipe(
        MotionGrid(**_tuples(folder)), CineMotion(frames=6, copies=2, refinement_steps=2), folder / "own", None, None
    )
    monkeypatch.setattr(example_store, "make_examples", None)  # would fail if it were called
    store = tmp_path / "store"
    shutil.copytree(folder / "own" / "cache", store)
    again = load_cines(store, cohort, recipe)
    assert len(again.rows) == 2 * SEEN


def test_anchors_without_labels_are_labelled_by_the_segmenter(folder):
    cohort = without_labels(read_cohort(folder / "ukb"))
    recipe = cine_recipe(MotionGrid(**_tuples(folder)), CineMotion(frames=6), folder / "own", None, None)
    (example,) = make_examples(cohort, cohort.used("train")[0], recipe, 1, 0)
    assert example["facts"]["labels_from"] == "segmenter"
    assert example["volumes"][:, 0].min() < 0.95  # counted in the labels as the registration moves them


def _tuples(folder: Path) -> dict:
    grid = json.loads((folder / "own" / "config.json").read_text())["training"]["grid"]
    return {key: tuple(value) if isinstance(value, list) else value for key, value in grid.items()}


def test_a_subject_that_cannot_be_used_is_left_out_with_the_reason(folder, tmp_path):
    shutil.copytree(folder / "downloads", tmp_path / "downloads")
    broken = sorted((tmp_path / "downloads").glob("*_20209_*.zip"))[0]
    broken.write_bytes(broken.read_bytes()[:5000])
    cohort = imported(tmp_path / "downloads", tmp_path / "ukb")
    store = tmp_path / "store"
    shutil.copytree(folder / "own" / "cache", store)
    recipe = cine_recipe(
        MotionGrid(**_tuples(folder)), CineMotion(frames=6, copies=2, refinement_steps=2), folder / "own", None, None
    )
    cache = load_cines(store, cohort, recipe)
    assert list(cache.left_out) == [f"{broken.name.split('_')[0]}-2"]
    assert len(cache.rows) == 2 * (SEEN - 1)
    for path in (tmp_path / "downloads").glob("*_20209_*.zip"):
        path.write_bytes(b"PK")
    with pytest.raises(TrainingError, match="Most subjects"):
        load_cines(store, cohort, recipe)


def test_nobody_of_the_test_split_is_touched_or_was_seen(folder, tmp_path):
    cohort = read_cohort(folder / "ukb")
    assert len(people_of(folder / "own")) == SEEN
    moved = replace(cohort, subjects=(replace(cohort.subjects[0], split="test"), *cohort.subjects[1:]))
    with pytest.raises(CohortError, match=cohort.subjects[0].person):
        refuse_leaks(moved, [folder / "own"])
    refuse_leaks(replace(cohort, subjects=cohort.subjects[1:]), [folder / "own"])
    second = replace(cohort.subjects[0], id="again", split="test")
    torn = replace(cohort, subjects=(*cohort.subjects, second))
    with pytest.raises(CohortError, match=f"{cohort.subjects[0].person} in test and train"):
        train_stage_two(tmp_path / "torn", read_configuration("flow", "smoke"), cohort=torn, teacher=folder / "own")
    assert not (tmp_path / "torn").exists()
    write_people(tmp_path / "teacher" / "people.json", cohort)
    shutil.copytree(folder / "own" / "teacher" / "teacher", tmp_path / "teacher" / "teacher")
    config = read_configuration("flow", "smoke")
    with pytest.raises(CohortError, match="seen in training"):
        train_stage_two(tmp_path / "run", config, cohort=moved, teacher=tmp_path / "teacher")
    assert not (tmp_path / "run").exists()


def test_a_run_is_named_where_it_must_have_seen_nobody(folder, capsys):
    other = folder / "other"
    imported(folder / "downloads", other, SplitRule(0.0, 0.0, 1.0))
    assert main(["cohort", "check", str(other), "--no-read", "--against", str(folder / "own"), "--quiet"]) == 2
    assert f"has seen {SEEN} persons" in capsys.readouterr().err


def test_the_teacher_trains_on_cines_that_the_segmenter_labels(folder, tmp_path, monkeypatch):
    from COFTrainingLib.training.teacher import teacher_cohort

    monkeypatch.setattr(teacher_cohort, "SEGMENTED_FRAMES", 2)
    cohort = without_labels(read_cohort(folder / "ukb"))
    few = replace(cohort, subjects=cohort.subjects[:3])
    config = read_configuration("teacher", "smoke")
    segmenter = cine_recipe(MotionGrid(), CineMotion(source="demons"), tmp_path, None, None).segmenter
    with pytest.raises(TrainingError, match="--segmenter"):
        cohort_pairs(few, config)
    pairs, _ = cohort_pairs(few, config, segmenter, tmp_path / "frames")
    batch = pairs(0)
    assert batch["anchor_labels"].sum() > 0
    assert batch["target_labels"].sum() > 0
    kept = list((tmp_path / "frames").glob("*.npz"))
    assert kept
    monkeypatch.setattr(
        "COFGeneratorLib.anatomy.segmenters.segmenter.own_segmenter", None
    )  # would fail if it were called
    again, _ = cohort_pairs(few, config, segmenter, tmp_path / "frames")
    assert np.array_equal(again(0)["anchor_labels"], batch["anchor_labels"])
