"""Families of ECG files."""

from functools import partial
from pathlib import Path

from COFGeneratorLib.ecg import analyse_ecg, read_ecg
from COFGeneratorLib.errors import EcgError

from support.ecg_files import FORMATS
from support.ecg_writers import a_signal
from support.fuzzing import binaries, texts
from support.fuzzing.family import Damage, Family

XML = texts.in_text(texts.damaged_xml)
DAMAGES: dict[str, tuple[Damage, tuple[str, ...]]] = {
    "wfdb": (texts.in_text(partial(texts.damaged_lines, divided_by=r"[\s()/+:.]+")), (".hea",)),
    "csv": (texts.in_text(partial(texts.damaged_lines, divided_by=r"[,;\t]|: ")), (".csv",)),
    "dicom": (binaries.damaged_dicom, (".dcm",)),
    "edf": (binaries.damaged_edf, (".edf",)),
    "aecg": (XML, (".xml",)),
    "cardiosoft": (XML, ()),
    "muse": (XML, ()),
    "philips": (texts.in_text(texts.damaged_xml, "utf-16"), ()),
    "scp": (binaries.damaged_scp, (".scp",)),
    "matlab": (binaries.damaged_mat, (".mat",)),
}
ANALYSED = 40
"""Of so many inputs one is analysed, too, where it reads."""


def read(path: Path, number: int) -> object:
    """Read an ECG, and now and then analyse it."""
    record = read_ecg(path)
    return analyse_ecg(record) if number % ANALYSED == 0 else record


def _make(name: str, folder: Path) -> list[Path]:
    signal = a_signal(4.0)
    made = []
    for number, (form, write, _) in enumerate(FORMATS):
        if form == name:
            place = folder / str(number)
            place.mkdir()
            made.append(write(place, signal, 500.0))
    return made


FAMILIES = tuple(
    Family(f"ecg {name}", partial(_make, name), damage, read, EcgError, endings)
    for name, (damage, endings) in DAMAGES.items()
)
