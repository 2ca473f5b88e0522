"""What is not an ECG, is damaged or means harm is refused with a reason, at once."""

import base64
import re
import struct
import time
import zlib

import numpy as np
import pytest
from COFGeneratorLib.ecg import read_ecg
from COFGeneratorLib.ecg.readers.leads import lead_name
from COFGeneratorLib.ecg.readers.source import MAX_BYTES
from COFGeneratorLib.ecg.record import LEADS, EcgRecord
from COFGeneratorLib.errors import EcgError
from support.ecg_writers import (
    aecg_text,
    cardiosoft_text,
    csv_text,
    dicom_bytes,
    edf_bytes,
    matlab_bytes,
    muse_text,
    philips_text,
    write_wfdb,
)
from support.scp_writer import scp_bytes


def _refused(path, match: str) -> str:
    begin = time.perf_counter()
    with pytest.raises(EcgError, match=match) as caught:
        read_ecg(path)
    assert time.perf_counter() - begin < 20.0
    assert caught.value.__cause__ is None
    return str(caught.value)


def _file(tmp_path, content, name="x.bin"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


# ---------------------------------------------------------------- names of leads


@pytest.mark.parametrize(
    ("spelt", "lead"),
    [
        ("AVR", "aVR"), ("avl", "aVL"), ("MDC_ECG_LEAD_AVF", "aVF"), ("MDC_ECG_LEAD_I", "I"), ("Lead II", "II"),
        ("Lead I (Einthoven)", "I"), ("lead iii", "III"), ("V1", "V1"), ("v6", "V6"), ("V-3", "V3"), ("C4", "V4"),
        ("DI", "I"), ("D2", "II"), ("ECG V5", "V5"), ("EKG aVR", "aVR"), ("V1 (uV)", "V1"), (" ii ", "II"),
        ("Lead aVL (Goldberger)", "aVL"), ("VF", "aVF"), ("I [mV]", "I"),
    ],
)  # fmt: skip
def test_spellings_of_a_lead(spelt, lead):
    assert lead_name(spelt) == (lead, 1.0)


def test_minus_avr_is_turned_over():
    assert lead_name("-aVR") == ("aVR", -1.0)


@pytest.mark.parametrize("spelt", ["", "V7", "vx", "X", "Marker", "V10", "resp", "IV", "aVX", "PLETH", "V1R", "time"])
def test_other_channels_are_no_leads(spelt):
    assert lead_name(spelt) is None


# ---------------------------------------------------------------- what is missing


def test_missing_limb_leads_are_derived_and_said(tmp_path, a_signal):
    keep = [0, 1, *range(6, 12)]
    path = _file(tmp_path, csv_text(a_signal[keep], 500.0, names=[LEADS[i] for i in keep]))
    record = read_ecg(path)
    assert np.abs(record.signal_mv - a_signal).max() < 1e-4
    assert any("III, aVR, aVL, aVF" in note and "derived" in note for note in record.warnings)


def test_lead_ii_is_derived_from_i_and_iii(tmp_path, a_signal):
    keep = [0, 2, *range(6, 12)]
    record = read_ecg(_file(tmp_path, csv_text(a_signal[keep], 500.0, names=[LEADS[i] for i in keep])))
    assert np.abs(record.signal_mv - a_signal).max() < 1e-4


@pytest.mark.parametrize("gone", ["V1", "V6"])
def test_eleven_leads_are_refused_where_the_twelfth_cannot_be_derived(tmp_path, a_signal, gone):
    keep = [i for i in range(12) if LEADS[i] != gone]
    path = _file(tmp_path, csv_text(a_signal[keep], 500.0, names=[LEADS[i] for i in keep]))
    assert gone in _refused(path, "Twelve standard leads")


def test_contradicting_limb_leads_are_told(tmp_path, a_signal):
    wrong = a_signal.copy()
    wrong[2] = -wrong[2]
    record = read_ecg(_file(tmp_path, csv_text(wrong, 500.0)))
    assert any("III contradicts" in note for note in record.warnings)
    assert np.abs(record.signal_mv - a_signal).max() < 1e-4


def test_a_lead_named_twice_is_refused(tmp_path, a_signal):
    names = [*LEADS[:11], "V5"]
    _refused(_file(tmp_path, csv_text(a_signal, 500.0, names=names)), "twice")
    names[-1] = "c5"
    _refused(_file(tmp_path, csv_text(a_signal, 500.0, names=names)), "V5 twice")


def test_nan_is_refused(tmp_path, a_signal):
    broken = a_signal.copy()
    broken[4, 100:150] = np.nan
    _refused(_file(tmp_path, csv_text(broken, 500.0)), "aVL misses")
    _refused(_file(tmp_path, matlab_bytes(broken, 500.0)), "aVL misses")


@pytest.mark.parametrize("shape", [(11, 5000), (12,), (5000, 12), (2, 12, 100)])
def test_a_record_of_another_shape_is_refused(shape):
    with pytest.raises(EcgError, match="12 leads"):
        EcgRecord(np.zeros(shape), 500.0)


@pytest.mark.parametrize("fs", [0.0, 20.0, 1e6, float("nan"), -500.0])
def test_an_impossible_rate_is_refused(fs, a_signal):
    with pytest.raises(EcgError, match="Sampling rate"):
        EcgRecord(a_signal, fs)


# ---------------------------------------------------------------- what is not an ECG


@pytest.mark.parametrize(
    "content",
    [b"", b"hello world\n", b"\x00" * 1000, b"\x89PNG\r\n\x1a\n" + b"\x00" * 500, b"PK\x03\x04" + b"\x00" * 300,
     b"<html><body>I, II, III</body></html>", b"%PDF-1.7\n", bytes(range(256)) * 20, b"a,b,c\n1,2,3\n",
     b"n+1\x00" * 100, b"\xff\xfe", b"<", b"0       " + b" " * 400, b"\x1f\x8b\x08\x00" * 20],
    ids=lambda content: repr(content[:8]),
)  # fmt: skip
def test_other_files_are_refused(tmp_path, content):
    _refused(_file(tmp_path, content, "ecg.xml"), "expected|must hold data")


def test_a_folder_or_nothing_is_refused(tmp_path):
    _refused(tmp_path, "a folder")
    _refused(tmp_path / "absent.xml", "nothing there")


def test_a_giant_file_is_refused_unread(tmp_path):
    path = tmp_path / "x.csv"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    _refused(path, "MiB")


def test_a_dicom_image_is_refused_by_name(tmp_path):
    import io

    import pydicom

    data = pydicom.dcmread(io.BytesIO(dicom_bytes(np.zeros((12, 600)), 500.0)))
    del data.WaveformSequence
    path = tmp_path / "x.dcm"
    data.save_as(path)
    _refused(path, "without waveforms")


def test_median_beats_alone_are_refused_by_name(tmp_path, a_signal):
    _refused(_file(tmp_path, cardiosoft_text(a_signal, 500.0, strip=False)), "median beats only")
    _refused(_file(tmp_path, muse_text(a_signal, 500.0, rhythm=False)), "median beat only")


def test_an_exercise_full_disclosure_of_three_leads_is_refused(tmp_path):
    text = (
        "<CardiologyXML><FullDisclosure><NumberOfChannels>3</NumberOfChannels><SampleRate>500</SampleRate>"
        '<Resolution units="uVperLsb">5</Resolution><LeadOrder>I,2,3</LeadOrder><FullDisclosureData>'
        + ",".join(["1,2,3"] * 500)
        + "</FullDisclosureData></FullDisclosure></CardiologyXML>"
    )
    _refused(_file(tmp_path, text), "found 3")


def test_a_full_disclosure_of_all_leads_is_read(tmp_path, a_signal):
    digits = np.round(a_signal.T * 200).astype(int)
    text = (
        "<CardiologyXML><FullDisclosure><SampleRate>500</SampleRate><Resolution>5</Resolution>"
        f"<LeadOrder>{','.join(LEADS)}</LeadOrder><FullDisclosureData>\n"
        + ",\n".join(",".join(map(str, row)) for row in digits)
        + ",</FullDisclosureData></FullDisclosure></CardiologyXML>"
    )
    assert np.abs(read_ecg(_file(tmp_path, text)).signal_mv - a_signal).max() < 0.003


# ---------------------------------------------------------------- XML that means harm


def _bomb(root: str) -> str:
    entities = (
        '<!ENTITY a "'
        + "ha" * 50
        + '">'
        + "".join(f'<!ENTITY {name} "{f"&{before};" * 20}">' for before, name in zip("abcdefg", "bcdefgh", strict=True))
    )
    return f"<?xml version='1.0'?><!DOCTYPE {root} [{entities}]><{root}><x>&h;</x></{root}>"


@pytest.mark.parametrize("root", ["CardiologyXML", "RestingECG", "restingecgdata", "AnnotatedECG"])
def test_xml_bombs_are_refused(tmp_path, root):
    _refused(_file(tmp_path, _bomb(root)), "entities")


@pytest.mark.parametrize("root", ["CardiologyXML", "RestingECG", "restingecgdata", "AnnotatedECG"])
def test_external_entities_are_refused(tmp_path, root):
    secret = tmp_path / "secret.txt"
    secret.write_text("plantedsecret")
    text = f'<!DOCTYPE {root} [<!ENTITY e SYSTEM "{secret.as_uri()}">]><{root}><x>&e;</x></{root}>'
    assert "plantedsecret" not in _refused(_file(tmp_path, text), "entities")


def test_endless_tags_are_refused(tmp_path):
    _refused(_file(tmp_path, b"<RestingECG>" + b"<a/>" * 1_100_000), "tags")


def test_deep_nesting_is_refused_or_survived(tmp_path):
    _refused(_file(tmp_path, b"<RestingECG>" + b"<a>" * 100_000 + b"</a>" * 100_000 + b"</RestingECG>"), "expected")


def test_cut_off_xml_is_refused(tmp_path, a_signal):
    text = aecg_text(a_signal, 500.0)
    _refused(_file(tmp_path, text[: len(text) // 2]), "Well-formed")


def test_latin_1_letters_in_undeclared_xml_are_read(tmp_path, a_signal):
    text = cardiosoft_text(a_signal, 500.0).replace("<PID>", "<Ort>München Größe</Ort><PID>")
    text = text.replace(' encoding="ISO8859-1"', "")
    assert read_ecg(_file(tmp_path, text.encode("latin-1"))).duration_s == 8.0
    assert read_ecg(_file(tmp_path, text.encode("utf-16"), "y.xml")).duration_s == 8.0


# ---------------------------------------------------------------- headers that lie


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("rec 12 500 4000", "rec 12 500 400000000", "claims|announced"),
        ("rec 12 500 4000", "rec 12 500 4100", "announced"),
        ("rec 12 500", "rec 9999999 500", "announces"),
        ("rec.dat", "../rec.dat", "elsewhere"),
        ("rec.dat", "/etc/passwd", "elsewhere"),
        ("rec.dat", "..", "elsewhere"),
        ("rec.dat", "absent.dat", "found none"),
        ("rec.dat", "x" * 300, "found none"),
        ("rec 12", "rec/3 12", "beside the header"),
        ("rec.dat 16", "rec.dat 516", "codings"),
        ("/mV", "/furlong", "another unit"),
    ],
)
def test_lying_wfdb_headers_are_refused(tmp_path, a_signal, old, new, match):
    path = write_wfdb(tmp_path, a_signal, 500.0)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    _refused(path, match)


def test_a_link_out_of_the_folder_is_refused(tmp_path, a_signal):
    inner = tmp_path / "inner"
    inner.mkdir()
    path = write_wfdb(inner, a_signal, 500.0)
    (inner / "rec.dat").rename(tmp_path / "outside.dat")
    (inner / "rec.dat").symlink_to(tmp_path / "outside.dat")
    _refused(path, "elsewhere")


def test_gigabyte_claims_in_a_kilobyte_are_refused(tmp_path, a_signal):
    # SCP: a lead of 4 billion samples; EDF: millions of records; MATLAB: 12 × 2³⁰ numbers; MUSE: a long stated count.
    scp = bytearray(scp_bytes(np.round(a_signal * 200).astype(int)))
    at = scp.find(struct.pack("<IIB", 1, 4000, 1))
    scp[at + 4 : at + 8] = struct.pack("<I", 4_000_000_000)
    _refused(_file(tmp_path, bytes(scp)), "claims")
    edf = bytearray(edf_bytes(a_signal, 500.0))
    edf[236:244] = b"99999999"
    _refused(_file(tmp_path, bytes(edf)), "announced")
    flags = struct.pack("<IIII", 6, 8, 6, 0)
    shape = struct.pack("<IIii", 5, 8, 12, 2**30)
    name, empty = struct.pack("<HH4s", 1, 3, b"val"), struct.pack("<II", 9, 0)
    body = flags + shape + name + empty
    data = b"MATLAB 5.0".ljust(124) + b"\x00\x01IM" + struct.pack("<II", 14, len(body)) + body
    _refused(_file(tmp_path, data), "numbers")
    muse = muse_text(a_signal, 500.0).replace("Total>4000<", "Total>4000000000<")
    _refused(_file(tmp_path, muse), "announced")


def test_compressed_bombs_are_refused(tmp_path, a_signal):
    bomb = zlib.compress(b"\x00" * 140_000_000, 1)
    data = b"MATLAB 5.0".ljust(124) + b"\x00\x01IM" + struct.pack("<II", 15, len(bomb)) + bomb
    _refused(_file(tmp_path, data), "inflate")
    deflated = dicom_bytes(a_signal, 500.0).replace(b"1.2.840.10008.1.2.1\x00", b"1.2.840.10008.1.2.1.99\x00"[:20])
    marked = deflated[:200] + b"1.2.840.10008.1.2.1.99" + deflated[222:]
    _refused(_file(tmp_path, marked), "deflated")
    # LZW grows by dictionary: 1,000 codes that each repeat the longest entry.
    bits = "".join(f"{code:010b}" for code in [0, *range(256, 1023), *[1022] * 40_000])
    chunk = int(bits + "0" * (-len(bits) % 8), 2).to_bytes((len(bits) + 7) // 8, "big")
    lead = struct.pack("<iHh", len(chunk), 1, 0) + chunk
    text = philips_text(a_signal, 500.0)
    text = re.sub(r">[A-Za-z0-9+/=]{1000,}<", f">{base64.b64encode(lead * 12).decode()}<", text)
    _refused(_file(tmp_path, text.encode("utf-16")), "claims|expected")


def test_wrong_units_are_refused(tmp_path, a_signal):
    _refused(_file(tmp_path, csv_text(a_signal * 1000.0, 500.0)), "Check the unit")
    _refused(_file(tmp_path, csv_text(a_signal, 500.0).replace("unit: mV", "unit: cm")), "unit")
    _refused(_file(tmp_path, edf_bytes(a_signal, 500.0).replace(b"uV ", b"mmH")), "another unit")


def test_a_table_without_a_rate_is_refused(tmp_path, a_signal):
    _refused(_file(tmp_path, csv_text(a_signal, 500.0).replace("# fs_hz: 500\n", "")), "fs_hz")


def test_a_table_with_time_gaps_is_refused(tmp_path, a_signal):
    lines = csv_text(a_signal, 500.0, time=True).splitlines()
    _refused(_file(tmp_path, "\n".join(lines[:500] + lines[600:])), "even steps")


def test_a_matlab_array_without_a_rate_or_of_another_shape_is_refused(tmp_path, a_signal):
    _refused(_file(tmp_path, matlab_bytes(a_signal, 500.0, compress=False).replace(b"fs", b"zz")), "sampling rate")
    from scipy.io import savemat

    savemat(tmp_path / "a.mat", {"val": a_signal})
    _refused(tmp_path / "a.mat", "sampling rate")
    savemat(tmp_path / "b.mat", {"val": a_signal[:11], "fs": 500.0})
    _refused(tmp_path / "b.mat", "12 × N")
    _refused(_file(tmp_path, b"\x89HDF\r\n\x1a\n" + b"\x00" * 100), "7.3")


def test_non_utf_8_tables_are_read_or_refused_cleanly(tmp_path, a_signal):
    text = csv_text(a_signal, 500.0).encode()
    assert read_ecg(_file(tmp_path, b"# Gr\xf6\xdfe\n" + text)).duration_s == 8.0
    _refused(_file(tmp_path, text + b"\xf6\xdf,1,2\n"), "Every row")
