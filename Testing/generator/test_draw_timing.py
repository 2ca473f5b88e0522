"""Draws keep to the time at which systole ends."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from COFGeneratorLib.generator.choices import PostProcessing
from COFGeneratorLib.generator.draw_timing import end_systole, steadied

PHASES = np.arange(12) / 12


def contraction(es, width=0.12):
    return np.exp(-0.5 * ((PHASES - es) / width) ** 2)


@pytest.fixture
def heart():
    """Anatomy maps, and a mean motion of one pattern."""
    maps = torch.zeros(3, 4, 10, 10)
    maps[0, :, 4:6, 4:6] = maps[1, :, 3:7, 3:7] = 1.0
    pattern = torch.randn(3, 4, 10, 10, generator=torch.Generator().manual_seed(0))
    return maps, pattern * torch.from_numpy(contraction(0.35)).float().view(-1, 1, 1, 1, 1)


def moving(mean, *times):
    """Motions of the mean's pattern, (K, T, 3, D, H, W), that are strongest at these times."""
    amounts = torch.from_numpy(np.stack([contraction(es) - contraction(es)[0] for es in times])).float()
    return amounts.view(len(times), -1, 1, 1, 1, 1) * mean[int(mean.abs().sum(dim=(1, 2, 3, 4)).argmax())]


@pytest.mark.parametrize("es", [0.22, 0.35, 0.51])
def test_end_systole_is_the_middle_of_the_top(es):
    assert end_systole(contraction(es)) == pytest.approx(es, abs=0.005)
    assert end_systole(3.0 * contraction(es) - 7.0) == pytest.approx(es, abs=0.005)


def test_of_a_flat_top_the_middle_is_taken():
    assert end_systole(np.clip(contraction(0.4, 0.25), 0.0, 0.8)) == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_a_share_of_the_straying_is_kept(heart, share):
    maps, mean = heart
    draws, centre = moving(mean, 0.28, 0.35, 0.47), moving(mean, 0.35)[0]
    found = steadied(draws, centre, maps, mean, share)
    times = [end_systole(one[:, 0, 0, 0, 0].abs().numpy()) for one in found]
    assert times == pytest.approx([0.35 + share * (es - 0.35) for es in (0.28, 0.35, 0.47)], abs=0.015)
    assert found.abs().amax() == pytest.approx(float(draws.abs().amax()), rel=0.03)  # as far as before
    assert found[:, 0].abs().max() < 1e-5  # still at the R wave


def test_what_is_not_asked_for_is_not_done(heart):
    maps, mean = heart
    draws, centre = moving(mean, 0.28, 0.47), moving(mean, 0.35)[0]
    assert steadied(draws, centre, maps, mean, 1.0) is draws
    still = torch.zeros_like(draws)
    assert torch.equal(steadied(still, centre, maps, mean, 0.3), still)


def test_a_model_steadies_its_draws_and_leaves_its_centre(tiny_model, a_case):
    mean = torch.randn(6, 3, *tiny_model.grid.shape)
    free, steady = (
        replace(tiny_model, mean=mean, after=PostProcessing(confine=False, es_scatter=share)) for share in (1.0, 0.2)
    )
    maps, condition = torch.rand(1, 3, *tiny_model.grid.shape), tiny_model.condition(a_case.cycle, "cpu")
    assert torch.equal(*(model.velocities(maps, condition)[0] for model in (free, steady)))
    assert not torch.allclose(*(model.velocities(maps, condition, draws=3, seed=1)[0] for model in (free, steady)))
