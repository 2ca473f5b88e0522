"""The flow that is both expectation and draw: its prediction, its path, and what can be told to it, in closed form."""

import numpy as np
import pytest
import torch
from COFGeneratorLib.errors import BundleError
from COFGeneratorLib.generator.networks.condition import (
    CONDITION_SIZE,
    STATED_SIZE,
    STATED_UNITS,
    Stated,
    end_systolic_phase,
    null_condition,
    physiological_phase,
    with_stated,
)
from COFGeneratorLib.generator.networks.sampler import integrate
from scipy.interpolate import PchipInterpolator


def asked(model, count=1):
    """Return maps and condition of some subject."""
    generator = torch.Generator().manual_seed(2)
    maps = torch.rand(count, 3, *model.grid.shape, generator=generator)
    size = model.condition(None, torch.device("cpu")).shape[1]
    return maps, torch.randn(count, size, generator=generator)


def test_at_pure_noise_the_prediction_is_the_expectation_whatever_the_noise(tiny_model):
    maps, condition = asked(tiny_model, 2)
    with torch.inference_mode():
        expected = tiny_model.flow.expectation(maps, condition, tiny_model.phases).mean
        for _ in range(2):
            scores = 3.0 * torch.randn(2, tiny_model.flow.config.components)
            found = tiny_model.flow(scores, torch.ones(2), maps, condition, tiny_model.phases)
            assert torch.equal(found, expected)
        near = tiny_model.flow(scores, torch.full((2,), 0.2), maps, condition, tiny_model.phases)
    assert (near - expected).abs().max() > 1e-3


def test_data_without_noise_is_its_own_prediction(tiny_model):
    scores, spread = torch.randn(3, 4), torch.rand(3, 4) + 0.3
    assert torch.allclose(tiny_model.flow.clean(scores, torch.zeros(3), spread), scores, atol=1e-5)


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_small_steps_end_where_the_exact_path_ends(tiny_model, solver):
    flow, noise, spread = tiny_model.flow, torch.randn(5, 4), torch.tensor([[0.2, 0.6, 1.0, 1.7]]).expand(5, -1)

    def ends(steps, how):
        return integrate(
            lambda x, tau: flow.clean(x, tau, spread), noise, steps, how,
            carry=lambda x, tau, to: flow.carry(x, tau, to, spread),
        )  # fmt: skip

    exact = ends(1, "exponential")
    assert torch.allclose(exact, noise * spread, atol=1e-6)  # N(0, I) becomes N(0, s²)
    for steps in (4, 20):
        assert torch.allclose(ends(steps, "exponential"), exact, atol=1e-5)
    errors = [float((ends(steps, solver) - exact).abs().max()) for steps in (10, 400)]
    assert errors[1] < 0.02
    assert errors[1] < 0.5 * errors[0]


def test_a_flow_without_a_known_path_refuses_the_exponential(plain_model):
    maps, condition = asked(plain_model)
    with pytest.raises(BundleError, match="euler"):
        plain_model.velocities(maps, condition, draws=1, solver="exponential")


def test_scores_are_found_again_in_the_motion_that_they_make(tiny_model):
    flow, scores = tiny_model.flow, torch.randn(2, 4)
    planes = torch.einsum("bk,ktr,rcdhw->btcdhw", scores, flow.courses, flow.patterns)
    courses = flow.courses.flatten(1)
    gram = courses @ courses.T / courses.square().sum(dim=1, keepdim=True)  # random courses are not orthogonal
    assert torch.allclose(flow.scores_of(planes), scores @ gram.T, atol=1e-4)
    assert flow.motion(scores).shape == (2, tiny_model.grid.phases, 3, *tiny_model.grid.shape)


def test_draws_have_the_spread_that_the_flow_states(tiny_model):
    maps, condition = asked(tiny_model)
    flow = tiny_model.flow
    with torch.inference_mode():
        expected = flow.expectation(maps, condition, tiny_model.phases)
        velocity = tiny_model.velocities(maps, condition, draws=400, seed=1)[0]
        centre = tiny_model.velocities(maps, condition)[0]
        unit = torch.stack([flow.motion(row[None])[0] for row in torch.diag(expected.spread[0])])
    stated = unit.square().sum(dim=0).sqrt() * torch.tensor(tiny_model.scale.rms).view(3, 1, 1, 1)
    inside = (stated[3] > stated[3].max() / 2) & (centre[0, 3].abs() > 0)
    found = (velocity - centre).std(dim=0)[3]
    reach = found[inside] / stated[3][inside]
    assert float(reach.median()) == pytest.approx(1.0, abs=0.15)


def test_seeds_make_draws_and_leave_the_centre(tiny_model, plain_model):
    for model in (tiny_model, plain_model):
        maps, condition = asked(model)
        one, other = (model.velocities(maps, condition, draws=1, seed=seed)[0] for seed in (1, 2))
        assert (one - other).abs().max() > 1e-3
        first, second = (model.velocities(maps, condition, seed=seed)[0] for seed in (1, 2))
        assert torch.equal(first, second)


def test_nothing_is_confined_where_the_model_does_not(plain_model, tiny_model):
    def edge(model):
        maps, condition = asked(model)
        maps = torch.zeros_like(maps)
        maps[:, 1, 4:8, 12:18, 12:18] = 1.0
        return model.velocities(maps, condition, draws=1)[0][..., 24:].abs().max()

    assert edge(plain_model) > 0
    assert edge(tiny_model) == 0


def test_the_physiological_phase_is_scipys_interpolant():
    ends = torch.tensor([0.15, 0.3, 0.38, 0.5, 0.7], dtype=torch.float64)
    phases = torch.linspace(0.0, 1.0, 101, dtype=torch.float64).expand(5, -1)
    found = physiological_phase(ends, phases).numpy()
    for end, row in zip(ends, found, strict=True):
        expected = PchipInterpolator([0.0, float(end), 1.0], [0.0, 0.5, 1.0])(phases[0].numpy())
        assert np.abs(row - expected).max() < 1e-12


def test_what_is_stated_is_told_and_sets_the_clock():
    nothing = null_condition(torch.zeros(1, CONDITION_SIZE))
    told = with_stated(nothing, Stated(ef_percent=30.0, es_ms=300.0).values(rr_ms=1000.0))
    assert told[0, :-STATED_SIZE].abs().max() == 0
    centre, scale = STATED_UNITS["ef"]
    assert told[0, -STATED_SIZE] == pytest.approx((0.30 - centre) / scale)
    assert told[0, -3:].tolist() == [1.0, 0.0, 1.0]  # EF and ES are known, RVEF is not
    assert float(end_systolic_phase(told)) == pytest.approx(0.3)
    assert float(end_systolic_phase(nothing)) == pytest.approx(0.38)
    with pytest.raises(BundleError, match="between 5 and 85"):
        Stated(ef_percent=95.0)
