"""Labels that lack the wall or the right ventricle, completed by what a segmenter sees.

Many contours are of the LV cavity alone. What is not labelled does not beat in a generated cine: the motion model goes
by the map of all three structures.
"""

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import binary_dilation

from COFGeneratorLib.anatomy.roi import Roi
from COFGeneratorLib.anatomy.stack import LABELS, SaxStack
from COFGeneratorLib.errors import AnatomyError

if TYPE_CHECKING:  # it loads torch, and bad labels are refused before that
    from COFGeneratorLib.anatomy.segmenters.segmenter import StackSegmenter

MIN_AGREEMENT = 0.5
"""Dice of the given LV cavity with the segmenter's, in the slices where one is given, below which they are not of one
heart."""
WORDS = {"myo": "myocardium", "rv": "right ventricle"}
LEFT_OUT = "What is not labelled hardly moves in the cine."


def lacking(labels: np.ndarray) -> tuple[str, ...]:
    """Return which of ``"myo"`` and ``"rv"`` labels (D, H, W) do not hold."""
    return tuple(name for name in WORDS if not (labels == LABELS[name]).any())


def completed(labels: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return labels (D, H, W) with the structures that they lack taken from a segmenter's map; the others stay."""
    out, missing = labels.copy(), lacking(labels)
    # valves are not level and the apex has a cap: both may lie a slice beyond the last one labelled
    near = binary_dilation(_slices(labels > 0), np.ones((3, 1, 1)))
    if "myo" in missing:
        ventricle = ((seen == 1) | (seen == 2)) & _slices(labels == 1)
        cap = (seen == 2) & ~_slices(seen == 1) & near
        out[(out == 0) & (ventricle | cap)] = LABELS["myo"]
    if "rv" in missing:
        out[(out == 0) & (seen == 3) & near] = LABELS["rv"]
    return out


def complete_by(
    segmenter: "StackSegmenter | None", anchor: SaxStack, labels: np.ndarray, roi: Roi | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Let a segmenter, if there is one, add what labels (D, H, W) of an anchor lack.

    Returns the labels (the same object where nothing was added), and what the user should know.
    """
    missing = lacking(labels)
    if not missing or segmenter is None:
        return labels, ()
    what = " and no ".join(WORDS[name] for name in missing)
    try:
        seen = segmenter.segment(anchor, roi).labels
    except AnatomyError as error:
        return labels, (f"The labels hold no {what}, and the segmenter could not add it: {error} {LEFT_OUT}",)
    if _agreement(labels, seen) < MIN_AGREEMENT:
        return labels, (
            f"The labels hold no {what}. The segmenter added nothing, because it sees the left ventricle elsewhere. "
            f"{LEFT_OUT}",
        )
    out = completed(labels, seen)
    said = f"The labels hold no {what}: the segmenter added what it sees of them. Look at the outlines."
    return out, (said,)


def _agreement(labels: np.ndarray, seen: np.ndarray) -> float:
    given = labels == 1
    found = (seen == 1) & _slices(given)
    return 2.0 * float((given & found).sum()) / max(float(given.sum() + found.sum()), 1.0)


def _slices(mask: np.ndarray) -> np.ndarray:
    """Return (D, 1, 1) bool: the slices in which a mask holds anything."""
    return np.any(mask, axis=(1, 2), keepdims=True)
