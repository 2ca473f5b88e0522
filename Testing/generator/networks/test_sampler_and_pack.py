"""The sampler against closed forms; the pack against itself."""

import numpy as np
import pytest
import torch
from COFGeneratorLib.anatomy.heart_frame import HeartFrame
from COFGeneratorLib.errors import BundleError
from COFGeneratorLib.generator.networks.grid import MotionGrid, grid_for_heart
from COFGeneratorLib.generator.networks.pack import PackScale, heart_confidence, motion_reach, pack, unpack
from COFGeneratorLib.generator.networks.sampler import integrate
from COFGeneratorLib.motion.fields import folded_fraction, voxels_from_mm


@pytest.mark.parametrize("solver", ["euler", "heun"])
@pytest.mark.parametrize("steps", [1, 3, 20])
def test_a_straight_path_is_integrated_exactly(solver, steps):
    data, noise = torch.tensor([[2.0, -1.0]]), torch.tensor([[0.5, 3.0]])
    found = integrate(lambda x, tau: noise - data, noise, steps, solver, "v")
    assert torch.allclose(found, data, atol=1e-5)


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_a_network_that_knows_x0_lands_on_it_in_any_number_of_steps(solver):
    data = torch.tensor([[2.0, -1.0]])
    for steps in (1, 2, 7):
        assert torch.allclose(integrate(lambda x, tau: data, torch.randn(1, 2), steps, solver, "x0"), data, atol=1e-5)


def test_the_gaussian_flow_maps_noise_to_the_data_s_spread():
    """For data N(0, s²), E[x0|x_τ] is linear in x, and the flow multiplies the noise by s."""
    s = 0.5

    def predict(x, tau):
        tau = tau.view(-1, 1)
        return x * (1 - tau) * s**2 / ((1 - tau) ** 2 * s**2 + tau**2)

    start = torch.tensor([[1.0], [-2.0]])
    errors = [float((integrate(predict, start, n, "heun", "x0") - s * start).abs().max()) for n in (4, 64)]
    assert errors[1] < 0.02
    assert errors[1] < errors[0]


def test_unknown_solvers_are_refused_by_name():
    with pytest.raises(BundleError, match="midnight"):
        integrate(lambda x, tau: x, torch.zeros(1, 1), 2, "midnight")


def test_pack_and_unpack_are_inverse_and_ordered_by_component():
    velocity, confidence = torch.randn(2, 3, 3, 4, 5, 6), torch.rand(2, 3, 4, 5, 6)
    packed = pack(velocity, confidence)
    assert packed.shape == (2, 3, 16, 5, 6)
    assert torch.equal(packed[:, :, 1 * 4 + 2], velocity[:, :, 1, 2])  # channel = component·D + slice
    back, sure = unpack(packed)
    assert torch.equal(back, velocity)
    assert torch.allclose(sure, confidence, atol=1e-6)
    scale = PackScale((0.5, 2.0, 3.0))
    assert torch.allclose(scale.restore(scale.normalise(velocity)), velocity, atol=1e-6)


def test_confidence_is_one_in_the_heart_and_zero_far_away():
    maps = torch.zeros(1, 3, 8, 24, 24)
    maps[:, 0, 2:6, 10:14, 10:14] = 1.0
    confidence = heart_confidence(maps)
    assert confidence[0, 3, 12, 12] == 1.0
    assert confidence[0, 3, 1, 1] == 0.0


def test_motion_reaches_the_whole_heart_and_ends_in_its_surroundings():
    maps = torch.zeros(1, 3, 8, 24, 24)
    maps[:, 1, 3:6, 10:14, 10:14] = 1.0
    reach = motion_reach(maps)
    assert reach.min() == 0.0
    assert reach.max() == 1.0
    assert torch.all(reach[:, 3:6, 9:15, 9:15] == 1.0)  # 5 mm nodes: the heart and its fat
    assert 0.5 < reach[0, 2, 12, 12] < 1.0  # atria follow the base
    assert reach[0, 1, 12, 12] == 0.0
    assert 0.0 < reach[0, 4, 12, 15] < 0.5  # 10 mm beside it the surroundings slide
    assert torch.all(reach[0, 4, 12, 16:] == 0.0)  # 15 mm beside it, nothing beats


@pytest.mark.parametrize("draws", [0, 2])
def test_what_lies_far_from_the_heart_stands_still(tiny_model, draws):
    maps = torch.zeros(1, 3, *tiny_model.grid.shape)
    maps[:, 1, 4:8, 12:18, 12:18] = 1.0
    velocity, _ = tiny_model.velocities(maps, tiny_model.condition(None, "cpu"), draws=draws)
    assert velocity[..., 4:8, 14:16, 14:16].abs().max() > 0
    assert velocity[..., :3, :, :].abs().max() == 0
    assert velocity[..., :, :, 24:].abs().max() == 0


def _block(half_mm, ijk_to_ras, shape, origin):
    """Labels of a heart that is a block about the origin of an axis-aligned frame."""
    index = np.argwhere(np.ones(shape, dtype=bool))
    points = index[:, ::-1] @ ijk_to_ras[:3, :3].T + ijk_to_ras[:3, 3] - origin
    return (np.abs(points[:, ::-1]) <= np.array(half_mm)).all(axis=1).reshape(shape).astype(np.uint8)


@pytest.mark.parametrize(("half_i_mm", "factor"), [(40.0, 1.0), (49.0, 1.0), (70.0, 70.0 / 49.5), (200.0, 1.5)])
def test_the_grid_grows_with_a_heart_that_is_too_large_for_it(half_i_mm, factor):
    grid, shape = MotionGrid(), (9, 90, 160)
    ijk_to_ras = np.diag([2.0, 2.0, 10.0, 1.0])
    origin = np.array([160.0, 90.0, 40.0])
    labels = _block((40.0, 40.0, half_i_mm), ijk_to_ras, shape, origin)
    frame = HeartFrame(origin, np.eye(3)[::-1])
    fitted = grid_for_heart(labels, ijk_to_ras, frame, grid)
    found = fitted.spacing_mm[2] / grid.spacing_mm[2]
    assert found == pytest.approx(factor, rel=0.02)
    assert fitted.shape == grid.shape
    assert fitted.centre_mm == pytest.approx([found * value for value in grid.centre_mm])
    if 1.0 < factor < 1.5:
        assert fitted.axes_mm()[2][-1] - half_i_mm > 9.0


def test_motion_ends_at_the_edge_of_the_grid_without_folds(tiny_model):
    grid = tiny_model.grid
    pushed = torch.full((1, 2, 3, *grid.shape), 2.5)  # ten millimetres and more everywhere
    field = tiny_model.displacements_mm(pushed, grid)[0]
    assert field[..., 0].abs().max() < 1e-3
    assert field[..., :, -1, :].abs().max() < 1e-3
    nodes = voxels_from_mm(field, grid.refined(2).spacing_mm)
    assert folded_fraction(nodes) == 0.0
