"""Vector fields against closed forms: what is true of the mathematics must be true of the tensors."""

import numpy as np
import pytest
import torch
from COFGeneratorLib.errors import MotionError
from COFGeneratorLib.motion.fields import (
    compose,
    exponential,
    folded_fraction,
    identity_positions,
    jacobian_determinant,
    logarithm,
    mm_from_voxels,
    periodic_matrix,
    resize,
    sample_at,
    spline_matrix,
    voxels_from_mm,
    warp,
)
from hypothesis import given, settings
from hypothesis import strategies as st

FLOAT32 = 2e-5
"""Positions of tens of voxels in float32, through a handful of operations."""
SHAPE = (9, 20, 24)


def linear_field(matrix, shape=SHAPE, offset=(0.0, 0.0, 0.0)) -> torch.Tensor:
    """Return u(x) = matrix · (x − middle) + offset, (1, 3, D, H, W), computed in float64."""
    positions = identity_positions(shape, dtype=torch.float64)[0]
    middle = (torch.tensor(shape, dtype=torch.float64) - 1) / 2
    away = positions - middle.view(3, 1, 1, 1)
    moved = torch.einsum("ab,bdhw->adhw", torch.as_tensor(matrix, dtype=torch.float64), away)
    return (moved + torch.as_tensor(offset, dtype=torch.float64).view(3, 1, 1, 1))[None].float()


def inner(field: torch.Tensor, margin: int) -> torch.Tensor:
    """Return the middle of a field: at most ``margin`` voxels of each side cut off, at most a third."""
    cuts = [min(margin, size // 3) for size in field.shape[2:]]
    return field[
        (slice(None), slice(None), *(slice(cut, size - cut) for cut, size in zip(cuts, field.shape[2:], strict=True)))
    ]


def smooth_field(seed: int, size_voxels: float, shape=SHAPE) -> torch.Tensor:
    """Return a random field of long sine waves that vanishes at the border; linear sampling serves it well."""
    rng = np.random.default_rng(seed)
    field = np.ones((3, *shape))
    for component in range(3):
        for axis, size in enumerate(shape):
            x = np.linspace(0, np.pi, size) if size > 1 else np.array([np.pi / 2])
            wave = np.sin(x) * (np.cos(x + rng.uniform(0, 2 * np.pi)) if axis else rng.choice([-1, 1]))
            field[component] *= wave.reshape([-1 if a == axis else 1 for a in range(3)])
    return torch.as_tensor(size_voxels * field / np.abs(field).max(), dtype=torch.float32)[None]


def an_image(shape=SHAPE, channels=1) -> torch.Tensor:
    positions = identity_positions(shape)
    k, j, i = positions[:, 0:1], positions[:, 1:2], positions[:, 2:3]
    wave = torch.sin(0.5 * i) * torch.cos(0.4 * j) + 0.2 * k
    return torch.cat([wave * (c + 1) for c in range(channels)], dim=1)


# --- warp -------------------------------------------------------------------------------------------------------


def test_no_displacement_returns_the_image_unchanged():
    image = an_image(channels=2)
    assert torch.allclose(warp(image, torch.zeros(1, 3, *SHAPE)), image, atol=FLOAT32)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("step", [1, -2])
def test_a_whole_voxel_shift_pulls_the_neighbour_along_its_own_axis(axis, step):
    image = torch.rand(1, 1, *SHAPE, generator=torch.Generator().manual_seed(0))
    field = torch.zeros(1, 3, *SHAPE)
    field[:, axis] = step
    expected = image.roll(-step, dims=2 + axis)
    moved = warp(image, field)
    assert torch.allclose(inner(moved, 3), inner(expected, 3), atol=FLOAT32)


def test_border_padding_repeats_the_edge_and_zero_padding_does_not():
    image = torch.ones(1, 1, *SHAPE)
    field = torch.zeros(1, 3, *SHAPE)
    field[:, 2] = 50.0
    assert torch.equal(warp(image, field), image)
    assert float(warp(image, field, padding="zeros").abs().max()) == 0.0


def test_linear_sampling_is_exact_on_linear_images_and_anisotropic_grids():
    shape = (5, 17, 31)
    positions = identity_positions(shape)
    image = 3.0 * positions[:, 0:1] - 2.0 * positions[:, 1:2] + 0.5 * positions[:, 2:3]
    field = 0.3 * smooth_field(1, 2.0, shape)
    expected = image + 3.0 * field[:, 0:1] - 2.0 * field[:, 1:2] + 0.5 * field[:, 2:3]
    assert torch.allclose(inner(warp(image, field), 1), inner(expected, 1), atol=2e-4)


def test_nearest_sampling_of_labels_invents_no_label():
    labels = torch.randint(0, 4, (1, 1, *SHAPE), generator=torch.Generator().manual_seed(0)).float()
    moved = warp(labels, smooth_field(2, 3.0), mode="nearest")
    assert set(moved.unique().tolist()) <= {0.0, 1.0, 2.0, 3.0}


def test_a_stack_of_one_slice_is_warped_in_its_plane():
    shape = (1, 12, 14)
    image = an_image(shape)
    field = torch.zeros(1, 3, *shape)
    field[:, 2] = 1.0
    assert torch.allclose(warp(image, field)[..., :-1], image[..., 1:], atol=FLOAT32)
    assert torch.isfinite(exponential(smooth_field(0, 2.0, shape))).all()
    assert torch.isfinite(jacobian_determinant(field)).all()


def test_one_image_serves_a_batch_of_displacements():
    fields = torch.cat([torch.zeros(1, 3, *SHAPE), smooth_field(3, 2.0)])
    together = warp(an_image(), fields)
    for index in range(2):
        assert torch.allclose(together[index : index + 1], warp(an_image(), fields[index : index + 1]), atol=FLOAT32)


def test_arguments_are_left_alone():
    image, field = an_image(), smooth_field(4, 2.0)
    before = image.clone(), field.clone()
    warp(image, field)
    exponential(field)
    jacobian_determinant(field)
    assert torch.equal(image, before[0])
    assert torch.equal(field, before[1])


def test_malformed_fields_are_named():
    with pytest.raises(MotionError, match=r"\(1, 2, 3, 4, 5\)"):
        exponential(torch.zeros(1, 2, 3, 4, 5))
    with pytest.raises(MotionError, match="share batch and grid"):
        warp(torch.zeros(1, 1, 4, 4, 4), torch.zeros(1, 3, 4, 4, 5))


# --- exponential, inverse, composition --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["scaling", "rotation", "shear"])
def test_the_exponential_of_a_linear_velocity_is_the_matrix_exponential(kind):
    matrix = {
        "scaling": np.diag([0.10, -0.15, 0.20]),
        "rotation": np.array([[0, 0, 0], [0, 0, -0.3], [0, 0.3, 0]], dtype=float),
        "shear": np.array([[0, 0.05, 0], [0, 0, 0.2], [0, 0, 0]], dtype=float),
    }[kind]
    shape = (9, 40, 40)
    velocity = linear_field(matrix, shape)
    expected = linear_field(torch.linalg.matrix_exp(torch.as_tensor(matrix)).numpy() - np.eye(3), shape)
    # 2^7 Euler steps of a linear field differ from the limit by |A|²·|x|/2^8; the rim feels the border padding
    error = (inner(exponential(velocity), 12) - inner(expected, 12)).abs().max()
    assert float(error) < np.linalg.norm(matrix, 2) ** 2 * 20 / 2**7 + 1e-3


def test_a_constant_velocity_is_its_own_exponential():
    velocity = torch.full((1, 3, *SHAPE), 1.7)
    assert torch.allclose(exponential(velocity), velocity, atol=FLOAT32)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.floats(0.1, 2.5))
def test_the_exponential_of_minus_v_undoes_that_of_v(seed, size):
    velocity = smooth_field(seed, size)
    there_and_back = compose(exponential(velocity), exponential(-velocity))
    assert float(inner(there_and_back, 2).abs().max()) < 0.06 * size + 1e-4


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.floats(0.1, 2.5))
def test_the_exponential_of_a_smooth_velocity_never_folds(seed, size):
    assert folded_fraction(exponential(smooth_field(seed, size))) == 0.0


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0.1, 0.9))
def test_exponentials_of_parts_of_one_velocity_add_up(seed, share):
    velocity = smooth_field(seed, 2.0)
    whole = exponential(velocity)
    parts = compose(exponential(share * velocity), exponential((1 - share) * velocity))
    assert float(inner(whole - parts, 2).abs().max()) < 0.06


def test_the_logarithm_is_the_velocity_whose_exponential_was_taken():
    field = exponential(smooth_field(7, 1.5))
    assert float((exponential(logarithm(field)) - field).abs().max()) < 0.02


def test_composing_is_warping_twice():
    first, second = smooth_field(5, 1.5), smooth_field(6, 1.5)
    image = 0.1 * identity_positions(SHAPE)[:, 2:3]  # linear, so that resampling twice costs nothing
    twice = warp(warp(image, first), second)
    once = warp(image, compose(first, second))
    assert float(inner(twice - once, 3).abs().max()) < 1e-3


def test_composing_with_the_identity_changes_nothing():
    field, still = smooth_field(8, 2.0), torch.zeros(1, 3, *SHAPE)
    assert torch.allclose(compose(field, still), field, atol=FLOAT32)
    assert torch.allclose(compose(still, field), field, atol=FLOAT32)


def test_rotations_compose_to_a_rotation_of_the_summed_angle():
    def rotation(angle):
        c, s = np.cos(angle), np.sin(angle)
        return linear_field(np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) - np.eye(3), (3, 40, 40))

    error = compose(rotation(0.2), rotation(0.3)) - rotation(0.5)
    assert float(error[..., 14:26, 14:26].abs().max()) < 1e-4


# --- Jacobian -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "matrix",
    [
        np.diag([0.2, -0.3, 0.1]),
        np.array([[0.1, 0.2, -0.1], [0.05, -0.2, 0.3], [-0.15, 0.1, 0.25]]),
        np.diag([-2.0, 0.0, 0.0]),
    ],
)
def test_the_jacobian_of_an_affine_field_is_its_determinant_everywhere(matrix):
    expected = np.linalg.det(np.eye(3) + matrix)
    found = jacobian_determinant(linear_field(matrix))
    assert float((found - expected).abs().max()) < 1e-4


def test_a_rotation_keeps_volume():
    c, s = np.cos(0.7), np.sin(0.7)
    rotation = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    assert float((jacobian_determinant(linear_field(rotation - np.eye(3))) - 1).abs().max()) < 1e-4


def test_the_jacobian_of_a_known_nonlinear_map():
    shape = (7, 9, 60)
    x = identity_positions(shape)[:, 2:3]
    field = torch.zeros(1, 3, *shape)
    field[:, 2:3] = torch.sin(0.1 * x)  # det = 1 + 0.1·cos(0.1 x); central differences err by 0.1³/6
    expected = 1 + 0.1 * torch.cos(0.1 * x[:, 0])
    assert float((jacobian_determinant(field) - expected)[..., 1:-1].abs().max()) < 2.5e-4


def test_a_mirrored_axis_counts_as_folded_and_only_where_the_mask_looks():
    field = linear_field(np.diag([0.0, 0.0, -2.0]))
    field[:, :, :, :10] = 0.0
    assert folded_fraction(field) == pytest.approx(0.5, abs=0.06)
    mask = torch.zeros(SHAPE)
    mask[:, 12:] = 1
    assert folded_fraction(field, mask) == 1.0
    assert folded_fraction(field, torch.zeros(SHAPE)) == 0.0


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_mean_jacobian_of_a_motion_that_ends_at_the_rim_is_one(seed):
    field = smooth_field(seed, 1.0)  # the box is mapped onto itself: its volume stays
    assert float(jacobian_determinant(field)[:, 1:-1, 1:-1, 1:-1].mean()) == pytest.approx(1.0, abs=0.03)


# --- units and interpolation ----------------------------------------------------------------------------------------


def test_millimetres_and_voxels_convert_by_axis_and_back():
    field = smooth_field(9, 3.0)
    spacing = (10.0, 1.5, 2.0)
    there = voxels_from_mm(field, spacing)
    assert torch.allclose(there[:, 0] * 10.0, field[:, 0], atol=FLOAT32)
    assert torch.allclose(there[:, 2] * 2.0, field[:, 2], atol=FLOAT32)
    assert torch.allclose(mm_from_voxels(there, spacing), field, atol=FLOAT32)


@pytest.mark.parametrize("nodes", [1, 2, 3, 4, 12])
def test_splines_pass_through_their_nodes_and_keep_constants(nodes):
    matrix = spline_matrix(nodes, np.arange(nodes))
    assert np.allclose(matrix, np.eye(nodes), atol=1e-10)
    between = spline_matrix(nodes, np.linspace(-1.0, nodes, 23))
    assert np.allclose(between.sum(axis=1), 1.0, atol=1e-10)


def test_splines_keep_straight_lines_and_resizing_to_the_same_grid_is_a_no_op():
    matrix = spline_matrix(9, np.linspace(0, 8, 33))
    assert np.allclose(matrix @ np.arange(9.0), np.linspace(0, 8, 33), atol=1e-10)
    field = smooth_field(10, 2.0)
    assert torch.equal(resize(field, SHAPE), field)
    linear = identity_positions((5, 9, 9))
    bigger = resize(linear, (9, 17, 33))
    assert float((bigger[0, 2, 0, 0] - torch.linspace(0, 8, 33)).abs().max()) < FLOAT32


def test_spline_resizing_is_nearer_a_smooth_bump_than_linear_resizing():
    x = torch.linspace(-1, 1, 65)
    bump = torch.exp(-(x**2) / 0.08)
    coarse = bump[::8].view(1, 1, 1, 1, 9)
    spline = resize(coarse, (1, 1, 65)).flatten()
    linear = torch.nn.functional.interpolate(coarse.view(1, 1, 9), size=65, mode="linear", align_corners=True).flatten()
    assert (spline - bump).abs().max() < 0.4 * (linear - bump).abs().max()


@settings(max_examples=25, deadline=None)
@given(phases=st.integers(4, 25), harmonic=st.integers(0, 1), shift=st.floats(0, 1))
def test_periodic_interpolation_has_no_seam(phases, harmonic, shift):
    knots = np.arange(phases) / phases
    values = np.cos(2 * np.pi * harmonic * (knots - shift))
    at = np.linspace(0, 1, 41)
    matrix = periodic_matrix(phases, at)
    assert np.allclose(matrix[0], matrix[-1], atol=1e-12)
    assert np.allclose(periodic_matrix(phases, at + 3), matrix, atol=1e-9)
    assert np.allclose(periodic_matrix(phases, knots), np.eye(phases), atol=1e-9)
    exact = np.cos(2 * np.pi * harmonic * (at - shift))
    # the error bound of cubic splines, 5/384·h⁴·max|f⁗|, with room for few nodes
    assert np.abs(matrix @ values - exact).max() < 0.03 * (2 * np.pi / phases) ** 4


def test_sampling_at_given_positions_reads_the_voxel_there():
    image = torch.rand(1, 1, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    positions = torch.tensor([2.0, 1.0, 3.0]).view(1, 3, 1, 1, 1)
    assert float(sample_at(image, positions)) == pytest.approx(float(image[0, 0, 2, 1, 3]), abs=1e-6)


def test_gradients_flow_through_the_exponential_and_the_warp():
    velocity = smooth_field(11, 1.0).requires_grad_(True)
    warp(an_image(), exponential(velocity)).square().mean().backward()
    assert torch.isfinite(velocity.grad).all()
    assert float(velocity.grad.abs().max()) > 0
