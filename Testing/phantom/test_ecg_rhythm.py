"""When beats come: ectopy with its couplings and pauses, rates, and what makes a record unfit."""

import numpy as np
import pytest
from COFGeneratorLib.ecg import analyse_ecg
from COFGeneratorLib.ecg.pacing import find_spikes
from COFGeneratorLib.errors import CohortError
from COFTrainingLib.phantom.ecg_mishaps import MISHAPS, miswired, subtly_miswired
from COFTrainingLib.phantom.ecg_noise import electrode_noise
from COFTrainingLib.phantom.ecg_rhythm import ATRIAL, NORMAL, SHORTEST_COUPLING_MS, VENTRICULAR, draw_rhythm
from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg
from COFTrainingLib.phantom.lead_field import twelve_leads
from COFTrainingLib.phantom.physiology import draw_physiology

FS_HZ, SAMPLES = 500.0, 5000


def rhythm(seed, share=1.0, **forced):
    rng = np.random.default_rng(seed)
    patient = draw_physiology(rng, **{"atrial_fibrillation": False, "hr_bpm": 70.0} | forced)
    return draw_rhythm(patient, rng, SAMPLES, FS_HZ, share, 640.0)


def test_premature_beats_come_early_and_only_ventricular_ones_with_a_compensatory_pause():
    seen = {ATRIAL: 0, VENTRICULAR: 0}
    for seed in range(60):
        beats = rhythm(seed)
        rr = np.diff(beats.peaks) / beats.cycle
        for at in np.flatnonzero(beats.kinds[:-1] != NORMAL):
            kind = beats.kinds[at]
            seen[kind] += 1
            assert rr[at - 1] < 0.97
            assert rr[at - 1] * beats.cycle * 1000 / FS_HZ > SHORTEST_COUPLING_MS - 3
            if kind == VENTRICULAR:
                assert rr[at - 1] + rr[at] == pytest.approx(2.0, abs=0.05)
            else:
                assert 0.95 < rr[at] < 1.25
    assert min(seen.values()) > 10


def test_no_ectopy_is_drawn_where_none_is_asked():
    for seed in range(20):
        beats = rhythm(seed, share=0.0)
        assert (beats.kinds == NORMAL).all()
        assert np.diff(beats.peaks).std() < 0.06 * beats.cycle


@pytest.mark.parametrize("rate", [45.0, 110.0, 180.0])
def test_the_rate_is_kept(rate):
    beats = rhythm(3, share=0.0, hr_bpm=rate)
    assert 60.0 * FS_HZ / np.median(np.diff(beats.peaks)) == pytest.approx(rate, rel=0.02)


def channels_of(seed=0):
    rng = np.random.default_rng(seed)
    record, _ = synthesise_ecg(draw_physiology(rng), rng, noise=0.0, variation=0.0)
    return record.signal_mv[[0, 1, 6, 7, 8, 9, 10, 11]].astype(float)


def test_exchanged_arms_turn_lead_one_over_and_swap_ii_and_iii():
    channels = channels_of()
    before = twelve_leads(channels)
    for seed in range(30):
        after = twelve_leads(miswired(channels, "limb", np.random.default_rng(seed)))
        np.testing.assert_allclose(after[6:], before[6:])  # Wilson's terminal does not change
        np.testing.assert_allclose(after[0] + after[2], after[1], atol=1e-9)
        arms = np.allclose(after[0], -before[0])
        if arms:
            np.testing.assert_allclose(after[1], before[2], atol=1e-9)
            np.testing.assert_allclose(after[5], before[5], atol=1e-9)  # aVF stays
        else:  # right arm with leg
            np.testing.assert_allclose(after[1], -before[1], atol=1e-9)
            np.testing.assert_allclose(after[0], -before[2], atol=1e-9)


def test_an_inverted_record_and_exchanged_chest_leads_are_what_they_say():
    channels = channels_of()
    np.testing.assert_array_equal(miswired(channels, "inverted", np.random.default_rng(0)), -channels)
    np.testing.assert_array_equal(miswired(channels, "", np.random.default_rng(0)), channels)
    for seed in range(30):
        after = miswired(channels, "chest", np.random.default_rng(seed))
        np.testing.assert_array_equal(after[:2], channels[:2])
        order = [int(np.argmin(np.abs(channels[2:] - row).sum(axis=1))) for row in after[2:]]
        assert sorted(order) == list(range(6))
        moved = np.abs(np.array(order) - np.arange(6))
        assert moved.max() >= 2  # neighbours alone would not show


def test_exchanges_that_do_not_show_are_rare():
    channels = channels_of()
    rng = np.random.default_rng(1)
    changed = [not np.array_equal(subtly_miswired(channels, rng, 0.05), channels) for _ in range(600)]
    assert np.mean(changed) == pytest.approx(0.05, abs=0.03)


def test_a_paced_record_has_spikes_before_wide_complexes():
    found, wide = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        patient = draw_physiology(rng, hr_bpm=70.0, atrial_fibrillation=False, conduction="")
        record, peaks = synthesise_ecg(patient, rng, fs_hz=1000.0, noise=0.3, premature=0.0, mishap="paced")
        spikes = find_spikes(record.signal_mv, record.fs_hz)
        found.append(len(spikes) >= 0.5 * len(peaks))
        wide.append(analyse_ecg(record).qrsd_ms)
    assert sum(found) >= 4  # a 40-Hz filter hides some
    assert np.median(wide) > 135.0


def test_an_unknown_mishap_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(CohortError, match="mishap must be one of"):
        synthesise_ecg(draw_physiology(rng), rng, mishap="wet")
    assert MISHAPS[0] == ""


def test_trouble_befalls_some_records_and_none_without_noise():
    assert not electrode_noise(np.random.default_rng(0), 2000, FS_HZ, 0.0).any()
    spread = [np.ptp(electrode_noise(np.random.default_rng(seed), 5000, FS_HZ), axis=1).max() for seed in range(150)]
    assert np.median(spread) < 0.8
    assert np.mean(np.array(spread) > 0.8) == pytest.approx(0.2, abs=0.1)
