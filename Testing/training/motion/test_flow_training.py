"""Stage 2 on a handful of phantoms: targets are right, the volume loss is a derivative, training learns and resumes."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from COFGeneratorLib.generator.networks.flow_network import FlowConfig
from COFGeneratorLib.generator.networks.grid import MotionGrid
from COFGeneratorLib.generator.networks.mean_network import MeanConfig
from COFGeneratorLib.motion.fields import exponential
from COFGeneratorLib.motion.volume_gradient import volume_sensitivity
from COFTrainingLib.phantom.subject import draw_subject
from COFTrainingLib.training.examples.flow_cache import FlowCache, build_flow_cache
from COFTrainingLib.training.examples.flow_samples import displacement_on_grid, flow_example
from COFTrainingLib.training.motion.flow import train_flow
from COFTrainingLib.training.motion.regression import StageTwoConfig, train_trunk
from support.loops import loop

TINY_MEAN = MeanConfig(widths=(16, 16, 16), blocks=1, modes=3, hidden=16)
TINY_FLOW = FlowConfig(widths=(16, 16, 16), heads=2, hidden=16, anatomy="labels")


@pytest.mark.slow
def test_the_velocity_s_exponential_is_the_phantom_s_displacement():
    subject = draw_subject(2)
    grid = MotionGrid(phases=4)
    example = flow_example(subject, grid, np.random.default_rng(1))
    again = flow_example(subject, grid, np.random.default_rng(1))
    assert np.array_equal(example["velocity"], again["velocity"])
    phases = np.arange(4) / 4
    plain = displacement_on_grid(subject, np.eye(4), grid, phases)
    found = exponential(torch.from_numpy(example["velocity"]))
    # the example's frame is estimated from labels and jittered, so only the size of the motion is comparable
    assert float(found.square().mean()) == pytest.approx(float(plain.square().mean()), rel=0.25)
    assert np.abs(example["velocity"][0]).max() == 0.0


def test_the_sensitivity_is_the_derivative_of_the_volume():
    torch.manual_seed(0)
    velocity = 0.3 * torch.randn(1, 3, 5, 8, 8)
    maps = torch.zeros(3, 9, 15, 15)
    maps[0, 3:6, 5:10, 5:10], maps[1, 2:7, 3:12, 3:12], maps[2, 3:6, 5:10, 1:4] = 1.0, 0.5, 1.0
    _, gradient = volume_sensitivity(velocity, maps)
    change = 1e-3 * torch.randn_like(velocity)
    plus, minus = (volume_sensitivity(velocity + sign * change, maps)[0] for sign in (1, -1))
    expected = (plus - minus) / 2
    found = torch.einsum("pcdhw,prcdhw->pr", change, gradient)
    assert torch.allclose(found, expected, atol=2e-5)


def test_a_killed_cache_is_finished_not_made_again(data, grid, tmp_path):
    cache = FlowCache(shutil.copytree(data.cache.folder, tmp_path / "cache"))
    before = cache.arrays["velocity"][3].copy()
    cache.arrays["moved"][7] = 0
    cache.arrays["velocity"][7] = 0
    build_flow_cache(cache.folder, subjects=10, first_seed=40, grid=grid, workers=1)
    assert np.array_equal(before, cache.arrays["velocity"][3])
    assert np.abs(cache.arrays["velocity"][7]).max() > 0


def test_the_trunk_learns_and_resumes_on_the_same_curve(data, tmp_path):
    stage = StageTwoConfig(batch=4)
    model, _ = train_trunk(data, tmp_path / "whole", loop(20), stage, TINY_MEAN)
    events = []
    train_trunk(data, tmp_path / "more", loop(60), stage, TINY_MEAN, progress=events.append)
    losses = [event["loss"] for event in events if event["event"] == "progress"]
    assert np.mean(losses[-3:]) < 0.7 * losses[0]

    def stop(event):
        if event["event"] == "checkpoint" and event["step"] == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_trunk(data, tmp_path / "cut", loop(20), stage, TINY_MEAN, progress=stop)
    resumed, _ = train_trunk(data, tmp_path / "cut", loop(20), stage, TINY_MEAN, resume=True)
    for a, b in zip(model.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("prediction", ["x0", "v"])
def test_the_plain_flow_learns_and_begins_with_weights_it_is_given(data, tmp_path, prediction):
    network, events = replace(TINY_FLOW, prediction=prediction), []
    model, _ = train_flow(data, tmp_path / "run", loop(40), StageTwoConfig(batch=4), network, progress=events.append)
    losses = [event["loss"] for event in events if event["event"] == "progress"]
    assert np.mean(losses[-2:]) < np.mean(losses[:2])
    again = []
    train_flow(
        data, tmp_path / "again", loop(5), StageTwoConfig(batch=4), network, initial=model.state_dict(),
        progress=again.append,
    )  # fmt: skip
    assert next(event["loss"] for event in again if event["event"] == "progress") < losses[0]
