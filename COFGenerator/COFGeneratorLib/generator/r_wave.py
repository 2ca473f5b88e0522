"""The heart at the R wave as an anchor of another phase tells it: where motion, time and end-diastole begin.

A model that was trained on anchors of any phase is told the phase, and gives the motion from there. One that knows
anchors at the R wave alone is asked in a short fixed-point iteration: the motion of the present estimate of the anatomy
at the R wave takes the anchor's labels back there, which is the next estimate. Both ways end in the same: anatomy and
motion from the R wave, on which everything else rests as it does for an anchor that was taken there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.errors import AnatomyError
from COFGeneratorLib.generator.conditioned import Conditioned, relabelled
from COFGeneratorLib.generator.grid import label_fractions
from COFGeneratorLib.generator.model import MotionModel
from COFGeneratorLib.generator.settled import native_motion, settled
from COFGeneratorLib.motion.relative import from_the_r_wave

ROUNDS = 4
"""Of the iteration. From end-systole two leave EF 3 points below what the ECG states, four half a point."""
ESTIMATED = (
    "The anchor was taken at {percent:.0f} % of the R–R interval: the heart at end-diastole is estimated from it, not "
    "seen, and so are its volume and the ejection fraction."
)


@dataclass(frozen=True)
class RWave:
    """What is known of a heart at the R wave.

    Attributes:
        ready: Anatomy and ECG; the labels are those of the R wave, seen or estimated.
        velocities: ``(**options of MotionModel.velocities) → (T, 3, D, H, W)`` from the R wave, as the network has
            them.
    """

    ready: Conditioned
    velocities: Callable[..., torch.Tensor]


def frame_at(phase: float, frames: int) -> int:
    """Return the frame that is nearest to a phase of the cycle.

    Raises:
        AnatomyError: If the phase is no fraction of the cycle.
    """
    if not 0.0 <= phase < 1.0:
        raise AnatomyError(
            f"The phase of an anchor is a fraction of the R–R interval, from 0 (the R wave) to below 1; found {phase}. "
            "Correct it."
        )
    return round(phase * frames) % frames


def at_the_r_wave(
    model: MotionModel, ready: Conditioned, anchor: SaxStack, frames: int, still: int, **options
) -> RWave:
    """Return the heart at the R wave.

    Args:
        model: The model.
        ready: The anchor and its ECG.
        anchor: The stack.
        frames: Frames of one cycle.
        still: The frame that the anchor is; with 0 it is at the R wave, and returned as it is.
        **options: Solver and steps.

    Raises:
        AnatomyError: If the estimated labels hold no heart.
    """
    if not still:
        return RWave(ready, partial(_seen, model, ready, **options))
    grid = None if model.any_anchor else model.grid
    predict = partial(_told, model, ready, still / frames) if model.any_anchor else partial(_seen, model)
    fractions = label_fractions(ready.labels)

    def taken_back(velocity: torch.Tensor, heart: Conditioned) -> Conditioned:
        moved = native_motion(model, velocity, heart, anchor, frames, still).warp_one(fractions, 0)
        return relabelled(heart, _hard_labels(moved), anchor.ijk_to_ras, grid)

    heart = taken_back(predict(ready, **options), ready) if model.any_anchor else ready
    for left in reversed(range(ROUNDS)):
        velocity = settled(model, predict(heart, **options), heart, anchor, ready.wanted_ef, keep_wall=not left)
        heart = taken_back(velocity, heart)
    return RWave(heart, partial(predict, heart, **options))


def _seen(model: MotionModel, heart: Conditioned, **options) -> torch.Tensor:
    return model.velocities(heart.maps, heart.condition, **options)[0][0]


def _told(model: MotionModel, anchor: Conditioned, phase: float, _: Conditioned, **options) -> torch.Tensor:
    """Return the motion from the R wave where the model is told the phase: its own, less that to the R wave."""
    velocity = model.velocities(anchor.maps, anchor.condition, anchor=phase, **options)[0][0]
    with torch.inference_mode():
        return from_the_r_wave(velocity.float())


def _hard_labels(fractions: np.ndarray) -> np.ndarray:
    """Return (D, H, W) uint8: the structure that fills most of each voxel, of fractions (3, D, H, W)."""
    rest = 1.0 - fractions.sum(axis=0)
    return np.where(fractions.max(axis=0) > rest, fractions.argmax(axis=0) + 1, 0).astype(np.uint8)
