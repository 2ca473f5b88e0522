"""Frames of recorded hearts that have labels: what a segmentation network is trained on."""

from collections.abc import Iterator

import numpy as np
from COFGeneratorLib.anatomy.readers import CineStack, read_cine, read_sax
from COFGeneratorLib.anatomy.readers.labels import read_labels
from COFGeneratorLib.anatomy.stack import LABELS, SaxStack
from COFGeneratorLib.errors import CohortError
from COFGeneratorLib.function import volume_curves

from COFTrainingLib.cohort.cine_labels import onto_grid
from COFTrainingLib.cohort.manifest import Cohort, Subject

MOST_FRAMES = 6
"""Of a cine all of whose frames are labelled: its neighbours are nearly the same picture."""
PAIRS = (
    ("anchor", "labels", "anchor_frame", "labels_frame"),
    ("target", "target_labels", "target_frame", "target_frame"),
)
"""Roles of an image and its labels, and the facts that say which frame of either file is meant."""


def has_labels(subject: Subject) -> bool:
    """Return whether any frame of a subject is labelled, as the manifest lists it."""
    files = subject.files
    pairs = [{"cine", "cine_labels"}, {"cine", "labels"}, *({image, labels} for image, labels, *_ in PAIRS)]
    return any(pair <= files.keys() for pair in pairs)


def labelled_frames(cohort: Cohort, subject: Subject, most: int = MOST_FRAMES) -> Iterator[tuple[SaxStack, np.ndarray]]:
    """Yield a subject's labelled stacks with their labels (D, H, W) uint8 in our own codes.

    Of a labelled cine these are ED, ES and others evenly in between, ``most`` in all; otherwise the labelled frames.

    Raises:
        ChainOfFlowError: If a file cannot be used.
    """
    files, facts = subject.files, subject.facts
    if {"cine", "cine_labels"} <= files.keys():
        yield from _of_cine(cohort, subject, most)
        return
    codes = facts.get("label_map")
    for image, labels, image_frame, labels_frame in PAIRS:
        if {image, labels} <= files.keys():
            stack = read_sax(cohort.path(subject, image), int(facts.get(image_frame, 0)))
            yield stack, read_labels(cohort.path(subject, labels), stack, codes, facts.get(labels_frame))
    if {"cine", "labels"} <= files.keys() and "anchor" not in files:
        stack = read_cine(cohort.path(subject, "cine")).stack(int(facts.get("anchor_frame", 0)))
        yield stack, read_labels(cohort.path(subject, "labels"), stack, codes, facts.get("labels_frame"))


def _of_cine(cohort: Cohort, subject: Subject, most: int) -> Iterator[tuple[SaxStack, np.ndarray]]:
    cine, stored = read_cine(cohort.path(subject, "cine")), read_cine(cohort.path(subject, "cine_labels"))
    if len(cine.frames) != len(stored.frames):
        raise CohortError(
            f"Cine and labels must share frames; found {len(cine.frames)} and {len(stored.frames)} in {subject.id}. "
            "Export both from one series."
        )
    codes = subject.facts.get("label_map", LABELS)
    own = np.zeros(stored.frames.shape, dtype=np.uint8)
    for name, code in codes.items():
        own[stored.frames == code] = LABELS[name]
    labels = onto_grid(CineStack(own, stored.ijk_to_ras), cine.ijk_to_ras, cine.frames.shape[1:], subject.id).frames
    for frame in chosen_frames(volume_curves(labels.astype(np.uint8), cine.ijk_to_ras).lv_ml, most):
        yield cine.stack(frame), labels[frame].astype(np.uint8)


def chosen_frames(lv_ml: np.ndarray, most: int) -> list[int]:
    """Return frames to learn from, of a cine's LV volumes (T,): largest, smallest, others evenly, none empty."""
    filled = np.flatnonzero(lv_ml > 0)
    if not len(filled):
        return []
    chosen = {int(filled[np.argmax(lv_ml[filled])]), int(filled[np.argmin(lv_ml[filled])])}
    for frame in filled[np.linspace(0, len(filled) - 1, min(most, len(filled))).round().astype(int)]:
        if len(chosen) < most:
            chosen.add(int(frame))
    return sorted(chosen)[:most]
