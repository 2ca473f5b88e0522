"""The arms of the held-out comparison: the model, its ablations, another model, and the baselines that need no ECG."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from COFGeneratorLib.ecg.cycle import EcgCycle
from COFGeneratorLib.generator.bundle import Bundle
from COFGeneratorLib.generator.conditioned import Conditioned
from COFGeneratorLib.generator.ejection import StatedEf

from COFTrainingLib.phantom.cases import PhantomCase

Velocities = Callable[[PhantomCase, Conditioned], tuple[torch.Tensor, float | None]]
"""(case, ready) → velocities (T, 3, D, H, W), grid voxels, and the EF 0…1 that they are scaled to, if any."""
MAIN = "centre"
NO_FACTOR = "centre, no EF factor"
DRAW, DRAW_OF_20 = "one draw, 4 steps", "one draw, 20 steps"
MEAN_OF_DRAWS = "mean of 8 draws"
NULL, SHUFFLED = "null ECG", "shuffled ECG"
POPULATION, COPY = "population-mean motion", "copy anchor"
MEANED = 8


@dataclass(frozen=True)
class Arm:
    """One way to move a case.

    Attributes:
        bundle: On whose motion grid the velocities are, and how its displacement is made.
        velocities: What moves it.
        keep_wall: Whether the wall's volume is kept; cavities are the same without, and that is cheaper.
    """

    bundle: Bundle
    velocities: Velocities
    keep_wall: bool = False


def asked(
    bundle: Bundle,
    cycle_of: Callable[[PhantomCase], EcgCycle | None],
    *,
    draws: int = 0,
    steps: int | None = None,
    seed: int = 0,
    factor: bool = True,
) -> Velocities:
    """Return what a model gives for an ECG: its centre, one draw, or the mean of several.

    Args:
        bundle: The model.
        cycle_of: The ECG that a case is given, or None.
        draws: 0 for the centre.
        steps: Of a draw; the bundle's own where None.
        seed: Of the noise; every case has its own.
        factor: Scale to the EF that the ECG states, where the bundle does so.
    """
    model = bundle.model

    def velocity(case: PhantomCase, ready: Conditioned) -> tuple[torch.Tensor, float | None]:
        cycle, own = cycle_of(case), seed + case.subject.seed
        condition = model.condition(cycle, "cpu")
        options = {"image": ready.image, "draws": draws, "seed": own, "steps": steps}
        found = model.velocities(ready.maps, condition, **options)[0].mean(dim=0)
        stated = model.stated_ef(cycle, measures=ready.measures) if factor and model.follows_ef(None) else None
        return found, _wanted(stated, draws, own)

    return velocity


def velocity_arms(
    bundle: Bundle, population: torch.Tensor, shuffled: dict[int, PhantomCase], seed: int, other: Bundle | None = None
) -> dict[str, Arm]:
    """Return the arms by name.

    Args:
        bundle: The model in question.
        population: (T, 3, D, H, W) mean velocity of training subjects in the heart's frame.
        shuffled: For every case's seed the case whose ECG it is given.
        seed: Of random draws.
        other: A second model: its centre and one draw are shown beside.
    """

    def own(case: PhantomCase) -> EcgCycle:
        return case.cycle

    arms = {
        MAIN: Arm(bundle, asked(bundle, own), keep_wall=bundle.model.after.keep_wall),
        NO_FACTOR: Arm(bundle, asked(bundle, own, factor=False)),
        DRAW: Arm(bundle, asked(bundle, own, draws=1, steps=4, seed=seed)),
        DRAW_OF_20: Arm(bundle, asked(bundle, own, draws=1, steps=20, seed=seed)),
        MEAN_OF_DRAWS: Arm(bundle, asked(bundle, own, draws=MEANED, seed=seed)),
        NULL: Arm(bundle, asked(bundle, lambda case: None)),
        SHUFFLED: Arm(bundle, asked(bundle, lambda case: shuffled[case.subject.seed].cycle)),
    }
    if other is not None:
        name = other.metadata["name"]
        arms[f"{name}, centre"] = Arm(other, asked(other, own), keep_wall=other.model.after.keep_wall)
        arms[f"{name}, one draw"] = Arm(other, asked(other, own, draws=1, seed=seed))
    arms[POPULATION] = Arm(bundle, lambda case, ready: (population, None))
    arms[COPY] = Arm(bundle, lambda case, ready: (torch.zeros_like(population), None))
    return arms


def _wanted(stated: StatedEf | None, draws: int, seed: int) -> float | None:
    """Return the EF of an estimate: the stated one, or for a single draw a random one of the stated spread."""
    if stated is None:
        return None
    return stated.draw(seed) if draws == 1 else stated.mean
