"""Agreement of two label maps: overlap from one confusion table, and distances between borders.

HD95 is MONAI's: the larger of the two directed 95th percentiles of the distances between border voxels. Pooling both
directions first would give far smaller numbers on small islands. Where one of the two is empty, the diagonal of the
field of view is charged and counted; where both are, there is nothing to compare.
"""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt, generate_binary_structure, label

from COFTrainingLib.evaluation.statistics import known_mean

STRUCTURES = {"lv": 1, "myo": 2, "rv": 3}
CLASSES = 4


class SliceAgreement(TypedDict):
    """Agreement of one structure in one slice; the rank counts from 1 at the base."""

    rank: int
    structure: str
    dice: float
    iou: float
    hd95_mm: float


def confusion(reference: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return how many voxels have label r in the reference and f in what was found, (…, 4, 4) along axis 0.

    Args:
        reference, found: (N, …) integers 0…3.
    """
    count = len(reference)
    joint = (reference.astype(np.int64) * CLASSES + found).reshape(count, -1)
    joint += CLASSES**2 * np.arange(count)[:, None]
    return np.bincount(joint.ravel(), minlength=CLASSES**2 * count).reshape(count, CLASSES, CLASSES)


def overlap(table: np.ndarray, code: int) -> tuple[np.ndarray, np.ndarray]:
    """Return Dice and IoU of one label, (N,) each, from confusion tables (N, 4, 4); NaN where neither has it."""
    both = table[:, code, code].astype(float)
    reference, found = table[:, code].sum(axis=1), table[:, :, code].sum(axis=1)
    with np.errstate(invalid="ignore"):
        return 2 * both / (reference + found), both / (reference + found - both)


def border(mask: np.ndarray) -> np.ndarray:
    """Return the voxels of a mask that touch its outside by a face; the edge of the array counts as outside."""
    return mask & ~binary_erosion(mask, generate_binary_structure(mask.ndim, 1), border_value=0)


def hausdorff95(reference: np.ndarray, found: np.ndarray, spacing_mm: Sequence[float] | np.ndarray) -> float:
    """Return the 95th-percentile Hausdorff distance of two masks, mm.

    Args:
        reference, found: Masks of one shape, 2-D or 3-D.
        spacing_mm: Distance of voxels along each axis.

    Returns:
        NaN where both are empty; the diagonal of the field of view where one is.
    """
    if not reference.any() and not found.any():
        return float("nan")
    spacing = np.asarray(spacing_mm, dtype=float)
    if not reference.any() or not found.any():
        return float(np.linalg.norm(spacing * np.array(reference.shape)))
    box = tuple(
        slice(max(int(n.min()) - 1, 0), int(n.max()) + 2) for n in np.nonzero(reference | found)
    )  # one voxel more, so that what lay at the crop's edge is still a border
    one, other = border(_padded(reference, box)), border(_padded(found, box))
    to_one = distance_transform_edt(~one, spacing)[other]
    to_other = distance_transform_edt(~other, spacing)[one]
    return float(max(np.percentile(to_one, 95), np.percentile(to_other, 95)))


def _padded(mask: np.ndarray, box: tuple[slice, ...]) -> np.ndarray:
    return np.pad(mask[box], 1)


def parts(mask: np.ndarray) -> int:
    """Return the number of connected parts of a mask (full neighbourhood)."""
    return int(label(mask, generate_binary_structure(mask.ndim, mask.ndim))[1])


def compare_volumes(
    reference: np.ndarray, found: np.ndarray, spacing_mm: np.ndarray, frames: Sequence[int]
) -> dict[str, float]:
    """Return 3-D agreement over a labelled cine.

    Args:
        reference, found: (T, D, H, W) labels.
        spacing_mm: (3,) along k, j, i.
        frames: Frames in which distances are measured; overlap is measured in all.

    Returns:
        For each structure ``dice_*``, ``iou_*`` (means over frames), ``hd95_*_mm`` (3-D; in 2-D see
        ``compare_slices``), ``empty_*`` (in how many of the distances one side was empty); the means over structures
        ``dice_macro``, ``iou_macro``.
    """
    table, row = confusion(reference, found), dict[str, float]()
    for name, code in STRUCTURES.items():
        dice, iou = overlap(table, code)
        row[f"dice_{name}"], row[f"iou_{name}"] = known_mean(dice), known_mean(iou)
        solid, empty = [], 0
        for frame in frames:
            one, other = reference[frame] == code, found[frame] == code
            empty += int(one.any() != other.any())
            solid.append(hausdorff95(one, other, spacing_mm))
        row[f"hd95_{name}_mm"], row[f"empty_{name}"] = known_mean(solid), empty
    row["dice_macro"] = known_mean([row[f"dice_{name}"] for name in STRUCTURES])
    row["iou_macro"] = known_mean([row[f"iou_{name}"] for name in STRUCTURES])
    return row


def slice_ranks(reference: np.ndarray, apex_last: bool, threshold: float = 0.25) -> list[int]:
    """Return the slices whose wall area is at least ``threshold`` of the largest, base first (COF v2, Fig. 5).

    Args:
        reference: (D, H, W) labels of one frame.
        apex_last: Whether the stack is stored from base to apex.
        threshold: Share of the largest wall area.
    """
    area = (reference == STRUCTURES["myo"]).sum(axis=(1, 2))
    kept = np.flatnonzero((area >= threshold * area.max()) & (area > 0))
    return kept.tolist() if apex_last else kept[::-1].tolist()


def compare_slices(
    reference: np.ndarray, found: np.ndarray, ranks: list[int], spacing_mm: np.ndarray
) -> list[SliceAgreement]:
    """Return 2-D agreement slice by slice in one frame.

    Args:
        reference, found: (D, H, W) labels.
        ranks: Slices in the order of their rank, base first.
        spacing_mm: (3,) along k, j, i.
    """
    table, rows = confusion(reference, found), list[SliceAgreement]()
    for rank, k in enumerate(ranks, start=1):
        for name, code in STRUCTURES.items():
            dice, iou = (float(values[0]) for values in overlap(table[k : k + 1], code))
            distance = hausdorff95(reference[k] == code, found[k] == code, spacing_mm[1:])
            rows.append({"rank": rank, "structure": name, "dice": dice, "iou": iou, "hd95_mm": distance})
    return rows
