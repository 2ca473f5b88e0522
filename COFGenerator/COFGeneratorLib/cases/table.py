"""The table of cases: one row a case, columns by name, paths relative to the table."""

import csv
from dataclasses import dataclass, replace
from pathlib import Path

from COFGeneratorLib.cases.request import GenerateRequest
from COFGeneratorLib.cases.values import beat, bounds, frame_count, label_map, natural, phase, positive
from COFGeneratorLib.errors import ChainOfFlowError

REQUIRED = ("anchor", "ecg")
OPTIONAL = ("case", "labels", "label_map", "anchor_frame", "anchor_phase", "roi", "beat", "frames", "samples", "seed")
OPTIONS = ("frames", "samples", "seed")
"""Columns that replace an option of the whole batch for one case."""

PARSERS = {
    "label_map": label_map,
    "anchor_frame": natural,
    "anchor_phase": phase,
    "roi": bounds,
    "beat": beat,
    "frames": frame_count,
    "samples": positive,
    "seed": natural,
}
FORBIDDEN = set('/\\:*?"<>|')


@dataclass(frozen=True)
class Case:
    """One row.

    Attributes:
        name: Name of the case and of its folder.
        anchor, ecg, labels: Paths; ``labels`` may be None.
        label_map: Codes in the label file, or None.
        anchor_frame: Frame of the anchor file.
        anchor_phase: When it was taken: a fraction of the R–R interval, ``cine``, or None for the R wave.
        roi: Box that holds the heart, six bounds in RAS mm, or None.
        beat: Beat of the ECG: an index, a time (float, s), or None.
        frames, samples, seed: Options of this case, or None for the batch's.
        problem: Why the row cannot be run, in words; empty if it can.
    """

    name: str
    anchor: str
    ecg: str
    labels: str | None = None
    label_map: dict[str, int] | None = None
    anchor_frame: int = 0
    anchor_phase: float | str | None = None
    roi: tuple[float, ...] | None = None
    beat: int | float | None = None
    frames: int | None = None
    samples: int | None = None
    seed: int | None = None
    problem: str = ""

    def request(self, shared: GenerateRequest) -> GenerateRequest:
        """Return what is asked for, given what all cases of the batch share."""
        own = {name: getattr(self, name) for name in OPTIONS if getattr(self, name) is not None}
        return replace(
            shared, **own, out=str(Path(shared.out) / self.name), anchor=self.anchor, ecg=self.ecg, labels=self.labels,
            label_map=self.label_map, anchor_frame=self.anchor_frame, anchor_phase=self.anchor_phase, roi=self.roi,
            beat=self.beat,
        )  # fmt: skip


def read_table(path: str | Path) -> list[Case]:
    """Read a table of cases; a bad row becomes a case with a ``problem``, so that the others run.

    Raises:
        ChainOfFlowError: If the file is no table with the needed columns, or names a case twice.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            columns = tuple(name.strip() for name in reader.fieldnames or ())
            reader.fieldnames = list(columns)
            rows = [{name: (row.get(name) or "").strip() for name in columns} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ChainOfFlowError(f"The cases must be a CSV table; {path.name} cannot be read ({error}).") from error
    missing = [name for name in REQUIRED if name not in columns]
    unknown = [name for name in columns if name not in REQUIRED + OPTIONAL]
    if missing or unknown:
        raise ChainOfFlowError(
            f"The table needs the columns {', '.join(REQUIRED)} and may have {', '.join(OPTIONAL)}; found "
            f"{', '.join(columns) or 'none'}. Rename or remove columns."
        )
    if not rows:
        raise ChainOfFlowError(f"The table needs at least one case; found none in {path.name}.")
    cases = [_case(row, number, path.parent) for number, row in enumerate(rows, start=1)]
    names = [case.name.lower() for case in cases]  # file systems differ in whether case matters
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ChainOfFlowError(f"Every case needs a name of its own; found {', '.join(twice)} more than once.")
    return cases


def _case(row: dict[str, str], number: int, folder: Path) -> Case:
    """Return one row as a case."""
    name = row.get("case") or f"case-{number:04d}"
    problem = ""
    if set(name) & FORBIDDEN or name.startswith(".") or not name.isprintable():
        name, problem = f"case-{number:04d}", f"The name {name!r} cannot be a folder's name. Use letters and digits."
    values: dict = {}
    try:
        for column, parse in PARSERS.items():
            if row.get(column):
                values[column] = parse(row[column])
    except ValueError as error:
        problem = problem or f"Row {number} cannot be read: {error}."
        values = {}
    for column in REQUIRED:
        if not row.get(column):
            problem = problem or f"Row {number} needs a file in column {column}; found none."
    paths = {column: str(folder / row[column]) if row.get(column) else "" for column in (*REQUIRED, "labels")}
    return Case(name, paths["anchor"], paths["ecg"], paths["labels"] or None, problem=problem, **values)
