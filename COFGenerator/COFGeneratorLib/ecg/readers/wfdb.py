"""WFDB records (PhysioNet): a ``.hea`` header beside ``.dat`` or ``.mat`` samples.

The header is checked here before the wfdb library opens any file: names must stay inside the folder, counts must be
possible for the size of the files. Any of the files, or the bare record name, may be named.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from COFGeneratorLib.ecg.readers.leads import lead_name
from COFGeneratorLib.ecg.readers.source import MAX_BYTES, MV_PER_UNIT, RawEcg, Source, check_count, number
from COFGeneratorLib.errors import EcgError

if TYPE_CHECKING:
    from wfdb import Record

FORMAT = "wfdb"
_RECORD_LINE = re.compile(r"^\s*([\w.\-]+)(/\d+)?\s+(\d+)(?:\s+([\d.eE+-]+)\S*(?:\s+(\d+))?)?(?:\s|$)")
_FORMAT_BITS = {"8": 8, "16": 16, "24": 24, "32": 32, "61": 16, "80": 8, "160": 16, "212": 12, "310": 11, "311": 11}
"""Coding of samples → bits a sample takes at least; compressed (FLAC) codings are not read."""


@dataclass(frozen=True)
class _Header:
    fs_hz: float
    samples: int
    signals: list[list[str]]


def matches(source: Source) -> bool:
    """Tell by the header's first line, or by a header beside the file that names it."""
    if b"\x00" not in source.data[:4096]:
        return _record_line(source.head_text(4096)) is not None
    return header_beside(source.path) is not None


def header_beside(path: Path) -> Path | None:
    """Return the WFDB header that names ``path`` as its samples, None if there is none."""
    header = path.with_suffix(".hea")
    if path.suffix == ".hea" or not header.is_file() or header.stat().st_size > 2**20:
        return None
    text = header.read_bytes().decode("latin-1")
    if _record_line(text) is None:
        return None
    named = {line.split()[0] for line in _content(text)[1:] if line.split()}
    return header if path.name in named else None


def read(source: Source) -> RawEcg:
    """Read the record whose header or samples were named.

    Raises:
        EcgError: If the header is unsafe, contradicts the files, or uses a coding not read here.
    """
    beside = header_beside(source.path) if b"\x00" in source.data[:4096] else None
    path = beside or source.path
    text = path.read_bytes() if beside else source.data
    header = _parse(text.decode("latin-1"))
    folder = path.parent
    wanted = [i for i, line in enumerate(header.signals) if lead_name(_description(line))]
    files = {header.signals[i][0] for i in wanted}
    digest = hashlib.sha256(text)
    for name in sorted(files):
        digest.update(_safe_file(folder, name).read_bytes())
    _check_sizes(header, folder, files)
    if not wanted:
        raise EcgError("Twelve standard leads are needed; the header names none. Name the leads in the .hea file.")

    import wfdb

    try:
        record = wfdb.rdrecord(str(folder / path.stem), channels=wanted)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, ZeroDivisionError, OSError, AttributeError):
        raise EcgError("A readable WFDB record is expected; header and samples contradict each other.") from None
    return _converted(record, digest.hexdigest())


def _converted(record: "Record", sha256: str) -> RawEcg:
    raw = RawEcg({}, float(record.fs), sha256=sha256)
    for name, unit, values in zip(record.sig_name, record.units, np.asarray(record.p_signal).T, strict=True):
        factor = MV_PER_UNIT.get((unit or "mV").strip().lower())
        if factor is None:
            raise EcgError("Leads in mV, µV or V are expected; found another unit. Correct the unit in the header.")
        raw.add(name, values * factor)
    return raw


def _content(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def _record_line(text: str) -> re.Match[str] | None:
    lines = _content(text)
    return _RECORD_LINE.match(lines[0]) if lines and len(lines[0]) < 400 and "," not in lines[0] else None


def _description(fields: list[str]) -> str:
    return " ".join(fields[8:])


def _parse(text: str) -> _Header:
    first = _record_line(text)
    if first is None:
        raise EcgError("A WFDB header begins with record name, signals and rate; found another line. Damaged?")
    if first.group(2):
        raise EcgError("A record in one piece is expected; found a multi-segment record. Name one of its segments.")
    count = int(first.group(3))
    rate = number(first.group(4), 1e-3) if first.group(4) else 250.0
    signals = [line.split() for line in _content(text)[1 : 1 + count]]
    if not 0 < count <= 64 or len(signals) != count or any(len(fields) < 2 for fields in signals) or rate is None:
        raise EcgError(
            f"{count} signal lines are announced in the header; found {len(signals)}. The header is damaged."
        )
    samples = int(first.group(5) or 0)
    check_count(max(samples, 1) * count)
    return _Header(rate, samples, signals)


def _safe_file(folder: Path, name: str) -> Path:
    """Return the path of a file named in a header, which must lie in the header's own folder."""
    plain = bool(re.fullmatch(r"[\w.\-+ ]+", name)) and name not in (".", "..")
    path = folder / name if plain else folder
    if not plain or path.resolve().parent != folder.resolve():
        raise EcgError(
            "Samples must lie beside their header; the header names a file elsewhere. Do not trust this file."
        )
    if not path.is_file():
        raise EcgError("The samples (.dat or .mat) must lie beside the header; found none. Copy both files together.")
    if path.stat().st_size > MAX_BYTES:
        raise EcgError(f"Samples may have up to {MAX_BYTES // 2**20} MiB; found more. Cut out the 10 s that matter.")
    return path


def _check_sizes(header: _Header, folder: Path, files: set[str]) -> None:
    for name in files:
        lines = [fields for fields in header.signals if fields[0] == name]
        need = 0.0
        for fields in lines:
            coding = re.match(r"(\d+)(?:x(\d+))?(?::\d+)?(?:\+(\d+))?$", fields[1])
            if coding is None or coding.group(1) not in _FORMAT_BITS:
                raise EcgError(
                    "Plain WFDB sample codings (16, 212, 80, …) are read; found another. Convert to format 16."
                )
            if int(coding.group(2) or 1) > 64 or int(coding.group(3) or 0) > MAX_BYTES:
                raise EcgError("The header states impossible frames or offsets. The header is damaged.")
            need += header.samples * int(coding.group(2) or 1) * _FORMAT_BITS[coding.group(1)] / 8
        size = (folder / name).stat().st_size
        if need > size + 3 * len(lines):
            raise EcgError(
                f"{need:.0f} bytes of samples are announced in the header; found {size}. The file is cut off."
            )
