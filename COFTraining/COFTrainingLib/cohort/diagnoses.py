"""Diagnosis statements that stand beside an ECG: codes and phrases, to group subjects by; nothing else is read.

Three sources: the interpretation in CardioSoft's XML (UK Biobank field 20205) and in MUSE's, SNOMED CT codes in a WFDB
header (``# Dx: 426783006,59118001``, PhysioNet/CinC 2020–21), and SCP codes of PTB-XL's ``ptbxl_database.csv``.
Phrases are for matching alone: they may hold a name, and are shown and stored nowhere.
"""

import ast
import csv
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from COFGeneratorLib.errors import EcgError

SNOMED, SCP, WORDS = "SNOMED CT", "SCP", "device statement"
PTBXL_TABLE = "ptbxl_database.csv"
PTBXL_DEPTH = 4
"""Folders up from a recording in which the table is looked for (``records500/00000/00001_hr.hea``)."""
LEAST_LIKELIHOOD = 50.0
"""Percent, of a code of PTB-XL; 0 means that none was stated."""
MOST_STATEMENTS, LONGEST = 100, 300
HEADER_BYTES = 200_000
STATEMENTS = ("Interpretation/Diagnosis/DiagnosisText", "Diagnosis/DiagnosisStatement/StmtText")
"""Of CardioSoft and of MUSE, below the root or one level further down."""


@dataclass(frozen=True)
class Statement:
    """One statement: ``system`` is ``SNOMED``, ``SCP`` or ``WORDS``; ``code`` a code, or a phrase in small letters."""

    system: str
    code: str


def statements_of(ecg: Path) -> list[Statement]:
    """Return the statements that stand in or beside an ECG file; empty where there are none or they do not read."""
    ending = ecg.suffix.lower()
    try:
        if ending == ".xml":
            return _words(ecg)
        if ending in (".hea", ".mat", ".dat"):
            return _snomed(ecg.with_suffix(".hea")) or _scp(ecg)
    except (OSError, EcgError, ValueError):
        return []
    return []


def statements_in(text: str) -> list[Statement]:
    """Return the statements of a table's cell: SNOMED codes, or SCP codes with or without likelihood.

    Example:
        >>> statements_in("{'NORM': 80.0, 'SR': 0.0}")
        [Statement(system='SCP', code='NORM'), Statement(system='SCP', code='SR')]
    """
    text = text.strip()
    if text.startswith("{"):
        return _likely(text)
    parts = [part.strip() for part in re.split(r"[,;|\s]+", text) if part.strip()][:MOST_STATEMENTS]
    return [Statement(SNOMED if part.isdigit() and len(part) >= 6 else SCP, part.upper()) for part in parts]


def _words(path: Path) -> list[Statement]:
    from COFGeneratorLib.ecg.readers.xml_tree import parse

    root = parse(path.read_bytes())
    found = [element.text or "" for way in STATEMENTS for element in (*root.findall(way), *root.findall(f"*/{way}"))]
    phrases = [" ".join(text.lower().split())[:LONGEST] for text in found[:MOST_STATEMENTS]]
    return [Statement(WORDS, phrase) for phrase in dict.fromkeys(phrases) if phrase]


def _snomed(header: Path) -> list[Statement]:
    with header.open("rb") as file:
        lines = file.read(HEADER_BYTES).decode("ascii", errors="replace").splitlines()
    stated = [match[1] for line in lines if (match := re.match(r"#\s*Dx:\s*([\d,\s]+)$", line.strip()))]
    codes = [code.strip() for text in stated for code in text.split(",") if code.strip()]
    return [Statement(SNOMED, code) for code in dict.fromkeys(codes[:MOST_STATEMENTS])]


def _scp(ecg: Path) -> list[Statement]:
    for depth, folder in enumerate(ecg.resolve().parents):
        if depth > PTBXL_DEPTH:
            break
        table = folder / PTBXL_TABLE
        if table.is_file():
            key = ecg.resolve().with_suffix("").relative_to(folder).as_posix()
            return _likely(_table(table).get(key, "{}"))
    return []


@lru_cache(maxsize=2)
def _table(path: Path) -> dict[str, str]:
    """Return the codes by recording, at both sampling rates."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        return {
            row[name]: row.get("scp_codes") or "{}"
            for row in rows
            for name in ("filename_lr", "filename_hr")
            if row.get(name)
        }


def _likely(text: str) -> list[Statement]:
    """Return the codes of a dictionary of likelihoods whose likelihood is high enough, or not stated."""
    try:
        codes = ast.literal_eval(text)
        kept = [str(code) for code, share in codes.items() if not 0.0 < float(share) < LEAST_LIKELIHOOD]
    except (ValueError, SyntaxError, AttributeError, TypeError):
        return []
    return [Statement(SCP, code.upper()) for code in kept[:MOST_STATEMENTS]]
