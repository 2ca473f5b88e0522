"""The latents are coupled as stated, and the volume curve is a heartbeat."""

import numpy as np
import pytest
from COFGeneratorLib.errors import CohortError
from COFTrainingLib.phantom.oracles import end_systole_ms, oracle_floors
from COFTrainingLib.phantom.physiology import EF_NOISE, Prevalence, draw_physiology, expected_ef, volume_fraction


@pytest.fixture(scope="module")
def cohort():
    rng = np.random.default_rng(11)
    return [draw_physiology(rng) for _ in range(6000)]


def column(cohort, name):
    return np.array([getattr(patient, name) for patient in cohort])


def test_the_same_seed_draws_the_same_patient():
    first, second = (draw_physiology(np.random.default_rng(4)) for _ in range(2))
    assert first == second
    assert draw_physiology(np.random.default_rng(5)) != first


def test_an_override_changes_only_what_depends_on_it():
    base = draw_physiology(np.random.default_rng(4), hr_bpm=50.0)
    fast = draw_physiology(np.random.default_rng(4), hr_bpm=90.0)
    for name in ("sex", "age_years", "qrsd_ms", "contractility", "infarct_extent", "conduction", "ef", "ivr_ms"):
        assert getattr(base, name) == getattr(fast, name)
    assert fast.rr_ms == pytest.approx(60000 / 90)
    assert fast.t_es_ms < base.t_es_ms
    assert fast.qt_ms < base.qt_ms


def test_the_natural_prevalences_come_out(cohort):
    infarct = column(cohort, "infarct_territory") != ""
    assert infarct.mean() == pytest.approx(0.20, abs=0.02)
    assert (column(cohort, "conduction") != "").mean() == pytest.approx(0.12, abs=0.015)
    counts = [np.sum(column(cohort, "infarct_territory") == name) for name in ("anterior", "inferior", "lateral")]
    assert max(counts) / min(counts) < 1.3
    extent = column(cohort, "infarct_extent")
    assert extent[infarct].min() >= 0.05
    assert extent.max() <= 0.35
    assert (extent[~infarct] == 0).all()


def test_prevalences_can_be_raised_for_training():
    rng = np.random.default_rng(0)
    raised = Prevalence(infarct=0.5, bundle_branch_block=0.4, atrial_fibrillation=0.0, hypertrophy=0.0)
    cohort = [draw_physiology(rng, prevalence=raised) for _ in range(1500)]
    assert (column(cohort, "infarct_extent") > 0).mean() == pytest.approx(0.5, abs=0.05)
    assert not column(cohort, "atrial_fibrillation").any()
    with pytest.raises(CohortError, match="between 0 and 1"):
        Prevalence(infarct=20)


def test_ejection_fraction_follows_the_stated_coupling(cohort):
    expected = expected_ef(column(cohort, "qrsd_ms"), column(cohort, "infarct_extent"), column(cohort, "contractility"))
    residual = column(cohort, "ef") - np.clip(expected, 0.15, 0.78)
    assert residual.std() == pytest.approx(EF_NOISE, rel=0.1)
    assert column(cohort, "ef").mean() == pytest.approx(0.597, abs=0.005)
    assert column(cohort, "ef").std() == pytest.approx(0.082, abs=0.004)


def test_anatomy_tells_nothing_of_function_or_timing(cohort):
    mass = column(cohort, "lv_mass_index")
    for name in ("ef", "contractility"):
        assert abs(np.corrcoef(mass, column(cohort, name))[0, 1]) < 0.04


def test_mechanical_systole_follows_rate_and_repolarisation(cohort):
    es, rate = column(cohort, "t_es_ms"), column(cohort, "hr_bpm")
    assert np.corrcoef(es, rate)[0, 1] < -0.8
    width = np.maximum(column(cohort, "qrsd_ms") - 95, 0)
    female = column(cohort, "sex") == "f"
    qt = column(cohort, "qt_ms") - np.where(female, 511 - 1.8 * rate, 521 - 2.0 * rate) - 0.5 * width
    qs2 = es + 40 - np.where(female, 540 - 2.0 * rate, 541 - 2.2 * rate) - 0.3 * width
    assert np.corrcoef(qt, qs2)[0, 1] == pytest.approx(0.82, abs=0.03)


@pytest.mark.parametrize(("rate", "frame"), [(45, 15.1), (60, 18.4), (80, 21.7), (100, 23.4)])
def test_end_of_ejection_lies_where_systolic_intervals_put_it(rate, frame):
    rng = np.random.default_rng(1)
    patients = [draw_physiology(rng, hr_bpm=float(rate), qrsd_ms=93.0) for _ in range(300)]
    assert np.mean([50 * p.t_es_ms / p.rr_ms for p in patients]) == pytest.approx(frame, abs=0.9)


@pytest.mark.parametrize("rate", [42.0, 60.0, 85.0, 110.0])
@pytest.mark.parametrize("fibrillates", [False, True])
def test_the_volume_curve_is_a_continuous_periodic_beat(rate, fibrillates):
    for seed in range(12):
        patient = draw_physiology(np.random.default_rng(seed), hr_bpm=rate, atrial_fibrillation=fibrillates)
        time = np.linspace(0.0, patient.rr_ms, 4001)
        curve = volume_fraction(patient, time)
        assert curve[0] == 0.0
        assert volume_fraction(patient, [patient.rr_ms - 1e-6])[0] < 1e-4
        assert curve.min() >= 0.0
        assert curve.max() == pytest.approx(1.0, abs=1e-9)
        assert np.abs(np.diff(curve)).max() < 0.012
        plateau = (time >= patient.t_es_ms) & (time <= patient.t_es_ms + patient.ivr_ms)
        assert np.allclose(curve[plateau], 1.0)
        assert np.allclose(volume_fraction(patient, time + 3 * patient.rr_ms), curve, atol=1e-6)
        assert (np.diff(curve[time <= patient.t_es_ms]) >= -1e-12).all()
        assert (np.diff(curve[time >= patient.t_es_ms]) <= 1e-12).all()


def test_the_atrial_kick_is_the_last_part_of_filling_and_absent_in_fibrillation():
    sinus = draw_physiology(np.random.default_rng(2), hr_bpm=55.0, atrial_fibrillation=False)
    kick = sinus.rr_ms - sinus.pr_ms + 50.0
    assert volume_fraction(sinus, [kick - 5.0])[0] == pytest.approx(sinus.atrial_fraction, abs=0.02)
    fibrillating = draw_physiology(np.random.default_rng(2), hr_bpm=55.0, atrial_fibrillation=True)
    assert fibrillating.atrial_fraction == 0.0
    assert np.isnan(fibrillating.pr_ms)
    assert volume_fraction(fibrillating, [fibrillating.rr_ms - 100.0])[0] < 0.02


def test_the_closed_form_of_end_systole_is_the_centre_of_the_plateau():
    for seed in range(20):
        patient = draw_physiology(np.random.default_rng(seed))
        time = np.linspace(0.0, patient.rr_ms, 40001)
        low = time[volume_fraction(patient, time) >= 0.9]
        assert end_systole_ms(patient) == pytest.approx((low[0] + low[-1]) / 2, abs=0.5)


def test_the_oracle_floors_are_those_of_the_recipe():
    floors = oracle_floors(5000, seed=3)
    assert floors["ef_mae_with_ecg_percent"] == pytest.approx(2.4, abs=0.1)
    assert floors["ef_mae_without_ecg_percent"] == pytest.approx(6.5, abs=0.25)
    assert floors["es_mae_with_ecg_frames"] < 0.5
    assert 1.6 < floors["es_mae_without_ecg_frames"] < 2.4
    assert floors["ef_win_probability"] == pytest.approx(0.79, abs=0.02)
    assert floors == oracle_floors(5000, seed=3)


@pytest.mark.parametrize(
    ("forced", "message"),
    [
        ({"ejection": 0.5}, "field of Physiology"),
        ({"infarct_territory": "septal", "infarct_extent": 0.2}, "territory must be one of"),
        ({"infarct_territory": "anterior", "infarct_extent": 0.0}, "territory and an extent"),
        ({"conduction": "wpw"}, "Conduction must be one of"),
        ({"hr_bpm": 60.0, "rr_ms": 400.0}, "must outlast systole"),
    ],
)
def test_contradictory_overrides_are_refused(forced, message):
    with pytest.raises(CohortError, match=message):
        draw_physiology(np.random.default_rng(0), **forced)
