"""Baselines whose motion comes from other subjects: mean, mean of the ECG group, somebody's, PCA with ridge."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from COFGeneratorLib.generator.bundle import Bundle

from COFTrainingLib.evaluation.cases import EvaluationCase, ecg_facts
from COFTrainingLib.evaluation.comparators.base import Prediction, Shared, from_velocity
from COFTrainingLib.evaluation.comparators.library import features, library_identity, population_of
from COFTrainingLib.evaluation.comparators.models import conditioned
from COFTrainingLib.evaluation.groups import ecg_group
from COFTrainingLib.evaluation.plan import Plan

POPULATION, GROUP, RANDOM, RIDGE = "population-mean motion", "ECG-group mean motion", "random motion", "PCA ridge"


@dataclass(frozen=True)
class OthersMotion:
    """Motion of training subjects in the heart's frame, put on this heart.

    Args:
        name: One of the four.
        bundle: Whose grid the motions are on.
        library: File of ``library.condense``; None for the mean that the bundle carries.
        role: As in ``ModelMethod``.
        device: Where the bundle's networks are.
    """

    name: str
    bundle: Bundle
    library: Path | None
    role: str
    device: str = "cpu"

    @property
    def identity(self) -> str:
        """Changes with the grid and with the library."""
        source = library_identity(self.library) if self.library else "bundle"
        return f"{source}:{self.bundle.weights_sha256[:16]}"

    def predict(self, case: EvaluationCase, shared: Shared) -> Prediction:
        """Return the cine of a case."""
        ready = conditioned(self.bundle, case, shared, self.device)
        velocity = torch.from_numpy(self._velocity(case))
        return from_velocity(self.bundle.model, case, ready, velocity - velocity[:1], case.cycle.rr_ms)

    def _velocity(self, case: EvaluationCase) -> np.ndarray:
        if self.library is None:
            mean = population_of(self.bundle)
            assert mean is not None  # library_methods makes none otherwise
            return mean
        kept = _opened(self.library)
        if self.name == POPULATION:
            return kept["mean"].astype(np.float32)
        if self.name == GROUP:
            names = kept["group_names"].tolist()
            group = ecg_group(ecg_facts(case))
            return (kept["group_means"][names.index(group)] if group in names else kept["mean"]).astype(np.float32)
        if self.name == RANDOM:
            seed = int.from_bytes(case.id.encode()[-6:], "little")
            return kept["singles"][np.random.default_rng(seed).integers(len(kept["singles"]))].astype(np.float32)
        inputs = features(case.cycle.scalars(), kept["centre"], kept["spread"])
        scores = (inputs @ kept["ridge_weights"])[0].astype(np.float32)
        return kept["mean"] + np.tensordot(scores, kept["components"].astype(np.float32), axes=1)


@cache
def _opened(path: Path) -> dict[str, np.ndarray]:
    """Read a library once a process."""
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def library_methods(bundle: Bundle, plan: Plan) -> list[OthersMotion]:
    """Return the baselines that can be made: all four with a library, the mean alone where the bundle carries it."""
    if plan.motions is not None:
        roles = {POPULATION: "no ECG", GROUP: "ECG scalars", RANDOM: "no ECG", RIDGE: "ECG scalars"}
        return [OthersMotion(name, bundle, plan.motions, role, plan.device) for name, role in roles.items()]
    if population_of(bundle) is not None:
        return [OthersMotion(POPULATION, bundle, None, "no ECG", plan.device)]
    return []
