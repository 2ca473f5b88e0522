"""The methods with the shipped bundle: what is evaluated is what the product makes; anchors shift and come back."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from COFGeneratorLib.function import volume_curves
from COFTrainingLib.cohort.manifest import read_cohort
from COFTrainingLib.evaluation.case_files import read_case
from COFTrainingLib.evaluation.comparators.base import Shared
from COFTrainingLib.evaluation.comparators.copies import CopyAnchor, RandomSample
from COFTrainingLib.evaluation.comparators.models import ModelMethod, main_methods
from COFTrainingLib.evaluation.comparators.motions import library_methods
from COFTrainingLib.evaluation.measure import prediction_row
from COFTrainingLib.evaluation.metrics.function import resample_curve
from COFTrainingLib.evaluation.plan import Plan
from COFTrainingLib.evaluation.protocols.anchor_phase import predict_told, shift_back, shift_case

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundle():
    from COFGeneratorLib.generator import load_bundle
    from COFGeneratorLib.resources import default_bundle

    return load_bundle(default_bundle())


@pytest.fixture(scope="module")
def case(tiny_cohort):
    cohort = read_cohort(tiny_cohort)
    return read_case(cohort, cohort.subjects[0])


def test_what_is_evaluated_is_what_the_product_generates(case, bundle):
    from COFGeneratorLib.ecg.record import LEADS, EcgRecord
    from COFGeneratorLib.generator import generate

    record = EcgRecord(np.zeros((len(LEADS), 5000)), 500.0)  # the analysed cycle is given: this is not looked at
    cine = generate(
        case.anchor, record, bundle, labels=case.labels, cycle=case.cycle, frames=case.frames, in_slices=True
    )
    found = ModelMethod("m", bundle).predict(case, Shared())
    assert found.lv_ml == pytest.approx(cine.function.lv_volume_ml, rel=2e-3)
    frames = case.image_frames
    assert np.abs(found.images - cine.frames[frames]).max() < 0.5
    assert (found.labels == cine.labels[(slice(None), *case.crop)]).mean() > 0.999
    assert np.array_equal(found.images[0], case.anchor.voxels)


def test_ablations_and_baselines_differ_from_the_model_as_they_should(case, bundle):
    shared = Shared(lambda: case.cycle)
    own = ModelMethod("m", bundle).predict(case, shared)
    none = ModelMethod("m", bundle, ecg="none").predict(case, shared)
    partner = ModelMethod("m", bundle, ecg="other").predict(case, shared)
    assert np.abs(none.lv_ml - own.lv_ml).max() > 1.0
    assert partner.lv_ml == pytest.approx(own.lv_ml)  # the partner's ECG is this one's here
    mean = library_methods(bundle, Plan(None, (case.id,)))[0].predict(case, shared)
    assert mean.lv_ml[0] == pytest.approx(own.lv_ml[0])
    assert mean.lv_ml.min() < 0.9 * mean.lv_ml[0]


def test_copies_have_no_motion_of_their_own(case):
    still = prediction_row(case, CopyAnchor().predict(case, Shared()))["metrics"]
    assert still["ef_percent"] == pytest.approx(0.0)
    assert still["folded_percent"] == 0.0
    himself = prediction_row(case, RandomSample().predict(case, Shared(read_partner=lambda: case)))["metrics"]
    assert himself["dice_macro"] == 1.0  # laid upon itself, a cine is itself
    assert himself["ef_error_points"] == pytest.approx(0.0, abs=1e-4)


def test_an_anchor_shifted_and_shifted_back_compares_with_the_same_cine(case):
    shifted = shift_case(case, 3)
    assert np.array_equal(shifted.anchor.voxels, case.reference[3])
    shifted.__dict__["crop"] = case.crop
    volumes = volume_curves(shifted.near_reference, case.near.ijk_to_ras)
    recorded = replace(
        CopyAnchor().predict(case, Shared()), labels=shifted.near_reference, lv_ml=volumes.lv_ml,
        images=shifted.reference[case.image_frames],
    )  # fmt: skip
    back = prediction_row(case, shift_back(recorded, 3, case.image_step))["metrics"]
    assert back["dice_macro"] == 1.0
    assert back["curve_rmse_ml"] == pytest.approx(0.0, abs=1e-6)
    assert back["psnr_db"] == 100.0


def test_every_second_of_fifty_frames_gives_the_volumes_of_all(case, bundle):
    """Motion has a dozen phases: 25 frames hold all of it, and the periodic spline gives those between."""
    long = replace(case, frames=50, reference=None, reference_labels=None)
    assert long.label_frames == list(range(0, 50, 2))
    assert set(long.timing_frames) | set(long.motion_frames) <= set(long.label_frames)
    all_frames = ModelMethod("m", bundle, every_frame=True).predict(long, Shared())
    some = ModelMethod("m", bundle).predict(long, Shared())
    assert (len(all_frames.labels), len(some.labels), some.labelled) == (50, 25, tuple(range(0, 50, 2)))
    assert np.array_equal(some.labels, all_frames.labels[::2])
    assert resample_curve(some.lv_ml, 50) == pytest.approx(all_frames.lv_ml, rel=4e-3)
    for frame, field in some.displacement_voxels.items():
        assert torch.equal(field, all_frames.displacement_voxels[frame])


def test_variants_are_made_where_they_are_asked_for(bundle):
    few, all_of_them = (main_methods("m", bundle, 0, variants) for variants in (False, True))
    assert {m.name for m in few} == {"m", "m · null ECG", "m · shuffled ECG", "m · centre alone, no gain"}
    assert {m.role for m in all_of_them if m.name not in {kept.name for kept in few}} == {"ablation"}
    assert len({m.identity for m in all_of_them}) == len(all_of_them)


def test_an_anchor_whose_phase_is_said_keeps_its_place_in_the_beat_and_fills_before_it(case, bundle):
    frame = case.image_frames[len(case.image_frames) // 2]  # where the boxes are smallest
    shifted = shift_case(case, frame)
    shifted.__dict__["crop"] = case.crop
    told = predict_told(bundle, shifted, frame)
    assert np.array_equal(told.labels[frame], case.near_reference[frame])
    assert np.array_equal(told.images[frame // case.image_step], case.reference[frame])
    untold = shift_back(ModelMethod("m", bundle, every_frame=True).predict(shifted, Shared()), frame, case.image_step)
    true = volume_curves(case.near_reference, case.near.ijk_to_ras).lv_ml
    assert told.lv_ml[0] > 1.3 * told.lv_ml[frame]
    assert np.abs(told.lv_ml - true).mean() < np.abs(untold.lv_ml - true).mean()
    assert prediction_row(case, told)["metrics"]["dice_lv"] > prediction_row(case, untold)["metrics"]["dice_lv"]
