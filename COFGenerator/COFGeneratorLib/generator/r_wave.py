"""The heart at the R wave as an anchor of another phase tells it: where motion, time and end-diastole begin.

A model that was trained on anchors of any phase is told the phase, and gives the motion from there. One that knows
anchors at the R wave alone is asked in a short fixed-point iteration: the motion of the present estimate of the anatomy
at the R wave takes the anchor's labels back there, which is the next estimate. Both ways end in the same: anatomy and
motion from the R wave, on which everything else rests as it does for an anchor that was taken there.

How strongly the heart beats is measured on the anchor itself, moved: its LV ejects what the ECG states, whatever the
estimate of its end-diastole.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.errors import AnatomyError
from COFGeneratorLib.generator.conditioned import Conditioned, relabelled
from COFGeneratorLib.generator.ejection import LARGEST_EF, SMALLEST_EF
from COFGeneratorLib.generator.ejection_scale import FACTORS
from COFGeneratorLib.generator.model import MotionModel
from COFGeneratorLib.generator.native import native_motion
from COFGeneratorLib.generator.networks.grid import hard_labels, label_fractions
from COFGeneratorLib.generator.settled import settled
from COFGeneratorLib.motion.relative import from_the_r_wave

ROUNDS = 3
"""Of the iteration; from end-systole a fourth changes the LV by one percent."""
SAMPLED_FRAMES = 12
"""Of a cycle, in which the LV of a moved anchor is measured."""
LARGEST_EF_ERROR, TRIES = 0.005, 4
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
        settle: ``(velocities, EF 0…1 or None, keep_wall=True, RVEF 0…1 or None) → velocities`` under which the
            anchor's ventricles eject that and the wall keeps its volume.
    """

    ready: Conditioned
    velocities: Callable[..., torch.Tensor]
    settle: Callable[..., torch.Tensor]


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
    model: MotionModel, ready: Conditioned, anchor: SaxStack, frames: int, still: int, **options: Any
) -> RWave:
    """Return the heart at the R wave; ``still`` is the frame that the anchor is, with 0 it is returned as it is.

    Raises:
        AnatomyError: If the estimated labels hold no heart.
    """
    if not still:

        def settle(
            velocity: torch.Tensor, wanted_ef: float | None, keep_wall: bool = True, wanted_rvef: float | None = None
        ) -> torch.Tensor:
            return settled(
                model, velocity, ready, anchor, wanted_ef, keep_wall, wanted_rvef=wanted_rvef, followed=ready.followed
            )

        return RWave(ready, partial(_seen, model, ready, **options), settle)
    grid = None if model.any_anchor else model.grid
    predict = partial(_told, model, ready, still / frames) if model.any_anchor else partial(_seen, model)
    moving = _Moving(model, anchor, label_fractions(ready.labels), frames, still)

    def taken_back(
        velocity: torch.Tensor, heart: Conditioned, before: np.ndarray | None
    ) -> tuple[Conditioned, np.ndarray]:
        found = moving.at(velocity, heart, 0)
        found = found if before is None else 0.5 * (before + found)  # a thick wall moves less and comes back thin
        return relabelled(heart, hard_labels(found), anchor.ijk_to_ras, grid), found

    heart, found = ready, None
    if model.any_anchor:
        heart, _ = taken_back(predict(ready, **options), ready, None)
    for _ in range(ROUNDS):
        velocity = moving.ejecting(predict(heart, **options), heart, ready.wanted_ef)
        heart, found = taken_back(velocity, heart, found)
    return RWave(heart, partial(predict, heart, **options), partial(moving.settle, heart))


@dataclass(frozen=True)
class _Moving:
    """An anchor of some phase, and how to move it by velocities from the R wave."""

    model: MotionModel
    anchor: SaxStack
    fractions: np.ndarray
    frames: int
    still: int

    def at(self, velocity: torch.Tensor, heart: Conditioned, frame: int) -> np.ndarray:
        """Return the label fractions (3, D, H, W) of a frame."""
        motion = native_motion(self.model, velocity, heart, self.anchor, self.frames, self.still)
        return motion.warp_one(self.fractions, frame)

    def ejected(self, velocity: torch.Tensor, heart: Conditioned) -> float:
        """Return the ejection fraction 0…1 of the cycle."""
        motion = native_motion(self.model, velocity, heart, self.anchor, self.frames, self.still)
        sampled = sorted({round(n * self.frames / SAMPLED_FRAMES) % self.frames for n in range(SAMPLED_FRAMES)})
        volumes = [motion.warp_one(self.fractions[:1], frame).sum() for frame in {self.still, *sampled}]
        return float(1.0 - min(volumes) / max(*volumes, 1e-9))

    def ejecting(self, velocity: torch.Tensor, heart: Conditioned, wanted_ef: float | None) -> torch.Tensor:
        """Return velocities times a factor at which the LV of the anchor, not of the estimate, ejects what is wanted.

        Measured on the estimate, whose error enters again each time, the iteration runs away where a strong
        contraction is asked of a large heart.
        """
        velocity = velocity.cpu().float()
        if wanted_ef is None:
            return velocity
        wanted = float(np.clip(wanted_ef, SMALLEST_EF, LARGEST_EF))
        factor, found = 1.0, self.ejected(velocity, heart)
        if not found > SMALLEST_EF:
            return velocity
        slope = found
        for _ in range(TRIES):
            if abs(found - wanted) < LARGEST_EF_ERROR:
                break
            step = float(np.clip(factor + (wanted - found) / slope, *FACTORS)) - factor
            if abs(step) < 1e-3:
                break
            before, factor = found, factor + step
            found = self.ejected(factor * velocity, heart)
            slope = max((found - before) / step, 0.2 * slope)
        return factor * velocity

    def settle(
        self,
        heart: Conditioned,
        velocity: torch.Tensor,
        wanted_ef: float | None,
        keep_wall: bool = True,
        wanted_rvef: float | None = None,
    ) -> torch.Tensor:
        """Return velocities that eject what is wanted and keep the wall's volume; the RV goes with the LV."""
        velocity = self.ejecting(velocity, heart, wanted_ef)
        return settled(self.model, velocity, heart, self.anchor, None, keep_wall)


def _seen(model: MotionModel, heart: Conditioned, **options: Any) -> torch.Tensor:
    return model.velocities(heart.maps, heart.condition, image=heart.image, **options)[0][0]


def _told(model: MotionModel, anchor: Conditioned, phase: float, _: Conditioned, **options: Any) -> torch.Tensor:
    """Return the motion from the R wave where the model is told the phase: its own, less that to the R wave."""
    velocity = model.velocities(anchor.maps, anchor.condition, image=anchor.image, anchor=phase, **options)[0][0]
    with torch.inference_mode():
        return from_the_r_wave(velocity.float())
