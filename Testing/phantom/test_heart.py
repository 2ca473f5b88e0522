"""The phantom's motion against its own closed forms: volume, incompressibility, exactness, invertibility."""

import numpy as np
import pytest
from COFGeneratorLib.function.volumes import WALL_GROWTH
from COFTrainingLib.phantom.heart import APPARENT_DESCENT, APPARENT_THICKENING
from COFTrainingLib.phantom.physiology import draw_physiology
from COFTrainingLib.phantom.prevalence import ENRICHED
from COFTrainingLib.phantom.shape import FAMILIES, draw_shape
from COFTrainingLib.phantom.subject import draw_subject, plan_stack
from hypothesis import given, settings
from hypothesis import strategies as st

PITCH_MM = 2.5
DETERMINANT_TOLERANCE = 0.02  # central differences over 0.02 mm, kinks left out by the median


def sample_points():
    axes = [np.arange(-60, 90, PITCH_MM), np.arange(-80, 80, PITCH_MM), np.arange(-110, 70, PITCH_MM)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def end_systole(heart):
    return heart.physiology.t_es_ms + 0.5 * heart.physiology.ivr_ms


@pytest.mark.parametrize("seed", [0, 2, 8, 10])  # normal, LBBB with volume load, dilated, RV load
def test_labels_have_the_volumes_of_the_closed_form(seed):
    heart, points = draw_subject(seed, ENRICHED).heart, sample_points()
    time_ms = np.array([0.0, end_systole(heart)])
    volumes = {1: heart.lv_volume_ml(time_ms), 3: heart.rv_volume_ml(time_ms)}
    labels = [heart.label_at(points, float(time)) for time in time_ms]
    for code, true_ml in volumes.items():
        counted_ml = [(label == code).sum() * PITCH_MM**3 / 1000 for label in labels]
        assert counted_ml == pytest.approx(true_ml, rel=0.03)
    assert volumes[1][0] == pytest.approx(heart.shape.edv_ml, rel=5e-3)
    assert volumes[3][0] == pytest.approx(heart.shape.rv_edv_ml, rel=1e-6)
    growth = (labels[1] == 2).sum() / (labels[0] == 2).sum() - 1
    assert WALL_GROWTH[0] - 0.05 < growth / heart.physiology.ef < WALL_GROWTH[1] + 0.03


@pytest.mark.parametrize("seed", range(12))
def test_both_ejection_fractions_are_the_physiology_s(seed):
    """Also where a block puts the walls out of step."""
    subject = draw_subject(seed, ENRICHED)
    heart, time_ms = subject.heart, np.linspace(0.0, subject.physiology.rr_ms, 400)
    volume = heart.lv_volume_ml(time_ms)
    assert volume.argmax() == 0
    assert 1 - volume.min() / volume[0] == pytest.approx(subject.physiology.ef, abs=0.002)
    if not subject.physiology.conduction:
        rv = heart.rv_volume_ml([0.0, end_systole(heart)])
        assert 1 - rv[1] / rv[0] == pytest.approx(heart.seen_rv_ef, abs=0.005)


def test_the_right_ventricle_does_not_follow_the_left():
    """The same left ventricle beside a right one of 20 and of 60 %."""
    weak, strong = (draw_subject(6, rv_ef=rv_ef, tapse_mm=18.0).heart for rv_ef in (0.2, 0.6))
    time_ms = end_systole(weak)
    assert np.allclose(weak.lv_volume_ml(time_ms), strong.lv_volume_ml(time_ms))
    ejected = [1 - np.divide(*heart.rv_volume_ml([time_ms, 0.0])) for heart in (weak, strong)]
    assert ejected == pytest.approx([weak.seen_rv_ef, strong.seen_rv_ef], abs=0.005)
    assert ejected[1] == pytest.approx(3 * ejected[0], rel=0.02)


@pytest.mark.parametrize("seed", [0, 3, 5, 7, 10, 11])
def test_nothing_folds_and_beyond_the_pericardium_all_is_still(seed):
    heart = draw_subject(seed, ENRICHED).heart
    shape, points = heart.shape, sample_points()[::2, ::2, ::2]
    time_ms, step = end_systole(heart), 0.1
    columns = [
        (heart.pull_mm(points + step * e, time_ms) - heart.pull_mm(points - step * e, time_ms)) / (2 * step)
        for e in np.eye(3)
    ]
    assert np.linalg.det(np.stack(columns, axis=-1) + np.eye(3)).min() > 0.0
    z, j, i = shape.about_axis(points)
    theta = np.arctan2(j, i)
    far = (np.hypot(j, i) > heart._sac.radius_mm(theta, z) + 60.0) & (z > 0) & (z < 0.6 * shape.length_mm)
    assert far.sum() > 40
    assert np.abs(heart.pull_mm(points[far], time_ms)).max() < 1e-6


def test_a_loaded_right_ventricle_moves_the_septum():
    """Pressure pushes it into the LV in systole; volume load has done so in diastole, and systole brings it back."""
    change = {}
    for load in ("", "pressure", "volume"):
        heart = draw_subject(6, rv_load=load, ef=0.6, infarct_extent=0.0, conduction="", hypertrophy=False).heart
        angle = np.full(2, heart.shape.rv_angle_rad) + np.array([0.0, np.pi])
        amplitude = heart._regions.amplitude(angle, np.full(2, 30.0))
        change[load] = amplitude[0] / amplitude[1]
    assert change["pressure"] > 1.1 > 1.0 > change[""] > 0.8 > change["volume"]


@pytest.mark.parametrize("seed", range(3))
def test_the_wall_grows_in_slices_by_what_they_do_not_see_it_shorten(seed):
    """det(I + ∇u) of the pull map is κ/λ inside the wall, by finite differences of the closed form."""
    subject = draw_subject(seed, infarct_territory="inferior", infarct_extent=0.2)
    time_ms, step = end_systole(subject.heart), 0.02
    points = sample_points()
    wall = points[subject.heart.label_at(points, time_ms) == 2][::7]
    columns = [
        (subject.heart.pull_mm(wall + step * e, time_ms) - subject.heart.pull_mm(wall - step * e, time_ms)) / (2 * step)
        for e in np.eye(3)
    ]
    determinant = np.linalg.det(np.stack(columns, axis=-1) + np.eye(3))
    shape = subject.heart.shape
    share = subject.heart._mitral(time_ms) / (shape.length_mm + shape.apex_wall_mm)
    expected = (1.0 - APPARENT_THICKENING / APPARENT_DESCENT * share) / (1.0 - share)
    assert expected < 0.95
    assert np.median(determinant) == pytest.approx(expected, abs=DETERMINANT_TOLERANCE)
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
    amplitude = sick.heart._regions.amplitude(angle, height)
    assert abs(angle[amplitude.argmin()] - 1.65) < 0.2  # inferior
    assert amplitude.min() < 0.15 < 1.0 < amplitude.max()
    healthy = normal.heart._regions.amplitude(angle, height)
    assert 0.8 < healthy.min() < healthy.max() < 1.2


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.sampled_from(FAMILIES), st.sampled_from("mf"))
def test_drawn_shapes_have_plausible_volumes_and_mass(seed, family, sex):
    rng = np.random.default_rng(seed)
    shape = draw_shape(rng, draw_physiology(rng, sex=sex, prevalence=ENRICHED), family)
    assert 50 <= shape.edv_ml <= 430
    assert 50 <= shape.rv_edv_ml <= 390
    assert 3.0 <= shape.wall_mm <= 26.0
    assert 35 <= shape.mass_g <= 400


def test_forcing_what_does_not_shape_a_heart_leaves_the_anatomy_alone():
    slow, fast = draw_subject(9, hr_bpm=50.0), draw_subject(9, hr_bpm=90.0)
    assert slow.heart.shape == fast.heart.shape


def test_a_dilated_anchor_speaks_for_a_low_ejection_fraction():
    rng = np.random.default_rng(5)
    patients = [draw_physiology(rng, prevalence=ENRICHED) for _ in range(400)]
    edv = np.array([draw_shape(rng, patient).edv_ml for patient in patients])
    ef, athlete, failing = (
        np.array([getattr(p, name) for p in patients]) for name in ("ef", "athlete", "cardiomyopathy")
    )
    assert np.corrcoef(edv, ef)[0, 1] < -0.6
    assert np.corrcoef(edv[failing], ef[failing])[0, 1] < -0.3
    assert np.mean(ef[(edv > 220) & ~athlete] < 0.45) > 0.8
    assert np.mean(ef[edv < 160] > 0.45) > 0.8


def test_a_planned_stack_covers_the_heart_in_patient_coordinates():
    subject = draw_subject(4)
    plan = plan_stack(subject, np.random.default_rng(0), shift_sd_mm=0.0)
    labels = subject.heart.label_at(plan.heart_points())
    voxel_ml = abs(np.linalg.det(plan.ijk_to_ras[:3, :3])) / 1000
    assert (labels == 1).sum() * voxel_ml == pytest.approx(subject.heart.shape.edv_ml, rel=0.15)
    corner = plan.ras_to_heart @ plan.ijk_to_ras @ np.array([2, 3, 1, 1.0])
    assert np.allclose(plan.heart_points()[1, 3, 2], corner[:3])
