"""A bundle, its ablations at equal capacity, and what an ECG of somebody else makes of it."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from COFGeneratorLib.generator.bundle import Bundle
from COFGeneratorLib.generator.conditioned import Conditioned, prepare_anchor

from COFTrainingLib.evaluation.cases import EvaluationCase
from COFTrainingLib.evaluation.comparators.base import Prediction, Shared, from_velocity

DRAWS = 4


def conditioned(bundle: Bundle, case: EvaluationCase, shared: Shared, device: str = "cpu") -> Conditioned:
    """Return a case ready for a bundle on its device, its labels completed as the product does it; made once per case
    and bundle.
    """
    key = bundle.weights_sha256
    if key not in shared.ready:
        shared.ready[key] = prepare_anchor(
            case.anchor, case.cycle, bundle, case.labels, torch.device(device), complete=True
        )
    return shared.ready[key]


@dataclass(frozen=True)
class ModelMethod:
    """A bundle, or a variant of it.

    Args:
        name: As it stands in tables.
        bundle: The model.
        role: ``"model"``, ``"no ECG"``, ``"centre"`` or ``"ablation"``.
        ecg: ``"own"``, ``"none"`` or ``"other"`` (of another subject of the cohort).
        draws: Random draws whose mean is taken; 0 for the central estimate.
        direct: The flow's centre alone, without gain and the EF that the ECG states.
        stated_ef: Give the LV the EF that the ECG states, where the bundle goes by it.
        keep_wall: Keep the wall's volume, as the product does.
        seed: Of the draws.
        every_frame: Label all frames of the cycle, not the case's label frames alone.
        device: Where the bundle's networks are.
    """

    name: str
    bundle: Bundle
    role: str = "model"
    ecg: str = "own"
    draws: int = 0
    direct: bool = False
    stated_ef: bool = True
    keep_wall: bool = True
    seed: int = 0
    every_frame: bool = False
    device: str = "cpu"

    @property
    def identity(self) -> str:
        """Changes with the weights and with the variant."""
        model = self.bundle.model
        variant = (self.ecg, self.draws, self.direct, self.stated_ef, self.keep_wall, self.seed, model.gain,
                   model.ef_z90, model.ef_shift)  # fmt: skip
        return f"{self.bundle.weights_sha256[:16]}:{variant}"

    def predict(self, case: EvaluationCase, shared: Shared) -> Prediction:
        """Return the cine of a case."""
        ready, model = conditioned(self.bundle, case, shared, self.device), self.bundle.model
        if self.direct:
            model = replace(model, gain=1.0, ef_z90=None)
        cycle = None if self.ecg == "none" else case.cycle if self.ecg == "own" else shared.partner_cycle
        with torch.inference_mode():
            condition = ready.condition if self.ecg == "own" else model.condition(cycle, self.device)
            options = {"image": ready.image, "draws": self.draws, "seed": self.seed}
            velocity = model.velocities(ready.maps, condition, **options)[0].mean(dim=0)
        stated = model.stated_ef(cycle, measures=ready.measures) if self.stated_ef and model.follows_ef(None) else None
        wanted = None
        if stated is not None:  # a single draw has a random EF of the stated spread
            wanted = stated.draw(self.seed + sum(case.id.encode())) if self.draws == 1 else stated.mean
        rr_ms = (cycle or case.cycle).rr_ms
        frames = range(case.frames) if self.every_frame else None
        return from_velocity(
            model, case, ready, velocity, rr_ms, wanted_ef=wanted,
            keep_wall=self.keep_wall and model.after.keep_wall, frames=frames,
        )  # fmt: skip


def main_methods(name: str, bundle: Bundle, seed: int, variants: bool = True, device: str = "cpu") -> list[ModelMethod]:
    """Return the bundle, what it makes of no ECG and of another's, and its centre alone; what these are not about is
    left as the product has it.

    Args:
        name: Of the model.
        bundle: The model.
        seed: Of random draws.
        variants: Also those that take a part of the product away, of the role ``"ablation"``.
        device: Where the networks are.
    """

    def make(label: str, **options: Any) -> ModelMethod:
        return ModelMethod(f"{name} · {label}" if label else name, bundle, seed=seed, device=device, **options)

    methods = [
        make(""),
        make("null ECG", ecg="none", role="no ECG", keep_wall=False),
        make("shuffled ECG", ecg="other", role="no ECG", keep_wall=False),
    ]
    if bundle.model.has_centre:
        methods.append(make("centre alone, no gain", direct=True, role="centre", keep_wall=False))
    if not variants:
        return methods
    if bundle.model.after.keep_wall:
        methods.append(make("wall not kept", role="ablation", keep_wall=False))
    if bundle.model.states_ef and bundle.model.follows_ef(None):
        methods.append(make("EF of the motion network", role="ablation", stated_ef=False))
    methods.append(make("one draw", draws=1, role="ablation", keep_wall=False))
    methods.append(make(f"mean of {DRAWS} draws", draws=DRAWS, role="ablation", keep_wall=False))
    return methods


def further_methods(name: str, bundle: Bundle, seed: int, device: str = "cpu") -> list[ModelMethod]:
    """Return another bundle as it is; where the flow carries the whole motion, one random draw is what it makes."""
    methods = [ModelMethod(name, bundle, seed=seed, device=device)]
    if not bundle.model.has_centre:
        methods.append(ModelMethod(f"{name} · one draw", bundle, draws=1, seed=seed, device=device))
    return methods
