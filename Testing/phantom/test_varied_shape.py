"""The wider family of hearts: scars are thin, a loaded right ventricle presses the septum in, the rest stays."""

from dataclasses import replace

import numpy as np
import pytest
from COFTrainingLib.phantom.physiology import draw_physiology
from COFTrainingLib.phantom.varied_shape import draw_varied_shape


@pytest.fixture(scope="module")
def shape():
    rng = np.random.default_rng(3)
    plain = draw_varied_shape(rng, draw_physiology(rng))
    return replace(plain, septal_flattening=0.0, scar=(0.0, 0.5, 0.0), rv_angle_rad=np.pi)


def wall_mm(shape, theta, level):
    theta, z = np.array([theta]), np.array([level * shape.length_mm])
    return float((shape.epicardium(theta, z) - np.sqrt(shape.cavity_sq(theta, z)))[0])


def test_a_scar_thins_the_wall_where_it_lies_and_nowhere_else(shape):
    scarred = replace(shape, scar=(1.0, 0.6, 0.5))
    assert wall_mm(scarred, 1.0, 0.6) == pytest.approx(0.5 * wall_mm(shape, 1.0, 0.6))
    assert wall_mm(scarred, 1.0 + np.pi, 0.6) == pytest.approx(wall_mm(shape, 1.0 + np.pi, 0.6), rel=1e-4)
    theta, z = np.linspace(-np.pi, np.pi, 50), np.full(50, 0.6 * shape.length_mm)
    assert np.array_equal(scarred.cavity_sq(theta, z), shape.cavity_sq(theta, z))


def test_a_loaded_right_ventricle_presses_the_septum_in_and_keeps_its_thickness(shape):
    pressed = replace(shape, septal_flattening=0.3)
    at = np.array([np.pi, 0.0]), np.array([20.0, 20.0])
    ratio = np.sqrt(pressed.cavity_sq(*at) / shape.cavity_sq(*at))
    assert ratio[0] / ratio[1] == pytest.approx(0.7, abs=1e-6)
    around = np.linspace(-np.pi, np.pi, 720, endpoint=False), np.full(720, 20.0)
    assert pressed.cavity_sq(*around).mean() == pytest.approx(shape.cavity_sq(*around).mean(), rel=1e-2)
    assert wall_mm(pressed, np.pi, 0.0) == pytest.approx(wall_mm(shape, np.pi, 0.0))


@pytest.mark.slow
def test_both_are_drawn_now_and_then_and_leave_the_other_draws_alone():
    shapes = []
    for seed in range(120):
        rng = np.random.default_rng(seed)
        shapes.append(draw_varied_shape(rng, draw_physiology(rng)))
    scars, pressed = (
        np.array(values) for values in zip(*((s.scar[2], s.septal_flattening) for s in shapes), strict=True)
    )
    assert 0.04 < (scars > 0).mean() < 0.25
    assert 0.03 < (pressed > 0).mean() < 0.40
    assert all(s.septal_flattening > 0 for s in shapes if s.family == "rv_dilated")
    assert all(np.isfinite(s.rv_edv_ml) and s.mass_g > 20 for s in shapes)
