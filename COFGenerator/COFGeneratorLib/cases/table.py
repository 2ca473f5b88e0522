"""The table of cases: one row a case, columns by name, paths relative to the table."""

import csv
import hashlib
import io
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from COFGeneratorLib.cases.request import GenerateRequest
from COFGeneratorLib.cases.values import (
    beat,
    beats_per_minute,
    bounds,
    frame_count,
    label_map,
    natural,
    percent,
    phase,
    positive,
    spacing,
)
from COFGeneratorLib.errors import ChainOfFlowError
from COFGeneratorLib.files import without_names

REQUIRED = ("anchor", "ecg")
OPTIONAL = (
    "case", "labels", "label_map", "series", "spacing", "anchor_frame", "anchor_phase", "roi", "beat", "frames",
    "samples", "seed", "ef_percent", "hr_bpm",
)  # fmt: skip
OPTIONS = ("frames", "samples", "seed", "ef_percent", "hr_bpm")
"""Columns that replace an option of the whole batch for one case."""

PARSERS: dict[str, Callable[[str], Any]] = {
    "label_map": label_map,
    "series": str,
    "spacing": spacing,
    "anchor_frame": natural,
    "anchor_phase": phase,
    "roi": bounds,
    "beat": beat,
    "frames": frame_count,
    "samples": positive,
    "seed": natural,
    "ef_percent": percent,
    "hr_bpm": beats_per_minute,
}
FORBIDDEN = re.compile(r'[/\\:*?"<>|]|^\.|[. ]$|^(con|prn|aux|nul|com\d|lpt\d)(\..*)?$', re.IGNORECASE)
"""What cannot be in the name of a folder on some system, or would be hidden."""
TAKEN = ("summary.csv", "failures.csv")
LONGEST_NAME, LONGEST_CELL, LARGEST_TABLE_BYTES = 80, 4096, 256 << 20


@dataclass(frozen=True)
class Case:
    """One row.

    Attributes:
        name: Name of its folder, unlike that of any other case on any system.
        anchor, ecg, labels: Paths; ``labels`` may be None.
        label_map: Codes in the label file, or None.
        series: Number, UID or description of the wanted series of a DICOM study, or None.
        spacing: Columns, rows and slices, mm, of a file that has lost it, or None.
        anchor_frame: Frame of the anchor file.
        anchor_phase: When it was taken: a fraction of the R–R interval, ``cine``, or None for the R wave.
        roi: Box that holds the heart, six bounds in RAS mm, or None.
        beat: Beat of the ECG: an index, a time (float, s), or None.
        frames, samples, seed, ef_percent, hr_bpm: Options of this case, or None for the batch's.
        problem: Why the row cannot be run, in words; empty if it can.
        row: Its number in the table, from 1; the header does not count.
        case_id: What the user calls it.
    """

    name: str
    anchor: str
    ecg: str
    labels: str | None = None
    label_map: dict[str, int] | None = None
    series: str | None = None
    spacing: tuple[float, float, float] | None = None
    anchor_frame: int = 0
    anchor_phase: float | str | None = None
    roi: tuple[float, ...] | None = None
    beat: int | float | None = None
    frames: int | None = None
    samples: int | None = None
    seed: int | None = None
    ef_percent: float | None = None
    hr_bpm: float | None = None
    problem: str = ""
    row: int = 0
    case_id: str = ""

    def request(self, shared: GenerateRequest) -> GenerateRequest:
        """Return what is asked for, given what all cases of the batch share."""
        own = {name: getattr(self, name) for name in OPTIONS if getattr(self, name) is not None}
        return replace(
            shared, **own, out=str(Path(shared.out) / self.name), anchor=self.anchor, ecg=self.ecg, labels=self.labels,
            label_map=self.label_map, series=self.series, spacing=self.spacing,
            anchor_frame=self.anchor_frame, anchor_phase=self.anchor_phase, roi=self.roi, beat=self.beat,
        )  # fmt: skip

    def without_names(self, message: str, out: str) -> str:
        """Return a message with the names of this case's files and folders replaced by those of their columns.

        They may be a person's, and messages are shared. Folders that the results in ``out`` lie in are no one's.
        """
        paths = {column: getattr(self, column) or "" for column in (*REQUIRED, "labels")}
        return without_names(message, paths, Path(out).absolute().parts)


def read_table(path: str | Path) -> list[Case]:
    """Read a table of cases; a bad row becomes a case with a ``problem``, so that the others run.

    Raises:
        ChainOfFlowError: If the file is no table with the needed columns.
    """
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST_TABLE_BYTES:
            raise ChainOfFlowError(
                f"A table has at most {LARGEST_TABLE_BYTES >> 20} MB; this one is larger. Divide it."
            )
        text = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise ChainOfFlowError(
            f"The cases must be a CSV table; {path.name} cannot be read ({error.strerror}). Name a file that can."
        ) from error
    rows = _rows(text)
    columns = [name.strip() for name in next(rows, [])]
    missing = [name for name in REQUIRED if name not in columns]
    unknown = [name for name in columns if name not in REQUIRED + OPTIONAL]
    if missing or unknown or len(set(columns)) < len(columns):
        raise ChainOfFlowError(
            f"The table needs the columns {', '.join(REQUIRED)} and may have {', '.join(OPTIONAL)}, each once; found "
            f"{len(columns)} columns, of which {len(unknown)} are none of these. Rename or remove columns."
        )
    cases = [_case(columns, cells, number, path.parent) for number, cells in enumerate(rows, start=1)]
    if not cases:
        raise ChainOfFlowError("The table needs at least one case; found none. Add a row for each.")
    names = _folder_names([case.case_id for case in cases])
    return [replace(case, name=name) for case, name in zip(cases, names, strict=True)]


def _rows(text: str) -> Iterator[list[str]]:
    """Yield the cells of each row that has any; a row that is no CSV has one cell, which names the fault."""
    before = csv.field_size_limit(max(len(text), 1))  # the length of a cell is judged row by row
    try:
        reader = csv.reader(io.StringIO(text, newline=""))
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error:
                cells = ["\0"]
            if cells:
                yield [cell.strip() for cell in cells]
    finally:
        csv.field_size_limit(before)


def _case(columns: list[str], cells: list[str], number: int, folder: Path) -> Case:
    """Return one row as a case; whatever its cells hold, a problem is this row's alone."""
    row = dict(zip(columns, cells, strict=False))
    problem = _unreadable(cells, len(columns), number)
    values: dict = {}
    for column, parse in () if problem else PARSERS.items():
        try:
            if row.get(column):
                values[column] = parse(row[column])
        except (ValueError, OverflowError) as error:
            problem = problem or f"Row {number} cannot be read, column {column}: {error}."
    for column in REQUIRED:
        if not row.get(column):
            problem = problem or f"Row {number} needs a file in column {column}; found none."
    if problem:
        values = {}
    paths = {column: str(folder / row[column]) if row.get(column) else "" for column in (*REQUIRED, "labels")}
    case_id = "".join(letter for letter in row.get("case", "") if letter.isprintable())[:LONGEST_NAME]
    return Case(
        "", paths["anchor"], paths["ecg"], paths["labels"] or None, problem=problem, row=number,
        case_id=case_id or f"case-{number:04d}", **values,
    )  # fmt: skip


def _unreadable(cells: list[str], most: int, number: int) -> str:
    """Return why the cells of a row cannot be what was meant, in words; empty where they can."""
    if len(cells) > most and any(cells[most:]):
        return f"Row {number} has {len(cells)} cells for {most} columns. Put cells that hold a comma into quotes."
    if any(len(cell) > LONGEST_CELL for cell in cells):
        return f"Row {number} has a cell of more than {LONGEST_CELL} letters. Look for a quote that is not closed."
    if any(not all(letter == " " or letter.isprintable() for letter in cell) for cell in cells):
        return f"Row {number} has letters that cannot be read: the table must be UTF-8 text. Export it again as such."
    return ""


def _folder_names(case_ids: list[str]) -> list[str]:
    """Return a name of a folder for each case: its own where that can be one, else one made safe; no two alike."""
    names: list[str | None] = [None] * len(case_ids)
    used = set(TAKEN)
    for place, case_id in enumerate(case_ids):
        if not FORBIDDEN.search(case_id) and _folded(case_id) not in used:
            names[place] = case_id
            used.add(_folded(case_id))
    for place, case_id in enumerate(case_ids):
        if names[place] is None:
            safe = re.sub(r"[^\w.-]+|^[._]+|[._]+$", "_", case_id).strip("._") or "case"
            digest = hashlib.sha256(case_id.encode("utf-8", "surrogateescape")).hexdigest()
            name = f"{safe}-{digest[:6]}"
            while _folded(name) in used:
                name = f"{name}-row{place + 1}"
            names[place] = name
            used.add(_folded(name))
    return [name for name in names if name is not None]


def _folded(name: str) -> str:
    """Return a name as file systems compare it that tell neither capitals nor ways of writing a letter apart."""
    return unicodedata.normalize("NFC", name).casefold()
