from dataclasses import replace

import pytest
import torch
from COFGeneratorLib.errors import BundleError
from COFGeneratorLib.generator import load_bundle
from COFGeneratorLib.generator.bundle import save_bundle
from COFGeneratorLib.generator.choices import PostProcessing
from COFGeneratorLib.generator.mean_motion import toward_mean
from COFGeneratorLib.generator.networks.condition import CONDITION_SIZE, null_condition, with_stated, without_regions
from COFGeneratorLib.generator.networks.ecg_encoder import READING_UNITS


@pytest.fixture
def heart():
    """Maps (3, D, H, W) of a block of heart, a mean motion, and a motion that is none of it."""
    torch.manual_seed(3)
    maps = torch.zeros(3, 4, 16, 16)
    maps[1, :, 5:11, 5:11] = 1.0
    mean = torch.randn(6, 3, 4, 16, 16) * torch.tensor([0.0, 0.3, 1.0, 0.7, 0.2, 0.1]).view(-1, 1, 1, 1, 1)
    return maps, mean, torch.randn(6, 3, 4, 16, 16)


def test_without_shares_motion_is_as_it_was(heart):
    maps, mean, velocity = heart
    assert torch.equal(toward_mean(velocity, maps, mean, 0.0, 0.0, 0.0), velocity)


def test_the_mean_s_own_pattern_is_kept_with_its_time_course(heart):
    maps, mean, _ = heart
    course = torch.tensor([0.0, 0.5, 0.9, 1.3, 0.4, 0.1]).view(-1, 1, 1, 1, 1)
    given = course * mean[2]
    assert torch.allclose(toward_mean(given, maps, mean, 1.0, 0.4, 0.0), given, atol=1e-5)


def test_all_of_the_mean_leaves_its_pattern_as_strong_as_the_motion_was_along_it(heart):
    maps, mean, velocity = heart
    found = toward_mean(velocity, maps, mean, 1.0, 1.0, 0.0)
    near = torch.zeros(4, 16, 16)
    near[:, 3:13, 3:13] = 1.0  # two nodes around the block
    pattern = mean[2]
    amount = (velocity * pattern * near).sum(dim=(1, 2, 3, 4)) / (pattern.square() * near).sum()
    assert torch.allclose(found, amount.view(-1, 1, 1, 1, 1) * pattern, atol=1e-5)


def test_each_axis_has_its_own_share(heart):
    maps, mean, velocity = heart
    found = toward_mean(velocity, maps, mean, 1.0, 0.0, 0.0)
    assert torch.equal(found[:, 1:], velocity[:, 1:])
    assert not torch.allclose(found[:, 0], velocity[:, 0])


def test_smoothing_keeps_what_is_even_and_takes_noise(heart):
    maps, mean, velocity = heart
    even = torch.ones_like(velocity)
    assert torch.allclose(toward_mean(even, maps, mean, 0.0, 0.0, 1.0), even, atol=1e-5)
    assert toward_mean(velocity, maps, mean, 0.0, 0.0, 1.0).std() < 0.5 * velocity.std()


def test_draws_scatter_as_before_about_a_centre_that_has_moved(tiny_model, a_case):
    mean = torch.randn(6, 3, *tiny_model.grid.shape)
    towards = replace(
        tiny_model, mean=mean, after=PostProcessing(confine=False, mean_along=1.0, mean_in_plane=0.5, smoothing_nodes=1)
    )
    without = replace(tiny_model, after=PostProcessing(confine=False))
    maps, condition = torch.rand(1, 3, *tiny_model.grid.shape), tiny_model.condition(a_case.cycle, "cpu")
    centre, draw = (
        [model.velocities(maps, condition, draws=draws, seed=1)[0] for model in (without, towards)] for draws in (0, 1)
    )
    assert not torch.allclose(*centre)
    assert torch.allclose(draw[0] - centre[0], draw[1] - centre[1], atol=1e-5)
    assert float(centre[1][:, 0].abs().max()) < 1e-6  # still at the R wave


def test_a_bundle_carries_its_mean_motion_and_without_it_is_refused(tiny_model, tmp_path):
    mean = torch.randn(6, 3, *tiny_model.grid.shape)
    model = replace(tiny_model, mean=mean, after=PostProcessing(mean_along=0.5))
    save_bundle(tmp_path / "whole", model, {"name": "tiny", "version": "1"})
    loaded = load_bundle(tmp_path / "whole").model
    assert torch.allclose(loaded.mean, mean, atol=float(mean.abs().max()) / 200)
    assert "models/population.safetensors" in load_bundle(tmp_path / "whole").metadata["checksums"]
    assert loaded.after == model.after

    save_bundle(tmp_path / "without", replace(model, mean=None), {"name": "tiny", "version": "1"})
    with pytest.raises(BundleError, match=r"needs that as models/population.safetensors.*found none"):
        load_bundle(tmp_path / "without")


def test_what_the_ecg_says_of_a_region_keeps_its_effect(tiny_model, a_case):
    after = PostProcessing(confine=False, mean_along=1.0, mean_in_plane=0.5, smoothing_nodes=1)
    towards = replace(tiny_model, mean=torch.randn(6, 3, *tiny_model.grid.shape), after=after)
    without = replace(tiny_model, after=PostProcessing(confine=False))
    maps, infarct = torch.rand(1, 3, *tiny_model.grid.shape), tiny_model.condition(a_case.cycle, "cpu").clone()
    infarct[:, len(READING_UNITS) : len(READING_UNITS) + 4] = torch.tensor([0.0, 0.0, 0.9, 0.1])
    infarct[:, list(READING_UNITS).index("infarct_extent")] = 2.0
    effect = [
        model.velocities(maps, infarct)[0] - model.velocities(maps, without_regions(infarct))[0]
        for model in (without, towards)
    ]
    assert effect[0].abs().max() > 1e-4
    assert torch.allclose(*effect, atol=1e-5)


def test_a_condition_without_an_ecg_has_no_regions_to_take_away():
    told = with_stated(null_condition(torch.zeros(1, CONDITION_SIZE)), torch.tensor([[0.3, 0.4, float("nan")]]))
    assert torch.equal(without_regions(told), told)
