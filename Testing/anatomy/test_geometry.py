"""Moving between grids through RAS, against closed forms."""

import numpy as np
import pytest
from COFGeneratorLib.anatomy.geometry import (
    check_geometry,
    corners_ijk,
    flip,
    lps_to_ras,
    resample,
    same_grid,
    spacing_ijk_mm,
)
from COFGeneratorLib.errors import AnatomyError
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation


@st.composite
def grids(draw):
    """A scanner's grid: any rotation, shift and handedness, slices thicker than pixels."""
    spacing = draw(st.tuples(st.floats(0.7, 2.5), st.floats(0.7, 2.5), st.floats(3.0, 18.0)))
    angles = draw(st.tuples(*[st.floats(-180, 180)] * 3))
    signs = draw(st.tuples(*[st.sampled_from((-1.0, 1.0))] * 3))
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("zyx", angles, degrees=True).as_matrix() * (np.array(spacing) * signs)
    matrix[:3, 3] = draw(st.tuples(*[st.floats(-300, 300)] * 3))
    return matrix


def test_left_posterior_superior_turns_into_ras_and_back():
    point = lps_to_ras(np.eye(4)) @ (10, 20, 30, 1)
    np.testing.assert_array_equal(point, (-10, -20, 30, 1))


@given(grids(), arrays(np.int16, (3, 4, 5)), st.sampled_from((0, 1, 2)))
def test_a_flip_moves_no_voxel_in_space_and_twice_is_nothing(matrix, array, axis):
    flipped, moved = flip(array, matrix, axis)
    index = (2, 1, 3)  # k, j, i
    mirrored = list(index)
    mirrored[axis] = array.shape[axis] - 1 - index[axis]
    assert flipped[tuple(mirrored)] == array[index]
    np.testing.assert_allclose(moved @ (*mirrored[::-1], 1), matrix @ (*index[::-1], 1), atol=1e-9)
    again, back = flip(flipped, moved, axis)
    np.testing.assert_array_equal(again, array)
    np.testing.assert_allclose(back, matrix, atol=1e-9)


@given(grids(), arrays(np.uint8, (3, 4, 5)), st.sampled_from((0, 1, 2)))
def test_resampling_onto_the_same_places_is_exact(matrix, array, axis):
    flipped, moved = flip(array, matrix, axis)
    np.testing.assert_array_equal(resample(flipped, moved, array.shape, matrix, order=0), array)
    np.testing.assert_allclose(resample(flipped, moved, array.shape, matrix), array, atol=0.02)


@given(grids(), grids())
def test_a_linear_ramp_in_ras_is_resampled_exactly_inside(source, target):
    gradient = np.array([0.3, -0.7, 0.2])
    shape = (9, 10, 11)
    centre = source @ (5, 4.5, 4, 1)
    target = target.copy()
    target[:3, :3] *= 0.2
    target[:3, 3] = centre[:3] - target[:3, :3] @ (1, 1, 1)

    def ramp(matrix, size):
        k, j, i = np.meshgrid(*[np.arange(n) for n in size], indexing="ij")
        points = matrix @ np.stack([i.ravel(), j.ravel(), k.ravel(), np.ones(k.size)])
        return (gradient @ points[:3]).reshape(size).astype(np.float64)

    inside = (np.abs(np.linalg.inv(source) @ target @ corners_ijk((3, 3, 3)) - [[5], [4.5], [4], [1]]) < 3.9).all()
    out = resample(ramp(source, shape), source, (3, 3, 3), target)
    if inside:
        np.testing.assert_allclose(out, ramp(target, (3, 3, 3)), atol=2e-3)


def test_outside_the_image_lies_the_given_value_beyond_half_a_voxel():
    array, grid = np.ones((3, 3, 3), np.uint8), np.diag([1.0, 1.0, 10.0, 1.0])
    shifted = grid.copy()
    shifted[2, 3] = -10.0
    out = resample(array, grid, (5, 3, 3), shifted, order=0)
    np.testing.assert_array_equal(out[:, 1, 1], (0, 1, 1, 1, 0))
    out = resample(array.astype(float), grid, (5, 3, 3), shifted, order=1, outside=-7.0)
    np.testing.assert_array_equal(out[:, 1, 1], (-7, 1, 1, 1, -7))


def test_the_autofd_label_grid_maps_slice_z_to_label_slice_z_plus_three():
    labels = np.broadcast_to(np.arange(18, dtype=np.uint8)[:, None, None], (18, 4, 4))
    image, taller = np.diag([1.23, 1.23, 10.0, 1.0]), np.diag([1.23, 1.23, 10.0, 1.0])
    image[2, 3], taller[2, 3] = -55.0, -85.0
    np.testing.assert_array_equal(resample(labels, taller, (12, 4, 4), image, order=0)[:, 0, 0], np.arange(12) + 3)


@given(grids())
def test_grids_are_the_same_up_to_rounding_only(matrix):
    check_geometry(matrix, "test")
    near, far = matrix.copy(), matrix.copy()
    near[:3, 3] += 1e-4
    far[:3, 3] += 0.5 * spacing_ijk_mm(matrix).min()
    assert same_grid(matrix, (3, 4, 5), near, (3, 4, 5))
    assert not same_grid(matrix, (3, 4, 5), far, (3, 4, 5))
    assert not same_grid(matrix, (3, 4, 5), matrix, (3, 5, 4))


@pytest.mark.parametrize("spoil", [lambda m: m * 0, lambda m: m * np.nan, lambda m: m @ np.diag([1, 1, 1e-6, 1])])
def test_impossible_grids_are_refused(spoil):
    with pytest.raises(AnatomyError):
        check_geometry(spoil(np.diag([1.5, 1.5, 10.0, 1.0])), "test")
