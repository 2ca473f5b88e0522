"""Which peaks are beats: NeuroKit2's word on disturbed records, and pacing spikes that are none."""

import subprocess
import sys

import numpy as np
import pytest
from COFGeneratorLib.ecg import analyse_ecg, beats, detection
from COFGeneratorLib.ecg.pacing import drives_beats
from COFGeneratorLib.ecg.record import EcgRecord
from support.ecg_rhythms import make
from support.ecg_writers import beat_train

FS = 500.0


def test_neurokit_agrees_on_beats_and_not_on_what_lies_between():
    truth = np.arange(0.5, 9.5, 0.8)
    record = EcgRecord(beat_train(truth, 10.0, FS, waves=("q", "r", "s")), FS)
    seen = detection._look(detection._detection_signal(record))
    peaks = np.round(np.concatenate([truth, truth + 0.4]) * detection.DETECT_HZ).astype(int)
    agreement = detection._agreement(seen, peaks)
    assert agreement[: len(truth)].min() > 0.9
    assert agreement[len(truth) :].max() < 0.1


def test_an_artefact_of_one_lead_finds_no_agreement():
    truth = np.arange(0.5, 9.5, 0.8)
    signal = beat_train(truth, 10.0, FS, waves=("q", "r", "s"))
    middle = round(0.9 * FS)
    signal[8, middle - 10 : middle + 10] += 4.0 * np.hanning(20)
    seen = detection._look(detection._detection_signal(EcgRecord(signal, FS)))
    assert 0.0 < detection._agreement(seen, np.array([round(0.9 * detection.DETECT_HZ)]))[0] < detection.AGREED


def test_in_strong_noise_fewer_beats_are_made_up(monkeypatch):
    extra = {}
    for agreed in (detection.AGREED, 0.0):
        monkeypatch.setattr(detection, "AGREED", agreed)
        extra[agreed] = 0
        for seed in range(6):
            made = make(np.random.default_rng([seed, 10]), "sinus", 70.0, 10.0)
            found = detection.find_r_peaks(made.record)
            extra[agreed] += sum(np.abs(made.r_s - at).min() > 0.075 for at in found if 0.1 < at < 9.9)
    without = extra.pop(0.0)
    assert without > 0
    assert next(iter(extra.values())) <= 0.5 * without


def test_a_clear_record_is_read_without_loading_neurokit():
    code = (
        "import sys, numpy as np\n"
        "from COFGeneratorLib.ecg import analyse_ecg\n"
        "from COFGeneratorLib.ecg.record import EcgRecord\n"
        "from support.ecg_writers import beat_train\n"
        "analyse_ecg(EcgRecord(beat_train(np.arange(0.5, 10.0, 0.8), 10.0, 500.0), 500.0))\n"
        "print(sorted({'neurokit2', 'pandas', 'torch'} & set(sys.modules)))\n"
    )
    paths = [path for path in sys.path if path]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}\n{code}"],
        capture_output=True, encoding="utf-8", check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("paced", [False, True])
def test_what_looks_like_spikes_costs_no_beats(monkeypatch, paced):
    """Tips of steep QRS of some beats are bridged in the search for pacing only."""
    truth = np.arange(0.3, 9.8, 0.28)
    record = EcgRecord(beat_train(truth, 10.0, FS, waves=("q", "r", "s")), FS)
    spikes = np.round((truth[::4] if not paced else truth - 0.06) * FS).astype(int)
    monkeypatch.setattr(beats, "find_spikes", lambda *_: spikes)
    cycle = analyse_ecg(record)
    assert len(cycle.r_peaks_s) == len(truth)
    assert np.abs(cycle.r_peaks_s - truth).max() < 0.03
    assert ("paced" in cycle.rhythm) == paced


def test_a_second_spike_before_some_beats_hides_no_pacing():
    r_s = np.arange(0.4, 10.0, 0.9)
    stimuli = np.sort(np.concatenate([r_s - 0.097, r_s[::3] - 0.043]))
    assert drives_beats(stimuli, r_s)
    anywhere = np.sort(np.random.default_rng(4).uniform(0.0, 10.0, 20))
    assert not drives_beats(anywhere, r_s)
    assert not drives_beats(r_s[::3] - 0.097, r_s)
