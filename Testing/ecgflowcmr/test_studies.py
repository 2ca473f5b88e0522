"""Downstream studies and the reader study: what they count and what they keep apart."""

import csv
import json

import numpy as np
import pytest
import torch
from COFGeneratorLib.errors import CohortError
from COFTrainingLib.ecgflowcmr import downstream
from COFTrainingLib.ecgflowcmr.downstream import CineEncoder, Labelled, StudySettings, balanced, run_study, table
from COFTrainingLib.ecgflowcmr.heldout import auc
from COFTrainingLib.ecgflowcmr.reader_study import make_kit, score

TINY = StudySettings(width=16, depth=1, heads=2, pretrain_steps=3, finetune_steps=40, batch=8, learning_rate=5e-3)


def cines(count, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 90, (count, 10, 16, 16), dtype=np.uint8))


def test_a_study_finds_what_is_plainly_to_be_seen_and_nothing_where_nothing_is():
    clips, bright = cines(40), np.arange(40) % 2 == 0
    clips[torch.from_numpy(bright)] += 120
    (row,) = run_study(balanced(clips, bright, "bright", 0), cines(40, 1), TINY, mixes=(), seeds=(0,))
    assert row["auc"][0] > 0.95
    (row,) = run_study(balanced(cines(40), bright, "nothing", 0), cines(40, 1), TINY, mixes=(), seeds=(0,))
    assert row["auc"][0] < 0.85


def test_a_test_fold_is_in_neither_training_and_mixes_count_real_ones(monkeypatch):
    study = Labelled(cines(25), np.arange(25.0), "number", "regression")
    synthetic, seen = cines(60, 2), []

    def one(study, train, test, pool, settings, seed):
        seen.append((set(train.tolist()), set(test.tolist()), pool))
        return {"mae": 1.0, "r2": 0.5}

    monkeypatch.setattr(downstream, "_one", one)
    rows = run_study(study, synthetic, TINY, mixes=(0, 200), seeds=(0,))
    assert [row["synthetic"] for row in rows] == [0, 0, 40]
    assert set().union(*(test for _, test, _ in seen[:5])) == set(range(25))
    for train, test, pool in seen:
        assert not train & test
        assert len(test) == 5
        if pool is not None:
            held = study.cines[sorted(test)]
            assert not any(torch.equal(a, b) for a in held for b in pool)
    assert len(seen[-1][2]) == 60
    assert "– mix 200 % | 40 | 1.000 ± 0.000" in table(rows, "number")


def test_hidden_tubes_are_not_seen_in_pretraining():
    torch.manual_seed(0)
    encoder = CineEncoder(TINY, (10, 16, 16))
    with torch.no_grad():
        clip = torch.rand(2, 10, 16, 16)
        hidden = torch.rand(encoder.tubes(clip).shape[:2], generator=torch.Generator().manual_seed(3)) < 0.6
        tubes = encoder.tubes(clip)
        encoder.rebuild.weight.zero_()
        encoder.rebuild.bias.zero_()
        expected = tubes[hidden].square().mean()
        found = encoder.masked_loss(clip, 0.6, torch.Generator().manual_seed(3))
    assert found == pytest.approx(float(expected), rel=1e-4)


def test_auc_is_the_share_of_pairs_in_order():
    assert auc(np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, False, True, True])) == 1.0
    assert auc(np.array([1.0, 1.0]), np.array([True, False])) == 0.5
    assert np.isnan(auc(np.array([1.0]), np.array([True])))


def test_a_reader_study_hides_which_is_which_and_scores_exactly(tmp_path):
    real, made = list(cines(6).numpy()), list(cines(6, 4).numpy())
    assert make_kit(real, made, tmp_path / "kit", tmp_path / "key.json", seed=3, readers=2) == 12
    truth = json.loads((tmp_path / "key.json").read_text())["clips"]
    kinds = list(truth.values())
    assert kinds != sorted(kinds)
    assert sorted(kinds) == ["real"] * 6 + ["synthetic"] * 6
    assert not any(word in path.name for path in (tmp_path / "kit").iterdir() for word in ("real", "synth", "key"))
    sheets = sorted((tmp_path / "kit").glob("reader-*.csv"))
    assert len(sheets) == 2
    with sheets[0].open(newline="") as stream:
        rows = list(csv.reader(stream))
    wrong = set(list(truth)[:3])
    for row in rows[1:]:
        other = {"real": "synthetic", "synthetic": "real"}[truth[row[0]]]
        row[1] = other if row[0] in wrong else truth[row[0]]
    with sheets[0].open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    marks = score(tmp_path / "key.json", sheets)
    assert marks["all readers"]["answered"] == 12
    assert marks["all readers"]["accuracy"] == 0.75
    assert marks["all readers"]["p_chance"] == pytest.approx(0.1460, abs=1e-3)
    assert marks[sheets[1].stem] == {"answered": 0}


def test_a_key_beside_the_clips_is_refused(tmp_path):
    with pytest.raises(CohortError, match="must not lie with the clips"):
        make_kit(list(cines(2).numpy()), list(cines(2).numpy()), tmp_path / "kit", tmp_path / "kit" / "key.json", 0)


def test_the_commands_run_on_phantoms(cof, smoke_bundle, tmp_path):
    run = cof("ecgflowcmr", "downstream", "--model", smoke_bundle, "--out", tmp_path / "study", "--real", 10,
              "--target", "ef_percent", "--mix", 0, 100, "--pretrain-steps", 1, "--finetune-steps", 1)  # fmt: skip
    assert run.code == 0, run.err
    rows = json.loads((tmp_path / "study" / "downstream.json").read_text())["ef_percent"]["rows"]
    assert [row["mix"] for row in rows] == [None, 0, 100]
    assert "MAE (real)" in run.out
    run = cof("ecgflowcmr", "downstream", "--model", smoke_bundle, "--out", tmp_path / "x", "--target", "colour")
    assert run.code == 2
    assert "colour" in run.err
