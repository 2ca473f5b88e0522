"""What other devices and exporters make of the same formats: layouts seen in files of several makers."""

import re
import struct

import numpy as np
import pytest
from COFGeneratorLib.ecg import read_ecg
from COFGeneratorLib.ecg.record import LEADS
from COFGeneratorLib.errors import EcgError
from support.ecg_writers import aecg_text, cardiosoft_text, csv_text, dicom_bytes, muse_text, philips_text
from support.scp_writer import scp_bytes


def _read(tmp_path, content, name="x.bin"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return read_ecg(path)


def _like(record, signal, resolution=0.006):
    assert record.signal_mv.shape == signal.shape
    assert np.abs(record.signal_mv - signal).max() <= resolution


# ---------------------------------------------------------------- padding


@pytest.mark.parametrize(("before", "after"), [(0, 800), (500, 0), (600, 700)])
def test_zeros_at_the_ends_are_cut_off(tmp_path, a_signal, before, after):
    noisy = a_signal + np.random.default_rng(1).normal(0, 0.004, a_signal.shape).round(4)
    record = _read(tmp_path, csv_text(np.pad(noisy, ((0, 0), (before, after))), 500.0))
    assert abs(record.signal_mv.shape[1] - noisy.shape[1]) <= 2
    assert any("padding" in note for note in record.warnings)


def test_missing_samples_at_the_ends_are_cut_off_and_within_refused(tmp_path, a_signal):
    broken = a_signal.copy()
    broken[:, :40], broken[3, -25:] = np.nan, np.nan
    record = _read(tmp_path, csv_text(broken, 500.0))
    _like(record, a_signal[:, 40:-25])
    assert any("missing samples" in note for note in record.warnings)
    broken[:, 2000:2100] = np.nan
    with pytest.raises(EcgError, match="misses"):
        _read(tmp_path, csv_text(broken, 500.0))


# ---------------------------------------------------------------- DICOM

PADDING = (0x5400, 0x100A)


def _dicom(a_signal, change) -> bytes:
    import io

    import pydicom

    data = pydicom.dcmread(io.BytesIO(dicom_bytes(a_signal, 500.0)))
    change(data.WaveformSequence[0])
    out = io.BytesIO()
    data.save_as(out)
    return out.getvalue()


def test_dicom_padding_that_is_a_common_value_counts_at_the_ends_only(tmp_path, a_signal):
    def zero_is_padding(group):
        group.add_new(PADDING, "OW", struct.pack("<h", 0))

    moving = np.flatnonzero((a_signal != 0).any(axis=0))
    middle = a_signal[:, moving[0] : moving[-1] + 1]
    assert not (middle[:, [0, -1]] == 0).all(axis=0).any()
    _like(_read(tmp_path, _dicom(middle, zero_is_padding)), middle)

    def tail(group):
        samples = np.frombuffer(group.WaveformData, "<i2").reshape(-1, group.NumberOfWaveformChannels).copy()
        samples[-100:] = -32768
        group.WaveformData = samples.tobytes()
        group.add_new(PADDING, "OW", struct.pack("<h", -32768))

    _like(_read(tmp_path, _dicom(a_signal, tail)), a_signal[:, :-100])


@pytest.mark.parametrize("scheme", ["meaning", "mdc", "number", "scp", "label"])
def test_dicom_leads_are_found_by_any_code(tmp_path, a_signal, scheme):
    codes = {"I": 1, "II": 2, "III": 61, "aVR": 62, "aVL": 63, "aVF": 64, **{f"V{k}": k + 2 for k in range(1, 7)}}
    long = {"aVR": "aVR, augmented voltage, right", "aVL": "aVL, augmented voltage, left",
            "aVF": "aVF, augmented voltage, foot"}  # fmt: skip

    def change(group):
        for lead, channel in zip(LEADS, group.ChannelDefinitionSequence, strict=True):
            source = channel.ChannelSourceSequence[0]
            source.CodeMeaning = long.get(lead, f"Lead {lead}") if scheme == "meaning" else "electrode"
            source.CodeValue = {"mdc": f"2:{codes[lead]}", "number": str(2 * 65536 + codes[lead]),
                                "scp": f"5.6.3-9-{codes[lead]}"}.get(scheme, "x")  # fmt: skip
            channel.ChannelLabel = lead if scheme == "label" else ""

    _like(_read(tmp_path, _dicom(a_signal, change)), a_signal)


# ---------------------------------------------------------------- MUSE


def test_muse_with_twelve_leads_more_leads_or_an_unnamed_rhythm(tmp_path, a_signal):
    text = muse_text(a_signal, 500.0)
    lead = re.search(r"<LeadData>.*?</LeadData>", text[text.index("<WaveformType>Rhythm") :], re.DOTALL).group()
    added = "".join(lead.replace("<LeadID>I<", f"<LeadID>{name}<") for name in ("V3R", "III"))
    end = "</Waveform></RestingECG>"
    more = text.replace(end, added + end)
    record = _read(tmp_path, more)
    assert np.abs(record.signal_mv[2] - a_signal[0]).max() < 0.005  # III as stored, not derived
    unnamed = text.replace("<WaveformType>Rhythm</WaveformType>", "")
    _like(_read(tmp_path, unnamed), a_signal, 0.011)


def test_muse_rates_may_have_an_exponent_and_samples_a_windows_code_page(tmp_path, a_signal):
    text = muse_text(a_signal, 500.0).replace("<SampleBase>500<", "<SampleBase>5<")
    text = text.replace("<SampleExponent>0<", "<SampleExponent>2<").replace("ISO-8859-1", "windows-1252")
    assert _read(tmp_path, text.encode("cp1252")).fs_hz == 500.0


# ---------------------------------------------------------------- Philips, CardioSoft


@pytest.mark.parametrize("separator", [",", ", ", "\n", "  "])
def test_sierra_lead_labels_may_be_separated_in_any_way(tmp_path, a_signal, separator):
    text = philips_text(a_signal, 500.0).replace(" ".join(LEADS), separator.join(LEADS))
    _like(_read(tmp_path, text.encode("utf-16")), a_signal)


def test_sierra_files_may_be_utf_8_with_a_prefix(tmp_path, a_signal):
    text = philips_text(a_signal, 500.0).replace("utf-16", "utf-8")
    text = re.sub(r"<(/?)(?=[a-z])", r"<\1ph:", text).replace("xmlns=", "xmlns:ph=")
    _like(_read(tmp_path, text.encode("utf-8-sig")), a_signal)


def test_cardiosoft_with_more_leads_and_other_resolutions(tmp_path, a_signal):
    text = cardiosoft_text(a_signal, 500.0)
    extra = '<WaveformData lead="V3R">1,2,3</WaveformData></StripData>'
    _like(_read(tmp_path, text.replace("</StripData>", extra)), a_signal)
    other = text.replace('<Resolution units="uVperLsb">5<', '<Resolution units="mVperLsb">0.005<')
    _like(_read(tmp_path, other), a_signal)


# ---------------------------------------------------------------- annotated ECG


def test_aecg_without_a_unit_of_time_or_in_milliseconds(tmp_path, a_signal):
    text = aecg_text(a_signal, 500.0)
    assert (
        _read(tmp_path, text.replace('<increment value="0.002" unit="s"/>', '<increment value="0.002"/>')).fs_hz == 500
    )
    in_ms = text.replace('<increment value="0.002" unit="s"/>', '<increment value="2" unit="ms"/>')
    _like(_read(tmp_path, in_ms), a_signal)


def test_aecg_takes_the_longest_of_several_sets_of_all_leads(tmp_path, a_signal):
    text = aecg_text(a_signal, 500.0, derived=False)
    short = aecg_text(a_signal[:, :900], 500.0, derived=False)
    part = "<component><sequenceSet>"
    both = text.replace(
        part, short[short.index(part) : short.index("</sequenceSet>")] + "</sequenceSet></component>" + part
    )
    _like(_read(tmp_path, both), a_signal)


def _sets(text):
    """Return an aECG up to its first set of sequences, the set's time, its leads, and what follows."""
    found = re.search(r"<sequenceSet>(.*?)</sequenceSet>", text, re.DOTALL)
    time, *leads = re.findall(r"<component>.*?</component>", found.group(1), re.DOTALL)
    return text[: found.start()], time, leads, text[found.end() :]


@pytest.mark.parametrize("split", [True, False])
def test_aecg_s_derived_beat_is_never_the_rhythm_though_it_holds_more_leads(tmp_path, a_signal, split):
    before, time, leads, after = _sets(aecg_text(a_signal, 500.0))
    if split:
        sets = "</component><component>".join(f"<sequenceSet>{time}{lead}</sequenceSet>" for lead in leads)
    else:
        kept = [lead for lead in leads if not re.search(r"LEAD_(III|AVR|AVL|AVF)", lead)]
        sets = f"<sequenceSet>{time}{''.join(kept)}</sequenceSet>"
    (tmp_path / "a.xml").write_text(before + sets + after)
    record = read_ecg(tmp_path / "a.xml")
    assert record.signal_mv.shape == a_signal.shape
    np.testing.assert_allclose(record.signal_mv, a_signal, atol=1e-4)


def test_aecg_of_representative_beats_alone_is_refused(tmp_path, a_signal):
    text = aecg_text(a_signal, 500.0, derived=False).replace('code="RHYTHM"', 'code="REPRESENTATIVE_BEAT"')
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(EcgError, match="rhythm series is expected; found none"):
        read_ecg(tmp_path / "a.xml")


@pytest.mark.parametrize(("unit", "factor"), [("µs", 1e6), ("μs", 1e6), ("us", 1e6), ("ns", 1e9), ("ms", 1e3)])
def test_aecg_steps_in_any_unit_of_time(tmp_path, a_signal, unit, factor):
    text = aecg_text(a_signal, 500.0).replace('value="0.002" unit="s"', f'value="{0.002 * factor:g}" unit="{unit}"')
    (tmp_path / "a.xml").write_text(text, encoding="utf-8")
    assert read_ecg(tmp_path / "a.xml").fs_hz == 500.0


@pytest.mark.parametrize(("unit", "value"), [("V", 5e-6), ("mV/LSB", 5e-3), ("nVperLsb", 5000.0), ("uV per LSB", 5)])
def test_cardiosoft_resolution_in_any_unit_of_voltage(tmp_path, a_signal, unit, value):
    text = cardiosoft_text(a_signal, 500.0).replace('"uVperLsb">5<', f'"{unit}">{value}<')
    (tmp_path / "a.xml").write_text(text)
    np.testing.assert_allclose(read_ecg(tmp_path / "a.xml").signal_mv, a_signal, atol=1e-4)


@pytest.mark.parametrize("unit", ["microvolt", "uV", "µV"])
def test_muse_units_in_any_spelling(tmp_path, a_signal, unit):
    (tmp_path / "a.xml").write_text(muse_text(a_signal, 500.0).replace("MICROVOLTS", unit), encoding="latin-1")
    np.testing.assert_allclose(read_ecg(tmp_path / "a.xml").signal_mv, a_signal, atol=6e-3)


def test_aecg_origin_and_scale_may_have_other_units(tmp_path, a_signal):
    text = aecg_text(a_signal, 500.0).replace('<scale value="5" unit="uV"/>', '<scale value="5000" unit="nV"/>')
    _like(
        _read(tmp_path, text.replace('<origin value="0" unit="uV"/>', '<origin value="0.5" unit="mV"/>')),
        a_signal + 0.5,
    )


# ---------------------------------------------------------------- SCP


def _scp(a_signal, shift) -> bytes:
    data = bytearray(scp_bytes(np.round(a_signal * 200).astype(int)))
    for lead in range(12):
        at = data.find(struct.pack("<IIB", 1, a_signal.shape[1], [1, 2, 61, 62, 63, 64, 3, 4, 5, 6, 7, 8][lead]))
        assert at > 0
        data[at : at + 8] = struct.pack("<II", 1 + shift[lead], a_signal.shape[1] + shift[lead])
    return bytes(data)


def test_scp_leads_that_begin_a_little_later_are_brought_together(tmp_path, a_signal):
    shift = [0, 0, 0, 0, 0, 0, 5, 5, 5, 10, 10, 10]
    length = a_signal.shape[1] - 10
    later = np.stack([row[10 - late : 10 - late + length] for row, late in zip(a_signal, shift, strict=True)])
    _like(_read(tmp_path, _scp(a_signal, shift)), later)


def test_scp_leads_that_follow_one_another_are_refused(tmp_path, a_signal):
    shift = [4000 * (lead // 3) for lead in range(12)]
    with pytest.raises(EcgError, match="follow one another"):
        _read(tmp_path, _scp(a_signal, shift))
