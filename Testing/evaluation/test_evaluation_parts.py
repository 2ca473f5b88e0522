"""Store, groups, ridge library, leaks, calibration, alignment, visits."""

import json

import numpy as np
import pytest
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.errors import CohortError
from COFTrainingLib.cohort.manifest import Cohort, CohortHeader, Subject
from COFTrainingLib.evaluation.comparators.library import features, fit_ridge
from COFTrainingLib.evaluation.groups import GROUPS, ecg_group
from COFTrainingLib.evaluation.leaks import check_no_leak
from COFTrainingLib.evaluation.protocols.calibration import crps, prediction_interval
from COFTrainingLib.evaluation.protocols.failures import dominant_mode, hard_cases
from COFTrainingLib.evaluation.store import Numbers, Store, jsonable

NORMAL = {"rr_ms": 950.0, "pr_ms": 160.0, "qrsd_ms": 92.0, "qt_ms": 390.0, "sokolow_mv": 2.2, "p_wave_present": True,
          "rr_cv": 0.03}  # fmt: skip


def test_a_store_keeps_the_last_result_and_counts_failures_apart(tmp_path):
    store = Store(tmp_path, {"cohort": "x"})
    store.add({"subject": "a", "method": "m", "kind": "cine", "identity": "1", "metrics": {"e": float("nan")}})
    store.add({"subject": "a", "method": "m", "kind": "cine", "identity": "2", "metrics": {"e": np.float32(2.5)}})
    store.add({"subject": "b", "method": "m", "kind": "cine", "error": "broken"})
    again = Store(tmp_path, {"cohort": "x"})
    assert again.has("a", "m", "cine", "2")
    assert not again.has("a", "m", "cine", "1")
    assert not again.has("b", "m", "cine")
    assert [row["error"] for row in again.failures()] == ["broken"]
    assert Numbers(again, "cine", ["e"])("m", "e").tolist() == [2.5]
    with pytest.raises(CohortError, match="cohort"):
        Store(tmp_path, {"cohort": "y"})


def test_methods_keep_their_order_when_results_are_made_anew(tmp_path):
    store = Store(tmp_path, {"cohort": "x"})
    for method, identity in (("model", "1"), ("copy anchor", "1"), ("model", "2")):
        store.add({"subject": "a", "method": method, "kind": "cine", "identity": identity})
    assert store.methods("cine") == Store(tmp_path, {"cohort": "x"}).methods("cine") == ["model", "copy anchor"]


def test_numbers_become_json_without_nan():
    assert json.dumps(jsonable({"a": [np.nan, np.inf, np.int64(3)], "b": np.arange(2.0)})) == (
        '{"a": [null, null, 3], "b": [0.0, 1.0]}'
    )


@pytest.mark.parametrize(
    ("change", "group"),
    [({}, "normal"), ({"qrsd_ms": 140.0}, "bundle branch block"), ({"pr_ms": 220.0}, "AV block"),
     ({"sokolow_mv": 4.0}, "hypertrophy"), ({"rr_ms": 1300.0, "qt_ms": 400.0}, "sinus brady- or tachycardia"),
     ({"qt_ms": 480.0}, "repolarisation abnormality"), ({"p_wave_present": False, "pr_ms": None}, "other"),
     ({"p_wave_present": False, "rr_cv": 0.2, "qrsd_ms": 140.0}, "atrial fibrillation")],
)  # fmt: skip
def test_ecgs_are_grouped_by_their_measurements(change, group):
    assert ecg_group({**NORMAL, **change}) == group
    assert group in GROUPS


def test_an_infarct_is_known_from_the_manifest_alone():
    assert ecg_group(NORMAL, {"infarct_territory": "inferior"}) == "infarction"


def test_ridge_recovers_a_linear_law_and_shrinks_noise():
    rng = np.random.default_rng(0)
    scalars = rng.standard_normal((200, 12)) * np.arange(1, 13)
    inputs = features(scalars)
    law = rng.standard_normal((inputs.shape[1], 3))
    weights, _ = fit_ridge(inputs, inputs @ law + 0.01 * rng.standard_normal((200, 3)))
    assert weights == pytest.approx(law, abs=0.05)
    noise, ridge = fit_ridge(inputs, rng.standard_normal((200, 3)))
    assert ridge > 100
    assert np.abs(noise[1:]).max() < 0.1


def a_bundle(tmp_path, **training):
    import hashlib

    (tmp_path / "configs").mkdir()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "w").write_bytes(b"w")
    facts = {"format": 1, "name": "m", "version": "1", "cof": {"grid": {}}, "training": training,
             "checksums": {"models/w": hashlib.sha256(b"w").hexdigest()}}  # fmt: skip
    (tmp_path / "configs" / "metadata.json").write_text(json.dumps(facts))
    return tmp_path


def test_a_model_is_not_judged_on_what_it_was_trained_or_calibrated_on(tmp_path):
    subjects = tuple(Subject(f"p{seed}", f"p{seed}", "train", {}, {"seed": seed}) for seed in (99, 1900005))
    cohort = Cohort(tmp_path, CohortHeader("c", "phantom"), subjects)
    bundle = a_bundle(tmp_path, first_seed=100, last_seed=200, gain={"first_seed": 1900000, "subjects": 48})
    check_no_leak(cohort, subjects[:1], [("m", bundle)])
    with pytest.raises(CohortError, match="1900005"):
        check_no_leak(cohort, subjects, [("m", bundle)])


def test_intervals_of_gaussian_draws_cover_what_they_promise_and_crps_is_proper():
    rng = np.random.default_rng(1)
    centre = rng.standard_normal(4000)
    draws, truth = centre[:, None] + rng.standard_normal((4000, 8)), centre + rng.standard_normal(4000)
    for level in (0.5, 0.9):
        low, high = prediction_interval(draws, level)
        assert ((truth >= low) & (truth <= high)).mean() == pytest.approx(level, abs=0.025)
    narrow = centre[:, None] + 0.3 * rng.standard_normal((4000, 8))
    assert crps(draws, truth).mean() < crps(narrow, truth).mean()
    assert crps(draws, truth).mean() == pytest.approx(1 / np.sqrt(np.pi), abs=0.03)


def test_hard_cases_are_the_worst_deciles_and_the_invalid():
    ef, dice, valid = np.arange(20.0) - 3, np.full(20, 0.9), np.ones(20)
    dice[0], valid[5] = 0.2, 0
    dice[1] = 0.3
    hard = hard_cases(ef, dice, valid)
    assert np.flatnonzero(hard).tolist() == [0, 1, 5, 18, 19]
    assert dominant_mode(-20, 0.9, 1.0, 1) == "under-contraction"
    assert dominant_mode(0, 0.9, 0.5, 1) == "anchor mismatch"
    assert dominant_mode(0, 0.4, 1.0, 1) == dominant_mode(0, 0.9, 1.0, 0) == "anatomy collapse"
    assert dominant_mode(8, 0.9, 1.0, 1) == "over-contraction"


def test_rigid_alignment_finds_a_known_shift():
    from COFTrainingLib.evaluation.alignment import align

    k, j, i = np.mgrid[:8, :48, :48]
    body = ((i - 22) / 17.0) ** 2 + ((j - 25) / 13.0) ** 2 < 1
    voxels = 100.0 * body + 80.0 * (((i - 17) ** 2 + (j - 24) ** 2) < (34 - 3 * k)) + 3 * np.sin(i) * np.cos(j)
    matrix = np.diag([2.0, 2.0, 9.0, 1.0])
    moved = matrix.copy()
    moved[:3, 3] = (7.0, -5.0, 0.0)  # the same picture, elsewhere by the geometry
    found = align(SaxStack(voxels, moved), SaxStack(voxels, matrix)) @ moved
    corner = (found - matrix) @ np.array([24, 24, 4, 1.0])
    assert np.linalg.norm(corner[:2]) < 1.0
    assert abs(corner[2]) < 4.0
