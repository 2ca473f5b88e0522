"""Import of files by a CSV table: one row a subject, paths relative to the table, or absolute.

Columns: ``id``; ``anchor`` (a stack) or ``cine`` (all frames); and where there are any ``ecg``, ``labels`` (of the
anchor), ``cine_labels`` (of all frames), ``person`` (all visits of a person share a split), ``label_map``
(``lv=3,myo=2,rv=1``), ``anchor_frame``, ``labels_frame``, ``exclude`` (why the subject is left out). Any other
column is kept as a fact of the subject. Columns are divided by commas, semicolons or tabs, as in the first line.
"""

import argparse
import csv
import os
from pathlib import Path
from typing import Any

from COFGeneratorLib.errors import CohortError

from COFTrainingLib.cohort.manifest import ROLES, Cohort, Subject, make_cohort, relative_path
from COFTrainingLib.cohort.splits import SplitRule

DELIMITERS = (",", ";", "\t")
FRAMES = ("anchor_frame", "labels_frame")
OTHERS = ("id", "person", "label_map", "exclude")


def import_table(
    table: Path | str, out: Path | str, *, name: str = "", licence: str = "not stated", splits: SplitRule | None = None
) -> Cohort:
    """Write the manifest of the files that a CSV table names; the files stay where they are.

    Raises:
        CohortError: If the table cannot be read or a row cannot be used.
    """
    table, out, splits = Path(table), Path(out), splits or SplitRule()
    rows = read_rows(table)
    columns = set(rows[0]) if rows else set()
    if "id" not in columns or not columns & {"anchor", "cine"}:
        raise CohortError(
            f"The table needs the columns id and anchor (or cine), and at least one row; found "
            f"{', '.join(sorted(columns)) or 'nothing'} in {table.name}. Rename the columns."
        )
    root = _root(table, rows)
    subjects = [_subject(row, number, splits, table, root) for number, row in enumerate(rows, start=2)]
    lines: dict[str, list[int]] = {}
    for number, subject in enumerate(subjects, start=2):
        lines.setdefault(subject.id, []).append(number)
    twice = {name: numbers for name, numbers in lines.items() if len(numbers) > 1}
    if twice:
        name, numbers = next(iter(twice.items()))
        raise CohortError(
            f"Every row needs an id of its own; {name!r} is that of the rows {', '.join(map(str, numbers))} of "
            f"{table.name} ({len(twice)} such ids). Number the visits, and give the patient in the column person."
        )
    has = {role for subject in subjects for role in subject.files}
    needs = (("anchor", "cine"), *(role for role in ("ecg", "labels") if role in has))
    return make_cohort(
        out, subjects, data=root, name=name or table.stem, kind="table", licence=licence, needs=needs, splits=splits,
        settings={"table": table.name},
    )  # fmt: skip


def read_rows(table: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV table by column; its first line says what divides them.

    Raises:
        CohortError: If it cannot be read.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            head = stream.readline()
            stream.seek(0)
            reader = csv.DictReader(stream, delimiter=max(DELIMITERS, key=head.count))
            return [{str(k).strip(): (v or "").strip() for k, v in row.items() if k is not None} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CohortError(f"A cohort is imported from a CSV table; {table} cannot be read ({error}).") from error


def _root(table: Path, rows: list[dict[str, str]]) -> Path:
    """Return the folder that all files lie in: the table's, or one further up where paths are absolute."""
    absolute = [row[role] for row in rows for role in ROLES if row.get(role) and Path(row[role]).is_absolute()]
    folder = table.resolve().parent
    return Path(os.path.commonpath([folder, *(os.path.dirname(path) for path in absolute)])) if absolute else folder


def _file(path: str, table: Path, root: Path) -> str:
    """Return a path of the table relative to the root, with forward slashes."""
    folder = table.resolve().parent
    if root == folder and not Path(path).is_absolute():
        return Path(path).as_posix()
    return relative_path(folder / path, root)


def _subject(row: dict[str, str], number: int, splits: SplitRule, table: Path, root: Path) -> Subject:
    """Return one row as a subject.

    Raises:
        CohortError: If it cannot be used.
    """
    from COFGeneratorLib.cases.values import label_map

    facts: dict[str, Any] = {}
    if not row["id"]:
        raise CohortError(
            f"Every row needs an id; row {number} of {table.name} has none. Fill it in, or delete the row."
        )
    try:
        if row.get("label_map"):
            facts["label_map"] = label_map(row["label_map"])
        facts |= {column: int(row[column]) for column in FRAMES if row.get(column)}
    except (ValueError, argparse.ArgumentTypeError) as error:
        raise CohortError(f"Row {number} of the table cannot be read: {error}. Correct it.") from error
    known = {*ROLES, *FRAMES, *OTHERS}
    facts |= {column: value for column, value in row.items() if column not in known and value}
    person = row.get("person") or row["id"]
    files = {role: _file(row[role], table, root) for role in ROLES if row.get(role)}
    return Subject(row["id"], person, splits.split_of(person), files, facts, excluded=row.get("exclude", ""))
