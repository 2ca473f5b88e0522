"""Import of the M&Ms layout (Campello et al., IEEE TMI 2021): cines labelled at end-diastole and end-systole, no ECG.

``CODE/CODE_sa.nii.gz`` is the cine and ``CODE_sa_gt.nii.gz`` its labels (1 LV, 2 myocardium, 3 RV) in two frames, which
a CSV names: columns ``External code``, ``ED``, ``ES``, and what else is known. Such a cohort trains the registration
teacher alone; with an ECG made for each heart (``measured_cines``) the cines train Stage 2 as well. Later releases
(M&Ms-2) name their folders by number; their table's column is ``SUBJECT_CODE``.
"""

from pathlib import Path
from typing import Any

from COFGeneratorLib.errors import CohortError

from COFTrainingLib.cohort.case_list import ListedCine
from COFTrainingLib.cohort.importers.table import read_rows
from COFTrainingLib.cohort.manifest import Cohort, Subject, make_cohort
from COFTrainingLib.cohort.splits import SplitRule

LICENCE = "CC BY-NC-SA 4.0 (M&Ms, Campello et al., IEEE TMI 2021)"
LABEL_MAP = {"lv": 1, "myo": 2, "rv": 3}
CODES = ("External code", "SUBJECT_CODE")
GROUPS = {"ARV": "RV", "IHD": "MINF", "HHD": "HCM"}
"""Pathologies that ACDC calls by another name; a hypertensive heart is taken for a hypertrophic one."""
ENDINGS = (".nii.gz", ".nii")


def import_mnms(
    data: Path | str, out: Path | str, *, name: str = "", licence: str = LICENCE, splits: SplitRule | None = None
) -> Cohort:
    """Write the manifest of a folder of M&Ms patients, at any depth, with its table.

    A patient without images, labels or frames is listed with the reason why it is left out.

    Raises:
        CohortError: If there is no table of the patients.
    """
    data, out, splits = Path(data), Path(out), splits or SplitRule()
    subjects = {code: _subject(code, row, data, splits) for code, row in _all_rows(data)}
    found, needs = [subjects[code] for code in sorted(subjects)], ("anchor", "labels", "target", "target_labels")
    return make_cohort(
        out, found, data=data, name=name or "mnms", kind="mnms", licence=licence, needs=needs, splits=splits
    )


def listed_patients(data: Path) -> list[ListedCine]:
    """Return the cines of a folder of M&Ms patients; those without an image or without frames are left out.

    Raises:
        CohortError: If there is no table of the patients, or none has a cine.
    """
    found = {}
    for code, row in _all_rows(data):
        image, labels = _find(data, code, "_sa"), _find(data, code, "_sa_gt")
        try:
            ed, es = int(float(row["ED"])), int(float(row["ES"]))
        except (KeyError, ValueError):
            continue
        if image is None:
            continue
        marked = None if labels is None else data / labels
        known = {key.lower(): value for key, value in row.items()}
        units = (("height", "cm"), ("weight", "kg"))
        size: dict[str, Any] = {
            f"{name}_{unit}": float(known[name])
            for name, unit in units
            if known.get(name, "").replace(".", "", 1).isdigit()
        }
        group = GROUPS.get(known.get("pathology", ""), known.get("pathology", ""))
        found[code] = ListedCine(code, data / image, ed, es, marked, marked, LABEL_MAP, group, **size)
    if not found:
        raise CohortError(
            f"Cines CODE/CODE_sa.nii.gz of the table were expected; found none in {data}. Name the data set."
        )
    return [found[code] for code in sorted(found)]


def _all_rows(data: Path) -> list[tuple[str, dict[str, str]]]:
    rows = [row for table in sorted(data.rglob("*.csv")) for row in _rows(table)]
    if not rows:
        raise CohortError(
            f"A CSV with the columns {' or '.join(CODES)}, ED and ES was expected; found none in {data}. Name the data "
            "set's folder with its table."
        )
    return rows


def _rows(table: Path) -> list[tuple[str, dict[str, str]]]:
    """Return (code, row) of a table of patients; nothing of other tables."""
    try:
        rows = read_rows(table)
    except CohortError:
        return []
    column = next((name for name in CODES if rows and name in rows[0]), None)
    return [(row[column], row) for row in rows if row[column]] if column is not None and "ED" in rows[0] else []


def _subject(code: str, row: dict[str, str], data: Path, splits: SplitRule) -> Subject:
    known = {key.lower().replace(" ", "_"): value for key, value in row.items() if value and key not in (*CODES, "")}
    split = splits.split_of(code)
    try:
        ed, es = int(float(known.pop("ed"))), int(float(known.pop("es")))
    except (KeyError, ValueError):
        return Subject(code, code, split, {}, known, excluded="ED and ES frame not stated")
    image, labels = _find(data, code, "_sa"), _find(data, code, "_sa_gt")
    files: dict[str, str] = {}
    if image is not None:
        files |= {"anchor": image, "target": image, "cine": image}
    if labels is not None:
        files |= {"labels": labels, "target_labels": labels}
    facts = {**known, "label_map": LABEL_MAP, "anchor_frame": ed, "labels_frame": ed, "target_frame": es,
             "ed_frame": ed, "es_frame": es}  # fmt: skip
    missing = "no image" if image is None else "no labels" if labels is None else ""
    return Subject(code, code, split, files, facts, excluded=missing)


def _find(data: Path, code: str, kind: str) -> str | None:
    """Return a patient's file relative to the data set, whichever folder (training, validation, test) it lies in."""
    for ending in ENDINGS:
        for pattern in (f"{code}/{code}{kind}{ending}", f"*/{code}/{code}{kind}{ending}",
                        f"*/*/{code}/{code}{kind}{ending}"):  # fmt: skip
            found = next(iter(sorted(data.glob(pattern))), None)
            if found is not None:
                return found.relative_to(data).as_posix()
    return None
