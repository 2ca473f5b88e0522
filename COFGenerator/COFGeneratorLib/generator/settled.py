"""Velocities after what is known for certain has been settled: what either ventricle ejects, and the wall's volume."""

from dataclasses import dataclass

import numpy as np
import torch

from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.generator.conditioned import Conditioned
from COFGeneratorLib.generator.ejection import LARGEST_EF, SMALLEST_EF, ejection_fraction
from COFGeneratorLib.generator.ejection_scale import next_factor, right_share
from COFGeneratorLib.generator.incompressible import keep_wall_volume
from COFGeneratorLib.generator.model import MotionModel
from COFGeneratorLib.generator.moving import volume_sums
from COFGeneratorLib.generator.native import NativeMotion

LEFT, WALL, RIGHT = range(3)
TRIES = 4
CLOSE_ENOUGH = (0.005, 0.02)
"""Error of the EF of LV and RV, 0…1, that one more factor takes away without being looked at again."""


def settled(
    model: MotionModel,
    velocity: torch.Tensor,
    ready: Conditioned,
    anchor: SaxStack,
    wanted_ef: float | None,
    keep_wall: bool = True,
    *,
    wanted_rvef: float | None = None,
    followed: bool = True,
) -> torch.Tensor:
    """Return velocities under which the ventricles eject what is wanted and the myocardium keeps its volume.

    First a factor for each ventricle, then the wall, then the factors again until they are right, as measured on the
    anchor's own grid.

    Args:
        model: The model.
        velocity: (T, 3, D, H, W) voxels of the motion grid, from the R wave.
        ready: The heart at the R wave.
        anchor: The stack.
        wanted_ef: Of the LV, 0…1; None leaves all as the velocities have it.
        keep_wall: Correct the wall.
        wanted_rvef: Of the RV, 0…1; None keeps what it ejects under these velocities, whatever the LV is asked for.
        followed: What a stack that ends within the ventricle says of its EF: that of the tissue seen in the anchor,
            as it moves through the slices; or, where False, that of contours in the same slices at either time.
    """
    velocity = velocity.float()
    if wanted_ef is None and not keep_wall:
        return velocity
    with torch.inference_mode():
        heart = _Measured(model, ready, anchor, followed)
        sums = heart.sums(velocity, fine=False)
        if not sums[0, LEFT] > 0:
            wanted_ef = None
        scale = _Scale(right_share(ready.maps[0], ready.grid.spacing_mm))
        ratio = sums / np.maximum(sums[:1], 1e-9)
        if wanted_ef is not None:
            has_right = sums[0, RIGHT] > 0
            wanted = float(np.clip(wanted_ef, SMALLEST_EF, LARGEST_EF))
            keeps = ejection_fraction(sums[:, RIGHT]) if has_right else None
            asked = wanted, wanted_rvef if wanted_rvef is not None and has_right else keeps
            left = next_factor(1.0, ejection_fraction(sums[:, LEFT]), wanted)
            velocity = scale.of(velocity, left, 1.0)
            sums = sums[:1] * ratio**left  # a velocity times f changes the logarithm of a volume about f times as much
            ratio = sums / np.maximum(sums[:1], 1e-9)
        if keep_wall and sums[0, WALL] > 0:
            velocity = keep_wall_volume(velocity, ready.fine_maps.to(velocity), ratio[:, LEFT], ratio[:, WALL])
        return velocity if wanted_ef is None else _ejecting(velocity, heart, scale, sums, asked)


@dataclass(frozen=True)
class _Scale:
    """Factors of two ventricles on one field; ``right`` (D, H, W) is the right one's share."""

    right: torch.Tensor

    def of(self, velocity: torch.Tensor, left_factor: float, right_factor: float) -> torch.Tensor:
        """Return velocities (T, 3, D, H, W) times either ventricle's factor."""
        return velocity * (left_factor + (right_factor - left_factor) * self.right)


@dataclass(frozen=True)
class _Measured:
    """How many voxels an anchor's structures fill under velocities."""

    model: MotionModel
    ready: Conditioned
    anchor: SaxStack
    followed: bool

    def sums(self, velocity: torch.Tensor, fine: bool = True) -> np.ndarray:
        """Return (P, 3) of velocities (P, 3, D, H, W); on the coarse grid, four times as fast, where not ``fine``."""
        grid = self.ready.fine_grid if fine else self.ready.grid
        displacement = self.model.displacements_mm(velocity[None], self.ready.grid, refine=fine)[0]
        motion = NativeMotion(
            displacement, grid, self.ready.frame, self.anchor.ijk_to_ras, self.anchor.shape, len(velocity), still=None,
            only=self.ready.labels,
        )  # fmt: skip
        return volume_sums(motion, self.ready.labels, followed=self.followed)


def _ejecting(
    velocity: torch.Tensor, heart: _Measured, scale: _Scale, sums: np.ndarray, wanted: tuple[float, float | None]
) -> torch.Tensor:
    """Return velocities under which the ventricles eject what is wanted, measured where they are smallest.

    Args:
        velocity: (T, 3, D, H, W).
        heart: Measures.
        scale: Applies factors.
        sums: (T, 3) under velocities of the same shape in time.
        wanted: EF of LV and RV, 0…1; None for an RV that is left alone.
    """
    structures = [LEFT] if wanted[1] is None else [LEFT, RIGHT]
    phases = _about_the_smallest(sums, structures)
    factors = [1.0, 1.0]
    for _ in range(TRIES):
        found = heart.sums(scale.of(velocity[phases], *factors))
        done = True
        for place, structure in enumerate(structures):
            ejected = ejection_fraction(_agreeing(sums[:, structure], phases, found[:, structure]))
            asked = wanted[place]
            assert asked is not None
            done &= abs(ejected - asked) < CLOSE_ENOUGH[place]
            factors[place] = next_factor(factors[place], ejected, asked)
        if done:
            break
    return scale.of(velocity, *factors)


def _about_the_smallest(sums: np.ndarray, structures: list[int]) -> np.ndarray:
    """Return the phases of the smallest volumes and their neighbours, without the first phase."""
    smallest = [int(np.argmin(sums[:, structure])) for structure in structures]
    near = {(phase + step) % len(sums) for phase in smallest for step in (-1, 0, 1)}
    return np.array(sorted(near - {0}))


def _agreeing(volume: np.ndarray, phases: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return a curve with what was found at some phases, and the others brought to the same strength of contraction."""
    start = volume[0]
    before, after = (np.log(np.maximum(part.min(), 1e-9) / start) for part in (volume[phases], found))
    curve = start * (volume / start) ** (after / before if before < -1e-6 else 1.0)
    curve[phases] = found
    return curve
