"""What a method must give, and how motion becomes it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from COFGeneratorLib.function import volume_curves
from COFGeneratorLib.generator.conditioned import Conditioned
from COFGeneratorLib.generator.grid import label_fractions
from COFGeneratorLib.generator.native import NativeMotion
from COFGeneratorLib.generator.settled import settled

from COFTrainingLib.evaluation.cases import EvaluationCase

FOLDING_EVERY = 5


@dataclass(frozen=True)
class Prediction:
    """A predicted cine of one case.

    Attributes:
        labels: (F, d, h, w) uint8 within ``case.crop`` in the frames ``labelled``.
        labelled: Frames of the cycle that the labels are of; all T where None.
        lv_ml, myocardium_ml: (F,) volumes in the same frames.
        rr_ms: Length of the predicted cycle.
        images: (S, D, H, W) in ``case.image_frames``, in the anchor's unit, or None.
        displacement_mm: Frame → (3, d, h, w) within ``case.crop``, or None for a method without motion.
        displacement_voxels: (N, 3, d, h, w) of some frames, to judge folding, or None.
        labels_from: How the labels were made.
    """

    labels: np.ndarray | None
    lv_ml: np.ndarray | None
    myocardium_ml: np.ndarray | None
    rr_ms: float
    images: np.ndarray | None
    labelled: tuple[int, ...] | None = None
    displacement_mm: Callable[[int], np.ndarray] | None = None
    displacement_voxels: torch.Tensor | None = None
    labels_from: str = "motion"
    extra: dict[str, Any] = field(default_factory=dict)


class Method(Protocol):
    """A method under its name; ``identity`` changes when its results would."""

    name: str
    identity: str
    role: str

    def predict(self, case: EvaluationCase, shared: dict[str, Any]) -> Prediction:
        """Return the cine of a case; ``shared`` keeps what several methods need of one case."""
        ...


def hard_labels(fractions: np.ndarray, anchor_labels: np.ndarray) -> np.ndarray:
    """Return (T, D, H, W) uint8: what fills most of each voxel, of fractions (T, 3, D, H, W); frame 0 as given."""
    inside = torch.from_numpy(fractions)
    most, best = inside.max(dim=1)
    labels = torch.where(most > 1.0 - inside.sum(dim=1), best + 1, 0).to(torch.uint8).numpy()
    labels[0] = anchor_labels
    return labels


def from_velocity(
    model,
    case: EvaluationCase,
    ready: Conditioned,
    velocity: torch.Tensor,
    rr_ms: float,
    wanted_ef: float | None = None,
    keep_wall: bool = False,
) -> Prediction:
    """Return the prediction of velocities (T, 3, D, H, W), grid voxels of the model, as the product makes it.

    Labels are warped in all frames within the heart's box; the image on its whole grid in the frames that are compared.

    Args:
        model: A ``MotionModel``.
        case: The case.
        ready: The case prepared for the model.
        velocity: What moves it.
        rr_ms: Length of the cycle.
        wanted_ef: EF 0…1 that the LV is given; None leaves it as the velocities have it.
        keep_wall: Keep the wall's volume, as the product does.
    """
    near = replace(ready, labels=case.near_labels)
    velocity = settled(model, velocity, near, case.near, wanted_ef, keep_wall)
    displacement = model.displacements_mm(velocity[None], ready.grid)[0].cpu().numpy()

    def motion(stack, frames: int) -> NativeMotion:
        return NativeMotion(displacement, ready.fine_grid, ready.frame, stack.ijk_to_ras, stack.shape, frames)

    close = motion(case.near, case.frames)
    moved = close.warp_all(label_fractions(case.near_labels))
    curves = volume_curves(moved, case.near.ijk_to_ras)
    images = None
    if case.reference is not None:
        images = motion(case.anchor, len(case.image_frames)).warp_all(case.anchor.voxels[None])[:, 0]
    fields = torch.stack([_whole(close, frame) for frame in range(0, case.frames, FOLDING_EVERY)])
    return Prediction(
        hard_labels(moved, case.near_labels), curves.lv_ml, curves.myocardium_ml, rr_ms, images,
        displacement_mm=close.displacement_mm, displacement_voxels=fields,
    )  # fmt: skip


def _whole(motion: NativeMotion, frame: int) -> torch.Tensor:
    """Return one frame's displacement, (3, D, H, W) voxels, on the whole stack."""
    full = torch.zeros(3, *motion.shape)
    full[(slice(None), *motion.box)] = motion.displacement_voxels(frame, frame + 1)[0]
    return full
