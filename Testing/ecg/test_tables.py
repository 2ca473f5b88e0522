"""One waveform in tables as spreadsheets, scripts and tools of several languages write them."""

import numpy as np
import pytest
from COFGeneratorLib.ecg import read_ecg
from COFGeneratorLib.ecg.record import LEADS
from COFGeneratorLib.errors import EcgError

FS_HZ = 500.0


def table(signal, names=LEADS, *, time=None, separator=",", scale=1.0, comma=False, cell="{:.4f}", quote=""):
    """Return header and rows; ``time`` is the name and factor of a first column."""

    def spelt(value, form=cell):
        text = form.format(value)
        return quote + (text.replace(".", ",") if comma else text) + quote

    rows = [separator.join([*([time[0]] if time else []), *names])]
    for n, values in enumerate(signal.T):
        first = [spelt(time[1] * n / FS_HZ, "{:.3f}")] if time else []
        rows.append(separator.join([*first, *map(spelt, values * scale)]))
    return "\n".join(rows)


GERMAN = [f"Ableitung {name} [µV]" for name in LEADS]
FRENCH = [f"Dérivation {name}" for name in LEADS]
TABLES = {
    "German spreadsheet": (
        {"names": GERMAN, "time": ("Zeit [ms]", 1000.0), "separator": ";", "scale": 1000.0, "comma": True},
        "sep=;\nPatient;\nDatum;1.1.\n{}", "cp1252",
    ),
    "French, tabs": ({"names": FRENCH, "time": ("Temps (s)", 1.0), "separator": "\t", "comma": True}, "{}", "utf-8"),
    "Spanish, decomposed": (
        {"names": [f"Derivacio\u0301n {name}" for name in LEADS], "time": ("tiempo", 1.0), "separator": ";"},
        "{}", "utf-8",
    ),
    "bars": ({"time": ("t", 1.0), "separator": "|"}, "{}", "utf-8"),
    "blanks": ({"time": ("time", 1.0), "separator": "   "}, "{}", "utf-8"),
    "blanks, decimal commas": ({"separator": " ", "comma": True}, "# fs: 0.5 kHz\n{}", "utf-8"),
    "quoted decimal commas": ({"time": ("time", 1.0), "quote": '"', "comma": True}, "{}", "utf-8"),
    "rate in words": ({}, "# Sampling frequency = 500 Hz\n{}", "utf-8"),
    "rate above": ({"separator": ";"}, "Abtastrate;500\n{}", "utf-8"),
    "minus sign": ({"cell": "{:.4f}\u2009"}, "# fs: 500\n{}", "utf-8"),
}  # fmt: skip


@pytest.mark.parametrize("kind", TABLES)
def test_one_waveform_reads_alike_from_tables_of_any_country(tmp_path, a_signal, kind):
    options, around, encoding = TABLES[kind]
    text = around.format(table(a_signal, **options)).replace("\u2009", "")
    if kind == "minus sign":
        text = text.replace("-", "\u2212")
    (tmp_path / "ecg.csv").write_bytes(text.encode(encoding))
    record = read_ecg(tmp_path / "ecg.csv")
    assert record.fs_hz == FS_HZ
    np.testing.assert_allclose(record.signal_mv, a_signal, atol=6e-4)


def test_units_in_brackets_below_the_names(tmp_path, a_signal):
    lines = table(a_signal, time=("Elapsed time", 1.0), separator="\t").splitlines()
    lines.insert(1, "\t".join(["  (seconds)", *["   (mV)"] * 12]))
    (tmp_path / "ecg.txt").write_text("\n".join(lines))
    np.testing.assert_allclose(read_ecg(tmp_path / "ecg.txt").signal_mv, a_signal, atol=6e-4)


@pytest.mark.parametrize("word", ["NA", "n/a", "null", "NaN", ""])
def test_words_for_a_missing_sample(tmp_path, a_signal, word):
    lines = table(a_signal, separator=";").splitlines()
    for n in range(1000, 1005):
        cells = lines[n].split(";")
        lines[n] = ";".join([*cells[:7], word, *cells[8:]])
    (tmp_path / "ecg.csv").write_text("# fs: 500\n" + "\n".join(lines))
    record = read_ecg(tmp_path / "ecg.csv")
    assert "5 missing samples" in " ".join(record.warnings)
    np.testing.assert_allclose(record.signal_mv, a_signal, atol=0.05)


def test_numbers_that_could_be_names_are_samples(tmp_path, a_signal):
    digits = np.round(a_signal * 1000.0)
    digits[:, 3] = np.arange(1, 13)
    rows = table(digits, cell="{:.0f}").splitlines()[1:]
    (tmp_path / "ecg.csv").write_text("\n".join(rows))
    record = read_ecg(tmp_path / "ecg.csv", rate_hz=FS_HZ)
    assert record.signal_mv.shape == digits.shape


def test_lines_without_names_are_no_table(tmp_path):
    (tmp_path / "ecg.csv").write_text("Patient;x\n" * 60 + ";".join(LEADS) + "\n0;0\n")
    with pytest.raises(EcgError, match="none of these"):
        read_ecg(tmp_path / "ecg.csv")
