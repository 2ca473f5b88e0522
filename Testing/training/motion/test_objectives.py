"""The paper's ablations: each objective's sampler gives back what its training target says, and every one trains."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from COFGeneratorLib.errors import BundleError
from COFGeneratorLib.generator.networks.condition import null_condition
from COFGeneratorLib.generator.networks.dynamics import embedding_condition
from COFGeneratorLib.generator.networks.flow_network import FlowConfig, VelocityUNet
from COFGeneratorLib.generator.networks.grid import MotionGrid
from COFGeneratorLib.generator.networks.pack import unpack
from COFGeneratorLib.generator.networks.sampler import RATE_SCALE, diffusion_scales, integrate
from COFTrainingLib.training.motion.flow import moved_maps, train_flow
from COFTrainingLib.training.motion.regression import StageTwoConfig
from support.loops import loop

GRID = MotionGrid(shape=(4, 8, 8), spacing_mm=(30.0, 18.0, 18.0), phases=5)
ECG_SIZE = 24
SMALL = FlowConfig(widths=(16, 16, 16), heads=2, hidden=16, anatomy="labels", ecg_size=ECG_SIZE)
ABLATIONS = {
    "diffusion": {"prediction": "noise"},
    "physical time": {"prediction": "rate"},
    "w/o REA": {"anatomy": "none", "prediction": "v"},
    "w/o temporal ECG": {"ecg_route": "space", "prediction": "v"},
    "w/o TOPPR": {"target": "frames", "prediction": "v"},
}


def a_network(**changes) -> VelocityUNet:
    torch.manual_seed(1)
    model = VelocityUNet(GRID, replace(SMALL, **changes))
    torch.nn.init.normal_(model.out.weight, std=0.05)
    return model.eval()


def inputs(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    heard = embedding_condition(torch.randn(2, ECG_SIZE, generator=generator))
    return (torch.randn(2, 5, 16, 8, 8, generator=generator), torch.rand(2, generator=generator),
            torch.rand(2, 3, 4, 8, 8, generator=generator), heard, torch.arange(5) / 5)  # fmt: skip


def test_a_network_that_knows_the_noise_is_denoised_to_the_data():
    clean, noise = torch.randn(1, 3, 8, 4, 4), torch.randn(1, 3, 8, 4, 4)
    data_share, noise_share = diffusion_scales(torch.tensor(1.0))
    found = integrate(lambda x, tau: noise, data_share * clean + noise_share * noise, 20, prediction="noise")
    assert torch.allclose(found, clean, atol=1e-3)
    shares = diffusion_scales(torch.linspace(0, 1, 5))
    assert torch.allclose(shares[0] ** 2 + shares[1] ** 2, torch.ones(5), atol=1e-6)
    assert (float(shares[0][0]), float(shares[1][0])) == (1.0, 0.0)


def test_a_network_that_knows_the_rate_sums_up_to_the_motion():
    motion = torch.randn(2, 6, 8, 4, 4)
    motion[:, 0] = 0.0
    rate = (torch.roll(motion, -1, dims=1) - motion) * 6 / RATE_SCALE
    found = integrate(lambda x, tau: rate, torch.randn_like(motion), 4, prediction="rate")
    assert torch.allclose(found, motion, atol=1e-5)


def test_in_physical_time_a_phase_knows_nothing_of_later_ones():
    model = a_network(prediction="rate")
    pack, tau, maps, condition, phases = inputs()
    other = pack.clone()
    other[:, 3] += 1.0
    with torch.no_grad():
        one, two = model(pack, tau, maps, condition, phases), model(other, tau, maps, condition, phases)
    assert torch.equal(one[:, :3], two[:, :3])
    assert not torch.equal(one[:, 3], two[:, 3])


def test_without_rea_anatomy_changes_nothing_and_with_it_something():
    pack, tau, maps, condition, phases = inputs()
    with torch.no_grad():
        for anatomy, same in (("none", True), ("labels", False)):
            model = a_network(anatomy=anatomy)
            outputs = [model(pack, tau, given, condition, phases) for given in (maps, 1 - maps)]
            assert torch.equal(*outputs) == same


def test_an_ecg_in_space_is_the_same_image_at_every_phase():
    model = a_network(ecg_route="space")
    model.ecg_image.weight.data.zero_()
    model.ecg_image.bias.data.zero_()
    pack, tau, maps, condition, phases = inputs()
    with torch.no_grad():
        told, none = (model(pack, tau, maps, given, phases) for given in (condition, null_condition(condition)))
    assert torch.equal(told, none)  # through nothing but the image of it
    model = a_network(ecg_route="space")
    with torch.no_grad():
        assert not torch.equal(model(pack, tau, maps, condition, phases), none)


def test_frames_are_the_anatomy_under_its_motion(data):
    batch = data.batch(data.valid[:2])
    moved = moved_maps(data, batch)
    assert torch.allclose(moved[:, 0], 2 * batch["maps"] - 1, atol=1e-5)  # no motion at the R wave
    lv = (moved[:, :, 0] + 1).sum(dim=(2, 3, 4))
    assert (lv[:, 1:].min(dim=1).values < 0.9 * lv[:, 0]).all()


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_ablation_trains(heard, tmp_path, name):
    data = heard
    events = []
    network = replace(SMALL, **ABLATIONS[name])
    model, _ = train_flow(data, tmp_path / "run", loop(40), StageTwoConfig(batch=4), network, progress=events.append)
    losses = [event["loss"] for event in events if event["event"] == "progress"]
    assert np.mean(losses[-2:]) < 0.97 * np.mean(losses[:2])
    batch = data.batch(data.valid[:1])
    start = torch.randn(1, len(data.phases), 4 * data.cache.grid.shape[0], *data.cache.grid.shape[1:])
    with torch.no_grad():
        found = integrate(
            lambda x, tau: model(x, tau, batch["maps"], batch["condition"], data.phases), start, 4,
            prediction=network.prediction,
        )  # fmt: skip
    velocity, confidence = unpack(found)
    assert torch.isfinite(velocity).all()
    assert velocity.shape[1:3] == (len(data.phases), 3)
    assert 0 <= float(confidence.min()) <= float(confidence.max()) <= 1


def test_what_cannot_be_is_refused():
    with pytest.raises(BundleError, match="begins at the R wave"):
        replace(SMALL, prediction="rate", any_anchor=True)
    with pytest.raises(BundleError, match="found 'score'"):
        FlowConfig(prediction="score")
