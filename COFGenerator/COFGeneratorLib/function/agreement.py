"""How well a generated cine agrees with a real one of the same heart: intensities, overlap of structures, volumes.

A cine that stands still agrees with a real one over most of its voxels, so every figure comes with that of the anchor
held still: only what is better than that is owed to the motion.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from COFGeneratorLib.anatomy.geometry import KJI_AND_IJK, spacing_ijk_mm, voxel_volume_ml
from COFGeneratorLib.anatomy.stack import LABELS
from COFGeneratorLib.errors import FunctionError

HEART_MARGIN_MM = 10.0
"""Intensities are compared in the box of the heart and this far around it."""


@dataclass(frozen=True)
class Agreement:
    """Agreement of two cines, frame by frame of the generated one.

    Attributes:
        real_frame: (T,) frame of the real cine at the same phase.
        difference: (T, D, H, W) float32 generated minus real, each scaled by its own 1st to 99th percentile, so that 1
            is the range of the image.
        error, error_still: (T,) mean absolute difference around the heart, and that of the first frame held still.
        correlation, correlation_still: (T,) Pearson correlation around the heart, and that of the first frame.
        dice, dice_still: structure → (T,) overlap with the real labels; empty where there are none.
        real_volume_ml: structure → (T,) mL of the real labels, LV and RV.
    """

    real_frame: np.ndarray
    difference: np.ndarray
    error: np.ndarray
    error_still: np.ndarray
    correlation: np.ndarray
    correlation_still: np.ndarray
    dice: dict[str, np.ndarray]
    dice_still: dict[str, np.ndarray]
    real_volume_ml: dict[str, np.ndarray]


def on_grid(
    frames: np.ndarray, ijk_to_ras: np.ndarray, shape: Sequence[int], to_ijk_to_ras: np.ndarray, order: int
) -> np.ndarray:
    """Return frames on another grid, (T, D, H, W) float32; outside their own grid they repeat their border.

    Args:
        frames: (T, d, h, w).
        ijk_to_ras: (4, 4) of the frames, mm.
        shape: (D, H, W) of the new grid.
        to_ijk_to_ras: (4, 4) of the new grid, mm.
        order: 1 linear, 0 nearest neighbour (labels).
    """
    if frames.shape[1:] == tuple(shape) and np.allclose(ijk_to_ras, to_ijk_to_ras, atol=1e-3):
        return frames.astype(np.float32)
    across = np.linalg.inv(ijk_to_ras) @ to_ijk_to_ras  # ijk of the new grid → ijk of the frames
    matrix = KJI_AND_IJK @ across @ KJI_AND_IJK
    return np.stack(
        [
            ndimage.affine_transform(
                frame.astype(np.float32), matrix[:3, :3], matrix[:3, 3], output_shape=tuple(shape), order=order,
                mode="nearest",
            )
            for frame in frames
        ]
    )  # fmt: skip


def agreement(
    generated: np.ndarray,
    real: np.ndarray,
    ijk_to_ras: np.ndarray,
    labels: np.ndarray | None = None,
    real_labels: np.ndarray | None = None,
    real_phase: np.ndarray | None = None,
) -> Agreement:
    """Compare a generated cine with a real one on the same grid.

    Args:
        generated: (T, D, H, W).
        real: (S, D, H, W).
        ijk_to_ras: (4, 4) mm.
        labels: (T, D, H, W) of the generated cine, or None.
        real_labels: (S, D, H, W), or None.
        real_phase: (S,) phase of the real frames, 0…1 of one R–R; evenly spread where None.

    Raises:
        FunctionError: If the shapes do not fit.
    """
    if generated.shape[1:] != real.shape[1:] or (real_labels is not None and real_labels.shape != real.shape):
        raise FunctionError(
            f"Two cines are compared on one grid; found {generated.shape[1:]} and {real.shape[1:]}"
            + (f", real labels {real_labels.shape}" if real_labels is not None else "")
            + ". Bring the real cine onto the generated one's grid."
        )
    count, real_count = len(generated), len(real)
    phase = np.arange(count) / count
    other = np.arange(real_count) / real_count if real_phase is None else np.asarray(real_phase, float)
    apart = np.abs(phase[:, None] - other[None])
    match = np.minimum(apart, 1.0 - apart).argmin(axis=1)
    mine, theirs = _scaled(generated), _scaled(real)[match]
    box = _heart_box(labels, generated.shape[1:], ijk_to_ras)
    inside, outside = mine[(slice(None), *box)], theirs[(slice(None), *box)]
    dice, dice_still, volumes = {}, {}, {}
    if real_labels is not None:
        matched = real_labels[match]
        voxel_ml = voxel_volume_ml(ijk_to_ras)
        for name, code in LABELS.items():
            if not (matched == code).any():
                continue
            if name != "myo":
                volumes[name] = (matched == code).sum(axis=(1, 2, 3)) * voxel_ml
            if labels is not None:
                dice[name] = np.array([_dice(a == code, b == code) for a, b in zip(labels, matched, strict=True)])
                dice_still[name] = np.array([_dice(labels[0] == code, one == code) for one in matched])
    return Agreement(
        real_frame=match,
        difference=(mine - theirs).astype(np.float32),
        error=np.abs(inside - outside).mean(axis=(1, 2, 3)),
        error_still=np.abs(inside[:1] - outside).mean(axis=(1, 2, 3)),
        correlation=np.array([_correlation(a, b) for a, b in zip(inside, outside, strict=True)]),
        correlation_still=np.array([_correlation(inside[0], b) for b in outside]),
        dice=dice,
        dice_still=dice_still,
        real_volume_ml=volumes,
    )


def _scaled(frames: np.ndarray) -> np.ndarray:
    low, high = np.percentile(frames[0], (1.0, 99.0))
    return ((frames - low) / max(float(high - low), 1e-6)).astype(np.float32)


def _heart_box(labels: np.ndarray | None, shape: Sequence[int], ijk_to_ras: np.ndarray) -> tuple[slice, ...]:
    if labels is None or not (labels > 0).any():
        return tuple(slice(0, size) for size in shape)
    margin = np.ceil(HEART_MARGIN_MM / spacing_ijk_mm(ijk_to_ras)[::-1]).astype(int)
    box = []
    for axis, (size, extra) in enumerate(zip(shape, margin, strict=True)):
        used = np.flatnonzero((labels > 0).any(axis=tuple(other for other in range(4) if other != axis + 1)))
        extra = extra if axis else 0  # beyond base and apex there is no heart to compare
        box.append(slice(max(used[0] - extra, 0), min(used[-1] + extra + 1, size)))
    return tuple(box)


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    total = one.sum() + other.sum()
    return float(2.0 * (one & other).sum() / total) if total else float("nan")


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    if one.std() < 1e-9 or other.std() < 1e-9:
        return float("nan")
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])
