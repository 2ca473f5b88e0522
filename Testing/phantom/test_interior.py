"""What lies in the cavities: in systole the right ventricle's trabeculae close up to wall, along its free wall only."""

import numpy as np
import pytest
from COFTrainingLib.phantom.interior import Interior
from COFTrainingLib.phantom.physiology import draw_physiology
from COFTrainingLib.phantom.shape import Cylinder, draw_shape
from COFTrainingLib.phantom.tissues import Tissue


@pytest.fixture(scope="module")
def a_cavity():
    rng = np.random.default_rng(4)
    physiology = draw_physiology(rng)
    shape = draw_shape(rng, physiology, "normal")
    interior = Interior(rng, shape)
    interior.rv_compact_mm = 3.0
    count = 20_000
    theta = shape.rv_angle_rad + rng.uniform(-0.6, 0.6, count)
    z = rng.uniform(0.1, 0.6, count) * shape.length_mm
    depth = np.maximum(shape.rv_depth_mm * shape.rv_profile(theta, z), 1.0)
    share = rng.uniform(0.0, 1.0, count)
    return interior, shape.epicardium(theta, z) + share * depth, theta, z, (1.0 - share) * depth


def painted(a_cavity, contraction):
    interior, r, theta, z, _ = a_cavity
    tissue = np.full(len(r), int(Tissue.RV_BLOOD), dtype=np.uint8)
    interior.paint(tissue, Cylinder(r, theta, z), np.ones(len(r)), contraction)
    return tissue


def test_at_end_diastole_nothing_of_the_cavity_is_wall(a_cavity):
    assert set(np.unique(painted(a_cavity, 0.0))) <= {Tissue.RV_BLOOD, Tissue.RV_TRABECULA}


def test_in_systole_a_layer_along_the_free_wall_is_wall_and_nothing_else_changes(a_cavity):
    before, after = painted(a_cavity, 0.0), painted(a_cavity, 1.0)
    to_wall_mm, wall = a_cavity[-1], after == Tissue.RV_WALL
    assert np.array_equal(before[~wall], after[~wall])
    assert wall[to_wall_mm < 1.0].mean() > 0.9
    assert not wall[to_wall_mm > 3.0 * 2.5].any()
    assert 1.0 < np.median(to_wall_mm[wall]) + 0.5 < 3.0
    halfway = painted(a_cavity, 0.5) == Tissue.RV_WALL
    assert not (halfway & ~wall).any()
    assert 0 < halfway.sum() < wall.sum()
