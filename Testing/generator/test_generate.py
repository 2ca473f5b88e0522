"""The whole path with a tiny random bundle: what must hold whatever the weights are."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from COFGeneratorLib.errors import AnatomyError, BundleError, MachineError
from COFGeneratorLib.generator import generate, load_bundle
from COFGeneratorLib.generator.networks.condition import STATED_SIZE
from COFGeneratorLib.generator.networks.expected_flow import ExpectedFlow
from COFGeneratorLib.generator.networks.grid import label_fractions
from COFGeneratorLib.generator.rate import at_rate, es_at_rate_ms


@pytest.fixture(scope="module")
def a_cine(a_case, tiny_bundle):
    return generate(a_case.anchor, a_case.record, tiny_bundle, labels=a_case.labels, frames=12)


def test_frame_zero_is_the_anchor_and_the_shape_is_the_anchor_s(a_cine, a_case):
    assert a_cine.frames.shape == (12, *a_case.anchor.shape)
    assert np.array_equal(a_cine.frames[0], a_case.anchor.voxels)
    assert np.array_equal(a_cine.labels[0], a_case.labels)
    assert np.abs(a_cine.displacement_mm(0)).max() == 0.0
    assert np.abs(a_cine.displacement_mm(6)).max() > 0.0


def test_volumes_are_those_of_labels_pulled_by_the_displacement(a_cine, a_case):
    """An independent warp with SciPy gives the same volumes; images are sharper than linear ones (test_moving)."""
    from scipy.ndimage import map_coordinates

    shift = a_cine.displacement_mm(5) / a_case.anchor.spacing_mm[:, None, None, None]
    positions = np.stack(np.meshgrid(*[np.arange(n) for n in a_case.anchor.shape], indexing="ij")) + shift
    still = label_fractions(a_case.labels)[0]
    share = map_coordinates(still, positions, order=1, mode="nearest").sum() / still.sum()
    lv_ml = a_cine.function.lv_volume_ml
    assert abs(share - 1.0) > 1e-4  # it moves
    assert lv_ml[5] / lv_ml[0] == pytest.approx(share, abs=1e-5)


def test_time_covers_one_cycle_of_the_ecg(a_cine):
    assert a_cine.time_ms[0] == 0.0
    assert np.allclose(np.diff(a_cine.time_ms), a_cine.rr_ms / 12)


def test_provenance_names_model_weights_inputs_and_seed(a_cine, tiny_bundle):
    facts = a_cine.provenance
    assert facts["synthetic"]
    assert facts["model"] == "tiny 1"
    assert facts["weights_sha256"] == tiny_bundle.weights_sha256
    assert len(facts["ecg_sha256"]) == 64
    assert facts["seed"] == 0
    json.dumps(facts)


def test_the_cine_comes_through_the_flow_s_own_prediction(a_case, tiny_bundle, monkeypatch):
    def taken_out(*_):
        raise RuntimeError("the flow was asked")

    monkeypatch.setattr(ExpectedFlow, "clean", taken_out)
    with pytest.raises(RuntimeError, match="the flow was asked"):
        generate(a_case.anchor, a_case.record, tiny_bundle, labels=a_case.labels, frames=4)
    without = replace(tiny_bundle, model=replace(tiny_bundle.model, flow=None))
    with pytest.raises(AttributeError):
        generate(a_case.anchor, a_case.record, without, labels=a_case.labels, frames=4)


def test_two_seeds_draw_two_cines_and_say_which(a_case, tiny_bundle, a_cine):
    def drawn(seed):
        return generate(
            a_case.anchor, a_case.record, tiny_bundle, labels=a_case.labels, frames=12, draw=True, seed=seed
        )

    one, other = drawn(1), drawn(2)
    assert not np.array_equal(one.frames, other.frames)
    assert not np.array_equal(one.frames, a_cine.frames)
    assert np.array_equal(one.frames, drawn(1).frames)
    assert (one.provenance["cine"], one.provenance["seed"]) == ("draw", 1)
    assert a_cine.provenance["cine"] == "centre"


def test_a_bundle_of_the_papers_flow_draws_without_being_asked(a_case, tiny_bundle, plain_model):
    bundle = replace(tiny_bundle, model=plain_model)
    facts = [
        generate(a_case.anchor, a_case.record, bundle, labels=a_case.labels, frames=4, **how).provenance["cine"]
        for how in ({}, {"draw": False})
    ]
    assert facts == ["draw", "centre"]


def test_a_stated_heart_rate_is_the_cine_s_and_what_is_stated_is_told(a_case, tiny_bundle, a_cine):
    told = {"hr_bpm": 90.0, "ef_percent": 41.0, "es_ms": 290.0}
    cine = generate(a_case.anchor, a_case.record, tiny_bundle, labels=a_case.labels, frames=12, **told)
    assert cine.rr_ms == pytest.approx(60000.0 / 90.0)
    assert cine.time_ms[-1] == pytest.approx(11 / 12 * cine.rr_ms)
    assert cine.function.hr_bpm == pytest.approx(90.0)
    assert cine.provenance["stated"] == told
    assert a_cine.provenance["stated"] == {}
    assert not np.array_equal(cine.frames[4], a_cine.frames[4])
    with pytest.raises(BundleError, match="ef_percent is between"):
        generate(a_case.anchor, a_case.record, tiny_bundle, labels=a_case.labels, ef_percent=99.0)


def test_at_another_rate_systole_follows_qt_and_diastole_takes_the_rest(a_case):
    cycle = a_case.cycle
    fast = at_rate(cycle, 1.5 * cycle.hr_bpm)
    assert fast.rr_ms == pytest.approx(cycle.rr_ms / 1.5)
    assert fast.t_end_ms == pytest.approx(cycle.t_end_ms * 1.5 ** (-1 / 3), rel=1e-6)
    assert fast.cycle_mv.shape == (12, round(fast.rr_ms * cycle.fs_hz / 1000.0))
    same = at_rate(cycle, cycle.hr_bpm).cycle_mv
    assert np.allclose(same[:, :40], cycle.cycle_mv[:, :40], atol=1e-6)
    assert es_at_rate_ms(350.0, 60.0, 80.0) == pytest.approx(309.0)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_draws_and_another_seed_others(a_case, tiny_bundle):
    def draws(seed):
        cine = generate(a_case.anchor, a_case.record, tiny_bundle, labels=a_case.labels, frames=6, samples=2, seed=seed)
        return [report.ef_percent for report in cine.samples]

    first = draws(3)
    assert first == draws(3)
    assert first != draws(40)


def test_the_inputs_are_left_as_they_were(a_case, tiny_bundle):
    voxels, signal = a_case.anchor.voxels.copy(), a_case.record.signal_mv.copy()
    generate(a_case.anchor, a_case.record, tiny_bundle, labels=a_case.labels, frames=4)
    assert np.array_equal(voxels, a_case.anchor.voxels)
    assert np.array_equal(signal, a_case.record.signal_mv)


def test_progress_reaches_the_end_of_every_stage(a_case, tiny_bundle):
    seen = {}
    generate(
        a_case.anchor, a_case.record, tiny_bundle, labels=a_case.labels, frames=4,
        progress=lambda stage, done, total: seen.__setitem__(stage, (done, total)),
    )  # fmt: skip
    assert set(seen) == {"ecg", "anatomy", "motion", "warp", "function"}
    assert all(done == total for done, total in seen.values())


def test_the_motion_follows_the_ecg_not_the_case(a_case, tiny_bundle):
    """No ECG is a condition of its own, and differs from a given one."""
    model = tiny_bundle.model
    with torch.no_grad():
        given, none = model.condition(a_case.cycle, "cpu"), model.condition(None, "cpu")
    assert none.abs().sum() == 0
    assert given[0, -STATED_SIZE - 1] == 1


def test_labels_of_another_grid_are_refused(a_case, tiny_bundle):
    with pytest.raises(AnatomyError, match="anchor's grid"):
        generate(a_case.anchor, a_case.record, tiny_bundle, labels=a_case.labels[:-1])


def test_without_labels_and_without_a_segmenter_the_error_says_what_to_give(a_case, tiny_bundle):
    with pytest.raises(BundleError, match="--labels"):
        generate(a_case.anchor, a_case.record, tiny_bundle)


def test_an_absent_device_is_an_error_not_a_fallback(a_case, tiny_bundle):
    with pytest.raises(MachineError, match="cuda:77"):
        generate(a_case.anchor, a_case.record, tiny_bundle, labels=a_case.labels, device="cuda:77")


@pytest.mark.parametrize("harm", ["truncated", "altered", "missing", "no metadata", "escaping", "other format"])
def test_a_harmed_bundle_is_refused(tiny_bundle_folder, tmp_path, harm):
    folder = tmp_path / "bundle"
    shutil.copytree(tiny_bundle_folder, folder)
    weights, metadata = folder / "models" / "flow.safetensors", folder / "configs" / "metadata.json"
    facts = json.loads(metadata.read_text())
    if harm == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif harm == "altered":
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
    elif harm == "missing":
        weights.unlink()
    elif harm == "no metadata":
        metadata.unlink()
    elif harm == "escaping":
        facts["checksums"] = {"../outside": "0" * 64}
        metadata.write_text(json.dumps(facts))
    else:
        facts["format"] = 99
        metadata.write_text(json.dumps(facts))
    with pytest.raises(BundleError):
        load_bundle(folder)


def test_weights_that_do_not_fit_the_configuration_are_refused(tiny_bundle_folder, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(tiny_bundle_folder, folder)
    metadata = folder / "configs" / "metadata.json"
    facts = json.loads(metadata.read_text())
    facts["cof"]["flow"]["modes"] = 7
    metadata.write_text(json.dumps(facts))
    with pytest.raises(BundleError, match="fit its configuration"):
        load_bundle(folder)


def test_a_saved_bundle_gives_the_model_back_to_half_precision(tiny_model, tiny_bundle, a_case):
    maps, phases = torch.rand(1, 3, *tiny_model.grid.shape), tiny_model.phases
    condition = tiny_model.condition(a_case.cycle, "cpu")
    with torch.no_grad():
        before = tiny_model.flow.expectation(maps, condition, phases).mean
        after = tiny_bundle.model.flow.expectation(maps, condition, phases).mean
    assert torch.allclose(before, after, atol=2e-2 * float(before.abs().max()))
    assert tiny_bundle.model.after == tiny_model.after
    assert float(before[:, 0].abs().max()) == 0.0  # no motion at the R wave, by construction


class _Truth:
    """A segmenter that sees the phantom's own labels."""

    described = "truth"

    def __init__(self, labels):
        self.labels = labels

    def segment(self, stack, roi=None):
        from types import SimpleNamespace

        return SimpleNamespace(labels=self.labels)


def test_labels_of_the_cavity_alone_are_completed_and_said_to_be(a_case, tiny_bundle, a_cine):
    cavity = np.where(a_case.labels == 1, 1, 0).astype(np.uint8)
    how = {"labels": cavity, "segmenter": _Truth(a_case.labels), "frames": 12}
    cine = generate(a_case.anchor, a_case.record, tiny_bundle, **how)
    assert np.array_equal(cine.labels[0] == 1, cavity == 1)
    assert cine.provenance["labels_from"] == cine.function.labels_from == "user+segmenter"
    assert cine.provenance["segmenter"] == "truth"
    assert any("segmenter added" in words for words in cine.provenance["warnings"])
    assert cine.function.rv_edv_ml == pytest.approx(a_cine.function.rv_edv_ml, rel=0.1)
    as_given = generate(a_case.anchor, a_case.record, tiny_bundle, complete_labels=False, **how)
    assert as_given.provenance["labels_from"] == "user"
    assert np.isnan(as_given.function.rv_edv_ml)
