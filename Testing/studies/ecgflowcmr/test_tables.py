"""ECGFlowCMR's tables on a cohort: classes, phenotypes, clips of others, own ECGs, LPIPS, FID and FVD."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from COFGeneratorLib.ecgflowcmr.model import PlaneGrid
from COFGeneratorLib.errors import CohortError
from COFTrainingLib.cli import main
from COFTrainingLib.cohort.manifest import Cohort, CohortHeader, Subject, write_cohort
from COFTrainingLib.cohort.nrrd import write_nrrd
from COFTrainingLib.cohort.synthetic.phantom_files import write_ecg
from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg
from COFTrainingLib.phantom.physiology import draw_physiology
from COFTrainingLib.studies.ecgflowcmr.downstream import FOLDS, metrics_of, run_studies
from COFTrainingLib.studies.ecgflowcmr.downstream_section import downstream_section
from COFTrainingLib.studies.ecgflowcmr.generation import Generated, generation_section, lpips_of
from COFTrainingLib.studies.ecgflowcmr.given_clips import given_clips
from COFTrainingLib.studies.ecgflowcmr.studies import _stated_study, numeric_facts
from COFTrainingLib.studies.ecgflowcmr.tasks import (
    CLASSES,
    PHENOTYPES,
    DownstreamTask,
    Scale,
    loss_of,
    metrics_of_task,
    wanted,
)
from COFTrainingLib.training.ecgflowcmr.cine_encoder import StudySettings

TINY = StudySettings(
    width=16, depth=1, heads=2, shrink=1, patch=8, pretrain_steps=2, finetune_steps=60, batch=8, learning_rate=5e-3
)
HEADER = CohortHeader("some", "table")


def noise(count, seed=0, size=16):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 90, (count, 10, size, size), dtype=np.uint8))


def test_four_classes_that_are_plain_to_see_are_told():
    clips, codes = noise(40), np.arange(40) % 4
    for n, code in enumerate(codes):
        clips[n, : 2 * code] += 120
    study = DownstreamTask(np.arange(40), codes.astype(float), "kind", CLASSES, ("a", "b", "c", "d"))
    mean, row = run_studies(clips, [study], clips[:0], TINY, mixes=(), seeds=(0,))["kind"]
    assert row["auc"][0] > 0.9
    assert row["acc"][0] > 0.5
    assert mean["auc"][0] == pytest.approx(0.5)


def test_metrics_of_classes_are_accuracy_and_the_mean_area_of_one_against_the_rest():
    task = DownstreamTask(np.arange(4), np.array([0.0, 1, 2, 2]), "kind", CLASSES, ("a", "b", "c"))
    found = np.array([[0.8, 0.1, 0.1], [0.5, 0.4, 0.1], [0.1, 0.2, 0.7], [0.1, 0.1, 0.8]])
    metrics = metrics_of_task(task, found, task.targets)
    assert metrics["acc"] == 0.75
    assert metrics["auc"] == pytest.approx((1.0 + 1.0 + 1.0) / 3)


def test_unknown_phenotypes_teach_nothing_and_count_in_no_mean():
    targets = np.array([[1.0, np.nan], [2.0, 5.0], [3.0, np.nan], [4.0, np.nan]])
    task = DownstreamTask(np.arange(4), targets, "phenotypes", PHENOTYPES, ("a", "b"))
    scale = Scale.of(task, np.arange(4))
    out = torch.zeros(4, 2, requires_grad=True)
    loss_of(task, out, wanted(task, scale)).backward()
    assert torch.isfinite(out.grad).all()
    assert out.grad[0, 1] == 0
    metrics = metrics_of_task(task, np.column_stack([targets[:, 0], np.full(4, 5.0)]), targets)
    assert metrics["r2 a"] == metrics["mean r2"] == 1.0
    assert np.isnan(metrics["r2 b"])  # known of one alone
    assert metrics["mae b"] == 0.0


def test_each_phenotype_has_its_row_and_the_mean_its_column():
    clips, strength = noise(30), np.linspace(0.0, 120.0, 30)
    clips[:, :5] += torch.from_numpy(strength).to(torch.uint8)[:, None, None, None]
    targets = np.column_stack([strength, np.random.default_rng(0).normal(size=30)])
    study = DownstreamTask(np.arange(30), targets, "phenotypes", PHENOTYPES, ("strength", "chance"))
    rows = run_studies(clips, [study], clips[:0], TINY, mixes=(), seeds=(0,))["phenotypes"]
    assert metrics_of(rows) == ["mean r2"]
    assert rows[1]["r2 strength"][0] > 0.5 > rows[1]["r2 chance"][0]
    section = downstream_section({"phenotypes": {"kind": PHENOTYPES, "subjects": 30, "rows": rows}})
    each = next(table for table in section.tables if table.name == "downstream_phenotypes_each")
    assert [row[0] for row in each.rows] == ["strength", "chance"]


def test_a_fold_s_pretraining_has_no_cine_of_its_test_subjects_ecgs(monkeypatch):
    from COFTrainingLib.studies.ecgflowcmr import downstream

    owners = np.tile(np.arange(20), 2)
    synthetic = torch.from_numpy(owners.astype(np.uint8))[:, None, None, None].expand(-1, 10, 16, 16).contiguous()
    seen = []
    monkeypatch.setattr(downstream, "_run_unit", lambda unit, row, added, train: seen.append(
        (row, set(added[:, 0, 0, 0].tolist()), set(train.tolist()))) or {"n": {"mae": 0.0}})  # fmt: skip
    study = DownstreamTask(np.arange(20), np.arange(20.0), "n", "regression")
    run_studies(noise(20), [study], synthetic, TINY, mixes=(0, 100, 200), owners=owners)
    mixed = [one for one in seen if one[0] == 200]
    assert len(mixed) == FOLDS
    assert all(made == train for _, made, train in mixed)


def test_facts_become_studies_by_what_they_are():
    def people(values):
        return [Subject(f"s{n}", f"s{n}", "train", {}, {"fact": value}) for n, value in enumerate(values)]

    cohort = Cohort(None, HEADER, ())
    classes = _stated_study(cohort, people(["NOR"] * 10 + ["DCM"] * 12 + ["RV"] * 3), "fact", 0)
    assert (classes.kind, classes.parts, len(classes.targets)) == (CLASSES, ("DCM", "NOR"), 22)
    assert _stated_study(cohort, people(["1.5", 2.0, 4, None]), "fact", 0).targets.tolist() == [1.5, 2.0, 4.0]
    with pytest.raises(CohortError, match="at least two"):
        _stated_study(cohort, people(["NOR"] * 12 + ["DCM"]), "fact", 0)
    with pytest.raises(CohortError, match="none with a cine"):
        _stated_study(cohort, people([None]), "fact", 0)
    facts = [Subject(f"s{n}", "p", "train", {}, {"ef": 40.0 + n, "sex": "f", "seed": n, "same": 1}) for n in range(4)]
    assert numeric_facts(facts) == ["ef"]


def test_clips_of_a_folder_belong_to_subjects_first_ones_first(tmp_path):
    grid = PlaneGrid(frames=4, size=8, pixel_mm=2.0)
    for name, value in (("s1_2", 3), ("s0", 1), ("s1", 2), ("stranger", 9)):
        np.save(tmp_path / f"{name}.npy", np.full((4, 8, 8), value, dtype=np.uint8))
    frames = np.tile(np.arange(81.0).reshape(1, 1, 9, 9), (6, 1, 1, 1)).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(frames, isVector=False), str(tmp_path / "s2.nii.gz"))
    clips, owners = given_clips(tmp_path, ["s0", "s1", "s2"], grid)
    assert owners.tolist() == [0, 1, 2, 1]
    assert clips.shape == (4, 4, 8, 8)
    assert clips[[0, 1, 3], 0, 0, 0].tolist() == [1, 2, 3]
    assert clips[2, :, 4, 4].max() > clips[2, :, 0, 0].max()
    with pytest.raises(CohortError, match="named after subjects"):
        given_clips(tmp_path, ["nobody"], grid)
    np.save(tmp_path / "s0.npy", np.zeros((4, 8)))
    with pytest.raises(CohortError, match="T, H, W"):
        given_clips(tmp_path, ["s0"], grid)


def test_the_table_tells_like_from_unlike_and_says_what_was_not_measured():
    real, other = noise(16), noise(16, 5)
    section = generation_section(real, {"same": Generated(real, 0.5), "other": Generated(other // 3)})
    numbers = section.numbers
    assert numbers["same"]["fid"] == pytest.approx(0.0, abs=1e-6)
    assert numbers["other"]["fid"] > 1.0 < numbers["other"]["fvd"]
    rows = {row[0]: row for row in section.tables[0].rows}
    assert rows["same"][1] == "–"  # no weights, no LPIPS
    assert rows["same"][4] == "0.50 s"
    assert rows["other"][4] == "–"
    assert "no weights were given" in " ".join(section.text)


def test_lpips_is_that_of_the_pair_frame_by_frame():
    def distance(one, other):
        return (one - other).abs().mean()

    real = noise(3)
    found = lpips_of(real, torch.flip(real, (0,)), distance)
    expected = [(real[n].float() - real[2 - n].float()).abs().mean() * 2 / 255 for n in range(3)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.slow
def test_the_commands_make_both_tables_of_a_cohort(smoke_bundle, tmp_path, repository):
    matrix, rng, subjects = np.diag([2.0, 2.0, 8.0, 1.0]), np.random.default_rng(0), []
    (tmp_path / "cohort").mkdir()
    for n in range(24):
        folder = tmp_path / "cohort" / f"s{n}"
        folder.mkdir()
        write_nrrd(
            folder / "cine.nrrd", rng.integers(0, 99, (8, 4, 40, 40)).astype(np.int16), matrix, np.arange(8) * 110.0
        )
        write_ecg(folder, synthesise_ecg(draw_physiology(rng, hr_bpm=68.0, atrial_fibrillation=False), rng)[0])
        files = {"cine": f"s{n}/cine.nrrd", "ecg": f"s{n}/ecg.hea"}
        subjects.append(Subject(f"s{n}", f"s{n}", "test", files, {"group": "AB"[n % 2], "ef_percent": 40.0 + n}))
    write_cohort(Cohort(tmp_path / "cohort", replace(HEADER), tuple(subjects)))
    cohort = ["--model", str(smoke_bundle), "--cohort", str(tmp_path / "cohort"), "--quiet"]
    assert main(["ecgflowcmr", "generation", *cohort, "--out", str(tmp_path / "one")]) == 0
    with (tmp_path / "one" / "tables" / "generation.csv").open(encoding="utf-8") as file:
        assert "mean of the recorded cines" in [row[0] for row in csv.reader(file)]
    options = ["--target", "group", "--phenotype", "all", "--mix", "0", "100", "--pretrain-steps", "1"]
    options += ["--finetune-steps", "1", "--out", str(tmp_path / "two")]
    assert main(["ecgflowcmr", "downstream", *cohort, *options]) == 0
    found = json.loads((tmp_path / "two" / "downstream.json").read_text(encoding="utf-8"))
    assert found["group"]["kind"] == CLASSES
    assert {"mean r2", "r2 ef_percent"} <= found["phenotypes"]["rows"][0].keys()
