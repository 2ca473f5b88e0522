"""The held-out figures: what a perfect and an empty arm must get, and how boundaries are compared with R."""

import numpy as np
import pytest
from COFGeneratorLib.ecgflowcmr.bundle import load_ecgflow_bundle
from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg
from COFTrainingLib.phantom.physiology import draw_physiology
from COFTrainingLib.studies.ecgflowcmr.heldout import arm_row, draw_held_out
from COFTrainingLib.studies.ecgflowcmr.rhythm_check import boundary_errors, summary
from COFTrainingLib.training.ecgflowcmr.train_pa_mae import boundary_errors_ms


def test_a_perfect_arm_has_no_error_and_a_constant_one_no_correlation():
    rng = np.random.default_rng(0)
    ef = rng.uniform(0.3, 0.7, 40)
    truth = np.stack([80 * ef, rng.uniform(0.3, 0.5, 40)], axis=1)
    row = arm_row(truth, truth, ef)
    assert (row["fac_mae_points"], row["es_mae_frames"], row["weak_auc"]) == (0.0, 0.0, 1.0)
    assert row["fac_r"][0] == pytest.approx(1.0)
    row = arm_row(np.tile(truth.mean(axis=0), (40, 1)), truth, ef)
    assert np.isnan(row["fac_r"][0])
    assert row["weak_auc"] == 0.5
    late = truth + np.array([0.0, 0.04])
    assert arm_row(late, truth, ef)["es_mae_frames"] == pytest.approx(2.0)


def test_forcing_the_rate_moves_the_true_end_of_systole_and_nothing_of_the_anatomy(smoke_bundle):
    bundle = load_ecgflow_bundle(smoke_bundle)
    slow, fast = (
        draw_held_out(3, bundle, 1, hr_bpm=rate, atrial_fibrillation=False, conduction="") for rate in (50.0, 90.0)
    )
    assert slow.truth.lv_area_mm2[0] == fast.truth.lv_area_mm2[0]
    assert fast.truth.es_time_ms / fast.truth.rr_ms > slow.truth.es_time_ms / slow.truth.rr_ms + 0.06


def test_a_boundary_is_compared_with_the_nearest_r_and_edges_are_left_out():
    errors = boundary_errors_ms(np.array([100.5, 151.0]), np.array([2.0, 100.0, 150.0, 200.0]))
    assert errors.tolist() == pytest.approx([8.0, 16.0, 49 * 16.0])
    assert np.isinf(boundary_errors_ms(np.empty(0), np.array([100.0]))).all()


def test_a_phase_that_is_never_a_turn_misses_every_beat(smoke_bundle):
    pa_mae = load_ecgflow_bundle(smoke_bundle).model.amdf.pa_mae
    for layer in (pa_mae.phase[0], pa_mae.phase[2]):
        layer.weight.data.zero_()
    rng = np.random.default_rng(2)
    record, peaks = synthesise_ecg(draw_physiology(rng, hr_bpm=60.0), rng)
    row = summary([boundary_errors(pa_mae, record, peaks * 2.0)])
    assert row["missed"] == row["beats"] > 5
    assert row["within_20_ms"] == 0.0
