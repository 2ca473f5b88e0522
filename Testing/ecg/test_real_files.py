"""Every real recording reads with the right leads, voltages and rate, and its heart rate is found."""

import numpy as np
import pytest
from COFGeneratorLib.ecg import analyse_ecg, read_ecg

# file, format, Hz, s, HR stated by file or its documentation, whether all twelve leads are stored, resolution µV
FILES = [
    ("00001_lr.hea", "wfdb", 100, 10.0, None, True, 1.0),
    ("HR06000.hea", "wfdb", 500, 10.0, None, True, 1.0),
    ("HR06001.hea", "wfdb", 500, 10.0, None, True, 1.0),
    ("HR06004.hea", "wfdb", 500, 10.0, 71.0, True, 1.0),
    ("E07500.hea", "wfdb", 500, 10.0, None, True, 1.0),
    ("s0010_re.hea", "wfdb", 1000, 38.4, None, True, 1.0),
    ("cardiosoft_ukb_layout.xml", "cardiosoft", 500, 10.0, 74.0, True, 5.0),
    ("muse.xml", "muse", 500, 10.0, 48.0, False, 4.88),
    ("philips_sierra_1_04_01.xml", "philips", 500, 10.0, 64.0, True, 5.0),
    ("hl7_aecg.xml", "aecg", 500, 10.0, 71.0, True, 2.5),
    ("dicom_12lead.dcm", "dicom", 1000, 10.0, None, True, 1.25),
    ("scp_huffman.scp", "scp", 500, 10.0, 71.0, True, 2.5),
    ("code_15_1238362.mat", "matlab", 400, 7.335, None, True, 10.0),
]


@pytest.mark.parametrize("row", FILES, ids=[row[0] for row in FILES])
def test_a_real_file_reads_with_the_right_leads_unit_and_rate(shared_data, row):
    name, source_format, fs, seconds, _, stored, resolution = row
    record = read_ecg(shared_data / "ecg" / name)
    assert (record.source_format, record.fs_hz) == (source_format, fs)
    assert record.duration_s == pytest.approx(seconds, abs=0.01)
    x = record.signal_mv
    residual_uv = 1000.0 * np.mean(np.abs(x[1] - x[0] - x[2]))
    assert residual_uv <= 5.0, f"Einthoven residual {residual_uv:.1f} µV"
    assert 1000.0 * np.abs(np.median(x[3:6].sum(axis=0))) <= 2 * max(resolution, 2.5) + 1e-3
    assert stored or any("derived" in note for note in record.warnings)
    # A human heart in mV: R or S of some chest lead between 0.3 and 6 mV.
    assert 0.3 < np.abs(x[6:] - np.median(x[6:], axis=1, keepdims=True)).max() < 8.0


@pytest.mark.parametrize("row", FILES, ids=[row[0] for row in FILES])
def test_heart_rate_is_within_2_bpm_of_what_the_file_states(shared_data, row):
    name, _, _, seconds, hr, _, _ = row
    record = read_ecg(shared_data / "ecg" / name)
    cycle = analyse_ecg(record)
    if hr is None:
        # Not stated: the beats must fill the record evenly.
        assert np.diff(cycle.r_peaks_s).max() < 1.7 * np.median(np.diff(cycle.r_peaks_s))
        assert cycle.r_peaks_s[0] < 1.5
        assert cycle.r_peaks_s[-1] > seconds - 1.5
    else:
        assert cycle.hr_bpm == pytest.approx(hr, abs=2.0)
    if "hr_bpm" in record.stated:
        assert cycle.hr_bpm == pytest.approx(record.stated["hr_bpm"], abs=2.0)
    assert cycle.quality > 0.8


def test_measurements_agree_with_the_devices(shared_data):
    """Five devices, five recordings: PR, QRS duration, QT and axis stand near what each device printed."""
    errors = {"pr_ms": [], "qrsd_ms": [], "qt_ms": [], "axis_deg": []}
    for name in ("cardiosoft_ukb_layout.xml", "muse.xml", "philips_sierra_1_04_01.xml", "hl7_aecg.xml",
                 "dicom_12lead.dcm"):  # fmt: skip
        record = read_ecg(shared_data / "ecg" / name)
        cycle = analyse_ecg(record)
        for what, values in errors.items():
            values.append(getattr(cycle, what) - record.stated[what])
    for what, limit in (("pr_ms", 12.0), ("qrsd_ms", 12.0), ("qt_ms", 30.0), ("axis_deg", 15.0)):
        assert np.abs(errors[what]).max() <= limit, f"{what}: {np.round(errors[what], 1)}"
        assert abs(np.mean(errors[what])) <= limit / 2, f"{what}: {np.round(errors[what], 1)}"


def test_the_same_recording_in_two_formats_measures_the_same(shared_data):
    """The annotated ECG and the SCP file hold one recording."""
    one, two = (analyse_ecg(read_ecg(shared_data / "ecg" / name)) for name in ("hl7_aecg.xml", "scp_huffman.scp"))
    assert np.abs(one.beat_mv - two.beat_mv).max() < 0.003
    assert one.qt_ms == pytest.approx(two.qt_ms, abs=2.0)


def test_a_record_is_the_same_by_header_and_by_samples(shared_data):
    one, two = (read_ecg(shared_data / "ecg" / name) for name in ("E07500.hea", "E07500.mat"))
    assert np.array_equal(one.signal_mv, two.signal_mv)
    assert one.source_sha256 == two.source_sha256


def test_sierra_leads_agree_with_the_representative_beats_of_the_device(shared_data):
    """The device stores its own average beats uncompressed: an independent check of decompression and scale."""
    import base64

    from COFGeneratorLib.ecg.readers.xml_tree import parse
    from COFGeneratorLib.ecg.record import LEADS

    path = shared_data / "ecg" / "philips_sierra_1_04_01.xml"
    cycle = analyse_ecg(read_ecg(path))
    for element in parse(path.read_bytes()).iter("repbeat"):
        theirs = np.frombuffer(base64.b64decode(element.find("waveform").text), "<i2")[::4] * 1e-3
        ours = cycle.beat_mv[LEADS.index(element.get("leadname")), 20:180]
        best = max(range(len(theirs) - 160), key=lambda k: np.corrcoef(theirs[k : k + 160], ours)[0, 1])
        part = theirs[best : best + 160]
        assert np.corrcoef(part, ours)[0, 1] > 0.98
        assert np.ptp(ours) == pytest.approx(np.ptp(part), rel=0.08)
