"""Windows cut from slices lie where RAS says, and come back to the stack's own grid."""

import numpy as np
import pytest
import torch
from COFGeneratorLib.anatomy.segmenters.slice_windows import SliceWindow, whole_view

PIXEL_MM = 0.05
"""Linear interpolation of a linear image is exact up to float32 on coordinates of some 100 mm."""


def rotation(rng):
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return q


def oblique_geometry(rng, spacing=(1.3, 1.5, 9.0)):
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(rng) * spacing
    matrix[:3, 3] = rng.normal(0.0, 50.0, 3)
    return matrix


def ras_ramp(shape, matrix, direction):
    k, j, i = np.indices(shape)
    ras = np.stack([i, j, k], axis=-1) @ matrix[:3, :3].T + matrix[:3, 3]
    return ras @ direction


@pytest.mark.parametrize("backwards", [False, True])
def test_a_window_shows_what_lies_there_in_ras(backwards):
    rng = np.random.default_rng(3)
    matrix, shape = oblique_geometry(rng), (5, 80, 90)
    direction = rng.normal(size=3)
    voxels = ras_ramp(shape, matrix, direction).astype(np.float32)
    centre = (matrix @ [45.0, 40.0, 2.0, 1.0])[:3]
    e1 = matrix[:3, 0] / np.linalg.norm(matrix[:3, 0])
    e2 = matrix[:3, 1] / np.linalg.norm(matrix[:3, 1])
    column, row = np.cos(0.7) * e1 + np.sin(0.7) * e2, np.cos(0.7) * e2 - np.sin(0.7) * e1
    window = SliceWindow(centre, row, column, (24, 32), 1.6, backwards)
    image, inside = window.cut(voxels, matrix)
    assert inside.all()
    for k in range(5):
        native_k = 4 - k if backwards else k
        middle = centre + (native_k - 2) * matrix[:3, 2]
        rows = (np.arange(24) - 11.5)[:, None, None] * 1.6 * row
        columns = (np.arange(32) - 15.5)[None, :, None] * 1.6 * column
        expected = (middle + rows + columns) @ direction
        assert np.abs(image[k].numpy() - expected).max() < PIXEL_MM


def test_values_come_back_to_the_grid_they_were_cut_from():
    rng = np.random.default_rng(4)
    matrix, shape = oblique_geometry(rng), (4, 60, 64)
    direction = rng.normal(size=3)
    voxels = ras_ramp(shape, matrix, direction).astype(np.float32)
    window = whole_view(shape, matrix, spacing_mm=1.0, multiple=16, limits=(32, 160))
    image, _ = window.cut(voxels, matrix)
    back = window.put_back(image[None], matrix, shape)[0].numpy()
    core = (slice(None), slice(3, -3), slice(3, -3))
    assert np.abs(back[core] - voxels[core]).max() < PIXEL_MM


def test_outside_of_the_stack_is_marked_and_comes_back_as_zero():
    matrix = np.diag([2.0, 2.0, 8.0, 1.0])
    voxels = np.ones((3, 20, 20), np.float32)
    window = SliceWindow(np.zeros(3), np.array([0.0, 1, 0]), np.array([1.0, 0, 0]), (16, 16), 2.0)
    image, inside = window.cut(voxels, matrix)
    assert inside[:, 8:, 8:].all()
    assert not inside[:, :7].any()
    assert (image[~inside] == 0).all()
    back = window.put_back(torch.ones(1, 3, 16, 16), matrix, (3, 20, 20))[0]
    assert back[:, 0, 0].eq(1).all()
    assert back[:, 15, 15].eq(0).all()
