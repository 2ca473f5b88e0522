"""An anchor not taken at the R wave: the cine begins there all the same, and the anchor is one of its frames."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.errors import AnatomyError
from COFGeneratorLib.generator import generate, load_bundle
from COFGeneratorLib.generator.bundle import save_bundle
from COFGeneratorLib.generator.networks.condition import CONDITION_SIZE
from COFGeneratorLib.generator.networks.expected_flow import ExpectedFlow
from COFGeneratorLib.generator.networks.flow_network import PACK_COMPONENTS, VelocityUNet
from COFGeneratorLib.resources import default_bundle

FRAMES = 12


def told_flow(model, std: float = 0.0):
    """Return the flow of a model as it is where the anchor's phase is told, with the same weights."""
    config = replace(model.flow.config, any_anchor=True)
    flow = ExpectedFlow(model.grid, config) if model.has_centre else VelocityUNet(model.grid, config)
    found = flow.load_state_dict(model.flow.state_dict(), strict=False)
    (missing,) = found.missing_keys
    assert missing.endswith("anchor.weight")
    assert not found.unexpected_keys
    if std:
        torch.nn.init.normal_(flow.get_parameter(missing), std=std)
    return flow.eval()


@pytest.fixture(scope="module")
def told_bundle(tiny_model, tmp_path_factory):
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("told")
    save_bundle(folder, replace(tiny_model, flow=told_flow(tiny_model, 0.3)), {"name": "told", "version": "1"})
    return load_bundle(folder)


def test_networks_that_are_told_begin_as_those_that_are_not(tiny_model, plain_model):
    torch.manual_seed(0)
    maps, condition = torch.rand(2, 3, *tiny_model.grid.shape), torch.rand(2, CONDITION_SIZE)
    pack = torch.randn(2, 6, PACK_COMPONENTS * tiny_model.grid.shape[0], *tiny_model.grid.shape[1:])
    tau, phases = torch.tensor([0.3, 0.8]), tiny_model.phases
    with torch.inference_mode():
        scores, flow = torch.randn(2, 4), told_flow(tiny_model)
        expected = tiny_model.flow(scores, tau, maps, condition, phases)
        assert torch.equal(flow(scores, tau, maps, condition, phases), expected)
        for anchor in (torch.zeros(2), torch.tensor([0.0, 0.37])):
            assert torch.allclose(flow(scores, tau, maps, condition, phases, anchor=anchor)[0], expected[0], atol=1e-6)
        plain = told_flow(plain_model)
        heard = torch.rand(2, plain_model.condition(None, torch.device("cpu")).shape[1])
        before = plain_model.flow(pack, tau, maps, heard, phases)
        assert torch.equal(plain(pack, tau, maps, heard, phases), before)
        assert torch.equal(plain(pack, tau, maps, heard, phases, anchor=torch.tensor([0.2, 0.7])), before)


def test_the_r_wave_is_the_same_whatever_the_weights_of_the_phase(tiny_model, told_bundle):
    maps, condition = torch.rand(1, 3, *tiny_model.grid.shape), torch.rand(1, CONDITION_SIZE)
    model = told_bundle.model
    assert model.any_anchor
    assert not tiny_model.any_anchor
    found, plain = (model.velocities(maps, condition, anchor=anchor)[0] for anchor in (0.0, None))
    assert torch.allclose(found, plain, atol=1e-5)
    assert (model.velocities(maps, condition, anchor=0.5)[0] - plain).abs().max() > 1e-3


def test_motion_that_is_told_begins_at_the_anchor(tiny_model, told_bundle):
    maps, condition = torch.rand(1, 3, *tiny_model.grid.shape), torch.rand(1, CONDITION_SIZE)
    for draws in (0, 1):
        velocity = told_bundle.model.velocities(maps, condition, anchor=2 / 6, draws=draws)[0]
        assert velocity[:, 2].abs().max() < 1e-5
        assert velocity[:, 0].abs().max() > 1e-3


@pytest.mark.slow
def test_phase_zero_is_the_cine_without_a_phase(a_case, tiny_bundle):
    plain, zero, near = (
        generate(a_case.anchor, a_case.record, tiny_bundle, labels=a_case.labels, frames=6, **given)
        for given in ({}, {"anchor_phase": 0.0}, {"anchor_phase": 0.95})  # nearest to the first of six frames
    )
    for other in (zero, near):
        assert np.array_equal(plain.frames, other.frames)
        assert np.array_equal(plain.labels, other.labels)
        assert np.array_equal(plain.displacement_mm(3), other.displacement_mm(3))
        assert other.provenance["anchor_phase"] == "taken as the frame at the R wave"
    assert plain.provenance["warnings"] == zero.provenance["warnings"]


@pytest.mark.slow
@pytest.mark.parametrize("bundle", ["tiny_bundle", "told_bundle"])
def test_the_frame_of_the_phase_is_the_anchor_and_time_begins_at_the_r_wave(a_case, bundle, request):
    bundle = request.getfixturevalue(bundle)
    cine = generate(
        a_case.anchor, a_case.record, bundle, labels=a_case.labels, frames=FRAMES, samples=2, anchor_phase=0.4
    )
    still = 5  # the nearest of twelve
    assert np.array_equal(cine.frames[still], a_case.anchor.voxels)
    assert np.array_equal(cine.labels[still], a_case.labels)
    assert np.abs(cine.displacement_mm(still)).max() == 0.0
    assert np.abs(cine.displacement_mm(0)).max() > 0.0
    assert cine.time_ms[0] == 0.0
    assert len(cine.samples) == 2
    assert cine.provenance["anchor_phase_fraction"] == pytest.approx(still / FRAMES)
    assert ("told" in cine.provenance["anchor_phase"]) == bundle.model.any_anchor
    assert any("estimated" in warning for warning in cine.provenance["warnings"])


@pytest.mark.parametrize("phase", [-0.1, 1.0, float("nan")])
def test_a_phase_beyond_the_cycle_is_refused(a_case, tiny_bundle, phase):
    with pytest.raises(AnatomyError, match="fraction of the R–R"):
        generate(a_case.anchor, a_case.record, tiny_bundle, labels=a_case.labels, anchor_phase=phase)


@pytest.mark.slow
def test_an_end_systolic_anchor_fills_to_the_end_diastole_that_it_had(a_case):
    """The shipped model, which knows anchors at the R wave alone, on a phantom whose anchor is its end-systole."""
    bundle, truth = load_bundle(default_bundle()), a_case.true_function(FRAMES)
    still = int(np.argmin(truth.lv_volume_ml))
    time_ms = still / FRAMES * a_case.subject.physiology.rr_ms
    labels = a_case.subject.heart.label_at(a_case.plan.heart_points(), time_ms)
    stack = SaxStack(labels.astype(np.float32), a_case.anchor.ijk_to_ras)

    def dice(found, code):
        both = (found == code) & (a_case.labels == code)
        return 2 * both.sum() / ((found == code).sum() + (a_case.labels == code).sum())

    said, unsaid = (
        generate(stack, a_case.record, bundle, labels=labels, frames=FRAMES, anchor_phase=phase)
        for phase in (still / FRAMES, 0.0)
    )
    for code, better in ((1, 0.1), (2, 0.1), (3, 0.02)):  # the RV of slices moves less
        assert dice(said.labels[0], code) > dice(unsaid.labels[0], code) + better
    assert abs(said.function.edv_ml / truth.edv_ml - 1) < 0.4 * abs(unsaid.function.edv_ml / truth.edv_ml - 1)
    assert abs(said.function.ef_percent - truth.ef_percent) < abs(unsaid.function.ef_percent - truth.ef_percent) + 2.0
    assert abs(said.function.es_argmin_frame - still) <= 1
    assert unsaid.function.ed_frame == 0
