"""The right ventricle's own motion: its inferior part comes up, the anterior part and the septum stay."""

import numpy as np
import pytest
from COFTrainingLib.phantom.right_ventricle import RETRACTION_MM, FreeWall
from COFTrainingLib.phantom.subject import draw_subject


@pytest.fixture(scope="module")
def heart():
    return draw_subject(4).heart


def angles(shape, *shares):
    """Angles in half-widths from the crescent's centre: -1 is its inferior end."""
    return shape.rv_angle_rad + np.asarray(shares) * shape.rv_half_width_rad


def test_the_inferior_end_retracts_whole_the_anterior_one_not(heart):
    theta = angles(heart.shape, -2.0, -1.0, 0.0, 0.7, 1.0)
    share, _ = FreeWall(heart.shape).retracted(np.full(5, 90.0), theta, np.zeros(5))
    assert share[[0, 3, 4]] == pytest.approx(0.0)
    assert share[1] == pytest.approx(1.0)
    assert 0.0 < share[2] < 0.5
    beside_septum, _ = FreeWall(heart.shape).retracted(np.full(5, 20.0), theta, np.zeros(5))
    assert not beside_septum.any()


def test_the_derivative_is_that_of_the_share(heart):
    theta = angles(heart.shape, *np.linspace(-2.2, 1.2, 41))
    wall, r, z, step = FreeWall(heart.shape), np.full(41, 70.0), np.full(41, 15.0), 1e-5
    ahead, behind = (wall.retracted(r, theta + sign * step, z)[0] for sign in (1, -1))
    assert wall.retracted(r, theta, z)[1] == pytest.approx((ahead - behind) / (2 * step), abs=1e-3)


@pytest.mark.parametrize(("rv_ef", "share"), [(0.07, 0.2), (0.35, 1.0), (0.6, 1.0)])
def test_a_weak_ventricle_retracts_less(heart, rv_ef, share):
    wall = FreeWall(heart.shape)
    assert wall.retraction(rv_ef) == pytest.approx(share * wall.retraction(0.6))
    assert 0.5 * RETRACTION_MM < wall.retraction(0.6) * heart.shape.radius_mm * 2 < 2 * RETRACTION_MM


def test_labels_of_the_inferior_part_move_towards_the_front():
    """j runs from the front to the back of the heart's frame: the inferior border of the RV's label goes down in j."""
    heart = draw_subject(4, rv_ef=0.6, rv_load="").heart
    j, i = np.meshgrid(np.arange(-60, 80, 1.0), np.arange(-110, 0, 1.0), indexing="ij")
    points = np.stack([np.zeros_like(j), j, i], axis=-1)
    time_ms = heart.physiology.t_es_ms + 0.5 * heart.physiology.ivr_ms
    rest, systole = (np.percentile(j[heart.label_at(points, t) == 3], [2, 98]) for t in (0.0, time_ms))
    assert systole[1] < rest[1] - 4.0
    assert abs(systole[0] - rest[0]) < abs(systole[1] - rest[1])
