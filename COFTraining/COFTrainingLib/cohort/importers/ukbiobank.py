"""Import of UK Biobank's layout: short-axis cines (field 20209, a zip of DICOM) and resting ECGs (field 20205, XML).

Files are named ``PARTICIPANT_FIELD_INSTANCE_ARRAY``; the instance is the imaging visit (2 or 3), so a pair is a cine
and an ECG of the same participant and visit. Both visits of a participant share a split.
"""

import os
import re
from pathlib import Path
from typing import Any

from COFGeneratorLib.errors import CohortError

from COFTrainingLib.cohort.manifest import Cohort, Subject, make_cohort, relative_path
from COFTrainingLib.cohort.splits import SplitRule

CINE_FIELD, ECG_FIELD = "20209", "20205"
LICENCE = "UK Biobank material transfer agreement; not to be passed on"
LABEL_ENDINGS = (".nii.gz", ".nii", ".seq.nrrd", ".nrrd", ".mha", ".mhd")
_NAME = re.compile(r"^(?P<person>\d+)_(?P<field>\d+)_(?P<visit>\d+)_(?P<array>\d+)\.(?:zip|xml)$", re.I)

Visits = dict[tuple[str, str], dict[str, tuple[int, str]]]
"""(Number of the recording, path) by role, by person and visit."""


def import_ukbiobank(
    data: Path | str,
    out: Path | str,
    *,
    name: str = "",
    licence: str = LICENCE,
    splits: SplitRule | None = None,
    labels: Path | str | None = None,
    label_map: dict[str, int] | None = None,
) -> Cohort:
    """Write the manifest of a folder of UK Biobank downloads, however it is divided into subfolders.

    A visit with one of the two files is listed with the reason why it is left out.

    Args:
        data: Folder of the downloads.
        out: Folder of the manifest.
        name, licence, splits: Of the cohort.
        labels: Folder of labelled cines, as a segmentation of one's own gives them: named as the zips are, with the
            ending of an image (``1234567_20209_2_0.nii.gz``), all frames on the grid of the cine.
        label_map: Codes of ``lv``, ``myo`` and ``rv`` in them; 1, 2, 3 where None.

    Raises:
        CohortError: If the folder holds no file of these fields, or no label belongs to one.
    """
    facts: dict[str, Any] = {"anchor_frame": 0}
    if labels is not None and label_map is not None:
        facts["label_map"] = label_map
    return import_pairs(
        data, out, CINE_FIELD, facts, name=name or "ukbiobank", licence=licence, splits=splits, labels=labels
    )


def import_pairs(
    data: Path | str,
    out: Path | str,
    cine_field: str,
    facts: dict[str, Any],
    *,
    name: str,
    licence: str = LICENCE,
    splits: SplitRule | None = None,
    labels: Path | str | None = None,
) -> Cohort:
    """Write the manifest of the cines of one field with the ECGs of the same visit; ``facts`` hold of every subject.

    Raises:
        CohortError: If the folder holds no file of these fields, or no label belongs to one.
    """
    data, out, splits = Path(data), Path(out), splits or SplitRule()
    root = data if labels is None else Path(os.path.commonpath([data.resolve(), Path(labels).resolve()]))
    found: Visits = {}
    for path in sorted(data.rglob("*")):
        match = _NAME.match(path.name)
        if match is None or match["field"] not in (cine_field, ECG_FIELD):
            continue
        role = "cine" if match["field"] == cine_field else "ecg"
        recordings = found.setdefault((match["person"], match["visit"]), {})
        entry = (int(match["array"]), relative_path(path, root))
        recordings[role] = min(recordings.get(role, entry), entry)  # a repeated recording: the first one counts
    if not found:
        raise CohortError(
            f"Files named like 1234567_{cine_field}_2_0.zip and 1234567_{ECG_FIELD}_2_0.xml were expected; found none "
            f"in {data}. Name the folder of the downloads."
        )
    if labels is not None:
        _add_labels(found, Path(labels), root, cine_field)
    subjects = []
    for (person, visit), files in sorted(found.items()):
        missing = [words for role, words in (("cine", "no cine"), ("ecg", "no ECG")) if role not in files]
        subjects.append(
            Subject(
                f"{person}-{visit}",
                person,
                splits.split_of(person),
                {role: file for role, (_, file) in files.items()},
                {"visit": int(visit), **facts},
                excluded=f"{missing[0]} of the same visit" if missing else "",
            )
        )
    return make_cohort(
        out, subjects, data=root, name=name, kind="ukbiobank", licence=licence, needs=("cine", "ecg"), splits=splits,
        settings={"fields": [cine_field, ECG_FIELD]},
    )  # fmt: skip


def _add_labels(found: Visits, labels: Path, root: Path, cine_field: str) -> None:
    """Add labelled cines to the files of their visits.

    Raises:
        CohortError: If none belongs to a visit.
    """
    form = re.compile(rf"^(?P<person>\d+)_{cine_field}_(?P<visit>\d+)_\d+$")
    matched = 0
    for path in sorted(labels.rglob("*")):
        ending = next((ending for ending in LABEL_ENDINGS if path.name.lower().endswith(ending)), None)
        match = form.match(path.name[: -len(ending)]) if ending else None
        visit = found.get((match["person"], match["visit"])) if match else None
        if visit is not None and "cine" in visit and "cine_labels" not in visit:
            visit["cine_labels"] = (0, relative_path(path, root))
            matched += 1
    if not matched:
        raise CohortError(
            f"Labelled cines named like 1234567_{cine_field}_2_0.nii.gz, as their cines are, were expected; found none "
            f"in {labels} that belongs to a visit of the downloads. Rename them, or leave --labels out."
        )
