"""The latents are coupled as stated, and the volume curve is a heartbeat."""

import numpy as np
import pytest
from COFGeneratorLib.errors import CohortError
from COFTrainingLib.phantom.oracles import oracle_floors
from COFTrainingLib.phantom.physiology import EF_NOISE, draw_physiology
from COFTrainingLib.phantom.prevalence import ENRICHED, NATURAL, Prevalence
from COFTrainingLib.phantom.pump import EF_RANGE, expected_ef
from COFTrainingLib.phantom.volume_curve import ATRIAL_DELAY_MS, end_systole_ms, volume_fraction


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
    for name in ("sex", "age_years", "qrsd_ms", "contractility", "infarct_extent", "conduction", "ef", "rv_ef"):
        assert getattr(base, name) == getattr(fast, name)
    assert fast.rr_ms == pytest.approx(60000 / 90)
    assert fast.t_es_ms < base.t_es_ms
    assert fast.qt_ms < base.qt_ms


def test_a_forced_ejection_fraction_brings_the_patient_who_has_it():
    for seed in range(30):
        weak, strong = (draw_physiology(np.random.default_rng(seed), ef=ef) for ef in (0.2, 0.62))
        for patient in (weak, strong):
            expected = expected_ef(patient.contractility, patient.infarct_extent, patient.dyssynchrony_ms)
            assert expected == pytest.approx(patient.ef, abs=4 * EF_NOISE)
        assert weak.cardiomyopathy or weak.infarct_extent > 0.2
        assert not strong.cardiomyopathy
        assert weak.mapse_mm < strong.mapse_mm
        assert weak.contractility > strong.contractility


def test_the_natural_prevalences_come_out(cohort):
    infarct = column(cohort, "infarct_territory") != ""
    assert infarct.mean() == pytest.approx(NATURAL.infarct, abs=0.015)
    failing, blocked = column(cohort, "cardiomyopathy"), column(cohort, "conduction") != ""
    assert failing.mean() == pytest.approx(NATURAL.cardiomyopathy, abs=0.01)
    assert blocked[~failing].mean() == pytest.approx(NATURAL.bundle_branch_block, abs=0.015)
    assert 0.2 < blocked[failing].mean() < 0.4
    assert (column(cohort, "rv_load") != "").mean() == pytest.approx(NATURAL.rv_load, abs=0.012)
    counts = [np.sum(column(cohort, "infarct_territory") == name) for name in ("anterior", "inferior", "lateral")]
    assert max(counts) / min(counts) < 1.35
    extent = column(cohort, "infarct_extent")
    assert extent[infarct].min() >= 0.05
    assert extent.max() <= 0.35
    assert (extent[~infarct] == 0).all()


@pytest.mark.parametrize(
    ("prevalence", "below_40", "below_35"), [(NATURAL, (0.045, 0.085), 0.03), (ENRICHED, (0.3, 0.4), 0.25)]
)
def test_heart_failure_is_as_frequent_as_stated(prevalence, below_40, below_35):
    rng = np.random.default_rng(2)
    ef = np.array([draw_physiology(rng, prevalence=prevalence).ef for _ in range(4000)])
    assert below_40[0] < np.mean(ef < 0.40) < below_40[1]
    assert np.mean(ef < 0.35) > below_35
    assert ef.min() >= 0.10
    assert ef.max() > 0.72


def test_rates_reach_180(cohort):
    rate = column(cohort, "hr_bpm")
    assert 165 < rate.max() <= 180
    assert rate.min() >= 42
    assert 0.02 < (rate > 100).mean() < 0.08


def test_the_right_ventricle_has_a_life_of_its_own():
    rng = np.random.default_rng(4)
    patients = [draw_physiology(rng, prevalence=ENRICHED) for _ in range(3000)]
    failing, load, rv_ef, ef, tapse = (
        column(patients, name) for name in ("cardiomyopathy", "rv_load", "rv_ef", "ef", "tapse_mm")
    )
    assert 0.3 < np.corrcoef(ef[failing], rv_ef[failing])[0, 1] < 0.7
    assert np.percentile(rv_ef[failing], [2, 98]) == pytest.approx([0.1, 0.63], abs=0.07)
    healthy = ~failing & (load == "")
    assert rv_ef[healthy].mean() == pytest.approx(0.56, abs=0.03)
    assert rv_ef[(load == "pressure") & ~failing].mean() < 0.45
    assert np.corrcoef(tapse, rv_ef)[0, 1] > 0.7


def test_prevalences_can_be_raised_for_training():
    rng = np.random.default_rng(0)
    raised = Prevalence(infarct=0.5, bundle_branch_block=0.4, atrial_fibrillation=0.0, hypertrophy=0.0)
    cohort = [draw_physiology(rng, prevalence=raised) for _ in range(1500)]
    assert (column(cohort, "infarct_extent") > 0).mean() == pytest.approx(0.5, abs=0.05)
    assert not column(cohort, "atrial_fibrillation").any()
    with pytest.raises(CohortError, match="between 0 and 1"):
        Prevalence(infarct=20)


def test_ejection_fraction_follows_the_stated_coupling(cohort):
    latents = ("contractility", "infarct_extent", "dyssynchrony_ms")
    expected = expected_ef(*(column(cohort, name) for name in latents))
    residual = column(cohort, "ef") - np.clip(expected, *EF_RANGE)
    assert residual.std() == pytest.approx(EF_NOISE, rel=0.1)
    findings = column(cohort, "cardiomyopathy") | column(cohort, "hypertrophy") | (column(cohort, "infarct_extent") > 0)
    plain = ~findings & (column(cohort, "conduction") != "lbbb")
    for sex, mean in (("m", 0.58), ("f", 0.61)):  # UK Biobank
        ef = column(cohort, "ef")[plain & (column(cohort, "sex") == sex)]
        assert ef.mean() == pytest.approx(mean, abs=0.012)
        assert ef.std() == pytest.approx(0.05, abs=0.005)


def test_right_bundle_branch_block_costs_nothing_and_left_some_points():
    def mean(conduction):
        forced = {"conduction": conduction, "qrsd_ms": 150.0 if conduction else 92.0, "cardiomyopathy": False}
        return np.mean([draw_physiology(np.random.default_rng(seed), **forced).ef for seed in range(200)])

    assert mean("rbbb") == pytest.approx(mean(""), abs=1e-9)
    assert mean("") - mean("lbbb") == pytest.approx(0.066, abs=0.005)


def test_mechanical_systole_follows_rate_and_repolarisation(cohort):
    es, rate = column(cohort, "t_es_ms"), column(cohort, "hr_bpm")
    assert np.corrcoef(es, rate)[0, 1] < -0.8
    width = np.maximum(column(cohort, "qrsd_ms") - 95, 0)
    female = column(cohort, "sex") == "f"
    qt = column(cohort, "qt_ms") - np.where(female, 511 - 1.8 * rate, 521 - 2.0 * rate) - 0.5 * width
    qs2 = es + 40 - np.where(female, 540 - 2.0 * rate, 541 - 2.2 * rate) - 0.3 * width
    slow = rate < 100
    assert np.corrcoef(qt[slow], qs2[slow])[0, 1] == pytest.approx(0.82, abs=0.03)


@pytest.mark.parametrize(("rate", "frame"), [(45, 14.3), (60, 17.3), (80, 20.2), (100, 21.5), (150, 26.7)])
def test_end_of_ejection_lies_where_systolic_intervals_put_it(rate, frame):
    rng = np.random.default_rng(1)
    patients = [draw_physiology(rng, hr_bpm=float(rate), qrsd_ms=93.0) for _ in range(300)]
    assert np.mean([50 * p.t_es_ms / p.rr_ms for p in patients]) == pytest.approx(frame, abs=0.9)


@pytest.mark.parametrize("rate", [42.0, 60.0, 85.0, 110.0, 180.0])
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
        assert np.abs(np.diff(curve)).max() < 0.02
        plateau = (time >= patient.t_es_ms) & (time <= patient.t_es_ms + patient.ivr_ms)
        assert np.allclose(curve[plateau], 1.0)
        assert np.allclose(volume_fraction(patient, time + 3 * patient.rr_ms), curve, atol=1e-6)
        assert (np.diff(curve[time <= patient.t_es_ms]) >= -1e-12).all()
        assert (np.diff(curve[time >= patient.t_es_ms]) <= 1e-12).all()


def test_the_atrial_kick_is_the_last_part_of_filling_and_absent_in_fibrillation():
    sinus = draw_physiology(np.random.default_rng(2), hr_bpm=55.0, atrial_fibrillation=False)
    kick = sinus.rr_ms - sinus.pr_ms - 40.0 + ATRIAL_DELAY_MS
    assert volume_fraction(sinus, [kick - 5.0])[0] == pytest.approx(sinus.atrial_fraction, abs=0.02)
    fibrillating = draw_physiology(np.random.default_rng(2), hr_bpm=55.0, atrial_fibrillation=True)
    assert fibrillating.atrial_fraction == 0.0
    assert np.isnan(fibrillating.pr_ms)
    assert volume_fraction(fibrillating, [fibrillating.rr_ms - 100.0])[0] < 0.02


def test_normal_hearts_empty_and_fill_as_in_cines():
    """Means of real normal and hypertrophic hearts at phase .1, .2 and .9: .30, .76, .11; failing ones start late."""
    phases = np.array([0.1, 0.2, 0.9])
    forced = {"conduction": "", "infarct_extent": 0.0, "atrial_fibrillation": False}

    def mean(**more):
        patients = [draw_physiology(np.random.default_rng(seed), **forced, **more) for seed in range(200)]
        return np.mean([volume_fraction(patient, phases * patient.rr_ms) for patient in patients], axis=0)

    assert mean(cardiomyopathy=False) == pytest.approx([0.30, 0.76, 0.11], abs=0.04)
    failing = mean(cardiomyopathy=True)
    assert failing[0] < 0.2
    assert failing[1] < 0.65


def test_diastasis_vanishes_at_high_rates():
    """Between the early wave and the atrial kick the volume stands still at 50, not at 130."""

    def slowest(rate):
        patient = draw_physiology(np.random.default_rng(3), hr_bpm=rate, atrial_fibrillation=False)
        time = np.linspace(patient.mitral_opening_ms + 20.0, patient.rr_ms - 20.0, 400)
        return np.abs(np.gradient(volume_fraction(patient, time), time)).min()

    assert slowest(50.0) < 2e-4
    assert slowest(130.0) > 5e-4


def test_the_closed_form_of_end_systole_is_the_centre_of_the_plateau():
    for seed in range(20):
        patient = draw_physiology(np.random.default_rng(seed))
        if patient.hr_bpm > 120:
            continue
        time = np.linspace(0.0, patient.rr_ms, 40001)
        low = time[volume_fraction(patient, time) >= 0.9]
        assert end_systole_ms(patient) == pytest.approx((low[0] + low[-1]) / 2, abs=0.5)


def test_the_oracle_floors_are_ordered_and_repeatable():
    floors = oracle_floors(3000, seed=3)
    with_ecg, without, constant = (floors[f"ef_mae_{name}_percent"] for name in ("with_ecg", "without_ecg", "constant"))
    assert with_ecg == pytest.approx(2.9, abs=0.3)
    assert with_ecg + 1.0 < without < constant
    assert floors["es_mae_with_ecg_frames"] < 0.6
    assert floors["es_mae_without_ecg_frames"] > 3 * floors["es_mae_with_ecg_frames"]
    assert floors["ef_win_probability"] > 0.6
    assert floors == oracle_floors(3000, seed=3)


@pytest.mark.parametrize(
    ("forced", "message"),
    [
        ({"ejection": 0.5}, "field of Physiology"),
        ({"infarct_territory": "septal", "infarct_extent": 0.2}, "territory must be one of"),
        ({"infarct_territory": "anterior", "infarct_extent": 0.0}, "territory and an extent"),
        ({"conduction": "wpw"}, "Conduction must be one of"),
        ({"rv_load": "both"}, "RV load must be one of"),
        ({"hr_bpm": 60.0, "rr_ms": 400.0}, "must outlast systole"),
    ],
)
def test_contradictory_overrides_are_refused(forced, message):
    with pytest.raises(CohortError, match=message):
        draw_physiology(np.random.default_rng(0), **forced)
