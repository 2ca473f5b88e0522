"""Labels of every frame of a cohort's cines by a segmenter, for cohorts that have none: what evaluation compares with.

The segmenter is ours, or one of others (an nnU-Net, a MONAI bundle), which labels frame by frame.

They are as good as the segmenter: a model is then judged by how well it agrees with the segmenter's reading of the
recorded cine, as the papers' own evaluation does, not with a reader. The manifest says where they are from.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from COFGeneratorLib.errors import ChainOfFlowError, CohortError
from COFGeneratorLib.jobs.workers import spread

from COFTrainingLib.cohort.manifest import Cohort, Subject, relative_path, write_cohort
from COFTrainingLib.cohort.nrrd import write_nrrd

if TYPE_CHECKING:
    from COFGeneratorLib.anatomy.readers import CineStack
    from COFGeneratorLib.anatomy.segmenters.foreign_segmenter import StackSegmenter

FOLDER = "labels"
FOLLOWED, SINGLE = "followed", "single"
"""How frames are labelled: by ours after the anchor's, or each by itself. Labels made in another way lie elsewhere."""
WEIGHTS = (".pth", ".pt", ".ts", ".safetensors")
Codes = tuple[tuple[str, int], ...]
"""Class of each structure of a segmenter of others; empty where its own names say it."""
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
    classes: Mapping[str, int] | None = None,
    split: str | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Cohort, dict[str, str]]:
    """Label the cines that have no labels, and write the manifest; finished subjects are kept after a stop.

    Frames are labelled as ``frame_labels.segmented`` does, by a segmenter of others each by itself.

    Args:
        cohort: The cohort; its cines stay as they are, labels go to ``labels/`` beside the manifest.
        segmenter: Folder of a segmenter's own files, or of one of others that ``load_segmenter`` takes.
        classes: Class of "lv", "myo" and "rv" of one of others; found by its names where None.
        split: Only subjects of this split; all where None.
        workers, scheduler: See ``jobs.workers.spread``.
        progress: Called with (subjects done, subjects).

    Returns:
        The cohort with its labels, and why subjects have none, by id.

    Raises:
        CohortError: If no subject has a cine without labels.
        AnatomyError: If the segmenter does not read.
    """
    wanted = [s for s in cohort.used(split) if "cine" in s.files and "cine_labels" not in s.files]
    if not wanted:
        raise CohortError(
            f"Cines without labels were expected; all of {cohort.header.name} have them, or there are none. Nothing "
            "is left to do."
        )
    made: dict[str, Path] = {}
    failed: dict[str, str] = {}
    codes: Codes = tuple(sorted((classes or {}).items()))
    own = _is_own(str(segmenter))
    if not own:
        _of_others(str(segmenter), codes)  # what does not read is said before any work
    digest = _digest(Path(segmenter))
    folder = cohort.folder / FOLDER / f"{digest[:8]}-{FOLLOWED if own else SINGLE}"
    work = partial(_label, replace(cohort, subjects=()), str(segmenter), codes, folder)
    for done, found in enumerate(spread(work, wanted, workers=workers, scheduler=scheduler), start=1):
        if found.reason:
            failed[found.subject] = found.reason
        else:
            made[found.subject] = found.path
        if progress is not None:
            progress(done, len(wanted))
    return _with_labels(cohort, made, f"segmenter {digest[:8]}"), failed


def _is_own(segmenter: str) -> bool:
    """Return whether a folder is a segmenter of ours, which follows a heart from frame to frame."""
    return (Path(segmenter) / "segmenter.json").is_file()


@lru_cache(maxsize=1)
def _of_others(segmenter: str, codes: Codes) -> "StackSegmenter":
    """Load a segmenter of others once a process."""
    from COFGeneratorLib.anatomy.segmenters.foreign_segmenter import load_segmenter

    return load_segmenter(segmenter, dict(codes) or None)


def _digest(segmenter: Path) -> str:
    """Return the SHA-256 of all weights in a segmenter's folder, as ``weights_hash`` where they lie in it alone."""
    digest = hashlib.sha256()
    for path in sorted(path for path in segmenter.rglob("*") if path.suffix in WEIGHTS):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _frames(segmenter: str, codes: Codes, cine: "CineStack", first: int) -> np.ndarray:
    """Return the labels (T, D, H, W) of a cine's frames, that of ``first`` first."""
    from COFGeneratorLib.anatomy.segmenters.segmenter import own_segmenter

    from COFTrainingLib.cohort.frame_labels import segmented

    if _is_own(segmenter):
        return segmented(own_segmenter(segmenter), cine, first)
    network, count = _of_others(segmenter, codes), len(cine.frames)
    return np.stack(
        [network.segment(cine.stack((first + step) % count)).labels.astype(np.uint8) for step in range(count)]
    )


def _label(cohort: Cohort, segmenter: str, classes: Codes, folder: Path, subject: Subject) -> Labelled:
    """Label the frames of a subject's cine, unless that is done."""
    from COFGeneratorLib.anatomy.readers import read_cine

    path = folder / f"{subject.id}.seq.nrrd"
    if path.is_file():
        return Labelled(subject.id, path)
    try:
        cine = read_cine(cohort.path(subject, "cine"))
        first = int(subject.facts.get("anchor_frame", 0))
        frames = np.roll(_frames(segmenter, classes, cine, first), first, axis=0)
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
