"""Beats and waves against closed forms: where the Gaussians of the synthetic beat are is known exactly."""

import contextlib
import json
import time
from dataclasses import replace

import numpy as np
import pytest
from COFGeneratorLib.ecg import analyse_ecg, cycle_from_peaks
from COFGeneratorLib.ecg.average_beat import average_beat
from COFGeneratorLib.ecg.cycle import BEAT_R_SAMPLE, BEAT_SAMPLES, SCALAR_NAMES
from COFGeneratorLib.ecg.delineation import delineate, qt_from_rate_ms
from COFGeneratorLib.ecg.detection import find_r_peaks
from COFGeneratorLib.ecg.record import LEADS, EcgRecord
from COFGeneratorLib.ecg.summary import summary
from COFGeneratorLib.errors import EcgError
from support.ecg_writers import WAVES_MS, beat_train

FS = 500.0


def _record(r_s, seconds=10.0, fs=FS, noise_mv=0.0, seed=0, **options) -> EcgRecord:
    signal = beat_train(r_s, seconds, fs, **options)
    if noise_mv:
        noise = np.random.default_rng(seed).normal(0, noise_mv, signal.shape)
        noise[2] = noise[1] - noise[0]
        noise[3:6] = [-(noise[0] + noise[1]) / 2, noise[0] - noise[1] / 2, noise[1] - noise[0] / 2]
        signal = signal + noise
    return EcgRecord(signal, fs)


def _regular(hr_bpm, seconds=10.0, start=0.4):
    return np.arange(start, seconds, 60.0 / hr_bpm)


@pytest.mark.parametrize("hr_bpm", [45, 60, 90, 120, 150, 180])
@pytest.mark.parametrize("noise_mv", [0.0, 0.08])
def test_r_peaks_are_found_from_45_to_180_bpm(hr_bpm, noise_mv):
    # Beats of 120/min and more have no room for P and T of rest: they shrink to QRS and a part of T.
    waves = ("p", "q", "r", "s", "t") if hr_bpm < 110 else ("q", "r", "s")
    truth = _regular(hr_bpm)
    found = find_r_peaks(_record(truth, waves=waves, noise_mv=noise_mv))
    inside = truth[(truth > 0.1) & (truth < 9.9)]
    assert max(np.abs(found - peak).min() for peak in inside) < 0.075
    assert max(np.abs(truth - peak).min() for peak in found) < 0.075


@pytest.mark.parametrize("change", ["inverted", "low", "tall_t", "wander", "hum", "two_dead_chest_leads"])
def test_r_peaks_survive_what_recordings_do(change):
    truth = _regular(72.0)
    signal = beat_train(truth, 10.0, FS)
    time = np.arange(signal.shape[1]) / FS
    if change == "inverted":
        signal = -signal
    elif change == "low":
        signal = 0.15 * signal
    elif change == "tall_t":
        signal = signal + 3.0 * (signal - beat_train(truth, 10.0, FS, waves=("p", "q", "r", "s")))
    elif change == "wander":
        signal = signal + 0.8 * np.sin(2 * np.pi * 0.25 * time)
    elif change == "hum":
        signal = signal + 0.15 * np.sin(2 * np.pi * 50.0 * time)
    else:
        signal[[7, 10]] = np.random.default_rng(1).normal(0, 0.3, (2, signal.shape[1]))
    found = find_r_peaks(EcgRecord(signal, FS))
    assert len(found) == len(truth)
    assert np.abs(found - truth).max() < 0.075


def test_the_average_beat_has_r_at_sample_60_and_pq_at_zero():
    record = _record(_regular(66.0) + 0.0007, noise_mv=0.02)
    beat = average_beat(record.signal_mv, FS, np.round(_regular(66.0) * FS) + 4)
    assert beat.shape == (12, BEAT_SAMPLES)
    exact = beat_train([BEAT_R_SAMPLE / 250.0], BEAT_SAMPLES / 250.0, 250.0)
    part = slice(BEAT_R_SAMPLE - 10, BEAT_R_SAMPLE + 10)
    assert np.abs(beat[:, part] - exact[:, part]).max() < 0.13  # QRS below 60 Hz
    assert np.abs(np.median(beat[:, 40:46], axis=1)).max() < 0.03
    for lead, row in zip(LEADS, beat, strict=True):
        assert np.corrcoef(row[:180], exact[LEADS.index(lead), :180])[0, 1] > 0.97


@pytest.mark.parametrize("shift_s", [0.0, 0.0004, 0.0011, 0.0019])
def test_alignment_is_finer_than_a_sample(shift_s):
    truth = _regular(66.0) + shift_s
    cycle = cycle_from_peaks(_record(truth), np.round(truth * FS))
    offset = cycle.r_peaks_s - truth
    assert np.abs(offset - offset.mean()).max() < 0.0004
    assert abs(offset.mean()) < 0.004


@pytest.mark.parametrize("fs", [100.0, 250.0, 360.0, 500.0, 1000.0])
@pytest.mark.parametrize("noise_mv", [0.0, 0.03])
def test_waves_are_where_their_gaussians_are(fs, noise_mv):
    """Onsets and ends of a Gaussian wave lie 2 to 3 SD from its centre, whatever the rate of the record."""
    truth = _regular(60.0)
    cycle = cycle_from_peaks(_record(truth, fs=fs, noise_mv=noise_mv), truth * fs)
    slack = 6.0 if fs >= 250 else 10.0
    p, p_sd = WAVES_MS["p"]
    t, t_sd = WAVES_MS["t"]
    q, q_sd = WAVES_MS["q"]
    s, s_sd = WAVES_MS["s"]
    assert p - 3.0 * p_sd - slack < cycle.p_onset_ms < p - 1.6 * p_sd + slack
    assert q - 3.6 * q_sd - slack < cycle.qrs_onset_ms < q - 1.5 * q_sd + slack
    assert s + 1.5 * s_sd - slack < cycle.qrs_offset_ms < s + 3.6 * s_sd + slack
    assert cycle.t_peak_ms == pytest.approx(t, abs=2 * slack)
    assert t + 1.9 * t_sd - slack < cycle.t_end_ms < t + 3.2 * t_sd + slack
    assert cycle.t_end_source == "delineated"
    assert cycle.p_wave_present
    assert cycle.pr_ms == pytest.approx(cycle.qrs_onset_ms - cycle.p_onset_ms)


def test_shifting_t_shifts_its_end_by_as_much():
    ends = []
    for shift in (0.0, 40.0):
        signal = beat_train(_regular(60.0), 10.0, FS, waves=("p", "q", "r", "s"))
        signal = signal + beat_train(_regular(60.0) + shift / 1000.0, 10.0, FS, waves=("t",))
        ends.append(cycle_from_peaks(EcgRecord(signal, FS), _regular(60.0) * FS).t_end_ms)
    assert ends[1] - ends[0] == pytest.approx(40.0, abs=3.0)


def test_turning_the_heart_vector_over_leaves_the_times_alone():
    record = _record(_regular(60.0))
    one = cycle_from_peaks(record, _regular(60.0) * FS)
    two = cycle_from_peaks(EcgRecord(-record.signal_mv, FS), _regular(60.0) * FS)
    for name in ("p_onset_ms", "qrs_onset_ms", "qrs_offset_ms", "t_peak_ms", "t_end_ms"):
        assert getattr(one, name) == pytest.approx(getattr(two, name), abs=1e-6)
    assert abs(abs(one.axis_deg - two.axis_deg) - 180.0) < 1e-3


def test_without_t_its_end_comes_from_heart_rate_and_says_so():
    record = _record(_regular(75.0), waves=("p", "q", "r", "s"), noise_mv=0.01)
    cycle = cycle_from_peaks(record, _regular(75.0) * FS)
    assert cycle.t_end_source == "fallback"
    assert cycle.qt_ms == pytest.approx(qt_from_rate_ms(800.0), abs=2.0)


def test_without_p_there_is_no_pr():
    record = _record(_regular(70.0), waves=("q", "r", "s", "t"), noise_mv=0.01)
    cycle = analyse_ecg(record)
    assert not cycle.p_wave_present
    assert np.isnan(cycle.pr_ms)
    assert cycle.scalars()[SCALAR_NAMES.index("pr_ms")] == 0.0
    assert cycle.rhythm == "rhythm without P waves"


def test_a_long_pr_is_seen_before_the_window_of_the_beat():
    signal = beat_train(_regular(55.0), 10.0, FS, waves=("q", "r", "s", "t"))
    signal = signal + beat_train(_regular(55.0) - 0.11, 10.0, FS, waves=("p",))  # P centre at −280 ms
    cycle = analyse_ecg(EcgRecord(signal, FS))
    assert 270.0 < cycle.pr_ms < 310.0


def test_irregular_without_p_is_suspected_to_fibrillate():
    rng = np.random.default_rng(3)
    truth = 0.3 + np.cumsum(np.clip(0.75 * np.exp(0.22 * rng.standard_normal(12)), 0.45, 1.3))
    truth = truth[truth < 9.8]
    signal = beat_train(truth, 10.0, FS, waves=("q", "r", "s", "t"))
    time = np.arange(signal.shape[1]) / FS
    signal = signal + np.linspace(0.02, 0.07, 12)[:, None] * np.sin(2 * np.pi * 6.3 * time + np.sin(time))
    signal[2] = signal[1] - signal[0]
    signal[3:6] = [-(signal[0] + signal[1]) / 2, signal[0] - signal[1] / 2, signal[1] - signal[0] / 2]
    cycle = analyse_ecg(EcgRecord(signal, FS))
    assert "fibrillation suspected" in cycle.rhythm
    assert cycle.rr_cv > 0.12


def test_an_ectopic_beat_is_left_out_and_told():
    truth = _regular(66.0)
    early = 5
    truth[early] -= 0.3
    normal = np.ones(len(truth))
    normal[early] = 0.0
    signal = beat_train(truth, 10.0, FS, gain=normal)
    wide = beat_train([0.0 + 5.0], 10.0, FS, waves=("r", "s", "t"))
    shift = round((truth[early] - 5.0) * FS)
    stretched = np.roll(np.repeat(wide, 2, axis=1)[:, 2500:7500], shift, axis=1)
    signal = signal - 1.3 * stretched
    cycle = analyse_ecg(EcgRecord(signal, FS))
    assert len(cycle.r_peaks_s) == len(truth)
    assert not cycle.accepted[early]
    assert cycle.accepted.sum() == len(truth) - 1
    assert cycle.representative not in (early - 1, early)
    assert any("another shape" in note for note in cycle.warnings)


def test_the_representative_interval_has_the_median_length():
    rr = np.array([0.9, 0.95, 0.7, 0.9, 1.3, 0.9, 0.88, 0.92, 1.0])
    truth = np.concatenate([[0.3], 0.3 + np.cumsum(rr)])
    cycle = cycle_from_peaks(_record(truth, 9.0), truth * FS)
    # The early beat and the one after it are left out: the median of the other seven is 920 ms.
    assert cycle.rr_ms == pytest.approx(920.0, abs=2.0)
    assert cycle.cycle_mv.shape == (12, round(cycle.rr_ms * FS / 1000.0))
    assert np.abs(cycle.cycle_mv[LEADS.index("V4"), 0]) > 1.0  # begins at R


def test_a_beat_can_be_chosen_by_index_or_time():
    truth = np.array([0.4, 1.4, 2.2, 3.2, 4.2, 5.2, 6.2])
    record = _record(truth, 7.0)
    assert analyse_ecg(record, beat=1).rr_ms == pytest.approx(800.0, abs=3.0)
    assert analyse_ecg(record, at_s=1.9).representative == 1
    for wrong in ({"beat": 6}, {"beat": -1}, {"at_s": 0.1}, {"at_s": 6.5}):
        with pytest.raises(EcgError, match="one of 0–5" if "beat" in wrong else r"0\.4. to 6\.2. s in this record"):
            analyse_ecg(record, **wrong)


def test_voltages_and_axis_follow_the_leads():
    truth = _regular(60.0)
    cycle = cycle_from_peaks(_record(truth), truth * FS)
    assert cycle.sokolow_mv == pytest.approx(0.90 + 1.20, abs=0.25)
    assert 20.0 < cycle.axis_deg < 60.0
    tall = cycle_from_peaks(EcgRecord(2.0 * _record(truth).signal_mv, FS), truth * FS)
    assert tall.sokolow_mv == pytest.approx(2.0 * cycle.sokolow_mv, rel=1e-3)
    assert tall.qrsd_ms == pytest.approx(cycle.qrsd_ms, abs=1e-6)


@pytest.mark.parametrize(
    "limbs", ["arms", "right arm and left leg", "right arm for right leg", "left arm for right leg"]
)
def test_exchanged_limb_leads_are_suspected(limbs):
    signal = beat_train(_regular(66.0), 10.0, FS)
    one, two, three, avr, avl, avf = signal[:6].copy()
    still = 0.035 * two
    swapped = signal.copy()
    swapped[:6] = {
        "arms": [-one, three, two, avl, avr, avf],
        "right arm and left leg": [-three, -two, -one, avf, avl, avr],
        # The right leg is nearly at the potential of the left one.
        "right arm for right leg": [-three, still, three + still, three / 2, -three, three / 2],
        "left arm for right leg": [two - still, two, still, -two, two / 2, two / 2],
    }[limbs]
    cycle = analyse_ecg(EcgRecord(swapped, FS))
    assert any(f"swap suspected ({limbs})" in note for note in cycle.warnings), cycle.warnings
    assert not any("swap" in note for note in analyse_ecg(EcgRecord(signal, FS)).warnings)


def test_pacing_spikes_are_told_and_are_no_beats():
    truth = _regular(70.0)
    signal = beat_train(truth, 10.0, FS, waves=("q", "r", "s", "t"))
    for peak in truth[truth > 0.2]:
        at = round((peak - 0.06) * FS)
        signal[:, at : at + 1] += np.where(np.arange(12) % 3 == 0, -2.0, 2.5)[:, None]
    cycle = analyse_ecg(EcgRecord(signal, FS))
    assert "paced" in cycle.rhythm
    assert len(cycle.r_peaks_s) == len(truth)
    assert np.abs(cycle.r_peaks_s - truth).max() < 0.01


def test_a_record_without_pacing_has_no_spikes(a_record):
    from COFGeneratorLib.ecg.pacing import find_spikes

    assert len(find_spikes(a_record.signal_mv, a_record.fs_hz)) == 0


def test_quality_falls_with_noise():
    truth = _regular(66.0)
    values = [cycle_from_peaks(_record(truth, noise_mv=level), truth * FS).quality for level in (0.0, 0.1, 0.4)]
    assert values[0] > 0.95
    assert values[0] > values[1] > values[2]
    noisy = cycle_from_peaks(_record(truth, noise_mv=0.4), truth * FS)
    assert any("Noise" in note for note in noisy.warnings)


def test_one_flat_chest_lead_is_told_and_two_are_refused(a_signal):
    flat = a_signal.copy()
    flat[8] = 0.013
    cycle = analyse_ecg(EcgRecord(flat, FS))
    assert any("V3 is flat" in note for note in cycle.warnings)
    flat[9] = 0.0
    with pytest.raises(EcgError, match="V3, V4"):
        analyse_ecg(EcgRecord(flat, FS))


@pytest.mark.parametrize("lead", ["I", "II"])
def test_a_flat_limb_lead_is_refused(a_signal, lead):
    flat = a_signal.copy()
    flat[LEADS.index(lead)] = 0.0
    with pytest.raises(EcgError, match="flat"):
        analyse_ecg(EcgRecord(flat, FS))


def test_a_small_derived_lead_is_not_called_flat():
    """Lead III is nearly nothing where the axis stands across it; that is an axis, not a fault."""
    signal = beat_train(_regular(66.0), 10.0, FS)
    signal[1] = 1.01 * signal[0]
    signal[2] = signal[1] - signal[0]
    signal[3:6] = [-(signal[0] + signal[1]) / 2, signal[0] - signal[1] / 2, signal[1] - signal[0] / 2]
    assert not any("flat" in note for note in analyse_ecg(EcgRecord(signal, FS)).warnings)


def test_records_without_a_whole_beat_are_refused():
    with pytest.raises(EcgError, match="whole beat"):
        analyse_ecg(_record([0.2], 0.5))


def test_one_beat_needs_a_stated_rate():
    record = _record([0.4], 1.2)
    with pytest.raises(EcgError, match=r"complete R–R .*found 1 beat"):
        analyse_ecg(record)
    for stated in ({"hr_bpm": 75.0}, {"rr_ms": 800.0}):
        cycle = analyse_ecg(replace(record, stated=stated))
        assert cycle.rr_ms == pytest.approx(800.0)
        assert cycle.r_peaks_s[0] == pytest.approx(0.4, abs=0.02)
        assert cycle.qrsd_ms == pytest.approx(analyse_ecg(_record(_regular(75.0, 10.0), 10.0)).qrsd_ms, abs=25.0)
        assert cycle.quality < 0.5
        assert any("One beat only" in note for note in cycle.warnings)
    with pytest.raises(EcgError, match="complete R–R"):
        analyse_ecg(replace(record, stated={"hr_bpm": 400.0}))


def test_two_beats_give_one_cycle():
    cycle = analyse_ecg(_record([0.4, 1.2], 2.0))
    assert cycle.rr_ms == pytest.approx(800.0, abs=5.0)
    assert cycle.representative == 0
    assert any("Few beats" in note for note in cycle.warnings)
    json.dumps(summary(_record([0.4, 1.2], 2.0), cycle), allow_nan=False)
    with pytest.raises(EcgError, match="4000 ms apart"):
        cycle_from_peaks(_record([0.5, 4.5], 5.0), np.array([0.5, 4.5]) * FS)


@pytest.mark.parametrize("level", [0.0, 0.3])
def test_noise_without_beats_is_refused_or_of_low_quality(level):
    signal = np.random.default_rng(5).normal(0.0, 1.0, (12, 5000)) * level
    with contextlib.suppress(EcgError):
        assert analyse_ecg(EcgRecord(signal, FS)).quality < 0.5


def test_three_beats_are_enough():
    cycle = analyse_ecg(_record(_regular(60.0, 3.2), 3.2))
    assert cycle.hr_bpm == pytest.approx(60.0, abs=1.0)
    assert any("Few beats" in note for note in cycle.warnings)


def test_inputs_are_left_unchanged(a_record):
    before = a_record.signal_mv.copy()
    peaks = np.arange(250, 4000, 454.5)
    kept = peaks.copy()
    cycle_from_peaks(a_record, peaks)
    assert np.array_equal(a_record.signal_mv, before)
    assert np.array_equal(peaks, kept)


def test_delineation_needs_only_the_beat(a_record):
    peaks = np.arange(250, 4000, 500 * 60 / 66)
    beat = average_beat(a_record.signal_mv, FS, peaks)
    marks = delineate(beat, 909.0)
    cycle = cycle_from_peaks(a_record, peaks)
    assert marks.t_end_ms == pytest.approx(cycle.t_end_ms, abs=4.0)
    assert marks.qrs_onset_ms == pytest.approx(cycle.qrs_onset_ms, abs=2.0)


def test_a_long_record_takes_little_time():
    truth = _regular(70.0, 120.0)
    record = _record(truth, 120.0, noise_mv=0.02)
    begin = time.process_time()
    cycle = analyse_ecg(record)
    assert len(cycle.r_peaks_s) == len(truth)
    assert time.process_time() - begin < 5.0
