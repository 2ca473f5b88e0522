"""Labels of the frames of a cine that no reader has labelled: the segmenter's, where grey values agree with them.

At end-systole a segmenter may take a thick, dark wall for cavity. Then blood and wall are no longer told apart by their
grey values as they are at end-diastole; in such a heart the labels of end-diastole, moved by the registration of the
cine's own frames, take the segmenter's place.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from COFGeneratorLib.anatomy.heart_frame import heart_frame_from_labels
from COFGeneratorLib.anatomy.readers import CineStack
from COFGeneratorLib.anatomy.segmenters.clean_labels import clean_labels
from COFGeneratorLib.anatomy.segmenters.segmenter import Segmenter
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.motion.fields import voxels_from_mm, warp
from COFGeneratorLib.registration.teacher import Refinement, RegistrationTeacher
from scipy.stats import rankdata

LARGEST_DROP = 0.05
"""By which cavity and wall may be told apart less well than at end-diastole: a reader's labels of five hearts lose up
to 0.033, a segmenter's up to 0.25."""
FEWEST_VOXELS = 8
SEGMENTER, MOVED = "segmenter", "moved"


def segmented(network: Segmenter, cine: CineStack, first: int, frames: Sequence[int] | None = None) -> np.ndarray:
    """Return the segmenter's labels (1 + T, D, H, W) uint8 of one frame, looked at closely, and then of others.

    Args:
        network: The segmenter.
        cine: The cine.
        first: Where the heart is looked for.
        frames: The others; where None, all frames of the beat that follow.
    """
    stack, count = cine.stack(first), len(cine.frames)
    chosen = [(first + step) % count for step in range(1, count)] if frames is None else list(frames)
    found = network.segment(stack)
    heart = network.follow(stack, found, cine.frames[chosen])
    background = np.clip(1.0 - heart.sum(axis=1, keepdims=True), 0.0, None)
    hard = np.concatenate([background, heart], axis=1).argmax(axis=1).astype(np.uint8)
    return np.stack([found.labels.astype(np.uint8), *(clean_labels(one, stack.spacing_mm) for one in hard)])


def told_apart(voxels: np.ndarray, labels: np.ndarray) -> float:
    """Return how well grey values tell cavity from wall slice by slice, the area under the ROC curve, 0…1.

    Args:
        voxels, labels: (D, H, W).

    Returns:
        The mean over slices, weighted by the cavity; NaN where no slice has both.
    """
    total, weight = 0.0, 0
    for image, marked in zip(voxels, labels, strict=True):
        cavity, wall = image[marked == 1], image[marked == 2]
        if min(len(cavity), len(wall)) < FEWEST_VOXELS:
            continue
        ranks = rankdata(np.concatenate([cavity, wall]))[: len(cavity)].sum()
        total += (ranks - len(cavity) * (len(cavity) + 1) / 2) / len(wall)
        weight += len(cavity)
    return total / weight if weight else float("nan")


def doubted(still: np.ndarray, still_labels: np.ndarray, frame: np.ndarray, labels: np.ndarray) -> bool:
    """Return whether labels of a frame contradict its grey values; all (D, H, W), ``still`` is end-diastole."""
    before, after = told_apart(still, still_labels), told_apart(frame, labels)
    return bool(np.isfinite(before) and not after > before - LARGEST_DROP)


def moved_occupancy(teacher: Path | str, anchor: SaxStack, labels: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the anchor's labels as the refined registration moves them to frames.

    Args:
        teacher: Folder of the registration teacher.
        anchor: The stack that is labelled.
        labels: (D, H, W) of it.
        targets: (T, D, H, W) frames of its cine.

    Returns:
        (T, 4, D, H, W) float32, the share of each voxel that background, LV cavity, wall and RV fill.
    """
    frame = heart_frame_from_labels(labels, anchor.ijk_to_ras)
    found = _teacher(str(teacher)).register(anchor, targets, frame, refinement=Refinement())
    still = torch.from_numpy(np.stack([labels == code for code in range(4)]).astype(np.float32))[None]
    spacing = tuple(float(value) for value in anchor.spacing_mm)
    moved = []
    for index in range(len(targets)):
        field = torch.from_numpy(found.displacement_on_stack(index).astype(np.float32))[None]
        moved.append(warp(still, voxels_from_mm(field, spacing))[0].numpy())
    return np.stack(moved)


@lru_cache(maxsize=1)
def _teacher(folder: str) -> RegistrationTeacher:
    return RegistrationTeacher.load(folder)
