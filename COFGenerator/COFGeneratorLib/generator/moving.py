"""Labels and images that a motion moves, frame by frame: volumes are summed and frames written as they come."""

from collections.abc import Callable

import numpy as np
import torch

from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.function import VolumeCurves, curves_from_sums
from COFGeneratorLib.generator.native import NativeMotion
from COFGeneratorLib.generator.networks.grid import fullest, label_fractions
from COFGeneratorLib.motion.between import IMAGE_WEIGHT
from COFGeneratorLib.motion.fields import identity_positions, sample_slices
from COFGeneratorLib.motion.refined import RefinedStack

WINDOW_PERCENT = (1.0, 99.0)
"""Percentiles between which grey values count from 0 to 1."""
MARGIN_VOXELS = 3


class MovingLabels:
    """Labels under a motion, in a box of their own.

    Args:
        motion: Moves them.
        labels: (D, H, W) of the anchor.
    """

    def __init__(self, motion: NativeMotion, labels: np.ndarray) -> None:
        self._motion, self._labels = motion, labels
        self.box = _label_box(motion, labels)
        here = (slice(None), *self.box)
        fractions = label_fractions(labels)
        self._still = fractions.sum(axis=(1, 2, 3)) - fractions[here].sum(axis=(1, 2, 3))
        self._fractions = torch.from_numpy(np.ascontiguousarray(fractions[here])).to(motion.device)
        self._inner = tuple(
            slice(a.start - b.start, a.stop - b.start) for a, b in zip(self.box, motion.box, strict=True)
        )

    def fractions(self, field: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what fills each voxel of ``box``, of a motion's field (n, 3, d, h, w) within its own box.

        Returns:
            (n, 3, d, h, w) occupancies; and (n, d, h, w) how much of each voxel was pulled from within the stack, not
            from beyond its first or last slice, which are taken to go on there.
        """
        field = field[(..., *self._inner)]
        positions = field + identity_positions(field.shape[2:], field.device)
        inside = self._fractions[None].expand(len(field), *self._fractions.shape)
        depth = self._fractions.shape[1]
        seen = (1.0 + positions[:, 0]).clamp(0.0, 1.0) * (depth - positions[:, 0]).clamp(0.0, 1.0)
        return sample_slices(inside, positions), seen

    def sums(self, fractions: torch.Tensor, seen: torch.Tensor | None) -> np.ndarray:
        """Return how many voxels each structure fills, (n, 3), of ``fractions``.

        With ``seen`` tissue is followed: where the stack ends within the ventricle, what comes in over its edge is not
        counted, and the volume is that of the part that was seen in the anchor.
        """
        moved = fractions.sum(dim=(2, 3, 4)) if seen is None else torch.einsum("ncdhw,ndhw->nc", fractions, seen)
        return moved.double().cpu().numpy() + self._still


def volume_sums(motion: NativeMotion, labels: np.ndarray, *, followed: bool = True) -> np.ndarray:
    """Return how many voxels LV cavity, myocardium and RV cavity fill in every frame, (T, 3); see ``MovingLabels``."""
    moving = MovingLabels(motion, labels)
    parts = []
    for start, stop in motion.chunks():
        fractions, seen = moving.fractions(motion.displacement_voxels(start, stop))
        parts.append(moving.sums(fractions, seen if followed else None))
    return np.concatenate(parts)


class MovingImage:
    """An anchor's grey values under a motion: cubic in the plane, along the anatomy between the slices.

    Args:
        motion: Moves it.
        anchor: The stack.
        labels: (D, H, W) of the anchor: with the grey values they tell what corresponds between slices.
    """

    def __init__(self, motion: NativeMotion, anchor: SaxStack, labels: np.ndarray) -> None:
        wide = tuple(
            slice(max(part.start - MARGIN_VOXELS, 0), min(part.stop + MARGIN_VOXELS, size)) if axis else part
            for axis, (part, size) in enumerate(zip(motion.box, anchor.shape, strict=True))
        )
        image = torch.from_numpy(anchor.voxels[wide].astype(np.float32)).to(motion.device)
        low, high = np.percentile(anchor.voxels[wide], WINDOW_PERCENT)
        grey = ((image - low) / max(float(high - low), 1e-6)).clamp(0.0, 1.0)
        guides = torch.from_numpy(label_fractions(labels[wide])).to(image)
        guides = torch.cat([guides, IMAGE_WEIGHT * grey[None]])
        self._stack = RefinedStack(image, guides, anchor.spacing_mm)
        size = tuple(part.stop - part.start for part in motion.box)
        corner = [float(part.start - outer.start) for part, outer in zip(motion.box, wide, strict=True)]
        self._places = identity_positions(size, motion.device) + image.new_tensor(corner).view(1, 3, 1, 1, 1)

    def frames(self, field: torch.Tensor) -> torch.Tensor:
        """Return the grey values (n, d, h, w) within the motion's box, of its field (n, 3, d, h, w)."""
        return self._stack.sample(self._places + field)


def moved_anchor(
    anchor: SaxStack,
    labels: np.ndarray,
    motion: NativeMotion,
    followed: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray, VolumeCurves]:
    """Return the cine (T, D, H, W) float32, its labels (T, D, H, W) uint8, and the volumes of all frames.

    The anchor's frame is the anchor; volumes follow the tissue where ``followed`` (``MovingLabels.sums``).
    """
    frames = np.repeat(anchor.voxels[None].astype(np.float32), motion.frames, axis=0)
    hard = np.repeat(labels[None].astype(np.uint8), motion.frames, axis=0)
    image, moving, sums = MovingImage(motion, anchor, labels), MovingLabels(motion, labels), []
    for start, stop in motion.chunks():
        field = motion.displacement_voxels(start, stop)
        frames[(slice(start, stop), *motion.box)] = image.frames(field).cpu().numpy()
        fractions, seen = moving.fractions(field)
        sums.append(moving.sums(fractions, seen if followed else None))
        hard[(slice(start, stop), *moving.box)] = fullest(fractions).cpu().numpy()
        if progress:
            progress(stop, motion.frames)
    frames[motion.still], hard[motion.still] = anchor.voxels, labels
    return frames, hard, curves_from_sums(np.concatenate(sums), anchor.ijk_to_ras)


def _label_box(motion: NativeMotion, labels: np.ndarray) -> tuple[slice, slice, slice]:
    """Return the part of the motion's box that labels can reach: their own box, wider by the largest pull."""
    rows, columns = (np.flatnonzero(labels[motion.box].any(axis=axes)) for axes in ((0, 2), (0, 1)))
    parts = []
    for found, part, pull in zip((rows, columns), motion.box[1:], motion.largest_voxels[1:], strict=True):
        margin = int(np.ceil(pull)) + 1
        first, last = (int(found[0]), int(found[-1])) if len(found) else (0, 0)
        low = part.start + max(first - margin, 0)
        parts.append(slice(low, max(min(part.start + last + margin + 1, part.stop), low + 1)))
    return motion.box[0], parts[0], parts[1]
