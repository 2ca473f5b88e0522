"""Function errors by closed form: gains, shifts, still and invalid hearts; regional timing; motion."""

import numpy as np
import pytest
from COFGeneratorLib.anatomy.heart_frame import heart_frame_from_labels
from COFGeneratorLib.function import measure_regional
from COFTrainingLib.evaluation.metrics.function import compare_function, resample_curve, true_function
from COFTrainingLib.evaluation.metrics.motion import endpoint_error, jacobian_stats, parts_kept
from COFTrainingLib.evaluation.metrics.regional import compare_regional, compare_timing, excursion_curves, half_time

FRAMES = 50


def a_curve(edv=120.0, esv=50.0, es=0.36, frames=FRAMES):
    """A smooth curve with its minimum at phase ``es``."""
    phase = np.arange(frames) / frames
    warped = np.interp(phase, [0, es, 1], [0, 0.5, 1])
    return esv + (edv - esv) * 0.5 * (1 + np.cos(2 * np.pi * warped))


def test_the_truth_itself_has_no_error():
    truth = true_function(a_curve(), 900.0, "closed form")
    errors = compare_function(a_curve(), 900.0, truth)
    assert errors["valid"] == 1
    for name in ("edv_error_ml", "esv_error_ml", "ef_error_points", "curve_rmse_ml", "es_error_frames"):
        assert errors[name] == pytest.approx(0.0, abs=1e-6)
    assert truth.ef_percent == pytest.approx(100 * 70 / 120, abs=0.5)


def test_under_contraction_has_its_sign_and_size():
    truth = true_function(a_curve(), 900.0, "closed form")
    weak = compare_function(a_curve(esv=74.0), 900.0, truth)
    assert weak["esv_error_ml"] == pytest.approx(24.0, abs=0.5)
    assert weak["sv_error_ml"] == pytest.approx(-24.0, abs=0.5)
    assert weak["ef_error_points"] == pytest.approx(-20.0, abs=0.5)
    assert weak["co_error_l_min"] == pytest.approx(-24.0 * 60 / 900, abs=0.05)


def test_es_is_compared_in_phase_whatever_the_cycle_lengths_and_frames():
    truth = true_function(a_curve(es=0.36), 900.0, "closed form")
    late = compare_function(np.roll(a_curve(), 4), 600.0, truth)
    assert late["es_error_frames"] == pytest.approx(4.0, abs=0.05)
    half = compare_function(np.roll(a_curve(frames=25), 2), 900.0, truth)
    assert half["es_error_frames"] == pytest.approx(4.0, abs=0.1)  # in frames of 50, whatever the cine has
    coarse = compare_function(a_curve(es=0.36, frames=25), 900.0, truth)
    assert coarse["es_error_frames"] < 0.2
    assert resample_curve(a_curve(frames=25), 50) == pytest.approx(a_curve(), abs=2.0)


def test_invalid_hearts_are_charged_everything_and_still_ones_have_no_es():
    truth = true_function(a_curve(), 900.0, "closed form")
    none = compare_function(np.zeros(FRAMES), 900.0, truth)
    assert none["valid"] == 0
    assert none["ef_error_points"] == -100
    assert none["esv_error_ml"] == pytest.approx(-truth.esv_ml)
    assert none["es_error_frames"] == 25.0
    still = compare_function(np.full(FRAMES, 120.0), 900.0, truth)
    assert still["valid"] == 1
    assert np.isnan(still["es_error_frames"])
    assert still["ef_percent"] == pytest.approx(0.0)
    assert compare_function(np.full(FRAMES, np.nan), 900.0, truth)["valid"] == 0


def test_half_times_of_delayed_segments_are_found_and_still_segments_have_none():
    phases = np.arange(12) / 12
    curves = np.column_stack([8 * np.clip((phases - d) / 0.3, 0, 1) for d in (0.0, 0.1, 0.2, 0.1)] + [0.2 * phases])
    times = half_time(curves, phases)
    assert times[:4] == pytest.approx([0.15, 0.25, 0.35, 0.25], abs=0.02)
    assert np.isnan(times[4])
    same = compare_timing(times, times + 0.02, 50)
    assert same["timing_mae_frames"] == pytest.approx(1.0)
    assert same["dyssynchrony_error_frames"] == pytest.approx(0.0, abs=1e-9)


def test_endpoint_error_is_the_length_of_the_difference_in_mm():
    import torch

    true = np.zeros((3, 2, 4, 4), dtype=np.float16)
    found = np.zeros_like(true, dtype=np.float32)
    found[1], found[2] = 3.0, 4.0
    mask = np.zeros((2, 4, 4), dtype=bool)
    mask[0] = True
    assert endpoint_error(found, true, mask)["mean"] == pytest.approx(5.0)
    assert np.isnan(endpoint_error(found, true, np.zeros_like(mask))["mean"])
    field = torch.zeros(1, 3, 4, 6, 6)
    assert jacobian_stats(field, np.ones((4, 6, 6), dtype=bool)) == {"folded_percent": 0.0, "jacobian_min": 1.0}
    field[0, 2] = -2.0 * torch.arange(6.0)  # x → −x: everything is mirrored
    assert jacobian_stats(field, np.ones((4, 6, 6), dtype=bool))["folded_percent"] == 100.0


def test_a_part_that_splits_is_noticed():
    anchor = np.zeros((2, 8, 8), dtype=np.uint8)
    anchor[:, 2:6, 2:6] = 1
    split = anchor.copy()
    split[:, 4] = 0
    assert parts_kept(anchor, np.stack([anchor, split]), [0]) == 100.0
    assert parts_kept(anchor, np.stack([anchor, split]), [1]) == pytest.approx(200 / 3)


def beating_labels():
    """Return (8, 5, 40, 40) labels of an LV in a wall beside an RV, whose cavity is smallest in frame 4."""
    y, x = np.mgrid[:40, :40] - 20.0
    labels = np.zeros((8, 5, 40, 40), dtype=np.uint8)
    for t in range(8):
        labels[t, :, (np.hypot(y, x + 14) < 8) & (np.hypot(y, x) >= 12)] = 3
        labels[t, :, np.hypot(y, x) < 12] = 2
        labels[t, :, np.hypot(y, x) < 8 * (1 - 0.4 * np.sin(np.pi * t / 8) ** 2)] = 1
    return labels


def test_regions_of_a_beating_ventricle_are_followed_whatever_the_background():
    labels = beating_labels()
    ijk_to_ras = np.diag([2.0, 2.0, 10.0, 1.0])
    frame = heart_frame_from_labels(labels[0], ijk_to_ras)
    curves = excursion_curves(labels, ijk_to_ras, frame)
    whole = np.stack([measure_regional(labels[0], moved, ijk_to_ras, frame).excursion_mm for moved in labels])
    assert np.array_equal(curves, whole, equal_nan=True)  # cut to the heart or not
    row = compare_regional(labels, labels, (4, 4), ijk_to_ras, frame)
    assert (row["thickening_mae_percent"], row["excursion_mae_mm"], row["worst_territory_right"]) == (0.0, 0.0, 1.0)
    assert compare_regional(labels, labels, (4, 2), ijk_to_ras, frame)["excursion_mae_mm"] > 1.0
