"""The arms of the held-out comparison: the model, its ablations, and the baselines that need no ECG."""

from collections.abc import Callable
from dataclasses import replace

import torch
from COFGeneratorLib.ecg.cycle import EcgCycle
from COFGeneratorLib.generator.bundle import Bundle
from COFGeneratorLib.generator.conditioned import Conditioned
from COFGeneratorLib.generator.ejection import StatedEf
from COFGeneratorLib.generator.model import MotionModel

from COFTrainingLib.phantom.cases import PhantomCase

Velocities = Callable[[PhantomCase, Conditioned], tuple[torch.Tensor, float | None]]
"""(case, ready) → velocities (T, 3, D, H, W), grid voxels, and the EF 0…1 that the ECG wants of them, if any."""


def velocity_arms(
    bundle: Bundle, population: torch.Tensor, shuffled: dict[int, PhantomCase], seed: int
) -> dict[str, Velocities | None]:
    """Return the arms by name; None where the model has no such part.

    ``population`` (T, 3, D, H, W) is the mean velocity of training subjects in the heart's frame; ``shuffled`` gives
    for every case's seed the case whose ECG it is given.
    """
    model = bundle.model
    direct = replace(model, flow=None, gain=1.0, ef_z90=None)

    def arm(network: MotionModel, cycle_of: Callable[[PhantomCase], EcgCycle | None], draws: int = 0) -> Velocities:
        def velocity(case: PhantomCase, ready: Conditioned) -> tuple[torch.Tensor, float | None]:
            cycle = cycle_of(case)
            condition = network.condition(cycle, "cpu")
            velocity = network.velocities(ready.maps, condition, draws=draws, seed=seed)[0][0]
            return velocity, _wanted(network.stated_ef(cycle), draws, seed + case.subject.seed)

        return velocity

    def own(case: PhantomCase) -> EcgCycle:
        return case.cycle

    def other(case: PhantomCase) -> EcgCycle:
        return shuffled[case.subject.seed].cycle

    return {
        "cof (true ECG)": arm(model, own),
        "null ECG": arm(model, lambda case: None),
        "shuffled ECG": arm(model, other),
        "direct regression, no gain": arm(direct, own) if model.mean is not None else None,
        "one random draw": arm(model, own, draws=1) if model.flow is not None else None,
        "population-mean motion": lambda case, ready: (population, None),
        "copy anchor": lambda case, ready: (torch.zeros_like(population), None),
    }


def _wanted(stated: StatedEf | None, draws: int, seed: int) -> float | None:
    """Return the EF of an estimate: the stated one, or for a single draw a random one of the stated spread."""
    if stated is None:
        return None
    return stated.draw(seed) if draws == 1 else stated.mean
