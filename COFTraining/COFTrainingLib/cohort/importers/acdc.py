"""Import of the ACDC layout (Bernard et al., IEEE TMI 2018): cines with labels at end-diastole and end-systole, no ECG.

``patientNNN/Info.cfg`` names the two frames; ``patientNNN_4d.nii.gz`` is the cine, ``patientNNN_frameFF.nii.gz`` and
``…_gt.nii.gz`` the labelled frames. Such a cohort trains the registration teacher alone; with an ECG made for each
heart (``measured_cines``) the cines train Stage 2 as well.
"""

from pathlib import Path
from typing import Any

from COFGeneratorLib.errors import CohortError

from COFTrainingLib.cohort.case_list import ListedCine
from COFTrainingLib.cohort.manifest import Cohort, Subject, make_cohort
from COFTrainingLib.cohort.splits import SplitRule

LICENCE = "CC BY-NC-SA 4.0 (ACDC, Bernard et al., IEEE TMI 2018)"
LABEL_MAP = {"lv": 3, "myo": 2, "rv": 1}
ENDINGS = (".nii.gz", ".nii")


def import_acdc(
    data: Path | str, out: Path | str, *, name: str = "", licence: str = LICENCE, splits: SplitRule | None = None
) -> Cohort:
    """Write the manifest of a folder of ACDC patients, at any depth.

    A patient without one of the four labelled files is listed with the reason why it is left out.

    Raises:
        CohortError: If there is no ``Info.cfg``.
    """
    data, out, splits = Path(data), Path(out), splits or SplitRule()
    subjects = [_subject(path, data, splits) for path in _infos(data)]
    needs = ("anchor", "labels", "target", "target_labels")
    return make_cohort(
        out, subjects, data=data, name=name or "acdc", kind="acdc", licence=licence, needs=needs, splits=splits
    )


def listed_patients(data: Path) -> list[ListedCine]:
    """Return the cines of a folder of ACDC patients, with the labels of the two frames where they are there.

    Raises:
        CohortError: If there is no ``Info.cfg``, or none states its frames beside a cine.
    """
    found = []
    for info in _infos(data):
        facts, cine = _facts(info), _file(info, f"{info.parent.name}_4d")
        try:
            ed, es = int(facts["ed"]), int(facts["es"])
        except (KeyError, ValueError):
            continue
        if cine is None:
            continue
        units = (("height", "cm"), ("weight", "kg"))
        size: dict[str, Any] = {f"{name}_{unit}": float(facts[name]) for name, unit in units if name in facts}
        ed_labels, es_labels = (_file(info, f"{info.parent.name}_frame{frame:02d}_gt") for frame in (ed, es))
        found.append(
            ListedCine(
                info.parent.name, cine, ed - 1, es - 1, ed_labels, es_labels, LABEL_MAP, facts.get("group", ""), **size
            )
        )
    if not found:
        raise CohortError(
            f"Cines patientNNN_4d.nii.gz beside an Info.cfg that states ED and ES were expected; found none in {data}. "
            "Name the data set, or give a list of the cines."
        )
    return found


def _infos(data: Path) -> list[Path]:
    infos = sorted(data.rglob("Info.cfg"))
    if not infos:
        raise CohortError(
            f"Folders patientNNN with an Info.cfg were expected; found none in {data}. Name the data set; cines of a "
            "plain folder are imported by a list: cof cohort import-acdc DATA --cases FILE"
        )
    return infos


def _facts(info: Path) -> dict[str, Any]:
    lines = (line.partition(":") for line in info.read_text(encoding="utf-8", errors="replace").splitlines())
    return {key.strip().lower(): value.strip() for key, found, value in lines if found}


def _file(info: Path, stem: str) -> Path | None:
    return next((path for ending in ENDINGS if (path := info.with_name(stem + ending)).is_file()), None)


def _subject(info: Path, data: Path, splits: SplitRule) -> Subject:
    patient, facts = info.parent.name, _facts(info)
    try:
        ed, es = int(facts.pop("ed")), int(facts.pop("es"))
    except (KeyError, ValueError):
        return Subject(patient, patient, splits.split_of(patient), {}, facts, excluded="ED and ES frame not stated")
    wanted = {
        "anchor": f"{patient}_frame{ed:02d}",
        "labels": f"{patient}_frame{ed:02d}_gt",
        "target": f"{patient}_frame{es:02d}",
        "target_labels": f"{patient}_frame{es:02d}_gt",
        "cine": f"{patient}_4d",
    }
    files = {}
    for role, stem in wanted.items():
        found = _file(info, stem)
        if found is not None:
            files[role] = found.relative_to(data).as_posix()
    missing = [role for role in wanted if role not in files and role != "cine"]
    facts |= {"label_map": LABEL_MAP, "anchor_frame": 0, "ed_frame": ed - 1, "es_frame": es - 1}
    excluded = f"no {missing[0].replace('_', ' ')}" if missing else ""
    return Subject(patient, patient, splits.split_of(patient), files, facts, excluded=excluded)
