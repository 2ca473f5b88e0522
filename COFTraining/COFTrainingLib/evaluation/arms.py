"""The arms of the held-out comparison: the model, its ablations, and the baselines that need no ECG."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from COFGeneratorLib.function import FunctionReport, report_from_curves, volume_curves
from COFGeneratorLib.generator.bundle import Bundle
from COFGeneratorLib.generator.conditioned import Conditioned, prepare
from COFGeneratorLib.generator.ejection import StatedEf
from COFGeneratorLib.generator.grid import label_fractions
from COFGeneratorLib.generator.native import NativeMotion
from COFGeneratorLib.generator.settled import native_motion, settled

from COFTrainingLib.evaluation.phantom_cases import PhantomCase

Velocities = Callable[[PhantomCase, Conditioned], tuple[torch.Tensor, float | None]]
"""(case, ready) → velocities (T, 3, D, H, W), grid voxels, and the EF 0…1 that the ECG wants of them, if any."""


def velocity_arms(
    bundle: Bundle, population: torch.Tensor, shuffled: dict[int, PhantomCase], seed: int
) -> dict[str, Velocities | None]:
    """Return the arms by name; None where the model has no such part.

    Args:
        bundle: The model.
        population: (T, 3, D, H, W) mean velocity of training subjects in the heart's frame.
        shuffled: For every case's seed, the case whose ECG it is given.
        seed: Of the random draw.
    """
    model = bundle.model
    direct = replace(model, flow=None, gain=1.0, ef_z90=None)

    def arm(network, cycle_of, draws=0):
        def velocity(case, ready):
            cycle = cycle_of(case)
            condition = network.condition(cycle, "cpu")
            velocity = network.velocities(ready.maps, condition, draws=draws, seed=seed)[0][0]
            return velocity, _wanted(network.stated_ef(cycle), draws, seed + case.subject.seed)

        return velocity

    def own(case):
        return case.cycle

    def other(case):
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


def move(
    bundle: Bundle,
    case: PhantomCase,
    ready: Conditioned,
    velocity: torch.Tensor,
    frames: int,
    keep_wall: bool = False,
    wanted_ef: float | None = None,
) -> NativeMotion:
    """Return the motion of a case on its native grid; with ``keep_wall`` and its ECG's EF as the product makes it.

    Keeping the wall's volume changes neither cavity's, so the other arms do without and are cheaper.
    """
    velocity = settled(bundle.model, velocity, ready, case.anchor, wanted_ef, keep_wall)
    return native_motion(bundle.model, velocity, ready, case.anchor, frames)


def measure(case: PhantomCase, native: NativeMotion, frames: int, rr_ms: float, folded: bool) -> FunctionReport:
    """Return the function of a motion, from the warped labels of the anchor."""
    moved = native.warp_all(label_fractions(case.labels))
    time_ms = np.arange(frames) / frames * rr_ms
    share = native.folded_fraction(case.labels > 0, every=5) if folded else 0.0
    curves = volume_curves(moved, case.anchor.ijk_to_ras)
    return report_from_curves(curves, time_ms, rr_ms, 60000.0 / rr_ms, labels_from="user", folded_fraction=share)


def prepared(bundle: Bundle, case: PhantomCase) -> Conditioned:
    """Return a case ready for the model, with the labels given."""
    return prepare(case.anchor, case.cycle, bundle, case.labels, torch.device("cpu"))
