"""Where results lie: one JSON line per subject × method, appended as they come; everything else reads only this.

A line that a crash cut short is left out when the store is opened again, and its work is done again. The last line of
the same subject, method and kind counts.
"""

import json
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from COFGeneratorLib.errors import CohortError
from COFGeneratorLib.files import write_json

from COFTrainingLib.evaluation.statistics import as_number

RESULTS, HEADER = "results.jsonl", "store.json"
Key = tuple[str, str, str]
Row = dict[str, Any]
"""A result: ``subject, method, kind, identity`` and what its kind has; or these and ``error``, why there is none."""


def jsonable(value: Any) -> Any:
    """Return JSON-able Python: arrays become lists, what is not finite becomes None, floats keep 7 digits."""
    if isinstance(value, dict):
        return {str(name): jsonable(item) for name, item in value.items()}
    if isinstance(value, np.ndarray):
        return jsonable(value.tolist())
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    return value


class Store:
    """Open or begin a store.

    Args:
        folder: Its folder.
        facts: What all results rest on (cohort, settings); must be those of a store that is continued.

    Raises:
        CohortError: If the folder holds results of something else.
    """

    def __init__(self, folder: Path | str, facts: dict[str, Any] | None = None) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        header = self.folder / HEADER
        if facts is not None:
            facts = jsonable(facts)
            if header.is_file():
                before = json.loads(header.read_text(encoding="utf-8"))
                changed = sorted(n for n in before.keys() | facts.keys() if before.get(n) != facts.get(n))
                if changed:
                    raise CohortError(
                        f"An evaluation is continued with what it was begun with; in {self.folder} these differ: "
                        f"{', '.join(changed)}. Choose another folder."
                    )
            else:
                write_json(header, facts)
        self.facts = json.loads(header.read_text(encoding="utf-8")) if header.is_file() else {}
        self._path = self.folder / RESULTS
        self._index: dict[Key, tuple[int, str, bool]] = {}
        self._read_index()

    def _read_index(self) -> None:
        """Note where each result begins; cut off what a crash left unfinished."""
        if not self._path.is_file():
            return
        with self._path.open("rb") as file:
            at = good = 0
            for line in file:
                if not line.endswith(b"\n"):
                    break
                try:
                    row = json.loads(line)
                    self._note(row, at)
                except (ValueError, KeyError):
                    pass
                at += len(line)
                good = at
        if good < self._path.stat().st_size:
            with self._path.open("rb+") as file:
                file.truncate(good)

    def _note(self, row: Row, at: int) -> None:
        key = (row["subject"], row["method"], row["kind"])
        self._index[key] = (at, row.get("identity", ""), "error" in row)

    def add(self, row: Row) -> None:
        """Append a result; it is on disk when this returns."""
        row = jsonable(row)
        line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
        with self._path.open("ab") as file:
            at = file.tell()
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self._note(row, at)

    def has(self, subject: str, method: str, kind: str, identity: str = "") -> bool:
        """Return whether a result is there, made by the same thing; a failure is not a result."""
        at = self._index.get((subject, method, kind))
        return at is not None and not at[2] and at[1] == identity

    def rows(self, kind: str, method: str | None = None, subject: str | None = None) -> Iterator[Row]:
        """Read results one by one, failures left out, in the order they came."""
        wanted = [
            (at, key) for key, (at, _, failed) in self._index.items()
            if key[2] == kind and not failed and method in (None, key[1]) and subject in (None, key[0])
        ]  # fmt: skip
        yield from self._read(at for at, _ in sorted(wanted))

    def failures(self) -> list[Row]:
        """Return what could not be done: subject, method, kind and why."""
        return list(self._read(sorted(at for at, _, failed in self._index.values() if failed)))

    def methods(self, kind: str) -> list[str]:
        """Return the methods that have results, in the order they first came; a result made anew keeps its place."""
        found = (key[1] for key, (_, _, failed) in self._index.items() if key[2] == kind and not failed)
        return list(dict.fromkeys(found))

    def _read(self, places: Iterable[int]) -> Iterator[Row]:
        if not self._path.is_file():
            return
        with self._path.open("rb") as file:
            for at in places:
                file.seek(at)
                yield json.loads(file.readline())


class Numbers:
    """One number per subject and method, read from a store: ``table[method]`` is (N,) in the order of ``subjects``."""

    def __init__(self, store: Store, kind: str, metrics: Iterable[str], methods: Iterable[str] | None = None) -> None:
        metrics = list(metrics)
        self.methods = list(methods) if methods is not None else store.methods(kind)
        found: dict[str, dict[str, list[float]]] = {name: {} for name in self.methods}
        order: dict[str, None] = {}
        for name in self.methods:
            for row in store.rows(kind, name):
                order[row["subject"]] = None
                values = row.get("metrics", {})
                found[name][row["subject"]] = [as_number(values.get(metric)) for metric in metrics]
        self.subjects = sorted(order)
        gap = [float("nan")] * len(metrics)
        self._values = {
            name: np.array([rows.get(subject, gap) for subject in self.subjects], dtype=float).reshape(-1, len(metrics))
            for name, rows in found.items()
        }
        self._columns = {metric: column for column, metric in enumerate(metrics)}

    def __call__(self, method: str, metric: str) -> np.ndarray:
        """Return (N,) values, NaN where not known."""
        return self._values[method][:, self._columns[metric]]

    def known(self, method: str, metric: str) -> bool:
        """Return whether anything is known."""
        return method in self._values and bool(np.isfinite(self(method, metric)).any())
