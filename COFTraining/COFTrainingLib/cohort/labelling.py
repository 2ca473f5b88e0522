"""Labels of every frame of a cohort's cines by a segmenter, for cohorts that have none: what evaluation compares with.

They are as good as the segmenter: a model is then judged by how well it agrees with the segmenter's reading of the
recorded cine, as the papers' own evaluation does, not with a reader. The manifest says where they are from.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from COFGeneratorLib.errors import ChainOfFlowError, CohortError
from COFGeneratorLib.jobs.workers import spread

from COFTrainingLib.cohort.manifest import Cohort, Subject, relative_path, write_cohort
from COFTrainingLib.cohort.nrrd import write_nrrd

FOLDER = "labels"
WAY = "followed"
"""How frames are labelled; labels made in another way lie elsewhere."""
OWN_CODES = {"lv": 1, "myo": 2, "rv": 3}
"""Of the segmenter; files are written in the subject's own, which its other labels may have."""


@dataclass(frozen=True)
class Labelled:
    """What became of a subject: its file, or why there is none."""

    subject: str
    path: Path
    reason: str = ""


def label_cohort(
    cohort: Cohort,
    segmenter: Path | str,
    *,
    split: str | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Cohort, dict[str, str]]:
    """Label the cines that have no labels, and write the manifest; finished subjects are kept after a stop.

    Frames are labelled as ``frame_labels.segmented`` does.

    Args:
        cohort: The cohort; its cines stay as they are, labels go to ``labels/`` beside the manifest.
        segmenter: Folder of a segmenter's own files.
        split: Only subjects of this split; all where None.
        workers, scheduler: See ``jobs.workers.spread``.
        progress: Called with (subjects done, subjects).

    Returns:
        The cohort with its labels, and why subjects have none, by id.

    Raises:
        CohortError: If no subject has a cine without labels.
    """
    from COFGeneratorLib.files import weights_hash

    wanted = [s for s in cohort.used(split) if "cine" in s.files and "cine_labels" not in s.files]
    if not wanted:
        raise CohortError(
            f"Cines without labels were expected; all of {cohort.header.name} have them, or there are none. Nothing "
            "is left to do."
        )
    made: dict[str, Path] = {}
    failed: dict[str, str] = {}
    digest = weights_hash(str(segmenter))
    work = partial(_label, replace(cohort, subjects=()), str(segmenter), cohort.folder / FOLDER / f"{digest[:8]}-{WAY}")
    for done, found in enumerate(spread(work, wanted, workers=workers, scheduler=scheduler), start=1):
        if found.reason:
            failed[found.subject] = found.reason
        else:
            made[found.subject] = found.path
        if progress is not None:
            progress(done, len(wanted))
    return _with_labels(cohort, made, f"segmenter {digest[:8]}"), failed


def _label(cohort: Cohort, segmenter: str, folder: Path, subject: Subject) -> Labelled:
    """Label the frames of a subject's cine, unless that is done: the anchor's closely, others where its heart is."""
    from COFGeneratorLib.anatomy.readers import read_cine
    from COFGeneratorLib.anatomy.segmenters.segmenter import own_segmenter

    from COFTrainingLib.cohort.frame_labels import segmented

    path = folder / f"{subject.id}.seq.nrrd"
    if path.is_file():
        return Labelled(subject.id, path)
    try:
        cine = read_cine(cohort.path(subject, "cine"))
        first = int(subject.facts.get("anchor_frame", 0))
        frames = np.roll(segmented(own_segmenter(segmenter), cine, first), first, axis=0)
    except ChainOfFlowError as error:
        return Labelled(subject.id, path, str(error))
    codes = np.array(
        [0, *(subject.facts.get("label_map", OWN_CODES).get(name, 0) for name in OWN_CODES)], dtype=np.uint8
    )
    times = np.array(cine.frame_times_ms or range(len(frames)), dtype=float)
    folder.mkdir(parents=True, exist_ok=True)
    write_nrrd(path, codes[frames], cine.ijk_to_ras, times)
    return Labelled(subject.id, path)


def _with_labels(cohort: Cohort, made: dict[str, Path], source: str) -> Cohort:
    """Write the manifest with the labels that were made; its root becomes a folder that holds cines and labels."""
    old, folder = cohort.root.resolve(), cohort.folder.resolve()
    root = Path(os.path.commonpath([old, folder]))
    subjects = []
    for subject in cohort.subjects:
        files = {role: relative_path(old / file, root) for role, file in subject.files.items()}
        facts = subject.facts
        if subject.id in made:
            files["cine_labels"] = relative_path(made[subject.id].resolve(), root)
            facts = {**facts, "cine_labels_from": source}
        subjects.append(replace(subject, files=files, facts=facts))
    header = replace(cohort.header, root=relative_path(root, folder))
    labelled = Cohort(cohort.folder, header, tuple(subjects))
    write_cohort(labelled)
    return labelled
