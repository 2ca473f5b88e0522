"""A bundle, its ablations at equal capacity, and what an ECG of somebody else makes of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from COFGeneratorLib.generator.bundle import Bundle
from COFGeneratorLib.generator.pipeline import Conditioned, prepare

from COFTrainingLib.evaluation.cases import EvaluationCase
from COFTrainingLib.evaluation.comparators.base import Prediction, from_velocity

DRAWS = 4


def prepared(bundle: Bundle, case: EvaluationCase, shared: dict[str, Any]) -> Conditioned:
    """Return a case ready for a bundle, with its labels given; made once per case and motion grid."""
    key = ("ready", bundle.weights_sha256)
    if key not in shared:
        shared[key] = prepare(case.anchor, case.cycle, bundle, case.labels, torch.device("cpu"))
    return shared[key]


@dataclass(frozen=True)
class ModelMethod:
    """A bundle, or a variant of it.

    Args:
        name: As it stands in tables.
        bundle: The model.
        role: ``"model"``, ``"ablation"`` or ``"no ECG"``.
        ecg: ``"own"``, ``"none"`` or ``"other"`` (of another subject of the cohort).
        draws: Random draws whose mean is taken; 0 for the central estimate.
        direct: The regression network alone, without flow and without the gain.
        keep_wall: Keep the wall's volume, as the product does.
        seed: Of the draws.
        variant: What makes it differ from the bundle.
    """

    name: str
    bundle: Bundle
    role: str = "model"
    ecg: str = "own"
    draws: int = 0
    direct: bool = False
    keep_wall: bool = False
    seed: int = 0

    @property
    def identity(self) -> str:
        """Changes with the weights and with the variant."""
        variant = (self.ecg, self.draws, self.direct, self.keep_wall, self.seed)
        return f"{self.bundle.weights_sha256[:16]}:{variant}"

    def predict(self, case: EvaluationCase, shared: dict[str, Any]) -> Prediction:
        """Return the cine of a case."""
        ready, model, cycle = prepared(self.bundle, case, shared), self.bundle.model, case.cycle
        if self.direct:
            model = replace(model, flow=None, gain=1.0)
        if self.ecg == "none":
            condition = model.condition(None, "cpu")
        elif self.ecg == "other":
            cycle = _other(shared)
            condition = model.condition(cycle, "cpu")
        else:
            condition = ready.condition
        with torch.inference_mode():
            velocity = model.velocities(ready.maps, condition, draws=self.draws, seed=self.seed)[0].mean(dim=0)
        return from_velocity(model, case, ready, velocity, cycle.rr_ms, self.keep_wall)


def _other(shared: dict[str, Any]):
    """Return the analysed ECG of the partner whose ECG this case is given."""
    if "partner_cycle" not in shared:
        shared["partner_cycle"] = shared["partner_ecg"]()
    return shared["partner_cycle"]


def main_methods(name: str, bundle: Bundle, seed: int) -> list[ModelMethod]:
    """Return the bundle and its variants."""
    make: Callable[..., ModelMethod] = lambda label, **options: ModelMethod(  # noqa: E731
        f"{name} · {label}" if label else name, bundle, seed=seed, **options
    )
    methods = [
        make("", keep_wall=True),
        make("null ECG", ecg="none", role="no ECG"),
        make("shuffled ECG", ecg="other", role="no ECG"),
        make("wall not kept", role="ablation"),
    ]
    if bundle.model.mean is not None:
        methods.append(make("direct regression, no gain", direct=True, role="ablation"))
    if bundle.model.flow is not None:
        methods.append(make("one draw", draws=1, role="ablation"))
        methods.append(make(f"mean of {DRAWS} draws", draws=DRAWS, role="ablation"))
    return methods


def further_methods(name: str, bundle: Bundle, seed: int) -> list[ModelMethod]:
    """Return another bundle as it is; where the flow carries the whole motion, one random draw is what it makes."""
    methods = [ModelMethod(name, bundle, keep_wall=True, seed=seed)]
    if bundle.model.flow is not None and bundle.model.mean is None:
        methods.append(ModelMethod(f"{name} · one draw", bundle, draws=1, keep_wall=True, seed=seed))
    return methods
