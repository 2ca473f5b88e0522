"""The arms of the held-out comparison: the model, its ablations, and the baselines that need no ECG."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from COFGeneratorLib.function import FunctionReport, report_from_curves, volume_curves
from COFGeneratorLib.generator.bundle import Bundle
from COFGeneratorLib.generator.grid import label_fractions
from COFGeneratorLib.generator.native import NativeMotion
from COFGeneratorLib.generator.pipeline import Conditioned, incompressible, native_motion, prepare

from COFTrainingLib.evaluation.phantom_cases import PhantomCase

Velocities = Callable[[PhantomCase, Conditioned], torch.Tensor]


def velocity_arms(bundle: Bundle, population: torch.Tensor, shuffled: dict[int, PhantomCase], seed: int) -> dict:
    """Return the arms by name: each maps a case to velocities (T, 3, D, H, W), grid voxels.

    Args:
        bundle: The model.
        population: (T, 3, D, H, W) mean velocity of training subjects in the heart's frame.
        shuffled: For every case's seed, the case whose ECG it is given.
        seed: Of the random draw.
    """
    model = bundle.model
    direct = replace(model, flow=None, gain=1.0)

    def with_condition(network, condition, draws=0):
        def velocity(case, ready):
            return network.velocities(ready.maps, condition(case, ready), draws=draws, seed=seed)[0].mean(dim=0)

        return velocity

    def own(case, ready):
        return ready.condition

    def none(case, ready):
        return model.condition(None, "cpu")

    def other(case, ready):
        return model.condition(shuffled[case.subject.seed].cycle, "cpu")

    return {
        "cof (true ECG)": with_condition(model, own),
        "null ECG": with_condition(model, none),
        "shuffled ECG": with_condition(model, other),
        "direct regression, no gain": with_condition(direct, own) if model.mean is not None else None,
        "one random draw": with_condition(model, own, draws=1) if model.flow is not None else None,
        "mean of 4 draws": with_condition(model, own, draws=4) if model.flow is not None else None,
        "population-mean motion": lambda case, ready: population,
        "copy anchor": lambda case, ready: torch.zeros_like(population),
    }


def move(
    bundle: Bundle, case: PhantomCase, ready: Conditioned, velocity: torch.Tensor, frames: int, keep_wall: bool = False
) -> NativeMotion:
    """Return the motion of a case on its native grid; with ``keep_wall`` exactly as the product makes it.

    Keeping the wall's volume changes neither cavity's, so the other arms do without and are cheaper.
    """
    if keep_wall:
        velocity = incompressible(bundle.model, velocity, ready, case.anchor)
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
