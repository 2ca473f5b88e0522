"""A list of recorded cines, as JSON: which file, which frames are end-diastole and end-systole, what is known.

One object a heart: ``name``, ``image`` (a cine), ``ed`` and ``es`` with ``frame`` and perhaps ``labels``, ``label_map``
(``{"lv": 3, "myo": 2, "rv": 1}``), and where known ``group`` (as ACDC's: NOR, DCM, HCM, MINF, RV), ``rr_ms``,
``height_cm``, ``weight_kg``. Paths are relative to the list.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from COFGeneratorLib.errors import CohortError

OWN_CODES = {"lv": 1, "myo": 2, "rv": 3}


@dataclass(frozen=True)
class ListedCine:
    """One heart of a list.

    Attributes:
        name: What it is called in results.
        image: The cine.
        ed_frame, es_frame: End-diastole, which is taken for the R wave, and end-systole.
        ed_labels, es_labels: Files of labels of these frames by a reader, or None.
        label_map: Their codes.
        group: Diagnosis in short, or empty.
        rr_ms: Length of the beat, or None where it is not known.
        height_cm, weight_kg: Of the person, or None.
    """

    name: str
    image: Path
    ed_frame: int
    es_frame: int
    ed_labels: Path | None = None
    es_labels: Path | None = None
    label_map: dict[str, int] = field(default_factory=lambda: dict(OWN_CODES))
    group: str = ""
    rr_ms: float | None = None
    height_cm: float | None = None
    weight_kg: float | None = None

    @property
    def body_surface_m2(self) -> float | None:
        """Body surface after Du Bois (1916), m²; None where height or weight is not known."""
        if self.height_cm is None or self.weight_kg is None:
            return None
        return float(0.007184 * self.height_cm**0.725 * self.weight_kg**0.425)


def read_case_list(path: Path | str) -> list[ListedCine]:
    """Read a list of cines.

    Raises:
        CohortError: If it is no such list, or an image or a file of labels is not there.
    """
    path = Path(path)
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CohortError(f"A list of cines is a JSON file; reading {path} failed ({error}). Correct it.") from error
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise CohortError(f"A list of cines is a list of objects, at least one; found another form in {path}.")
    return [_case(row, number, path) for number, row in enumerate(rows, start=1)]


def _case(row: dict[str, Any], number: int, path: Path) -> ListedCine:
    try:
        ed, es = dict(row["ed"]), dict(row["es"])
        case = ListedCine(
            name=str(row["name"]),
            image=path.parent / row["image"],
            ed_frame=int(ed.get("frame", 0)),
            es_frame=int(es["frame"]),
            ed_labels=path.parent / ed["labels"] if ed.get("labels") else None,
            es_labels=path.parent / es["labels"] if es.get("labels") else None,
            label_map={str(name): int(code) for name, code in row.get("label_map", OWN_CODES).items()},
            group=str(row.get("group") or ""),
            **{name: float(row[name]) for name in ("rr_ms", "height_cm", "weight_kg") if row.get(name)},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CohortError(
            f"A heart of a list has a name, an image, and ed and es with their frames; entry {number} of {path} cannot "
            f"be read ({type(error).__name__}: {error}). Correct it."
        ) from error
    for file in (case.image, case.ed_labels, case.es_labels):
        if file is not None and not os.path.exists(file):
            raise CohortError(f"The files of a list must be there; {file}, of {case.name}, is not. Correct {path}.")
    return case
