"""Awkward recordings of real archives, each with its right answer; what each is stands in the folder's README."""

import numpy as np
import pytest
from COFGeneratorLib.ecg import analyse_ecg, read_ecg
from COFGeneratorLib.ecg.record import Doubt
from COFGeneratorLib.errors import EcgError

READ = [
    "b01_date.hea", "b03_nolen.hea", "b03b_len0.hea", "b04_latin.hea", "b04u_utf8.hea", "b04c_comment.hea",
    "b05_path.hea", "b06b_nounit.hea", "b07_counter.hea", "b08_desc.hea", "b10_gap.hea", "c01_mimicorder.mat",
    "d01_rdsamp.csv", "f01_dummy.edf", "f02_inverted.edf", "f03_label.edf", "f07_ecg1.edf", "g01_zero.scp",
    "g02_one.scp", "h01_15lead.xml", "h02_notype.xml", "h05_exp.xml", "i01_median_first.dcm", "i02_12bit.dcm",
    "i02b_12bit_ext.dcm", "i03_nul.dcm", "i05_noheader.dcm", "i06_8bit_ub.dcm", "i08_us.dcm", "i09_amb.dcm",
    "j01_ms.xml", "j02_split.xml", "j03_nl.xml", "j04_comma.xml", "j05_nounit.xml",
]  # fmt: skip
"""One waveform in many containers."""
COARSE = {"i06_8bit_ub.dcm": 0.021, "h01_15lead.xml": 0.011, "h02_notype.xml": 0.011, "h05_exp.xml": 0.011}
"""What the steps of a container cost, mV."""


@pytest.fixture(scope="session")
def cases(shared_data):
    folder = shared_data / "cases" / "ecg"
    if not folder.is_dir():
        pytest.skip("the awkward recordings are not on this machine")
    return folder


@pytest.fixture(scope="session")
def base(cases):
    return read_ecg(cases / "b01_date.hea")


@pytest.mark.parametrize("name", READ)
def test_one_waveform_reads_alike_from_every_container(cases, base, name):
    record = read_ecg(cases / name)
    assert (record.fs_hz, record.duration_s) == (500.0, 10.0)
    assert np.abs(record.signal_mv - base.signal_mv).max() <= COARSE.get(name, 0.0055) or name == "b10_gap.hea"
    assert np.median(np.ptp(record.signal_mv, axis=1)) == pytest.approx(1.33, abs=0.02)
    cycle = analyse_ecg(record)
    assert cycle.mean_hr_bpm == pytest.approx(79.0, abs=1.0)
    assert cycle.p_wave_present
    assert cycle.doubts == ()


def test_what_was_assumed_is_said(cases):
    said = {name: " ".join(read_ecg(cases / name).warnings) for name in ("b10_gap.hea", "c01_mimicorder.mat")}
    assert "5 missing samples in 1 gap" in said["b10_gap.hea"]
    assert "V2" in said["b10_gap.hea"]
    assert "I, II, III, aVR, aVF, aVL" in said["c01_mimicorder.mat"]


def test_segments_are_joined(cases, base):
    record = read_ecg(cases / "b09_multi.hea")
    assert np.array_equal(record.signal_mv, np.concatenate([base.signal_mv, base.signal_mv], axis=1))
    assert any("segments were joined" in note for note in record.warnings)


def test_a_scale_that_is_not_known_is_doubted_or_told(cases, base):
    record = read_ecg(cases / "b06_nogain.hea")
    assert Doubt.SCALE in record.doubts
    assert Doubt.SCALE in analyse_ecg(record).doubts
    assert any("scale is not known" in note for note in record.warnings)
    told = read_ecg(cases / "b06_nogain.hea", unit="uV")
    assert told.doubts == ()
    assert np.abs(told.signal_mv - base.signal_mv).max() < 1e-3


@pytest.mark.parametrize(("name", "match"), [("d05_apple.csv", "single"), ("f06_empty_dim.edf", "--unit")])
def test_what_cannot_be_read_is_refused_by_name(cases, name, match):
    with pytest.raises(EcgError, match=match):
        read_ecg(cases / name)


def test_a_unit_that_the_file_lacks_can_be_told(cases, base):
    assert np.abs(read_ecg(cases / "f06_empty_dim.edf", unit="mV").signal_mv - base.signal_mv).max() < 0.006


# file, beats (None: not counted), rate, P wave (None: not asked), PR in ms
BEATS = [
    ("k1_fast210.hea", None, 210.0, None, None),
    ("k2_js20000.hea", 19, 117.0, True, None),
    ("k3_edge_artefact.hea", 6, 51.0, True, 240.0),
    ("k4_one_noisy_lead.hea", 12, 69.0, True, 120.0),
]


@pytest.mark.parametrize("row", BEATS, ids=[row[0] for row in BEATS])
def test_fast_early_and_disturbed_beats(cases, row):
    name, count, rate, p_wave, pr_ms = row
    cycle = analyse_ecg(read_ecg(cases / name))
    assert cycle.mean_hr_bpm == pytest.approx(rate, abs=2.0)
    assert count is None or len(cycle.r_peaks_s) == count
    assert p_wave is None or cycle.p_wave_present == p_wave
    assert pr_ms is None or cycle.pr_ms == pytest.approx(pr_ms, abs=12.0)


def test_the_early_ventricular_beat_is_found_and_named(cases):
    cycle = analyse_ecg(read_ecg(cases / "k2_js20000.hea"))
    at = int(np.argmin(np.abs(cycle.r_peaks_s - 0.63)))
    assert abs(cycle.r_peaks_s[at] - 0.63) < 0.05
    assert cycle.kinds[at] == "ventricular"
    assert not cycle.accepted[at]


@pytest.mark.parametrize(
    ("name", "doubt", "words"),
    [("k5_v1v6_reversed.hea", Doubt.LEADS, "in reverse"), ("k6_inverted.hea", Doubt.POLARITY, "upside down")],
)
def test_doubtful_leads_are_said_and_can_be_put_right(cases, base, name, doubt, words):
    cycle = analyse_ecg(read_ecg(cases / name))
    assert cycle.doubts == (doubt,)
    note = next(note for note in cycle.warnings if words in note)
    remedy = note.rpartition("--leads=")[2]
    right = read_ecg(cases / name, leads=remedy.split(","))
    assert np.abs(right.signal_mv - base.signal_mv).max() < 0.006
    assert analyse_ecg(right).doubts == ()


ATTACKS = [
    "redos_leadname_parens.csv", "redos_csv_unit.csv", "redos_xml_root_comments.xml", "scp_64_tables.scp",
    "mat_16M_elements.mat", "wfdb_skew_100000000.hea", "zip_bz2_bomb.zip", "zip_name_7.zip", "zip_overlap.zip",
]  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_hostile_files_are_refused_soon_and_in_little_memory(cases, name):
    import resource
    import time

    begin, before_kb = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(EcgError):
        analyse_ecg(read_ecg(cases.parent / "attacks" / name))
    assert time.process_time() - begin < 5.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 500_000
