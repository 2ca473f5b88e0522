"""The held-out comparison: exact motion scores zero, the bars bite, the baselines are what they say."""

import numpy as np
import pytest
import torch
from COFTrainingLib.phantom.cases import draw_case
from COFTrainingLib.studies.heldout.heldout import BARS, failed_bars


def test_a_case_s_truth_is_the_phantom_s_physiology():
    case = draw_case(77, spacing_mm=(6.0, 2.0), conduction="", qrsd_ms=95.0, infarct_extent=0.0)
    truth = case.true_function(20)
    assert truth.ef_percent == pytest.approx(100 * case.subject.physiology.ef, abs=3.0)
    assert case.cycle.rr_ms == pytest.approx(case.subject.physiology.rr_ms, rel=0.05)


def test_the_exact_motion_scores_close_to_nothing_and_a_still_heart_misses_the_bars():
    from COFGeneratorLib.anatomy.heart_frame import heart_frame_from_labels
    from COFGeneratorLib.function import volume_curves
    from COFGeneratorLib.generator.native import NativeMotion
    from COFGeneratorLib.generator.networks.grid import MotionGrid, label_fractions
    from COFGeneratorLib.motion.fields import mm_from_voxels
    from COFTrainingLib.training.examples.flow_samples import displacement_on_grid

    case, grid = draw_case(78, spacing_mm=(8.0, 2.0)), MotionGrid()
    frame = heart_frame_from_labels(case.labels, case.anchor.ijk_to_ras)
    to_phantom = case.plan.ras_to_heart @ np.linalg.inv(frame.ras_to_heart())
    exact = displacement_on_grid(case.subject, to_phantom, grid, np.arange(12) / 12)
    millimetres = mm_from_voxels(exact, grid.spacing_mm).numpy()
    native = NativeMotion(millimetres, grid, frame, case.anchor.ijk_to_ras, case.anchor.shape, 20)
    curve = volume_curves(native.warp_all(label_fractions(case.labels)), case.anchor.ijk_to_ras).lv_ml
    truth = case.true_function(20)
    assert np.sqrt(np.mean((curve - truth.lv_volume_ml) ** 2)) < 0.06 * truth.edv_ml


def test_every_bar_can_be_missed_and_met():
    good = {name: bar for name, (_, bar) in BARS.items()}
    assert failed_bars(good) == []
    bad = {name: bar + (1 if sign == "<=" else -1) for name, (sign, bar) in BARS.items()}
    assert len(failed_bars(bad)) == len(BARS)
    assert torch.isfinite(torch.tensor(list(good.values()))).all()
