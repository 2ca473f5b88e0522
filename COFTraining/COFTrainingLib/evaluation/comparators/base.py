"""What a method must give, and how motion becomes it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.ecg.cycle import EcgCycle
from COFGeneratorLib.function import volume_curves
from COFGeneratorLib.generator.conditioned import Conditioned
from COFGeneratorLib.generator.model import MotionModel
from COFGeneratorLib.generator.moving import moved_anchor
from COFGeneratorLib.generator.native import NativeMotion
from COFGeneratorLib.generator.networks.grid import label_fractions, moved_labels
from COFGeneratorLib.generator.settled import settled
from COFGeneratorLib.motion.fields import warp

from COFTrainingLib.evaluation.cases import EvaluationCase

CHUNK_FRAMES = 10
"""Frames that are moved at once."""


@dataclass(frozen=True)
class Prediction:
    """A predicted cine of one case.

    Attributes:
        labels: (F, d, h, w) uint8 within ``case.crop`` in the frames ``labelled``.
        labelled: Frames of the cycle that the labels are of, equidistant from 0; all T where None.
        lv_ml, myocardium_ml: Volumes at equidistant phases, in the same frames or more.
        rr_ms: Length of the predicted cycle.
        images: (S, D, H, W) in ``case.image_frames``, in the anchor's unit, or None.
        displacement_voxels: Frame → (3, d, h, w) within ``case.crop`` in ``case.motion_frames``; None for a method
            without motion.
        labels_from: How the labels were made.
    """

    labels: np.ndarray | None
    lv_ml: np.ndarray | None
    myocardium_ml: np.ndarray | None
    rr_ms: float
    images: np.ndarray | None
    labelled: tuple[int, ...] | None = None
    displacement_voxels: dict[int, torch.Tensor] | None = None
    labels_from: str = "motion"

    def moved(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return labels and volumes of LV and myocardium, of a method that moves labels and so has them."""
        assert self.labels is not None
        assert self.lv_ml is not None
        assert self.myocardium_ml is not None
        return self.labels, self.lv_ml, self.myocardium_ml


@dataclass
class Shared:
    """What several methods need of one case: found when first asked for, then kept.

    Args:
        read_partner_ecg, read_partner: Read the ECG and the case of the subject whose ECG, motion or cine this one is
            given where another's is wanted.
        ready: The case prepared for a bundle, by the hash of its weights.
    """

    read_partner_ecg: Callable[[], EcgCycle] | None = None
    read_partner: Callable[[], EvaluationCase] | None = None
    ready: dict[str, Conditioned] = field(default_factory=dict)

    @cached_property
    def partner_cycle(self) -> EcgCycle:
        """The partner's analysed ECG."""
        assert self.read_partner_ecg is not None
        return self.read_partner_ecg()

    @cached_property
    def partner_case(self) -> EvaluationCase:
        """The partner."""
        assert self.read_partner is not None
        return self.read_partner()


class Method(Protocol):
    """A method under its name; ``identity`` changes when its results would."""

    @property
    def name(self) -> str: ...

    @property
    def identity(self) -> str: ...

    @property
    def role(self) -> str: ...

    def predict(self, case: EvaluationCase, shared: Shared) -> Prediction:
        """Return the cine of a case; ``shared`` keeps what several methods need of it."""
        ...


def from_velocity(
    model: MotionModel,
    case: EvaluationCase,
    ready: Conditioned,
    velocity: torch.Tensor,
    rr_ms: float,
    *,
    wanted_ef: float | None = None,
    keep_wall: bool = False,
    frames: Sequence[int] | None = None,
) -> Prediction:
    """Return the prediction of velocities (T, 3, D, H, W), grid voxels of the model, as the product makes it.

    Labels are warped within the heart's box, the image on its whole grid in the frames that are compared; all of it
    on the CPU.

    Args:
        model: The network on whose grid it is.
        case: The case.
        ready: The case prepared for the model.
        velocity: What moves it.
        rr_ms: Length of the cycle.
        wanted_ef: EF 0…1 that the LV is given; None leaves it as the velocities have it.
        keep_wall: Keep the wall's volume, as the product does.
        frames: Equidistant frames to label; ``case.label_frames`` where None.
    """
    frames = list(frames or case.label_frames)
    near, velocity = replace(ready, labels=case.near_labels, maps=ready.maps.cpu()), velocity.cpu()
    velocity = settled(model, velocity, near, case.near, wanted_ef, keep_wall, followed=False)  # as labels are counted
    displacement = model.displacements_mm(velocity[None], ready.grid)[0].cpu().numpy()

    def motion(stack: SaxStack, frames: int) -> NativeMotion:
        return NativeMotion(displacement, ready.fine_grid, ready.frame, stack.ijk_to_ras, stack.shape, frames)

    moved, fields = _moved(motion(case.near, len(frames)), label_fractions(case.near_labels), frames, case)
    curves = volume_curves(moved, case.near.ijk_to_ras)
    images = None
    if case.reference is not None:
        images, _, _ = moved_anchor(case.anchor, case.labels, motion(case.anchor, len(case.image_frames)))
    return Prediction(
        moved_labels(moved, case.near_labels), curves.lv_ml, curves.myocardium_ml, rr_ms, images,
        labelled=None if len(frames) == case.frames else tuple(frames), displacement_voxels=fields,
    )  # fmt: skip


def _moved(
    motion: NativeMotion, fractions: np.ndarray, frames: list[int], case: EvaluationCase
) -> tuple[np.ndarray, dict[int, torch.Tensor]]:
    """Return fractions (3, d, h, w) in every frame, (F, 3, d, h, w), and the motion in ``case.motion_frames``.

    As ``NativeMotion.warp_all``, which does not keep the motion; evaluating it twice would take as long as the warp.
    """
    fractions = np.ascontiguousarray(fractions, dtype=np.float32)
    moved, fields = np.repeat(fractions[None], len(frames), axis=0), {}
    cropped = torch.from_numpy(fractions[(slice(None), *motion.box)].copy())[None]
    for start in range(0, len(frames), CHUNK_FRAMES):
        stop = min(start + CHUNK_FRAMES, len(frames))
        field = motion.displacement_voxels(start, stop)
        moved[(slice(start, stop), slice(None), *motion.box)] = warp(cropped, field).numpy()
        for place in range(start, stop):
            if frames[place] in case.motion_frames:
                fields[frames[place]] = torch.zeros(3, *motion.shape)
                fields[frames[place]][(slice(None), *motion.box)] = field[place - start]
    moved[0] = fractions
    return moved, fields
