"""Synthetic ECGs are electrically consistent and measure back as the latents say."""

import time

import numpy as np
import pytest
from COFGeneratorLib.ecg import analyse_ecg, cycle_from_peaks
from COFGeneratorLib.ecg.record import LEADS
from COFGeneratorLib.errors import CohortError
from COFTrainingLib.phantom.ecg_findings import weakness
from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg
from COFTrainingLib.phantom.heart_vector import normal_qrs, qrs_bounds_ms
from COFTrainingLib.phantom.lead_field import DOWER, draw_lead_field, draw_rotation, twelve_leads
from COFTrainingLib.phantom.physiology import draw_physiology
from COFTrainingLib.phantom.prevalence import Prevalence

HEALTHY = Prevalence(
    infarct=0, bundle_branch_block=0, atrial_fibrillation=0, hypertrophy=0, cardiomyopathy=0, rv_load=0, tachycardia=0,
    athlete=0,
)  # fmt: skip


def textbook(seed=0, **forced):
    """A clean record without variation between people, and its patient."""
    rng = np.random.default_rng(seed)
    forced = {"contractility": 0.0, "hr_bpm": 60.0} | forced
    patient = draw_physiology(rng, prevalence=HEALTHY, **forced)
    record, peaks = synthesise_ecg(patient, rng, noise=0.0, variation=0.0)
    return patient, cycle_from_peaks(record, peaks)


def lead(cycle, name, start_ms, stop_ms):
    row = cycle.beat_mv[LEADS.index(name)]
    first, last = (60 + round(moment / 4) for moment in (start_ms, stop_ms))
    return row[first:last]


def test_the_same_seed_gives_the_same_record():
    records = []
    for _ in range(2):
        rng = np.random.default_rng(9)
        records.append(synthesise_ecg(draw_physiology(rng), rng))
    np.testing.assert_array_equal(records[0][0].signal_mv, records[1][0].signal_mv)
    np.testing.assert_array_equal(records[0][1], records[1][1])


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_einthoven_and_goldberger_hold_exactly(noise):
    rng = np.random.default_rng(2)
    record, _ = synthesise_ecg(draw_physiology(rng), rng, noise=noise)
    i, ii, iii, avr, avl, avf = record.signal_mv[:6].astype(float)
    assert np.abs(i + iii - ii).max() < 1e-6
    assert np.abs(avr + avl + avf).max() < 1e-6
    assert np.abs(avl - (i - iii) / 2).max() < 1e-6


@pytest.mark.parametrize("rate", [45.0, 61.0, 80.0, 110.0])
def test_r_peaks_are_found_in_number_and_time(rate):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        patient = draw_physiology(rng, prevalence=HEALTHY, hr_bpm=rate, contractility=0.0)
        record, peaks = synthesise_ecg(patient, rng)
        inner = peaks[(peaks > 0.3 * 500) & (peaks < 9.6 * 500)] / 500.0
        cycle = analyse_ecg(record)
        nearest = np.abs(cycle.r_peaks_s[:, None] - inner).min(axis=0)
        assert np.median(nearest) < 0.035  # the analysis puts R where its own lead sum peaks
        assert nearest.max() < 0.12  # a premature beat is broad
        # A beat cut by the record's edge may count or not.
        assert len(inner) <= len(cycle.r_peaks_s) <= len(peaks) + 1
        assert cycle.rr_ms == pytest.approx(patient.rr_ms, rel=0.035)


def test_intervals_measure_back():
    errors = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        patient = draw_physiology(rng, prevalence=HEALTHY, contractility=0.0)
        cycle = cycle_from_peaks(*synthesise_ecg(patient, rng))
        errors.append((cycle.qrsd_ms - patient.qrsd_ms, cycle.qt_ms - patient.qt_ms, cycle.pr_ms - patient.pr_ms))
    bias, spread = np.nanmedian(errors, axis=0), np.nanmedian(np.abs(errors), axis=0)
    assert np.abs(bias).max() < 8.0
    assert spread.max() < 10.0


@pytest.mark.parametrize("conduction", ["lbbb", "rbbb"])
def test_bundle_branch_block_widens_qrs_with_its_own_signs(conduction):
    patient, cycle = textbook(conduction=conduction, qrsd_ms=150.0)
    assert cycle.qrsd_ms == pytest.approx(150.0, abs=12.0)
    assert patient.conduction_delay_ms == pytest.approx(44.0)
    if conduction == "lbbb":
        assert lead(cycle, "V1", -80, 90).max() < 0.15
        assert lead(cycle, "V6", -80, 20).min() > -0.05
        assert lead(cycle, "V6", 150, 350).min() < -0.1
    else:
        assert lead(cycle, "V1", 10, 110).max() > 0.25
        assert lead(cycle, "V6", 10, 110).min() < -0.2


@pytest.mark.parametrize(
    ("territory", "over", "far"),
    [("anterior", ("V2", "V3"), "aVF"), ("inferior", ("III", "aVF"), "V2"), ("lateral", ("I", "V6"), "III")],
)
def test_an_infarct_writes_q_waves_over_its_territory(territory, over, far):
    _, well = textbook()
    _, ill = textbook(infarct_territory=territory, infarct_extent=0.25)
    for name in over:
        before, after = (lead(cycle, name, -50, 0).min() for cycle in (well, ill))
        assert after < before - 0.25
    assert lead(ill, far, -50, 0).min() > lead(ill, over[0], -50, 0).min() + 0.2


def test_the_q_wave_grows_with_the_extent():
    depth = [
        lead(textbook(infarct_territory="inferior", infarct_extent=extent)[1], "aVF", -60, 0).min()
        for extent in (0.06, 0.15, 0.25, 0.34)
    ]
    assert (np.diff(depth) < -0.05).all()


def mean_beat(count=60, **forced):
    """The mean of many people's clean beats: what is left is what the latents write."""
    beats = []
    for seed in range(count):
        rng = np.random.default_rng([seed, 3])
        patient = draw_physiology(rng, prevalence=HEALTHY, hr_bpm=60.0, **{"contractility": 0.0} | forced)
        beats.append(cycle_from_peaks(*synthesise_ecg(patient, rng, noise=0.0, premature=0.0)))
    return beats


def sizes(beats, name, start_ms, stop_ms):
    return np.array([np.ptp(lead(cycle, name, start_ms, stop_ms)) for cycle in beats])


def test_a_weak_ventricle_is_spread_over_many_small_signs():
    weak, strong = (textbook(contractility=k)[1] for k in (4.0, 0.0))
    assert lead(weak, "V2", -50, 0).max() < 0.6 * lead(strong, "V2", -50, 0).max()  # R progression
    assert lead(weak, "V1", -170, -60).min() < lead(strong, "V1", -170, -60).min() - 0.03  # left-atrial P
    assert lead(weak, "V6", 150, 350).max() < 0.6 * lead(strong, "V6", 150, 350).max()  # T away from QRS
    assert lead(weak, "aVF", -50, 60).max() < lead(strong, "aVF", -50, 60).max()  # small limb leads


def test_the_size_of_t_varies_far_more_between_people_than_with_the_weakness():
    usual, weaker = mean_beat(), mean_beat(contractility=0.7)
    t_usual, t_weaker = (np.log(sizes(beats, "V4", 150, 380)) for beats in (usual, weaker))
    assert t_usual.std() > 0.3
    assert abs(t_usual.mean() - t_weaker.mean()) < 0.4 * t_usual.std()


def test_what_infarct_and_lbbb_cost_is_not_taken_for_a_weak_muscle():
    rng_seed = 12
    well = draw_physiology(np.random.default_rng(rng_seed), prevalence=HEALTHY)
    for forced in (
        {"infarct_territory": "anterior", "infarct_extent": 0.2, "cardiomyopathy": False},
        {"conduction": "lbbb", "qrsd_ms": 150.0},
        {"conduction": "rbbb", "qrsd_ms": 150.0},
    ):
        ill = draw_physiology(np.random.default_rng(rng_seed), prevalence=HEALTHY, **forced)
        assert weakness(ill) == pytest.approx(weakness(well), abs=0.05)
    forced_ef = draw_physiology(np.random.default_rng(rng_seed), prevalence=HEALTHY, ef=0.28)
    assert weakness(forced_ef) == pytest.approx(4.0, abs=0.01)  # eight points of EF each, from 60 %


def test_pressure_load_turns_the_axis_right_and_raises_r_in_v1():
    _, well = textbook()
    _, loaded = textbook(rv_load="pressure")
    assert loaded.axis_deg > well.axis_deg + 20.0
    assert lead(loaded, "V1", -40, 70).max() > lead(well, "V1", -40, 70).max() + 0.2
    assert lead(loaded, "V2", 180, 330).mean() < lead(well, "V2", 180, 330).mean() - 0.05


def test_atrial_fibrillation_has_no_p_and_an_irregular_rhythm():
    found = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        patient = draw_physiology(rng, atrial_fibrillation=True, hr_bpm=75.0)
        cycle = cycle_from_peaks(*synthesise_ecg(patient, rng, premature=0.0))
        assert cycle.rr_cv > 0.06
        found.append(cycle.p_wave_present)
    assert sum(found) <= 3  # fibrillation waves that happen to fall in step look like P


def test_hypertrophy_raises_voltage_only_weakly():
    voltage, mass = [], []
    rng = np.random.default_rng(6)
    for _ in range(150):
        patient = draw_physiology(rng)
        cycle = cycle_from_peaks(*synthesise_ecg(patient, rng))
        voltage.append(cycle.sokolow_mv)
        mass.append(patient.lv_mass_index)
    assert 0.1 < np.corrcoef(voltage, mass)[0, 1] < 0.5


def test_depolarisation_does_not_stretch_with_the_cycle():
    slow, fast = (textbook(hr_bpm=rate, qrsd_ms=95.0)[1] for rate in (45.0, 110.0))
    assert slow.qrsd_ms == pytest.approx(fast.qrsd_ms, abs=10.0)
    assert slow.qt_ms > fast.qt_ms + 80.0


def test_without_variation_the_torso_is_dowers():
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(draw_lead_field(rng, 0.0), DOWER)
    np.testing.assert_allclose(draw_rotation(rng, 0.0), np.eye(3))
    turn = draw_rotation(rng)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert twelve_leads(DOWER).shape == (12, 3)


def test_time_scaling_scales_the_measured_qrs():
    onset, _, offset = qrs_bounds_ms(normal_qrs())
    wide_onset, _, wide_offset = qrs_bounds_ms(normal_qrs().retimed(1.5))
    assert wide_offset - wide_onset == pytest.approx(1.5 * (offset - onset), abs=2.5)


def test_a_record_is_made_and_measured_fast_enough_to_train_on():
    rng = np.random.default_rng(0)
    patients = [draw_physiology(rng) for _ in range(30)]
    elapsed = []
    for patient in patients:
        start = time.process_time()
        cycle_from_peaks(*synthesise_ecg(patient, rng))
        elapsed.append(time.process_time() - start)
    assert np.median(elapsed) < 0.04


def test_records_too_short_or_too_coarse_are_refused():
    rng = np.random.default_rng(0)
    patient = draw_physiology(rng)
    with pytest.raises(CohortError, match="two R–R"):
        synthesise_ecg(patient, rng, duration_s=1.0)
    with pytest.raises(CohortError, match="100 Hz"):
        synthesise_ecg(patient, rng, fs_hz=60.0)
