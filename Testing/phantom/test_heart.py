"""The phantom's motion against its own closed forms: volume, incompressibility, exactness, invertibility."""

import numpy as np
import pytest
from COFTrainingLib.phantom.shape import FAMILIES, draw_shape
from COFTrainingLib.phantom.subject import draw_subject, plan_stack
from hypothesis import given, settings
from hypothesis import strategies as st

PITCH_MM = 2.5
DETERMINANT_TOLERANCE = 0.02  # central differences over 0.02 mm, kinks left out by the median


def sample_points():
    axes = [np.arange(-60, 90, PITCH_MM), np.arange(-80, 80, PITCH_MM), np.arange(-110, 70, PITCH_MM)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def end_systole(subject):
    return subject.physiology.t_es_ms + 0.5 * subject.physiology.ivr_ms


@pytest.mark.parametrize("seed", range(4))
def test_labels_have_the_volumes_of_the_closed_form(seed):
    subject = draw_subject(seed, conduction="", qrsd_ms=95.0)
    shape, points = subject.heart.shape, sample_points()
    for time_ms in (0.0, end_systole(subject)):
        counted = (subject.heart.label_at(points, time_ms) == 1).sum() * PITCH_MM**3 / 1000
        assert counted == pytest.approx(subject.heart.lv_volume_ml(time_ms)[0], rel=0.03)
    assert subject.heart.lv_volume_ml(0.0)[0] == pytest.approx(shape.edv_ml, rel=5e-3)


@pytest.mark.parametrize("seed", range(4))
def test_ejection_fraction_is_the_physiology_s(seed):
    subject = draw_subject(seed, conduction="", qrsd_ms=95.0)
    before, after = subject.heart.lv_volume_ml([0.0, end_systole(subject)])
    assert 1 - after / before == pytest.approx(subject.physiology.ef, abs=0.01)
    before, after = subject.heart.rv_volume_ml([0.0, end_systole(subject)])
    assert 1 - after / before == pytest.approx(subject.heart.shape.ef_rv, abs=0.03)


@pytest.mark.parametrize("seed", range(3))
def test_the_wall_is_incompressible(seed):
    """det(I + ∇u) of the pull map is 1 inside the wall, by finite differences of the closed form."""
    subject = draw_subject(seed, infarct_territory="inferior", infarct_extent=0.2)
    time_ms, step = end_systole(subject), 0.02
    points = sample_points()
    wall = points[subject.heart.label_at(points, time_ms) == 2][::7]
    columns = [
        (subject.heart.pull_mm(wall + step * e, time_ms) - subject.heart.pull_mm(wall - step * e, time_ms)) / (2 * step)
        for e in np.eye(3)
    ]
    determinant = np.linalg.det(np.stack(columns, axis=-1) + np.eye(3))
    assert np.median(determinant) == pytest.approx(1.0, abs=DETERMINANT_TOLERANCE)
    assert (determinant > 0).all()


def test_nothing_has_moved_at_the_r_wave_nor_one_cycle_later():
    subject = draw_subject(3)
    points = sample_points()[::4, ::4, ::4]
    assert np.abs(subject.heart.pull_mm(points, 0.0)).max() < 1e-9
    assert np.abs(subject.heart.pull_mm(points, subject.physiology.rr_ms)).max() < 1e-9


def test_an_infarct_stills_its_own_territory():
    normal = draw_subject(5, conduction="", qrsd_ms=95.0)
    sick = draw_subject(5, conduction="", qrsd_ms=95.0, infarct_territory="inferior", infarct_extent=0.25)
    shape = sick.heart.shape
    angle = np.linspace(-np.pi, np.pi, 72, endpoint=False)
    height = np.full_like(angle, 0.45 * shape.length_mm)
    amplitude = sick.heart.amplitude(angle, height)
    assert abs(angle[amplitude.argmin()] - 1.65) < 0.2  # inferior
    assert amplitude.min() < 0.1 < 1.0 < amplitude.max()
    assert np.allclose(normal.heart.amplitude(angle, height), 1.0)


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.sampled_from(FAMILIES), st.sampled_from("mf"))
def test_drawn_shapes_have_plausible_volumes_and_mass(seed, family, sex):
    shape = draw_shape(np.random.default_rng(seed), sex, 50.0, 0.6, family)
    assert 55 <= shape.edv_ml <= 365
    assert 55 <= shape.rv_edv_ml <= 365
    assert 3.0 <= shape.wall_mm <= 26.0
    assert 40 <= shape.mass_g <= 330


def test_forcing_the_physiology_leaves_the_anatomy_alone():
    slow, fast = draw_subject(9, hr_bpm=50.0), draw_subject(9, hr_bpm=90.0)
    assert slow.heart.shape.radius_mm == fast.heart.shape.radius_mm
    assert slow.heart.shape.wall_mm == fast.heart.shape.wall_mm


def test_a_planned_stack_covers_the_heart_in_patient_coordinates():
    subject = draw_subject(4)
    plan = plan_stack(subject, np.random.default_rng(0), shift_sd_mm=0.0)
    labels = subject.heart.label_at(plan.heart_points())
    voxel_ml = abs(np.linalg.det(plan.ijk_to_ras[:3, :3])) / 1000
    assert (labels == 1).sum() * voxel_ml == pytest.approx(subject.heart.shape.edv_ml, rel=0.15)
    corner = plan.ras_to_heart @ plan.ijk_to_ras @ np.array([2, 3, 1, 1.0])
    assert np.allclose(plan.heart_points()[1, 3, 2], corner[:3])
