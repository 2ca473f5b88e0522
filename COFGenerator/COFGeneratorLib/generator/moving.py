"""Labels and images that a motion moves, frame by frame: volumes are summed and frames written as they come."""

from collections.abc import Callable

import numpy as np
import torch

from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.function import VolumeCurves, curves_from_sums
from COFGeneratorLib.generator.frame_store import FrameStore
from COFGeneratorLib.generator.native import NativeMotion
from COFGeneratorLib.generator.networks.grid import fullest, label_fractions
from COFGeneratorLib.generator.trabeculae import Trabeculae
from COFGeneratorLib.motion.between import IMAGE_WEIGHT
from COFGeneratorLib.motion.fields import sample_slices
from COFGeneratorLib.motion.refined import RefinedStack

WINDOW_PERCENT = (1.0, 99.0)
"""Percentiles between which grey values count from 0 to 1."""
MARGIN_VOXELS = 3


class MovingLabels:
    """Labels under a motion, at the voxels that it moves.

    Args:
        motion: Moves them.
        labels: (D, H, W) of the anchor.
    """

    def __init__(self, motion: NativeMotion, labels: np.ndarray) -> None:
        self._places = motion.places
        fractions = label_fractions(labels)
        whole = fractions.sum(axis=(1, 2, 3))
        self._still = whole - fractions.reshape(3, -1)[:, motion.moving].sum(axis=1)
        self._fractions = torch.from_numpy(np.ascontiguousarray(fractions[(slice(None), *motion.box)])).to(self._places)
        self._volumes = torch.from_numpy(np.stack([whole, self._still])).to(self._fractions)
        self._open = bool((labels[[0, -1]] > 0).any())

    def fractions(self, field: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return what fills each voxel that moves, of a motion's field there (m, 3, 1, 1, n).

        Returns:
            (m, 3, 1, 1, n) occupancies; and (m, 1, 1, n) how much of each voxel was pulled from within the stack, not
            from beyond its first or last slice, which are taken to go on there. None where these show no heart.
        """
        positions = field + self._places
        inside = self._fractions[None].expand(len(field), *self._fractions.shape)
        moved = sample_slices(inside, positions)
        if not self._open:
            return moved, None
        depth = self._fractions.shape[1]
        seen = (1.0 + positions[:, 0]).clamp_(0.0, 1.0).mul_((depth - positions[:, 0]).clamp_(0.0, 1.0))
        return moved, seen

    def sums(self, fractions: torch.Tensor, seen: torch.Tensor | None) -> torch.Tensor:
        """Return how many of the voxels that move each structure fills, (m, 3), of ``fractions``.

        With ``seen`` tissue is followed: where the stack ends within the ventricle, what comes in over its edge is not
        counted, and the volume is that of the part that was seen in the anchor.
        """
        if seen is None:
            return fractions.sum(dim=(2, 3, 4))
        return torch.einsum("ncdhw,ndhw->nc", fractions, seen)

    def squeezed(self, fractions: torch.Tensor) -> torch.Tensor:
        """Return the volume of each structure within the stack as a share of the anchor's, (m, 3), or 1."""
        whole, still = self._volumes
        return torch.where(
            whole > 0, (self.sums(fractions, None) + still) / whole.clamp(min=1.0), torch.ones_like(whole)
        )

    def curves(self, sums: list[torch.Tensor]) -> np.ndarray:
        """Return how many voxels of the stack each structure fills, (T, 3), of the ``sums`` of all frames in turn."""
        return torch.cat(sums).cpu().double().numpy() + self._still


def volume_sums(motion: NativeMotion, labels: np.ndarray, *, followed: bool = True) -> np.ndarray:
    """Return how many voxels LV cavity, myocardium and RV cavity fill in every frame, (T, 3); see ``MovingLabels``."""
    moving = MovingLabels(motion, labels)
    parts = []
    for start, stop in motion.chunks():
        fractions, seen = moving.fractions(motion.of_moving(start, stop))
        parts.append(moving.sums(fractions, seen if followed else None))
    return moving.curves(parts)


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
        corner = [float(part.start - outer.start) for part, outer in zip(motion.box, wide, strict=True)]
        self._places = motion.places + image.new_tensor(corner).view(1, 3, 1, 1, 1)

    def frames(self, field: torch.Tensor) -> torch.Tensor:
        """Return the grey values (m, 1, 1, n) of the voxels that move, of a motion's field there (m, 3, 1, 1, n)."""
        return self._stack.sample(self._places + field)


def moved_anchor(
    anchor: SaxStack,
    labels: np.ndarray,
    motion: NativeMotion,
    followed: bool = True,
    keep_tissue: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray, VolumeCurves]:
    """Return the cine (T, D, H, W) float32, its labels (T, D, H, W) uint8, and the volumes of all frames.

    The anchor's frame is the anchor; volumes follow the tissue where ``followed`` (``MovingLabels.sums``); where
    ``keep_tissue``, cavities that are squeezed lose blood alone (``Trabeculae``). Memory does not grow with the number
    of frames (``FrameStore``).
    """
    frames = FrameStore(anchor.voxels.astype(np.float32), motion.frames, motion.still)
    hard = FrameStore(labels.astype(np.uint8), motion.frames, motion.still)
    image, moving, sums = MovingImage(motion, anchor, labels), MovingLabels(motion, labels), []
    trabeculae = Trabeculae(anchor.voxels, labels)
    keep_tissue = keep_tissue and trabeculae.shown
    for start, stop in motion.chunks():
        field = motion.of_moving(start, stop)
        grey, (fractions, seen) = image.frames(field), moving.fractions(field)
        if keep_tissue:
            grey = trabeculae.veil(grey, fractions, moving.squeezed(fractions))
        frames.add(motion.moving, grey.flatten(1).cpu().numpy())
        sums.append(moving.sums(fractions, seen if followed else None))
        hard.add(motion.moving, fullest(fractions).flatten(1).cpu().numpy())
        if progress:
            progress(stop, motion.frames)
    return frames.array(), hard.array(), curves_from_sums(moving.curves(sums), anchor.ijk_to_ras)
