"""Motion against known motion, and whether it keeps the topology of what it moves."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from COFGeneratorLib.motion.fields import jacobian_determinant

from COFTrainingLib.evaluation.metrics.anatomy import STRUCTURES, parts


def endpoint_error(found_mm: np.ndarray, true_mm: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Return the mean and 95th percentile of the distance of displacement vectors within a mask, mm.

    Args:
        found_mm, true_mm: (3, D, H, W), components along the same axes.
        mask: (D, H, W) bool.
    """
    if not mask.any():
        return {"mean": float("nan"), "p95": float("nan"), "true": float("nan")}
    difference = np.linalg.norm((found_mm - true_mm.astype(np.float32))[:, mask], axis=0)
    size = np.linalg.norm(true_mm.astype(np.float32)[:, mask], axis=0)
    return {"mean": float(difference.mean()), "p95": float(np.percentile(difference, 95)), "true": float(size.mean())}


def compare_motion(
    displacement_mm: Callable[[int], np.ndarray],
    true_mm: Mapping[int, np.ndarray] | np.ndarray,
    labels: np.ndarray,
    frames: Sequence[int],
) -> dict[str, float]:
    """Return the endpoint error over chosen frames, in the wall and in the heart as it lies in each frame.

    Args:
        displacement_mm: Frame → (3, D, H, W) pull displacement, mm along the stack's axes.
        true_mm: Frame → the same of the truth, or all of it, (T, 3, D, H, W).
        labels: (T, D, H, W) reference labels.
        frames: Frames to measure.
    """
    wall, heart, far, size = [], [], [], []
    for frame in frames:
        found, true = displacement_mm(frame), np.asarray(true_mm[frame])
        in_wall = endpoint_error(found, true, labels[frame] == STRUCTURES["myo"])
        wall.append(in_wall["mean"])
        far.append(in_wall["p95"])
        size.append(in_wall["true"])
        heart.append(endpoint_error(found, true, labels[frame] > 0)["mean"])
    return {
        "epe_wall_mm": float(np.nanmean(wall)),
        "epe_wall_p95_mm": float(np.nanmean(far)),
        "epe_heart_mm": float(np.nanmean(heart)),
        "true_wall_motion_mm": float(np.nanmean(size)),
    }


def jacobian_stats(displacement_voxels: torch.Tensor, mask: np.ndarray) -> dict[str, float]:
    """Return the share of folded voxels (percent) and the smallest Jacobian within a mask (D, H, W).

    Displacements are (N, 3, D, H, W), voxels.
    """
    determinant = jacobian_determinant(displacement_voxels)[:, torch.from_numpy(np.ascontiguousarray(mask))]
    if determinant.numel() == 0:
        return {"folded_percent": 0.0, "jacobian_min": float("nan")}
    return {
        "folded_percent": 100.0 * float((determinant <= 0).float().mean()),
        "jacobian_min": float(determinant.min()),
    }


def parts_kept(anchor_labels: np.ndarray, found: np.ndarray, frames: Sequence[int]) -> float:
    """Return the share, percent, of structures × frames whose number of connected parts is the anchor's."""
    kept = []
    for code in STRUCTURES.values():
        before = parts(anchor_labels == code)
        kept += [parts(found[frame] == code) == before for frame in frames]
    return 100.0 * float(np.mean(kept))
