"""Pairs of frames of a cohort's own images for the registration teacher: cines, or two labelled frames (ACDC)."""

from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from COFGeneratorLib.anatomy import read_labels, read_sax
from COFGeneratorLib.anatomy.heart_frame import heart_frame_from_labels
from COFGeneratorLib.anatomy.stack import LABELS, SaxStack
from COFGeneratorLib.errors import AnatomyError, TrainingError
from COFGeneratorLib.files import replacing
from COFGeneratorLib.registration.teacher_grid import heart_centred_grid, scale_intensity
from COFGeneratorLib.registration.teacher_network import TeacherConfig

from COFTrainingLib.cohort.manifest import Cohort, Subject
from COFTrainingLib.training.teacher.teacher import TeacherTraining

SEGMENTED_FRAMES = 6
"""Frames of a beat that the segmenter labels, the anchor among them."""
KEPT = 200
"""Subjects held in memory, a few MB each."""
MIN_SUBJECTS = 2


@dataclass(frozen=True)
class _Pair:
    """One subject on its teacher grid: images and labels of its frames; frame 0 is the anchor.

    ``images`` (F, D, H, W) scaled; ``labels`` (F, 3, D, H, W) fractions of LV, myocardium and RV.
    """

    images: torch.Tensor
    labels: torch.Tensor
    pitch_mm: float


class CohortPairs:
    """Batches by step: the same step gives the same batch. All pairs of a batch have the same number of slices.

    Args:
        cohort: The cohort.
        subjects: Which of its subjects.
        config: Settings of the teacher's training.
        seed: Of the draws.
        vary: Draw brightness and contrast anew for every pair.
        segmenter: Folder of the segmenter that labels cines without labels; empty for none.
        cache: Folder that keeps what it labelled, or None.
    """

    def __init__(
        self, cohort: Cohort, subjects: Sequence[Subject], config: TeacherTraining, seed: int, *, vary: bool = True,
        segmenter: str = "", cache: Path | None = None,
    ) -> None:  # fmt: skip
        self.segmenter, self.cache = segmenter, cache
        self.cohort, self.network, self.batch = cohort, config.network, config.pairs.batch
        self.still, self.seed, self.vary = config.pairs.still, seed, vary
        groups = defaultdict(list)
        for subject in subjects:
            groups[_slices(cohort, subject)].append(subject)
        self.count = len(subjects)
        self.groups = [groups[depth] for depth in sorted(groups)]
        self.shares = np.array([len(group) for group in self.groups]) / len(subjects)
        self._kept: OrderedDict[str, _Pair] = OrderedDict()

    def __call__(self, step: int) -> dict[str, Any]:
        """Return the batch of a step, as ``PhantomPairs`` does, without a true displacement."""
        rng = np.random.default_rng([self.seed, 11, step])
        group = self.groups[rng.choice(len(self.groups), p=self.shares)]
        chosen = [group[index] for index in rng.choice(len(group), self.batch, replace=len(group) < self.batch)]
        pairs = [self._pair(subject, rng) for subject in chosen]
        batch = {key: torch.stack([pair[key] for pair in pairs]) for key in pairs[0] if key != "name"}
        return {**batch, "names": [pair["name"] for pair in pairs]}

    def _pair(self, subject: Subject, rng: np.random.Generator) -> dict[str, Any]:
        frames = self._subject(subject)
        frame = 0 if rng.random() < self.still else int(rng.integers(1, len(frames.images)))
        anchor, target = frames.images[0], frames.images[frame]
        if self.vary:
            power, gain = float(np.exp(rng.normal(0.0, 0.15))), float(np.exp(rng.normal(0.0, 0.1)))
            anchor, target = ((gain * (image + 0.5).clamp_min(0.0).pow(power) - 0.5) for image in (anchor, target))
        labels = frames.labels[frame]
        hard = torch.cat([1.0 - labels.sum(dim=0, keepdim=True), labels]).argmax(dim=0)
        return {
            "anchor": anchor[None],
            "target": target[None],
            "anchor_labels": frames.labels[0],
            "target_labels": torch.stack([(hard == code).float() for code in (1, 2, 3)]),
            "pitch_mm": torch.tensor(frames.pitch_mm),
            "name": f"{subject.id}@{frame}",
        }

    def _subject(self, subject: Subject) -> _Pair:
        if subject.id not in self._kept:
            self._kept[subject.id] = load_frames(self.cohort, subject, self.network, self.segmenter, self.cache)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(subject.id)
        return self._kept[subject.id]


def cohort_pairs(
    cohort: Cohort, config: TeacherTraining, segmenter: str = "", cache: Path | None = None
) -> tuple[CohortPairs, CohortPairs]:
    """Return the batches of a cohort's training and of its validation subjects.

    Args:
        cohort: Cines with labels, labelled pairs of frames, or, with a segmenter, cines alone.
        config: Settings of the teacher's training.
        segmenter: Folder of the segmenter that labels cines without labels; empty for none.
        cache: Folder that keeps what it labelled, or None.

    Raises:
        TrainingError: If the cohort has no labelled frames or too few subjects.
    """
    train, valid = ([s for s in cohort.used(split) if _usable(s, segmenter)] for split in ("train", "valid"))
    if len(valid) < 1 and len(train) > MIN_SUBJECTS:  # a small cohort: hold some of the training subjects back
        train, valid = train[:-1], train[-1:]
    if len(train) < MIN_SUBJECTS or not valid:
        raise TrainingError(
            f"The teacher needs at least {MIN_SUBJECTS} subjects to train on and 1 to validate, with all frames "
            f"labelled (cine, cine_labels) or two of them (anchor, labels, target, target_labels); found {len(train)} "
            f"and {len(valid)} in {cohort.header.name}. Synthesise with --cines, import labels, give --segmenter, or "
            "leave --cohort out."
        )
    seed = config.loop.seed
    return (
        CohortPairs(cohort, train, config, seed, segmenter=segmenter, cache=cache),
        CohortPairs(cohort, valid, _moving(config), seed + 1, vary=False, segmenter=segmenter, cache=cache),
    )


def _moving(config: TeacherTraining) -> TeacherTraining:
    return replace(config, pairs=replace(config.pairs, still=0.0))


def _usable(subject: Subject, segmenter: str) -> bool:
    roles = set(subject.files)
    pair = {"anchor", "labels", "target", "target_labels"} <= roles
    return pair or ("cine" in roles and ("cine_labels" in roles or bool(segmenter)))


def _slices(cohort: Cohort, subject: Subject) -> int:
    if "slices" in subject.facts:
        return int(subject.facts["slices"])
    return read_sax(cohort.path(subject, "anchor" if "anchor" in subject.files else "cine")).shape[0]


def load_frames(
    cohort: Cohort, subject: Subject, config: TeacherConfig, segmenter: str = "", cache: Path | None = None
) -> _Pair:
    """Read a subject's frames and bring them onto the teacher's grid of its anchor.

    Of a cine without labels some frames are labelled by the segmenter, and kept in ``cache``.

    Raises:
        TrainingError: If a target does not share the anchor's grid.
    """
    codes = subject.facts.get("label_map", LABELS)
    images: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    if {"cine", "cine_labels"} <= set(subject.files):
        from COFGeneratorLib.anatomy.readers import read_cine

        cine = read_cine(cohort.path(subject, "cine"))
        marked = read_cine(cohort.path(subject, "cine_labels"))
        first = int(subject.facts.get("anchor_frame", 0))
        order = [*range(first, len(cine.frames)), *range(first)]
        anchor = cine.stack(first)
        for frame in order:
            images.append(cine.frames[frame])
            labels.append(np.stack([marked.frames[frame] == codes[name] for name in LABELS]))
    elif "target" in subject.files:
        anchor = read_sax(cohort.path(subject, "anchor"), int(subject.facts.get("anchor_frame", 0)))
        for image, label, frame in (("anchor", "labels", "anchor_frame"), ("target", "target_labels", "target_frame")):
            stack = read_sax(cohort.path(subject, image), int(subject.facts.get(frame, 0)))
            if not _same_grid(stack, anchor):
                raise TrainingError(
                    f"Both frames of a pair must lie on one grid; {subject.id} has {stack.shape} and {anchor.shape}. "
                    "Exclude it: cof cohort check --exclude"
                )
            images.append(stack.voxels)
            marked_frame = read_labels(cohort.path(subject, label), stack, codes)
            labels.append(np.stack([marked_frame == code for code in LABELS.values()]))
    else:
        anchor, images, labels = _segmented(cohort, subject, segmenter, cache)
    whole = np.zeros(anchor.shape, dtype=np.uint8)
    for code, mask in zip(LABELS.values(), labels[0], strict=True):
        whole[mask] = code
    frame = heart_frame_from_labels(whole, anchor.ijk_to_ras)
    grid = heart_centred_grid(config, anchor.shape, anchor.ijk_to_ras, frame)
    still = grid.from_stack(images[0][None])[0]
    return _Pair(
        torch.stack([scale_intensity(grid.from_stack(image[None])[0], still) for image in images]),
        torch.stack([grid.from_stack(mask.astype(np.float32)) for mask in labels]),
        float(grid.spacing_mm[0]),
    )


def _segmented(
    cohort: Cohort, subject: Subject, segmenter: str, cache: Path | None
) -> tuple[SaxStack, list[np.ndarray], list[np.ndarray]]:
    """Return the anchor, frames and their label masks (3, D, H, W) of a cine that the segmenter labels.

    Frames in which it finds no heart are left out; the anchor must have one.
    """
    from COFGeneratorLib.anatomy.readers import read_cine
    from COFGeneratorLib.anatomy.segmenters.segmenter import own_segmenter

    cine = read_cine(cohort.path(subject, "cine"))
    count, first = len(cine.frames), int(subject.facts.get("anchor_frame", 0))
    chosen = [(first + round(n * count / SEGMENTED_FRAMES)) % count for n in range(min(SEGMENTED_FRAMES, count))]
    kept = None if cache is None else cache / f"{subject.id}-{cine.source_sha256[:16]}.npz"
    if kept is not None and kept.is_file():
        with np.load(kept, allow_pickle=False) as stored:
            found = {int(name): stored[name] for name in stored.files}
    else:
        found = {}
        for frame in chosen:
            try:
                found[frame] = own_segmenter(segmenter).segment(cine.stack(frame)).labels
            except AnatomyError:
                if frame == first:
                    raise
        if kept is not None:
            with replacing(kept) as beside:
                np.savez_compressed(beside, **{str(frame): labels for frame, labels in found.items()})
    order = [frame for frame in chosen if frame in found]
    masks = [np.stack([found[frame] == code for code in LABELS.values()]) for frame in order]
    return cine.stack(first), [cine.frames[frame] for frame in order], masks


def _same_grid(a: SaxStack, b: SaxStack) -> bool:
    return a.shape == b.shape and np.allclose(a.ijk_to_ras, b.ijk_to_ras, atol=0.5)
