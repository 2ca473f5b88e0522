"""Comma-separated values, in a layout of ours that spreadsheets and scripts write without effort, and in PhysioNet's.

::

    # fs_hz: 500
    # unit: mV
    I,II,III,aVR,aVL,aVF,V1,V2,V3,V4,V5,V6
    0.012,0.034,…

Lines that begin with ``#`` may state ``fs_hz`` and ``unit`` (``mV``, the default, ``uV`` or ``V``); other comments are
ignored. The first other line names the columns in any order and spelling, in quotes or not. A unit may also stand
beside a name, ``V1 (uV)``, or below it in a line of units, as ``rdsamp`` and the PhysioBank ATM write. A column of time
(``time_s``, ``time_ms``, ``time``, ``t``, ``Elapsed time``, ``Zeit [s]``) may state the rate instead of ``fs_hz``.
``-``, ``NA`` or nothing is a missing sample. Comma, semicolon, tab, bar or blanks separate the columns; all but the
comma, and quotes, allow a decimal comma. Lines before the names are passed over. Text is UTF-8, UTF-16 or Latin-1. A
table of twelve numbers a line without names is an array: see ``matlab.from_array``.
"""

import csv
import re
from itertools import product

import numpy as np

from COFGeneratorLib.ecg.readers.leads import lead_name
from COFGeneratorLib.ecg.readers.matlab import from_array
from COFGeneratorLib.ecg.readers.source import LONGEST_NAME, RawEcg, Source, Told, check_count, number, unit_mv
from COFGeneratorLib.errors import EcgError

FORMAT = "csv"
MOST_ROWS, MOST_COLUMNS = 600_000, 1024
MOST_LINES_BEFORE = 40
"""Lines that may stand above the names of the leads."""
_SECONDS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "second": 1.0, "sek": 1.0,
            "ms": 1e-3, "msec": 1e-3, "milliseconds": 1e-3, "us": 1e-6}  # fmt: skip
_TIME_WORDS = ("time", "t", "elapsedtime", "timestamp", "zeit", "temps", "tiempo", "tempo", "tijd", "tid")
_TIME = dict.fromkeys(_TIME_WORDS, 1.0) | {"seconds": 1.0, "ms": 1e-3}
_TIME |= {word + unit: factor for word, (unit, factor) in product(_TIME_WORDS, _SECONDS.items())}
_RATES = {"fshz", "fs", "samplingratehz", "samplingrate", "samplerate", "frequency", "samplingfrequency", "abtastrate",
          "samplefrequency", "samplingfrequencyhz"}  # fmt: skip
_MISSING = re.compile(r"(?<![\w.+-])(?:n/?a|null|none|missing)(?![\w.+-])", re.IGNORECASE)
_CLOCK = re.compile(r"\[?(?:\d{4}-\d\d-\d\d[T ])?(?:(\d{1,2}):)?(\d{1,4}):(\d{1,2}(?:\.\d{1,9})?)(?:\s[^\]]{1,20})?\]?")
_QUOTES = " \t\"'"
_SEPARATORS = "\t;,|"
_WORD = re.compile(r"[NnMm]")


def matches(source: Source) -> bool:
    """Tell by a header line that names at least two leads, or by numbers alone; binary files have NUL bytes."""
    if source.data[:2] not in (b"\xff\xfe", b"\xfe\xff") and b"\x00" in source.data[:16384]:
        return False
    lines = _content(source.head_text(16384))[:MOST_LINES_BEFORE]
    if not lines:
        return False
    if lines[0].count(_separator(lines[0])) >= MOST_COLUMNS:
        return False
    cells = _split(lines[0], _separator(lines[0]))
    if _names_leads(lines[0]) or _single_lead(lines):
        return True
    return len(cells) >= 8 and all(number(cell) is not None for cell in cells)


def read(source: Source) -> RawEcg:
    """Read the table.

    Raises:
        EcgError: If no rate is stated, a cell is not a number, or columns are missing.
    """
    text = _text(source.data)
    comments = _comments(text)
    body = _content(text)
    separator = _separator(body[0])
    names = _split(body[0], separator)
    told = source.told
    if _single_lead(body[:MOST_LINES_BEFORE]):
        raise EcgError("Twelve standard leads are needed; found a single one, as watches record. Use a 12-lead ECG.")
    if all(number(name) is not None for name in names):
        return _without_names(body, separator, comments, told)
    second = [cell.strip("()[]") for cell in _split(body[1], separator)] if len(body) > 1 else []
    units = second if len(second) == len(names) and _are_units(second) else []
    body, separator = _unquoted(body[2 if units else 1 :], separator)
    check_count(len(names) * len(body))

    default = unit_mv(told.unit) if told.unit else None
    default = default or _unit(comments.get("unit", comments.get("units", "mv")))
    leads = [(i, *_spelt(name)) for i, name in enumerate(names) if lead_name(_spelt(name)[0])]
    values = _numbers(body, separator, len(names), [i for i, _, _ in leads])
    raw = RawEcg({}, 0.0)
    for (i, spelt, beside), column in zip(leads, values.T, strict=True):
        below = unit_mv(units[i]) if units else None
        if units and units[i] and below is None:
            raise EcgError("The unit of each lead must be mV, uV or V; found another below its name. Correct it.")
        raw.add(spelt, column * (beside or below or default))
    timed = next((i for i, name in enumerate(names) if _letters(name) in _TIME), None)
    time = None
    if timed is not None and not told.rate_hz:
        stated = _TIME[_letters(names[timed])]
        step = _SECONDS.get(_letters(units[timed]), stated) if units else stated
        time = step * _times(body, separator, timed)
    raw.fs_hz = told.rate_hz or _rate(comments, time)
    return raw


def _without_names(body: list[str], separator: str, comments: dict[str, str], told: Told) -> RawEcg:
    columns = len(_split(body[0], separator))
    check_count(columns * len(body))
    values = _numbers(body, separator, columns, list(range(columns)))
    rate = told.rate_hz
    time = values[:, 0]
    if columns == (len(told.leads) or 12) + 1 and len(time) > 2 and (np.diff(time) > 0).all():
        values = values[:, 1:]
        rate = rate or _rate(comments, time)
    if values.shape[1] != (len(told.leads) or 12):
        raise EcgError(
            f"Twelve columns are expected in a table without names; found {columns}. Name them in the first line, or "
            "with --leads I,II,…"
        )
    stated = _unit(comments["unit"]) if "unit" in comments else None
    return from_array(values.T, rate or _rate(comments, None), stated, told)


def _lines(text: str) -> list[str]:
    """Return the lines of a text that has no more than a record may have.

    Raises:
        EcgError: If it has.
    """
    if text.count("\n") + text.count("\r") > 2 * MOST_ROWS:
        raise EcgError(f"A table of up to {MOST_ROWS:,} rows is expected; found more. Cut out the 10 s that matter.")
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _content(text: str) -> list[str]:
    """Return the lines of the table from its names on; columns that blanks separate are separated by tabs then."""
    lines = [line for line in _lines(text) if line.strip() and not line.lstrip().startswith("#")]
    begin = next((n for n, line in enumerate(lines[:MOST_LINES_BEFORE]) if _names_leads(line)), 0)
    lines = lines[begin:]
    if lines and not any(separator in lines[0] for separator in _SEPARATORS):
        lines = ["\t".join(line.split()) for line in lines]
    return lines


def _names_leads(line: str) -> bool:
    """Tell a line that names at least two leads."""
    if len(line) > MOST_COLUMNS * LONGEST_NAME:
        return False
    separator = _separator(line) if any(one in line for one in _SEPARATORS) else None
    cells = line.split() if separator is None else _split(line, separator)
    if all(number(cell) is not None for cell in cells):  # 1, 2, 3 may be names of leads, and samples
        return False
    return sum(lead_name(_spelt(name)[0]) is not None for name in cells[:MOST_COLUMNS]) >= 2


def _comments(text: str) -> dict[str, str]:
    """Return what the comments, and other lines, before the table state, by key in letters."""
    found: dict[str, str] = {}
    for count, line in enumerate(_lines(text)):
        plain = line.strip() and not line.lstrip().startswith("#")
        if plain and (_names_leads(line) or count >= MOST_LINES_BEFORE):
            break
        parts = re.split(r"[:=]" if not plain else r"[:=;,\t]", line.lstrip("# \t")[:4000], maxsplit=1)
        found[_letters(parts[0])] = parts[-1].strip(_QUOTES + ";,") if len(parts) > 1 else ""
    return found


def _single_lead(lines: list[str]) -> bool:
    """Tell the export of a watch: among its facts is a line ``Lead,Lead I``."""
    cells = (_split(line, ",") for line in lines)
    return any(len(cell) == 2 and cell[0].lower() == "lead" and lead_name(cell[1]) for cell in cells)


def _letters(name: str) -> str:
    plain = name[:LONGEST_NAME].lower().replace("µ", "u").replace("μ", "u")
    return "".join(letter for letter in plain if letter.isascii() and letter.isalpha())


def _spelt(name: str) -> tuple[str, float | None]:
    """Return the name of a column without the unit beside it, and the mV of that unit, None where there is none."""
    name = name[: LONGEST_NAME + 1].strip()
    for opening, closing in ("()", "[]"):
        before, found, inside = name.partition(opening)
        factor = unit_mv(inside.split(closing)[0]) if found else None
        if factor is not None:
            return before, factor
    before, _, last = name.rpartition("_")
    factor = unit_mv(last) if before else None
    return (before, factor) if factor is not None else (name, None)


def _are_units(cells: list[str]) -> bool:
    """Tell a line of units: no numbers, and at least one voltage."""
    return not any(number(cell) is not None for cell in cells) and any(unit_mv(cell) for cell in cells)


def _unquoted(body: list[str], separator: str) -> tuple[list[str], str]:
    """Return rows without the quotes that spreadsheets put around decimal commas, and what separates them then."""
    if separator != "," or not body or '"' not in body[0]:
        return body, separator
    return [";".join(cells) for cells in csv.reader(body, strict=True)], ";"


def _text(data: bytes) -> str:
    for encoding in ("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "latin-1"):
        try:
            return data.decode(encoding)
        except UnicodeError:
            continue
    raise EcgError("Text in UTF-8, UTF-16 or Latin-1 is expected; found another encoding. Save the table as UTF-8.")


def _separator(header: str) -> str:
    return max(_SEPARATORS, key=header.count)


def _split(line: str, separator: str) -> list[str]:
    return [cell.strip(_QUOTES) for cell in line.split(separator)]


def _numbers(body: list[str], separator: str, columns: int, wanted: list[int]) -> np.ndarray:
    """Parse the wanted columns of all rows, (L, wanted); an empty cell, or one of ``-``, is a missing sample."""
    if not body:
        raise EcgError("A table of samples is expected below the lead names; found no row. Export the recording again.")
    if any(line.count(separator) != columns - 1 for line in body):
        raise EcgError(
            f"Every row must have {columns} numbers as the header; found another number of cells. Export it again."
        )
    if separator != ",":
        body = [line.replace(",", ".") for line in body]
    body = [line.replace('"', "").replace("'", "") if '"' in line or "'" in line else line for line in body]
    body = [_MISSING.sub("nan", line.replace("\u2212", "-")) if not line.isascii() or _WORD.search(line) else line
            for line in body]  # fmt: skip
    at = re.escape(separator)
    dash = re.compile(rf"(?:(?<=^)|(?<={at}))[ \t]*-[ \t]*(?={at}|$)")
    if any(f"-{separator}" in line or line.rstrip().endswith("-") for line in body):
        body = [dash.sub("nan", line) for line in body]
    empty = re.compile(rf"(?:(?<=^)|(?<={at})) *(?={at}|$)")
    if any(separator * 2 in line or line[:1] == separator or line[-1:] == separator for line in body):
        body = [empty.sub("nan", line) for line in body]
    try:
        return np.loadtxt(body, delimiter=separator, ndmin=2, comments=None, dtype=np.float64, usecols=wanted)
    except ValueError:
        raise EcgError(
            f"Every row must have {columns} numbers; found text. Fill or cut the gap and export again."
        ) from None


def _times(body: list[str], separator: str, column: int) -> np.ndarray:
    """Parse a column of times, (L,): numbers, or ``h:mm:ss.mmm`` in s."""
    cells = [line.split(separator)[column].strip(_QUOTES) for line in body]
    clocks = [_CLOCK.fullmatch(cell[:40]) for cell in cells[:1]]
    if clocks[0] is None:
        numbers = [number(cell) for cell in cells]
        return np.array([np.nan if value is None else value for value in numbers])
    out = np.full(len(cells), np.nan)
    for i, cell in enumerate(cells):
        clock = _CLOCK.fullmatch(cell[:40])
        if clock is not None:
            out[i] = 3600.0 * float(clock.group(1) or 0) + 60.0 * float(clock.group(2)) + float(clock.group(3))
    return out


def _unit(text: str) -> float:
    factor = unit_mv(text)
    if factor is None:
        raise EcgError("The unit must be mV, uV or V; found another. Write '# unit: mV' above the header.")
    return factor


def _rate(comments: dict[str, str], time: np.ndarray | None) -> float:
    for key in sorted(_RATES & set(comments)):
        text = comments[key][:LONGEST_NAME].lower().strip()
        stated = number(text.removesuffix("hz").removesuffix("k"), 1e-3)
        if stated:
            return 1000.0 * stated if text.endswith("khz") else stated
    if time is None or len(time) < 2:
        raise EcgError(
            "The sampling rate must be stated; found none. Write '# fs_hz: 500', add a column time_s, or state it: "
            "--rate-hz 500."
        )
    step = np.diff(time)
    middle = float(np.median(step))
    span = float(time[-1] - time[0])
    if (
        not np.isfinite(span)
        or not middle > 0
        or not span > 0
        or np.abs(step - middle).max() > max(0.5 * middle, 0.002)
    ):
        raise EcgError("The time column must rise in even steps; found gaps or jumps. Export without gaps.")
    # Rounded time stamps: the whole span tells the rate better than one step.
    rate = (len(time) - 1) / span
    return float(round(rate)) if abs(rate - round(rate)) < 2e-3 * rate else float(rate)
