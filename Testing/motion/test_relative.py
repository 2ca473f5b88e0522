"""Motion relative to another phase: closed forms, and that it takes the anatomy of one phase to that of another."""

import numpy as np
import pytest
import torch
from COFGeneratorLib.motion.fields import exponential, warp
from COFGeneratorLib.motion.relative import at_phase, relative_velocity

PHASES, SHAPE = 6, (10, 32, 32)


def blob(centre, width: float) -> torch.Tensor:
    axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in SHAPE), indexing="ij")
    return torch.exp(-sum((axis - at) ** 2 for axis, at in zip(axes, centre, strict=True)) / (2 * width**2))


@pytest.fixture(scope="module")
def velocity() -> torch.Tensor:
    """A beat of smooth velocities, (T, 3, D, H, W) voxels, zero at the R wave: a squeeze, a shortening and a shift."""
    y, x = (torch.arange(32, dtype=torch.float32) - 15.5 for _ in range(2))
    weight = blob((4.5, 15.5, 15.5), 7.0)
    squeeze = torch.stack([0.8 * weight, 0.25 * y[:, None] * weight, 0.25 * x[None, :] * weight])
    course = 0.5 - 0.5 * torch.cos(2 * torch.pi * torch.arange(PHASES) / PHASES)
    return course.view(-1, 1, 1, 1, 1) * squeeze


def test_between_shifts_it_is_their_difference():
    shifts = torch.tensor([0.0, 1.0, -0.5]).view(3, 1, 1, 1, 1).expand(3, 3, *SHAPE)
    found = relative_velocity(shifts, shifts[1:2])
    assert torch.allclose(found, shifts - 1.0, atol=1e-5)


def test_at_the_anchor_it_is_nothing_and_from_the_r_wave_it_is_the_motion_itself(velocity):
    assert relative_velocity(velocity, velocity[2:3])[2].abs().max() < 0.02  # voxels, of 1.5
    again = relative_velocity(velocity, velocity[:1])
    assert torch.allclose(exponential(again), exponential(velocity), atol=0.01)


@pytest.mark.parametrize("anchor", [1, 3])
def test_it_takes_the_anatomy_of_the_anchor_s_phase_to_that_of_every_other(velocity, anchor):
    heart = blob((4.5, 15.5, 15.5), 5.0)[None, None].expand(PHASES, -1, -1, -1, -1)
    every = warp(heart, exponential(velocity))
    relative = relative_velocity(velocity, velocity[anchor : anchor + 1])
    again = warp(every[anchor : anchor + 1], exponential(relative))
    still = (every[anchor : anchor + 1] - every).abs().mean()
    assert (again - every).abs().mean() < 0.15 * still  # what is left is the second interpolation
    plain = warp(every[anchor : anchor + 1], exponential(velocity))
    assert (again - every).abs().mean() < 0.2 * (plain - every).abs().mean()


def test_fields_between_phases_go_through_those_of_the_phases(velocity):
    for n in range(PHASES):
        assert torch.allclose(at_phase(velocity, n / PHASES)[0], velocity[n], atol=1e-5)
    draws = velocity[None].expand(2, -1, -1, -1, -1, -1)
    assert at_phase(draws, 0.3).shape == (2, 1, 3, *SHAPE)
    between = at_phase(velocity, 1.5 / PHASES)
    course = 0.5 - 0.5 * np.cos(2 * np.pi * 1.5 / PHASES)
    assert float(between.abs().max()) == pytest.approx(course * float(velocity.abs().max()), rel=0.05)
