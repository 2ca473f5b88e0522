"""Downstream studies and the reader study: what they count and what they keep apart."""

import csv
import json

import numpy as np
import pytest
import torch
from COFGeneratorLib.errors import CohortError
from COFTrainingLib.evaluation.store import Store
from COFTrainingLib.studies.ecgflowcmr import downstream
from COFTrainingLib.studies.ecgflowcmr.downstream import CEILING, MEAN, SCRATCH, run_studies, table
from COFTrainingLib.studies.ecgflowcmr.heldout import auc
from COFTrainingLib.studies.ecgflowcmr.reader_study import make_kit, score
from COFTrainingLib.studies.ecgflowcmr.tasks import DownstreamTask, balanced
from COFTrainingLib.training.ecgflowcmr.cine_encoder import CineEncoder, StudySettings
from COFTrainingLib.training.ecgflowcmr.kept_clips import kept

TINY = StudySettings(
    width=16, depth=1, heads=2, shrink=1, patch=8, pretrain_steps=3, finetune_steps=60, batch=8, learning_rate=5e-3
)


def cines(count, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 90, (count, 10, 16, 16), dtype=np.uint8))


def numbers(count):
    return DownstreamTask(np.arange(count), np.arange(float(count)), "number", "regression")


def test_a_study_finds_motion_that_is_plainly_to_be_seen_and_nothing_where_nothing_is():
    clips, pulsing = cines(40), np.arange(40) % 2 == 0
    clips[torch.from_numpy(pulsing), :5] += 120
    options = {"mixes": (), "seeds": (0,)}
    mean, row = run_studies(clips, [balanced(pulsing, "pulse", 0)], cines(40, 1), TINY, **options)["pulse"]
    assert (mean["mix"], row["mix"]) == (MEAN, SCRATCH)
    assert row["auc"][0] > 0.95
    assert mean["auc"][0] == 0.5
    _, row = run_studies(cines(40), [balanced(pulsing, "nothing", 0)], cines(40, 1), TINY, **options)["nothing"]
    assert row["auc"][0] < 0.85


def test_a_regression_is_in_the_targets_units():
    strength = np.linspace(10.0, 150.0, 40)
    clips = cines(40) // 9
    clips[:, :5] += torch.from_numpy(strength).to(torch.uint8)[:, None, None, None]
    study = DownstreamTask(np.arange(40), strength, "strength", "regression")
    mean, row = run_studies(clips, [study], clips[:0], TINY, mixes=(), seeds=(0,))["strength"]
    assert row["mae"][0] < 0.5 * mean["mae"][0]
    assert row["r2"][0] > 0.6
    assert mean["mae"][0] == pytest.approx(np.abs(strength - strength.mean()).mean(), rel=0.1)


def test_a_test_fold_is_in_neither_training_and_mixes_count_real_ones(monkeypatch):
    clips, synthetic, further = cines(25), cines(60, 2), cines(60, 3)
    pools, tuned = [], []

    def finetune(encoder, unit, study, train, test):
        tuned.append((unit.fold, set(study.subjects[train]), set(study.subjects[test])))
        return {"mae": 1.0, "r2": 0.5}

    monkeypatch.setattr(downstream, "_pretrain", lambda encoder, pool, seed: pools.append(pool))
    monkeypatch.setattr(downstream, "_finetune", finetune)
    half = balanced(np.arange(25) < 8, "half", 0)
    found = run_studies(clips, [numbers(25), half], synthetic, TINY, mixes=(0, 200), seeds=(0,), further=further)
    rows = found["number"]
    assert [row["mix"] for row in rows] == [MEAN, SCRATCH, 0, 200, CEILING]
    assert [row["synthetic"] for row in rows] == [0, 0, 0, 40, 40]
    assert len(pools) == 3 * 5  # one pre-training serves both studies
    assert len(tuned) == 2 * 5 * 5
    held = {fold: test for fold, _, test in tuned if len(test) == 5}
    assert set().union(*held.values()) == set(range(25))
    assert all(not train & test for _, train, test in tuned)
    for fold in range(5):
        real, mixed, ceiling = pools[3 * fold : 3 * fold + 3]
        assert [len(pool) for pool in (real, mixed, ceiling)] == [20, 60, 60]
        assert not any(torch.equal(clips[one], other) for one in held[fold] for other in mixed)
        assert torch.equal(mixed[20:], synthetic[:40])
        assert torch.equal(ceiling[20:], further[:40])
    assert "– mix 200 % | 40 | 1.000 ± 0.000" in table(rows, "number")


def test_folds_spread_a_target_evenly():
    groups = downstream._folds(balanced(np.arange(50) < 10, "few", 0), 50, seed=3)
    assert [int((groups[:10] == fold).sum()) for fold in range(5)] == [2] * 5
    assert np.bincount(groups).tolist() == [10] * 5


@pytest.mark.slow
def test_an_interrupted_study_goes_on_and_gives_the_same(tmp_path, monkeypatch):
    options = {"mixes": (0, 100), "seeds": (0,)}
    whole = run_studies(cines(15), [numbers(15)], cines(15, 1), TINY, **options)
    calls, finetune = [], downstream._finetune

    def until_killed(*arguments):
        calls.append(1)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return finetune(*arguments)

    monkeypatch.setattr(downstream, "_finetune", until_killed)
    with pytest.raises(KeyboardInterrupt):
        run_studies(cines(15), [numbers(15)], cines(15, 1), TINY, store=Store(tmp_path, {"n": 15}), **options)
    resumed = run_studies(cines(15), [numbers(15)], cines(15, 1), TINY, store=Store(tmp_path, {"n": 15}), **options)
    assert len(calls) == 7 + 20 - 6
    for before, after in zip(whole["number"], resumed["number"], strict=True):
        assert after["mae"] == pytest.approx(before["mae"], rel=1e-5)
    with pytest.raises(CohortError, match="differ: n"):
        Store(tmp_path, {"n": 16})


def test_kept_clips_are_those_of_the_same_model(tmp_path):
    made = []

    def make(count):
        made.append(count)
        return {"clips": cines(count)}

    first = kept(tmp_path, "synthetic", {"weights": "a"}, 6, lambda: make(6))
    assert torch.equal(kept(tmp_path, "synthetic", {"weights": "a"}, 4, lambda: make(4))["clips"], first["clips"][:4])
    assert made == [6]
    assert len(kept(tmp_path, "synthetic", {"weights": "a"}, 9, lambda: make(9))["clips"]) == 9
    with pytest.raises(CohortError, match="same model"):
        kept(tmp_path, "synthetic", {"weights": "b"}, 4, lambda: make(4))
    (tmp_path / "synthetic.safetensors").write_bytes(b"\x08broken")
    with pytest.raises(CohortError, match="does not read"):
        kept(tmp_path, "synthetic", {"weights": "a"}, 4, lambda: make(4))


def test_hidden_squares_are_not_seen_in_pretraining():
    torch.manual_seed(0)
    encoder = CineEncoder(TINY, (10, 16, 16))
    with torch.no_grad():
        motion = encoder.motion(cines(2))
        tubes = encoder.tubes(motion)
        hidden = torch.rand(tubes.shape[:2], generator=torch.Generator().manual_seed(3)) < TINY.mask
        encoder.rebuild.weight.zero_()
        encoder.rebuild.bias.zero_()
        expected = tubes[hidden].square().mean()
        found = encoder.masked_loss(motion, torch.Generator().manual_seed(3))
    assert tubes.shape == (2, 4, 10 * 64)
    assert found == pytest.approx(float(expected), rel=1e-4)


def test_motion_knows_no_brightness_and_a_variation_only_moves_and_scales_it():
    encoder = CineEncoder(TINY, (10, 16, 16))
    clips = cines(6)
    encoder.fit_scale(clips)
    motion = encoder.motion(clips)
    assert torch.allclose(motion, encoder.motion(clips + 50), atol=1e-5)
    assert float(motion.square().mean()) == pytest.approx(1.0, rel=1e-4)
    varied = encoder.varied(motion, torch.Generator().manual_seed(1))
    ratio = varied.flatten(1).norm(dim=1) / motion.flatten(1).norm(dim=1)
    assert torch.allclose(
        varied.flatten(1).sort().values, (motion.flatten(1) * ratio[:, None]).sort().values, atol=1e-4
    )


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
    words = (
        "ecgflowcmr", "downstream", "--model", smoke_bundle, "--real", 10, "--target", "ef_percent", "--mix", 0, 100,
        "--pretrain-steps", 1, "--finetune-steps", 1, "--ceiling", "--keep", tmp_path / "kept",
    )  # fmt: skip
    run = cof(*words, "--out", tmp_path / "study")
    assert run.code == 0, run.err
    rows = json.loads((tmp_path / "study" / "downstream.json").read_text())["ef_percent"]["rows"]
    assert [row["mix"] for row in rows] == [MEAN, SCRATCH, 0, 100, CEILING]
    assert "MAE (real)" in run.out
    made = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "kept").glob("*.safetensors")}
    assert len(made) == 3
    assert cof(*words, "--out", tmp_path / "again").code == 0
    assert made == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "kept").glob("*.safetensors")}
    run = cof("ecgflowcmr", "downstream", "--model", smoke_bundle, "--out", tmp_path / "x", "--target", "colour")
    assert run.code == 2
    assert "colour" in run.err
