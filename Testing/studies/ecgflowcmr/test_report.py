"""Ablations of components, gains of mixes, and the page that shows this engine's figures."""

import csv
import json

import numpy as np
import pytest
from COFTrainingLib.studies.ecgflowcmr.ablations import VARIANTS, _moved, run_ablations, table
from COFTrainingLib.studies.ecgflowcmr.downstream import _gain
from COFTrainingLib.studies.ecgflowcmr.heldout import arm_row, pair_tests
from COFTrainingLib.training.ecgflowcmr.settings import read_settings


def arms_of(rng, count=12):
    """Return figures as the bench of held-out phantoms writes them, of an arm that is nearly right."""
    ef = rng.uniform(0.3, 0.7, count)
    truth = np.stack([80 * ef, rng.uniform(0.3, 0.5, count)], axis=1)
    own, other = truth + 0.01 * rng.standard_normal(truth.shape), truth[::-1]
    return {
        "weights_sha256": "ab" * 32, "subjects": count, "seed": 3,
        "arms": {"own ECG": arm_row(own, truth, ef), "shuffled ECG": arm_row(other, truth, ef)},
        "own_against_shuffled": pair_tests(own, other, truth),
        "reading": {"ef_mae_points": 3.0, "constant_mae_points": 8.0, "ef_r": [0.9, 0.8, 0.95], "weak_auc": 0.9},
        "subject_values": {"ef": ef.tolist(), "true": truth.tolist(), "own": own.tolist(), "shuffled": other.tolist()},
        "speed": {"one_forward_s": 0.006},
    }  # fmt: skip


def test_pairs_count_who_is_nearer():
    truth = np.zeros((3, 2))
    own, other = np.array([[1.0, 1], [2, 2], [5, 0]]), np.array([[2.0, 1], [3, 1], [4, 1]])
    pairs = pair_tests(own, other, truth)
    assert (pairs["fac"]["wins"], pairs["fac"]["losses"]) == (2, 1)
    assert (pairs["es"]["wins"], pairs["es"]["losses"]) == (1, 1)


def test_a_gain_is_paired_fold_by_fold():
    real = [{"auc": value} for value in (0.5, 0.9, 0.7, 0.6)]
    gain = _gain([{"auc": one["auc"] + 0.1} for one in real], real)
    assert gain["auc"] == pytest.approx([0.1, 0.1, 0.1])  # folds differ widely, their differences do not
    assert np.isnan(_gain(real[:1], real[:1])["auc"][1])


def test_cycles_without_a_phase_keep_their_length_and_begin_elsewhere():
    bounds = np.array([[10.0, 60.0], [60.0, 100.0], [100.0, 160.0]])
    moved = _moved(bounds, 0.25)
    assert moved.tolist() == [[22.5, 72.5], [70.0, 110.0]]
    assert _moved(bounds[:1], 0.2).tolist() == [[0.0, 50.0]]


def test_every_ablation_trains_and_is_judged(smoke_run, tmp_path):
    said = []
    rows = run_ablations(
        smoke_run, tmp_path / "small", read_settings("ecgflowcmr-smoke"), steps=1, subjects=4, say=said.append
    )
    assert [row["name"] for row in rows] == [variant.name for variant in VARIANTS]
    assert len(said) == len(rows)
    assert rows[1]["parameters"] < rows[0]["parameters"]  # without a head the condition is shorter
    assert all(row["own_against_shuffled"]["es"]["wins"] <= 4 for row in rows)
    assert table(rows).count("\n") == len(rows) + 1


def test_knock_outs_change_the_model_and_leave_it_as_it_was(cof, smoke_run, tmp_path):
    run = cof("ecgflowcmr", "ablate", "--run", smoke_run, "--subjects", 4, "--out", tmp_path / "out")
    assert run.code == 0, run.err
    found = json.loads((tmp_path / "out" / "ablations.json").read_text())
    assert found["trained"] == []
    rows = {row["name"]: row for row in found["knock_outs"]}
    assert len(rows) == 8
    assert (tmp_path / "out" / "ablations.md").read_text(encoding="utf-8").count("\n") == len(rows) + 2


@pytest.mark.slow
def test_the_report_is_one_page_with_its_tables(cof, tmp_path):
    figures = arms_of(np.random.default_rng(1))
    (tmp_path / "figures.json").write_text(json.dumps(figures))
    (tmp_path / "study").mkdir()
    row = {"mix": 0, "synthetic": 0, "auc": [0.7, 0.1, 0.6, 0.8], "gain": {}}
    more = {**row, "mix": 100, "synthetic": 40, "gain": {"auc": [0.05, 0.01, 0.09]}}
    studies = {"weak": {"kind": "classification", "subjects": 40, "rows": [row, more]}}
    (tmp_path / "study" / "downstream.json").write_text(json.dumps(studies))
    run = cof("ecgflowcmr", "report", "--figures", tmp_path / "figures.json", "--downstream", tmp_path / "study",
              "--out", tmp_path / "report")  # fmt: skip
    assert run.code == 0, run.err
    text = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "NOT the patient" in text
    assert "+0.050 [+0.010, +0.090]" in text
    assert "synthetic cines, % of the real ones" in text  # the mixing curve
    assert "Published mixing curves" in text
    assert not any(word in text for word in ('src="http', 'href="http', "url(http", "<script"))  # nothing is fetched
    with (tmp_path / "report" / "tables" / "arms.csv").open(encoding="utf-8") as stream:
        cells = list(csv.reader(stream))
    assert cells[1][0] == "own ECG"
    assert float(cells[1][1]) == pytest.approx(figures["arms"]["own ECG"]["fac_mae_points"])
    numbers = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert numbers["protocols"]["arms"]["reading"]["ef_mae_points"] == 3.0


def test_a_report_of_nothing_is_refused(cof, tmp_path):
    (tmp_path / "figures.json").write_text("{}")
    run = cof("ecgflowcmr", "report", "--figures", tmp_path / "figures.json", "--out", tmp_path / "report")
    assert run.code == 2
    assert "found none" in run.err
    assert not (tmp_path / "report").exists()
