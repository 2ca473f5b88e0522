"""Comma-separated values, in a layout of ours that spreadsheets and scripts write without effort.

::

    # fs_hz: 500
    # unit: mV
    I,II,III,aVR,aVL,aVF,V1,V2,V3,V4,V5,V6
    0.012,0.034,…

Lines that begin with ``#`` may state ``fs_hz`` and ``unit`` (``mV``, the default, ``uV`` or ``V``); other comments are
ignored. The first other line names the columns in any order and spelling. A unit may also stand beside a name,
``V1 (uV)``. A column ``time_s`` or ``time_ms`` (also ``time``, ``t``: seconds) may state the rate instead of ``fs_hz``.
Comma, semicolon (then a decimal comma is allowed) or tab separate the columns; text is UTF-8, UTF-16 or Latin-1.
"""

import re

import numpy as np

from COFGeneratorLib.ecg.readers.leads import lead_name
from COFGeneratorLib.ecg.readers.source import MV_PER_UNIT, RawEcg, Source, check_count, number
from COFGeneratorLib.errors import EcgError

FORMAT = "csv"
_TIME = {"time": 1.0, "t": 1.0, "times": 1.0, "timesec": 1.0, "seconds": 1.0, "ts": 1.0, "timems": 1e-3, "ms": 1e-3}


def matches(source: Source) -> bool:
    """Tell by a header line that names at least two leads; binary files have NUL bytes or no such line."""
    text = source.head_text(16384)
    if source.data[:2] not in (b"\xff\xfe", b"\xfe\xff") and b"\x00" in source.data[:16384]:
        return False
    header = next((line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")), "")
    return sum(lead_name(name) is not None for name in _split(header, _separator(header))) >= 2


def read(source: Source) -> RawEcg:
    """Read the table.

    Raises:
        EcgError: If no rate is stated, a cell is not a number, or columns are missing.
    """
    lines = _text(source.data).splitlines()
    comments: dict[str, str] = {}
    start = 0
    for start, line in enumerate(lines):  # noqa: B007 - the position after the comments is used below
        if line.strip() and not line.lstrip().startswith("#"):
            break
        key, _, value = line.lstrip("# \t").partition(":" if ":" in line else "=")
        comments[key.strip().lower()] = value.strip()
    separator = _separator(lines[start])
    names = _split(lines[start], separator)
    body = [line for line in lines[start + 1 :] if line.strip() and not line.lstrip().startswith("#")]
    check_count(len(names) * len(body))
    values = _numbers(body, separator, len(names))

    default = _unit(comments.get("unit", comments.get("units", "mv")))
    raw = RawEcg({}, 0.0)
    time = None
    for name, column in zip(names, values.T, strict=True):
        if lead_name(name):
            beside = re.search(r"[(\[]\s*([^)\]]+?)\s*[)\]]|_(mv|uv|µv|v)$", name.strip().lower())
            unit = (beside.group(1) or beside.group(2)) if beside else ""
            spelt = re.sub(r"_(mv|uv|µv)$", "", name.strip(), flags=re.IGNORECASE)
            raw.add(spelt, column * MV_PER_UNIT.get(unit, default))
        elif re.sub(r"[^a-z]", "", name.lower()) in _TIME:
            time = column * _TIME[re.sub(r"[^a-z]", "", name.lower())]
    raw.fs_hz = _rate(comments, time)
    return raw


def _text(data: bytes) -> str:
    for encoding in ("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "latin-1"):
        try:
            return data.decode(encoding)
        except UnicodeError:
            continue
    raise EcgError("Text in UTF-8, UTF-16 or Latin-1 is expected; found another encoding. Save the table as UTF-8.")


def _separator(header: str) -> str:
    return max("\t;,", key=header.count)


def _split(line: str, separator: str) -> list[str]:
    return [cell.strip().strip('"').strip() for cell in line.split(separator)]


def _numbers(body: list[str], separator: str, columns: int) -> np.ndarray:
    """Parse all rows, (L, columns)."""
    if not body:
        raise EcgError("A table of samples is expected below the lead names; found no row. Export the recording again.")
    if separator != ",":
        body = [line.replace(",", ".") for line in body]
    try:
        values = np.loadtxt(body, delimiter=separator, ndmin=2, comments=None, dtype=np.float64, quotechar='"')
    except ValueError:
        raise EcgError(
            f"Every row must have {columns} numbers; found an empty cell, text, or another number of cells. "
            "Fill or cut the gap and export again."
        ) from None
    if values.shape[1] != columns:
        raise EcgError(
            f"Every row must have {columns} numbers as the header; found {values.shape[1]}. Export it again."
        )
    return values


def _unit(text: str) -> float:
    factor = MV_PER_UNIT.get(text.strip().lower())
    if factor is None:
        raise EcgError("The unit must be mV, uV or V; found another. Write '# unit: mV' above the header.")
    return factor


def _rate(comments: dict[str, str], time: np.ndarray | None) -> float:
    for key in ("fs_hz", "fs", "sampling_rate_hz", "sampling_rate", "sample_rate", "frequency"):
        stated = number(re.sub(r"\s*hz$", "", comments.get(key, ""), flags=re.IGNORECASE), 1e-3)
        if stated:
            return stated
    if time is None or len(time) < 2:
        raise EcgError("The sampling rate must be stated; found none. Write '# fs_hz: 500' or add a column time_s.")
    step = np.diff(time)
    middle = float(np.median(step))
    span = float(time[-1] - time[0])
    if not middle > 0 or not span > 0 or np.abs(step - middle).max() > max(0.5 * middle, 0.002):
        raise EcgError("The time column must rise in even steps; found gaps or jumps. Export without gaps.")
    # Rounded time stamps: the whole span tells the rate better than one step.
    rate = (len(time) - 1) / span
    return float(round(rate)) if abs(rate - round(rate)) < 2e-3 * rate else float(rate)
