"""Import of cines without ECGs to learn motion from: all frames, the measured function, and an ECG made to fit it.

ACDC and M&Ms have no ECGs. What a heart's function is, its labels or a segmenter's say; an ECG is synthesised of
ejection fraction, rate and diagnosis, or there is none, and function is stated to the model in its place. Cines are
found by the data set's own table (ACDC's ``Info.cfg``, M&Ms' CSV), or by a list (``cohort.case_list``).
"""

import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from COFGeneratorLib.errors import ChainOfFlowError, CohortError
from COFGeneratorLib.jobs.workers import spread

from COFTrainingLib.cohort.case_list import ListedCine, read_case_list
from COFTrainingLib.cohort.importers import acdc, mnms
from COFTrainingLib.cohort.manifest import Cohort, Subject, make_cohort, relative_path
from COFTrainingLib.cohort.measured_cine import measure_cine
from COFTrainingLib.cohort.splits import SplitRule
from COFTrainingLib.cohort.synthesised_ecg import MeasuredHeart, ecg_of, physiology_of

FOLDER = "ecg"
SYNTHESISED, NONE = "synthesised", "none"
LAYOUTS = {"acdc": (acdc.listed_patients, acdc.LICENCE), "mnms": (mnms.listed_patients, mnms.LICENCE)}


@dataclass(frozen=True)
class _Work:
    """What a process needs to import a heart."""

    out: Path
    root: Path
    segmenter: str
    teacher: str | None
    ecg: str
    splits: SplitRule


def import_measured(
    kind: str,
    data: Path | str,
    out: Path | str,
    *,
    cases: Path | str | None = None,
    ecg: str = SYNTHESISED,
    segmenter: Path | str = "",
    teacher: Path | str | None = None,
    name: str = "",
    licence: str = "",
    splits: SplitRule | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Cohort:
    """Write the manifest of cines that have no ECG, and an ECG a heart.

    Every subject's facts have ``ef_percent``, ``rvef_percent`` (where an RV is labelled), ``es_phase``, ``rr_ms``,
    ``edv_ml``, ``group``, ``ecg`` and ``function_from`` (``reader``, ``segmenter`` or ``moved``); with an ECG also
    ``ecg_ef_percent``, the EF that the ECG was drawn to show. A heart that cannot be measured is listed with
    the reason.

    Args:
        kind: Of ``LAYOUTS``.
        data: Folder of the cines; files of a list must lie in it.
        out: Folder of the cohort; ECGs go to its ``ecg``.
        cases: List of the cines; where None, the data set's own table is read.
        ecg: ``"synthesised"``, or ``"none"``: function is stated to the model then.
        segmenter: Folder of the segmenter's own files, for frames without labels.
        teacher: Folder of the registration teacher, for hearts in which the segmenter's labels contradict the image.
        name, licence, splits: Of the cohort; the data set's licence where it is empty.
        workers: Processes.
        progress: Called with (hearts done, hearts).

    Raises:
        CohortError: If no cine is found, or none can be measured.
    """
    data, out = Path(data).resolve(), Path(out)
    listed, terms = LAYOUTS[kind]
    found = listed(data) if cases is None else read_case_list(cases)
    outside = [case.name for case in found if not case.image.resolve().is_relative_to(data)]
    if outside:
        raise CohortError(
            f"The cines of a list lie in the folder that is imported, {data}; {', '.join(outside[:3])} do not "
            f"({len(outside)} in all). Name the folder that holds them all."
        )
    out.mkdir(parents=True, exist_ok=True)
    root = Path(os.path.commonpath([data, out.resolve()]))
    folder = None if teacher is None else str(teacher)
    work = _Work(out.resolve(), root, str(segmenter), folder, ecg, splits or SplitRule())
    subjects = []
    for subject in spread(partial(_subject, work), found, workers=workers, ordered=True):
        subjects.append(subject)
        if progress is not None:
            progress(len(subjects), len(found))
    if all(subject.excluded for subject in subjects):
        raise CohortError(
            f"At least one heart must be usable; none of {len(subjects)} is, e.g. {subjects[0].id}: "
            f"{subjects[0].excluded}. Mend the list or the files."
        )
    needs = ("cine", "ecg") if ecg == SYNTHESISED else ("cine",)
    return make_cohort(
        out, subjects, data=root, name=name or f"{kind}-cines", kind=kind, licence=licence or terms,
        needs=needs, splits=work.splits, ecg=ecg,
    )  # fmt: skip


def _subject(work: _Work, case: ListedCine) -> Subject:
    facts: dict[str, Any] = {
        "group": case.group, "label_map": case.label_map, "anchor_frame": case.ed_frame, "ed_frame": case.ed_frame,
        "es_frame": case.es_frame, "ecg": work.ecg,
    }  # fmt: skip
    files = {"cine": relative_path(case.image.resolve(), work.root)}
    if case.ed_labels is not None:
        files["labels"] = relative_path(case.ed_labels.resolve(), work.root)
    split = work.splits.split_of(case.name)
    try:
        found = measure_cine(case, work.segmenter, work.teacher)
    except ChainOfFlowError as error:
        return Subject(case.name, case.name, split, files, facts, excluded=str(error))
    heart = found.heart
    facts |= {
        "ef_percent": round(heart.ef_percent, 2), "es_phase": round(found.es_phase, 4), "rr_ms": heart.rr_ms,
        "rr_stated": case.rr_ms is not None, "edv_ml": round(found.edv_ml, 1), "function_from": found.labels_from,
    }  # fmt: skip
    if heart.rvef_percent is not None:
        facts["rvef_percent"] = round(heart.rvef_percent, 2)
    if work.ecg == SYNTHESISED:
        path, facts["ecg_ef_percent"] = _write_ecg(work.out / FOLDER, case.name, heart)
        files["ecg"] = relative_path(path, work.root)
    return Subject(case.name, case.name, split, files, facts)


def _write_ecg(folder: Path, name: str, heart: MeasuredHeart) -> tuple[Path, float]:
    """Write the ECG of a heart; returns its path, and the EF in percent that it was drawn to show."""
    from COFTrainingLib.cohort.synthetic.phantom_files import expected_from_ecg, write_ecg

    seed = zlib.crc32(name.encode())
    patient = physiology_of(heart, seed)
    folder.mkdir(parents=True, exist_ok=True)
    stem = "".join(sign if sign.isalnum() or sign in "-_" else "_" for sign in name)
    write_ecg(folder, ecg_of(patient, seed), stem)
    return folder / f"{stem}.hea", round(expected_from_ecg(patient)["ef_percent"], 2)
