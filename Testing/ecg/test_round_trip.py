"""The same record through every format comes back the same, and nothing that names a person comes with it."""

import dataclasses
import logging
import struct
import warnings

import numpy as np
import pytest
from COFGeneratorLib.ecg import analyse_ecg, read_ecg
from COFGeneratorLib.ecg.record import LEADS
from COFGeneratorLib.ecg.summary import summary
from COFGeneratorLib.errors import EcgError
from support.ecg_writers import (
    PERSON,
    a_signal,
    csv_text,
    dicom_bytes,
    edf_bytes,
    matlab_bytes,
    philips_text,
    write_wfdb,
)
from support.scp_writer import scp_bytes

SPELT = ["MDC_ECG_LEAD_I", "ii", "Lead III", "AVR", "avl", "VF", "C1", "v2", "V3 (mV)", "ECG V4", "v 5", "V6-ref"]


def test_every_format_gives_the_signal_back_to_its_resolution(tmp_path, a_signal, written):
    name, write, resolution = written
    record = read_ecg(write(tmp_path, a_signal, 500.0))
    assert record.source_format == name
    assert record.fs_hz == 500.0
    assert record.signal_mv.shape == a_signal.shape
    assert np.abs(record.signal_mv - a_signal).max() <= resolution
    assert len(record.source_sha256) == 64


def test_no_format_lets_a_person_through(tmp_path, a_signal, written, caplog, capsys):
    name, write, _ = written
    path = write(tmp_path, a_signal, 500.0)
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        record = read_ecg(path)
        said = repr(dataclasses.asdict(record)) + repr(summary(record, analyse_ecg(record)))
        data = bytearray(path.read_bytes())
        for cut in (len(data) // 3, 2 * len(data) // 3, len(data) - 40):
            damaged = tmp_path / f"damaged{path.suffix}"
            damaged.write_bytes(data[:cut])
            try:
                read_ecg(damaged)
            except EcgError as error:
                said += str(error) + repr(error.__cause__)
    printed = capsys.readouterr()
    said += caplog.text + printed.out + printed.err + " ".join(str(item.message) for item in caught)
    for value in PERSON.values():
        assert value not in said, f"{name} let a planted value through"


@pytest.mark.parametrize("fs", [100.0, 250.0, 1000.0, 2000.0])
def test_rates_from_100_to_2000_hz_are_kept(tmp_path, fs):
    signal = a_signal(4.0, fs)
    path = tmp_path / "x.dcm"
    path.write_bytes(dicom_bytes(signal, fs))
    record = read_ecg(path)
    assert record.fs_hz == fs
    assert np.abs(record.signal_mv - signal).max() < 0.0026


@pytest.mark.parametrize("which", ["rec.hea", "rec.dat", "rec"])
def test_a_wfdb_record_may_be_named_by_any_of_its_files(tmp_path, a_signal, which):
    write_wfdb(tmp_path, a_signal, 500.0)
    assert np.abs(read_ecg(tmp_path / which).signal_mv - a_signal).max() < 0.001


@pytest.mark.parametrize(
    "options",
    [
        {"unit": "uV"}, {"separator": ";"}, {"separator": "\t"}, {"time": True},
        {"names": SPELT},
    ],
    ids=["microvolt", "semicolon", "tab", "time column", "spellings"],
)  # fmt: skip
def test_a_table_may_be_written_in_several_ways(tmp_path, a_signal, options):
    path = tmp_path / "x.txt"
    path.write_text(csv_text(a_signal, 500.0, **options))
    record = read_ecg(path)
    assert record.fs_hz == 500.0
    assert np.abs(record.signal_mv - a_signal).max() < 1e-4


def test_a_decimal_comma_and_utf_16_are_read(tmp_path, a_signal):
    path = tmp_path / "x.csv"
    text = csv_text(a_signal, 500.0, separator=";")
    head, _, body = text.partition("V6\n")
    path.write_bytes((head + "V6\n" + body.replace(".", ",")).encode("utf-16"))
    assert np.abs(read_ecg(path).signal_mv - a_signal).max() < 1e-4


def test_shuffled_columns_and_extra_ones_come_back_in_order(tmp_path, a_signal):
    order = np.random.default_rng(0).permutation(12)
    names = [LEADS[i] for i in order]
    path = tmp_path / "x.csv"
    lines = csv_text(a_signal[order], 500.0, names=names).splitlines()
    start = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    lines = lines[:start] + [lines[start] + ",marker"] + [line + ",0" for line in lines[start + 1 :]]
    path.write_text("\n".join(lines))
    assert np.abs(read_ecg(path).signal_mv - a_signal).max() < 1e-4


@pytest.mark.parametrize("plus", [True, False])
@pytest.mark.parametrize("unit", ["uV", "mV"])
def test_edf_with_and_without_annotations(tmp_path, a_signal, plus, unit):
    path = tmp_path / "x.edf"
    path.write_bytes(edf_bytes(a_signal, 500.0, plus, unit))
    assert np.abs(read_ecg(path).signal_mv - a_signal).max() < 0.003


@pytest.mark.parametrize("version", ["1.03", "1.04.01"])
def test_sierra_padding_is_cut_off(tmp_path, a_signal, version):
    path = tmp_path / "x.xml"
    path.write_bytes(philips_text(a_signal, 500.0, version).encode("utf-16"))
    record = read_ecg(path)
    assert record.duration_s == 8.0
    assert any("padding" in note for note in record.warnings)


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("huffman", [False, True])
def test_scp_differences_raw_and_huffman(tmp_path, a_signal, order, huffman):
    digits = np.round(a_signal * 200).astype(int)
    path = tmp_path / "x.scp"
    path.write_bytes(scp_bytes(digits, order=order, huffman=huffman))
    record = read_ecg(path)
    assert not record.warnings
    assert np.array_equal(np.round(record.signal_mv * 200), digits)


def test_scp_bimodal_keeps_qrs_exactly_and_the_rest_nearly(tmp_path, a_signal):
    digits = np.round(a_signal * 200).astype(int)
    rs = (np.arange(0.5, 7.9, 60 / 66) * 500 + 1).astype(int)
    zones = [(r - 40, r + 40) for r in rs]
    path = tmp_path / "x.scp"
    path.write_bytes(scp_bytes(digits, zones=zones))
    record = read_ecg(path)
    assert record.fs_hz == 500.0
    assert any("one of 4 samples" in note for note in record.warnings)
    for first, last in zones:
        assert np.array_equal(np.round(record.signal_mv[:, first - 1 : last] * 200), digits[:, first - 1 : last])
    assert np.abs(record.signal_mv - a_signal).max() < 0.02


def test_scp_reference_beat_is_added_back(tmp_path, a_signal):
    digits = np.round(a_signal * 200).astype(int)
    rs = (np.arange(0.5, 7.5, 60 / 66) * 500 + 1).astype(int)
    beat = digits[:, rs[2] - 130 : rs[2] + 250].copy()
    path = tmp_path / "x.scp"
    path.write_bytes(scp_bytes(digits, reference=(beat, 131, rs.tolist())))
    assert np.array_equal(np.round(read_ecg(path).signal_mv * 200), digits)


def test_scp_reference_beat_and_bimodal_together(tmp_path, a_signal):
    digits = np.round(a_signal * 200).astype(int)
    rs = (np.arange(0.5, 7.5, 60 / 66) * 500 + 1).astype(int)
    beat = digits[:, rs[2] - 130 : rs[2] + 250].copy()
    # The last beat lies too near the end to be subtracted, but its QRS is protected.
    zones = [(r - 40, r + 40) for r in (*rs, rs[-1] + 454)]
    path = tmp_path / "x.scp"
    path.write_bytes(scp_bytes(digits, reference=(beat, 131, rs.tolist()), zones=zones))
    assert np.abs(read_ecg(path).signal_mv - a_signal).max() < 0.02


def test_an_altered_scp_file_is_told(tmp_path, a_signal):
    data = bytearray(scp_bytes(np.round(a_signal * 200).astype(int)))
    data[200] ^= 1
    path = tmp_path / "x.scp"
    path.write_bytes(data)
    assert any("checksum" in note for note in read_ecg(path).warnings)


@pytest.mark.parametrize("level", ["4", "5"])
@pytest.mark.parametrize("scale", [1.0, 1e-3, 1000.0], ids=["mV", "V", "uV"])
def test_matlab_unit_is_inferred_and_said(tmp_path, a_signal, level, scale):
    path = tmp_path / "x.mat"
    path.write_bytes(matlab_bytes(a_signal.T * scale, 500.0, level))
    record = read_ecg(path)
    assert np.abs(record.signal_mv - a_signal).max() < 1e-4
    assert any("inferred" in note for note in record.warnings)


def test_matlab_structures_and_stated_units_are_read(tmp_path, a_signal):
    from scipy.io import savemat

    path = tmp_path / "x.mat"
    savemat(path, {"ECG": {"data": a_signal * 1000, "fs": 500.0, "unit": "uV", "sex": "x"}})
    record = read_ecg(path)
    assert np.abs(record.signal_mv - a_signal).max() < 1e-4
    assert not any("inferred" in note for note in record.warnings)


def test_big_endian_dicom_is_read(tmp_path, a_signal):
    import io

    import pydicom

    data = pydicom.dcmread(io.BytesIO(dicom_bytes(a_signal, 500.0, median=False)))
    group = data.WaveformSequence[0]
    group.WaveformData = np.frombuffer(group.WaveformData, "<i2").astype(">i2").tobytes()
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.2"
    path = tmp_path / "x.dcm"
    pydicom.dcmwrite(path, data, implicit_vr=False, little_endian=False, force_encoding=True)
    assert np.abs(read_ecg(path).signal_mv - a_signal).max() < 0.003


def test_wfdb_format_212_is_read(tmp_path, a_signal):
    import wfdb

    wfdb.wrsamp(
        "r", fs=500, units=["mV"] * 12, sig_name=list(LEADS), p_signal=a_signal.T,
        fmt=["212"] * 12, adc_gain=[200.0] * 12, baseline=[0] * 12, write_dir=str(tmp_path),
    )  # fmt: skip
    assert np.abs(read_ecg(tmp_path / "r.hea").signal_mv - a_signal).max() < 0.003


def test_a_custom_huffman_table_is_followed():
    from COFGeneratorLib.ecg.readers.scp_huffman import decode_huffman, parse_tables

    # Two tables: 0 → 5, 10 → switch to the second; there 1 → −3, 0 → switch back. Codes are stored last bit first.
    body = struct.pack("<H", 2)
    body += struct.pack("<H", 2) + struct.pack("<BBBhI", 1, 1, 1, 5, 0) + struct.pack("<BBBhI", 2, 2, 0, 2, 0b01)
    body += struct.pack("<H", 2) + struct.pack("<BBBhI", 1, 1, 1, -3, 1) + struct.pack("<BBBhI", 1, 1, 0, 1, 0)
    assert decode_huffman(bytes([0b00101000]), 4, parse_tables(body)).tolist() == [5, 5, -3, 5]
