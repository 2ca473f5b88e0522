"""Synthetic ECGs are electrically consistent and measure back as the latents say."""

import time

import numpy as np
import pytest
from COFGeneratorLib.ecg import analyse_ecg, cycle_from_peaks
from COFGeneratorLib.ecg.record import LEADS
from COFGeneratorLib.errors import CohortError
from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg
from COFTrainingLib.phantom.heart_vector import normal_qrs, qrs_bounds_ms
from COFTrainingLib.phantom.lead_field import DOWER, draw_lead_field, draw_rotation, twelve_leads
from COFTrainingLib.phantom.physiology import Prevalence, draw_physiology

HEALTHY = Prevalence(infarct=0, bundle_branch_block=0, atrial_fibrillation=0, hypertrophy=0)


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


def test_contractility_is_seen_in_t_waves_and_r_progression():
    weak, strong = (textbook(contractility=k)[1] for k in (1.5, -1.5))
    assert lead(weak, "V5", 150, 350).max() < 0.4 * lead(strong, "V5", 150, 350).max()
    assert lead(weak, "V2", -50, 0).max() < lead(strong, "V2", -50, 0).max()


def test_atrial_fibrillation_has_no_p_and_an_irregular_rhythm():
    found = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        patient = draw_physiology(rng, atrial_fibrillation=True, hr_bpm=75.0)
        cycle = cycle_from_peaks(*synthesise_ecg(patient, rng))
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
