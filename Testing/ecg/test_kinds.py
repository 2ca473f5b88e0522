"""What archives and devices do to files, made with writers of our own: the kinds, not single files."""

import re
import struct
from itertools import permutations

import numpy as np
import pytest
from COFGeneratorLib.ecg import analyse_ecg, read_ecg
from COFGeneratorLib.ecg.readers.limb_relations import named_rows, put_right
from COFGeneratorLib.ecg.readers.source import unit_mv
from COFGeneratorLib.ecg.record import LEADS, Doubt, EcgRecord
from COFGeneratorLib.errors import EcgError
from support.ecg_writers import aecg_text, beat_train, csv_text, matlab_bytes, write_wfdb

FS = 500.0


def _write(folder, content, name="x.bin"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


# ---------------------------------------------------------------- WFDB


@pytest.mark.parametrize("coding", ["16", "61", "24", "32", "80", "160", "212", "310", "311"])
def test_every_coding_decodes_as_the_reference_library_does(tmp_path, coding):
    """The samples are written by the reference library where it can, and read by it for comparison."""
    import wfdb

    rng = np.random.default_rng(int(coding))
    limit = {"80": 120, "310": 500, "311": 500, "212": 2000}.get(coding, 8000)
    digits = rng.integers(-limit, limit, (501, 12))
    if coding in ("61", "160", "310", "311"):
        unsigned = digits.reshape(-1)
        if coding == "61":
            body = unsigned.astype(">i2").tobytes()
        elif coding == "160":
            body = (unsigned + 32768).astype("<u2").tobytes()
        else:
            groups = (unsigned.reshape(-1, 3) & 1023).astype(np.uint32)
            if coding == "311":
                body = (groups[:, 0] | groups[:, 1] << 10 | groups[:, 2] << 20).astype("<u4").tobytes()
            else:
                low = (groups[:, 0] << 1 & 0x7FF) | (groups[:, 2] & 31) << 11
                high = (groups[:, 1] << 1 & 0x7FF) | (groups[:, 2] >> 5) << 11
                body = np.stack([low, high], axis=1).astype("<u2").tobytes()
        (tmp_path / "rec.dat").write_bytes(body)
        lines = [f"rec.dat {coding} 1000/mV 16 0 0 0 0 {lead}" for lead in LEADS]
        (tmp_path / "rec.hea").write_text("rec 12 500 501\n" + "\n".join(lines) + "\n")
    else:
        wfdb.wrsamp(
            "rec", fs=500, units=["mV"] * 12, sig_name=list(LEADS), d_signal=digits, fmt=[coding] * 12,
            adc_gain=[1000.0] * 12, baseline=[0] * 12, write_dir=str(tmp_path),
        )  # fmt: skip
    theirs = wfdb.rdrecord(str(tmp_path / "rec")).p_signal.T
    assert np.abs(theirs - digits.T / 1000.0).max() < 1e-9
    from COFGeneratorLib.ecg.readers import wfdb as reader
    from COFGeneratorLib.ecg.readers.source import load

    ours = reader.read(load(tmp_path / "rec.hea")).signals_mv
    assert np.abs(np.stack([ours[lead] for lead in LEADS]) - theirs).max() < 1e-9


def test_differences_skew_offset_and_frames_of_several_samples(tmp_path, a_signal):
    digits = np.round(a_signal[:, :2000] * 200).astype(int)
    lines = [f"a.dat 16x2:{3 * (k == 1)}+24 200/mV 16 0 0 0 0 {LEADS[k]}" for k in range(12)]
    frames = digits.reshape(12, 1000, 2).copy()
    frames[1] = np.roll(frames[1], 3, axis=0)
    (tmp_path / "a.dat").write_bytes(b"\x01" * 24 + frames.transpose(1, 0, 2).astype("<i2").tobytes())
    record = read_ecg(_write(tmp_path, "a 12 250 1000\n" + "\n".join(lines), "a.hea"))
    assert record.fs_hz == FS
    assert np.abs(record.signal_mv - a_signal[:, : 2000 - 6]).max() < 0.003


@pytest.mark.parametrize("unit", ["µV", "μV", "uV", "UV", "microvolts"])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_micro_is_micro_in_every_encoding(tmp_path, a_signal, unit, encoding):
    path = write_wfdb(tmp_path, a_signal, FS)
    text = re.sub(r"1000(\.0)?\(0\)/mV", f"1(0)/{unit}", path.read_text())
    assert unit in text
    try:
        path.write_bytes(text.encode(encoding))
    except UnicodeEncodeError:
        pytest.skip("the letter is not in this encoding")
    assert np.abs(read_ecg(path).signal_mv - a_signal).max() < 0.0006


@pytest.mark.parametrize("word", ["", "furlong", "mm", "mV/s", "?V", "ampere"])
def test_other_words_are_no_voltage(word):
    assert unit_mv(word) is None


def test_names_with_a_folder_are_found_beside_the_header(tmp_path, a_signal):
    path = write_wfdb(tmp_path, a_signal, FS)
    text = path.read_text().replace("rec.dat", "records500/21000/rec.dat").replace("rec 12", "records500/21000/rec 12")
    path.write_text(text)
    assert np.abs(read_ecg(path).signal_mv - a_signal).max() < 0.0006


def test_segments_of_other_orders_and_a_layout_are_joined(tmp_path, a_signal):
    turned = a_signal[::-1]
    write_wfdb(tmp_path, a_signal, FS, "one")
    write_wfdb(tmp_path, turned, FS, "two")
    two = tmp_path / "two.hea"
    names = dict(zip([lead.lower() for lead in LEADS], [lead.lower() for lead in LEADS[::-1]], strict=True))
    lines = two.read_text().splitlines()
    lines[1:13] = [line.rsplit(" ", 1)[0] + " " + names[line.rsplit(" ", 1)[1]] for line in lines[1:13]]
    two.write_text("\n".join(lines))
    _write(tmp_path, "lay 12 500 0\n" + "\n".join(f"~ 0 1000/mV 0 0 0 0 0 {lead}" for lead in LEADS), "lay.hea")
    whole = _write(tmp_path, "all/3 12 500 8000\nlay 0\none 4000\ntwo 4000\n", "all.hea")
    record = read_ecg(whole)
    assert np.abs(record.signal_mv - np.concatenate([a_signal, a_signal], axis=1)).max() < 0.0006
    whole.write_text("all/4 12 500 8500\nlay 0\none 4000\n~ 500\ntwo 4000\n")
    with pytest.raises(EcgError, match=r"misses 1.00 s from 8.00 s"):
        read_ecg(whole)
    whole.write_text("all/2 12 500 8000\nall 4000\none 4000\n")
    with pytest.raises(EcgError, match="segments of its own"):
        read_ecg(whole)


@pytest.mark.parametrize(("samples", "bridged"), [(1, True), (20, True), (40, False)])
def test_short_gaps_are_bridged_and_long_ones_named(tmp_path, a_signal, samples, bridged):
    broken = a_signal.copy()
    broken[7, 1500 : 1500 + samples] = np.nan
    path = _write(tmp_path, csv_text(broken, FS))
    if bridged:
        record = read_ecg(path)
        assert np.isfinite(record.signal_mv).all()
        assert any(f"{samples} missing" in note and "V2" in note for note in record.warnings)
    else:
        with pytest.raises(EcgError, match=r"V2 misses 0\.08 s from 3\.00 s"):
            read_ecg(path)


def test_empty_cells_of_a_table_are_missing_samples(tmp_path, a_signal):
    broken = a_signal.copy()
    broken[0, 700], broken[7, 1500:1520], broken[11, 2000] = np.nan, np.nan, np.nan
    whole = read_ecg(_write(tmp_path, csv_text(a_signal, FS)))
    for separator in (",", ";", "\t"):
        text = csv_text(broken, FS, separator=separator).replace("nan", "")
        record = read_ecg(_write(tmp_path, text))
        assert np.abs(record.signal_mv - whole.signal_mv).max() < 0.05
        assert any("22 missing samples in 3 gap(s)" in note for note in record.warnings)


def test_a_gain_below_zero_turns_the_signal_back(tmp_path, a_signal):
    path = write_wfdb(tmp_path, a_signal, FS)
    plain = read_ecg(path)
    samples = path.with_suffix(".dat")
    (-np.fromfile(samples, "<i2")).astype("<i2").tofile(samples)
    text = path.read_text()
    assert " 1000.0(0)/mV" in text
    path.write_text(text.replace(" 1000.0(0)/mV", " -1000.0(0)/mV"))
    np.testing.assert_array_equal(read_ecg(path).signal_mv, plain.signal_mv)


def test_a_rate_that_is_not_stated_is_said_or_told(tmp_path, a_signal):
    path = write_wfdb(tmp_path, a_signal, FS)
    first, rest = path.read_text().split("\n", 1)
    path.write_text(" ".join(first.split()[:2]) + "\n" + rest)
    record = read_ecg(path)
    assert record.fs_hz == 250.0
    assert any("states no sampling rate; 250 Hz is taken" in note for note in record.warnings)
    told = read_ecg(path, rate_hz=FS)
    assert told.fs_hz == FS
    assert not any("states no sampling rate" in note for note in told.warnings)


# ---------------------------------------------------------------- arrays and tables without names


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 5, 4), (4, 0, 3, 1, 5, 2), (2, 1, 0, 5, 4, 3), (1, 0, 2, 4, 3, 5)])
def test_limb_leads_tell_their_own_order(tmp_path, a_signal, order):
    rows = [*order, *range(6, 12)]
    record = read_ecg(_write(tmp_path, matlab_bytes(a_signal[rows], FS)))
    assert np.abs(record.signal_mv - a_signal).max() < 1e-5
    assert any("not in the standard order" in note for note in record.warnings)


def test_every_order_of_the_limb_leads_is_told_apart(a_signal):
    noisy = a_signal + np.random.default_rng(3).normal(0, 0.002, a_signal.shape)
    for order in list(permutations(range(6)))[::23]:
        names, _ = named_rows(np.concatenate([noisy[list(order)], noisy[6:]]))
        assert names == (*(LEADS[k] for k in order), *LEADS[6:])


def test_cabrera_order_with_minus_avr_is_told(a_signal):
    cabrera = a_signal[[4, 0, 3, 1, 5, 2, *range(6, 12)]].copy()
    cabrera[2] *= -1.0
    names, note = named_rows(cabrera)
    assert names[:6] == ("aVL", "I", "-aVR", "II", "aVF", "III")
    assert note


def test_rows_that_no_order_explains_are_refused_with_the_option(tmp_path):
    noise = np.random.default_rng(1).normal(0, 0.5, (12, 4000))
    path = _write(tmp_path, matlab_bytes(noise, FS))
    with pytest.raises(EcgError, match="--leads"):
        read_ecg(path)
    assert read_ecg(path, leads=LEADS).signal_mv == pytest.approx(noise, abs=1e-5)


def test_named_limb_leads_that_contradict_are_put_right_or_doubted(a_signal):
    exchanged = a_signal[[0, 1, 2, 3, 5, 4]]
    right, note, doubted = put_right(exchanged)
    assert np.abs(right - a_signal[:6]).max() < 1e-9
    assert "aVL, aVF" in note
    assert not doubted
    one = a_signal[:6].copy()
    one[4] = np.random.default_rng(0).normal(0, 0.3, one.shape[1])
    right, note, doubted = put_right(one)
    assert np.abs(right - a_signal[:6]).max() < 1e-9
    assert "aVL contradicts" in note
    torn = np.random.default_rng(0).normal(0, 0.3, (6, 4000))
    assert put_right(torn)[2]


def test_a_table_without_names_is_an_array(tmp_path, a_signal):
    table = "\n".join(",".join(f"{value:.4f}" for value in row) for row in a_signal.T)
    path = _write(tmp_path, table, "a.csv")
    with pytest.raises(EcgError, match="--rate-hz"):
        read_ecg(path)
    record = read_ecg(path, rate_hz=FS)
    assert record.fs_hz == FS
    assert np.abs(record.signal_mv - a_signal).max() < 1e-3
    eight = "\n".join(",".join(f"{value:.4f}" for value in row) for row in a_signal[[0, 1, *range(6, 12)]].T)
    names = ("I", "II", *LEADS[6:])
    record = read_ecg(_write(tmp_path, eight, "b.csv"), leads=names, rate_hz=FS, unit="mV")
    assert np.abs(record.signal_mv - a_signal).max() < 1e-3


@pytest.mark.parametrize("time", ["0.000", "clock"])
@pytest.mark.parametrize("separator", [",", "\t"])
def test_tables_of_physionet_tools_are_read(tmp_path, a_signal, time, separator):
    def stamp(i):
        return f"{i / FS:.3f}" if time == "0.000" else f"'{int(i / FS) // 60}:{i / FS % 60:06.3f}'"

    head = separator.join(["'Elapsed time'", *(f"'{lead}'" for lead in LEADS)])
    units = separator.join(["'seconds'" if time == "0.000" else "'mm:ss.mmm'", *["'uV'"] * 12])
    rows = [separator.join([stamp(i), *(f"{v * 1000:.0f}" for v in row)]) for i, row in enumerate(a_signal.T)]
    cells = rows[700].split(separator)
    rows[700] = separator.join([*cells[:5], "-", *cells[6:]])
    record = read_ecg(_write(tmp_path, "\n".join([head, units, *rows]), "samples.csv"))
    assert record.fs_hz == pytest.approx(FS)
    assert np.abs(record.signal_mv - a_signal).max() < 0.05
    assert any("bridged" in note for note in record.warnings)


# ---------------------------------------------------------------- annotated ECG


def test_a_set_a_lead_is_joined_where_all_begin_together(tmp_path, a_signal):
    text = aecg_text(a_signal, FS, derived=False)
    time = re.search(r"<component><sequence><code code=\"TIME.*?</component>", text).group()
    sequences = re.findall(r"<component><sequence><code code=\"MDC.*?</component>", text)
    split = "".join(f"<component><sequenceSet>{time}{one}</sequenceSet></component>" for one in sequences)
    whole = re.search(r"<component><sequenceSet>.*</sequenceSet></component>", text).group()
    assert np.abs(read_ecg(_write(tmp_path, text.replace(whole, split))).signal_mv - a_signal).max() < 0.003
    later = iter(range(100))
    moved = re.sub("20200101100000.000", lambda _: f"202001011000{next(later):02d}.000", split)
    with pytest.raises(EcgError, match="recorded together"):
        read_ecg(_write(tmp_path, text.replace(whole, moved)))


# ---------------------------------------------------------------- what reading must not cost


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("blanks.xml", b" " * 4_000_000 + b"<?xml"),
        ("depth.xml", b"<AnnotatedECG>" + b"<sequenceSet>" * 50_000),
        ("sets.xml", b"<AnnotatedECG><series>" + b"<sequenceSet></sequenceSet>" * 60_000 + b"</series></AnnotatedECG>"),
        ("attributes.xml", b"<RestingECG " + b" ".join(b'a%d=""' % k for k in range(400_000)) + b"/>"),
        ("rows.csv", b"I,II,V1\n" + b"1\n" * 3_000_000),
        ("columns.csv", b"I,II," * 500_000 + b"\n1\n"),
        ("names.csv", b"I,II," + b"[" * 3_000_000 + b"\n1,2,3\n"),
        ("items.dcm", b"\x00" * 128 + b"DICM" + struct.pack("<HH2sHI", 0x5400, 0x100, b"SQ", 0, 0xFFFFFFFF)
         + struct.pack("<HHI", 0xFFFE, 0xE000, 0) * 100_000),
        ("header.hea", b"r/999999999 12 500 10\n" + b"x 1\n" * 50_000),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_work_is_bounded_before_it_is_done(tmp_path, name, content):
    import time

    begin = time.process_time()
    with pytest.raises(EcgError):
        read_ecg(_write(tmp_path, content, name))
    # A second or less on a core of one's own; shared ones count more.
    assert time.process_time() - begin < 10.0


# ---------------------------------------------------------------- beats


@pytest.mark.parametrize("place", ["begin", "middle"])
def test_calibration_pulses_are_no_beats(place):
    truth = np.arange(0.9, 10.0, 0.8)
    signal = beat_train(truth, 10.0, FS)
    first = 10 if place == "begin" else round((truth[4] + 0.45) * FS)
    signal[:, first : first + 60] = 1.0
    cycle = analyse_ecg(EcgRecord(signal, FS))
    assert len(cycle.r_peaks_s) == len(truth)
    assert any("calibration pulse" in note for note in cycle.warnings)


@pytest.mark.parametrize("lead", [0, 6, 10])
def test_an_artefact_of_one_lead_stays_its_own(lead):
    truth = np.arange(0.5, 10.0, 0.9)
    signal = beat_train(truth, 10.0, FS)
    rng = np.random.default_rng(lead)
    for at in (0.95, 3.3, 6.2, 8.9):
        first = round(at * FS)
        signal[lead, first : first + 100] += rng.normal(0, 10.0, 100).cumsum() / 4
    found = analyse_ecg(EcgRecord(signal, FS)).r_peaks_s
    assert len(found) == len(truth)
    assert np.abs(found - truth).max() < 0.03


@pytest.mark.parametrize(("apart", "doubt"), [("arms", Doubt.LEADS), ("all", Doubt.POLARITY), ("chest", Doubt.LEADS)])
def test_programs_are_told_what_is_doubted(apart, doubt):
    from support.ecg_rhythms import make

    flagged = 0
    for seed in range(4):
        signal = make(np.random.default_rng([seed, 5]), "sinus", 70.0).record.signal_mv.copy()
        assert analyse_ecg(EcgRecord(signal, FS)).doubts == ()
        if apart == "arms":
            signal[:6] = np.stack([-signal[0], signal[2], signal[1], signal[4], signal[3], signal[5]])
        elif apart == "chest":
            signal[6:] = signal[:5:-1].copy()
        else:
            signal = -signal
        flagged += doubt in analyse_ecg(EcgRecord(signal, FS)).doubts
    assert flagged == 4
