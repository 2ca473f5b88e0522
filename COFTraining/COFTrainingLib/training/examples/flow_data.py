"""Batches of Stage 2 from a flow cache, the same batch for the same step."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.generator.networks.condition import CONDITION_SIZE, condition_vector
from COFGeneratorLib.generator.networks.ecg_encoder import EcgEncoder
from COFGeneratorLib.generator.networks.pack import PackScale, heart_confidence

from COFTrainingLib.training.examples.cine_data import CineCache
from COFTrainingLib.training.examples.flow_cache import ECG_DRAWS, SENSITIVITY_SCALE, FlowCache

VALIDATION_SHARE = 0.04
RMS_SUBJECTS = 64
NO_RV_SHARE = 0.05
"""Some users have labels of the left ventricle alone."""


@dataclass(frozen=True)
class FlowData:
    """Examples of a cache with their conditions, split by subject.

    Attributes:
        cache: The examples.
        conditions: (N, R, CONDITION_SIZE) what the encoder reads from every recording.
        train, valid: Indices of the subjects of each split.
        scale: RMS of the velocity components.
    """

    cache: FlowCache | CineCache
    conditions: torch.Tensor
    train: np.ndarray
    valid: np.ndarray
    scale: PackScale

    def batch(self, indices: np.ndarray, rng: np.random.Generator | None = None) -> dict[str, torch.Tensor]:
        """Read the examples at ``indices``; with ``rng`` one of their recordings at random, else the first."""
        arrays = self.cache.arrays
        draw = np.zeros(len(indices), dtype=int) if rng is None else rng.integers(ECG_DRAWS, size=len(indices))
        deficit = torch.from_numpy(arrays["deficit"][np.sort(indices)])
        order = np.argsort(indices)  # memory-mapped files are read in order
        indices, draw = indices[order], draw[order]
        maps = _single(arrays["maps"], indices)
        if rng is not None:
            gone = torch.from_numpy(rng.random(len(indices)) < NO_RV_SHARE)
            maps[gone, 2] = 0.0
        told = {"anchor": torch.from_numpy(arrays["anchor"][indices][:, 0])} if self.any_anchor else {}
        return {
            **told,
            "names": [str(self.cache.seeds[index]) for index in indices],
            "maps": maps,
            "velocity": self.scale.normalise(_single(arrays["velocity"], indices)),
            "sensitivity": _single(arrays["sensitivity"], indices).div_(SENSITIVITY_SCALE),
            "deficit": deficit,
            "condition": self.conditions[indices, draw],
        }

    def training_batch(self, step: int, size: int, seed: int) -> dict[str, torch.Tensor]:
        """Return the batch of a step: drawn with replacement, a function of step and seed alone."""
        rng = np.random.default_rng([seed, step])
        return self.batch(rng.choice(self.train, size), rng)

    @property
    def any_anchor(self) -> bool:
        """Whether the examples' anchors are of any phase; a batch then has ``anchor`` (B,), 0…1."""
        return "anchor" in self.cache.arrays

    @property
    def phases(self) -> torch.Tensor:
        """(T,) phases 0…1 of the cache."""
        count = self.cache.grid.phases
        return torch.arange(count, dtype=torch.float32) / count


def _single(stored: Any, indices: np.ndarray) -> torch.Tensor:
    """Return stored half-precision rows in single precision; torch converts them three times as fast as NumPy."""
    return torch.from_numpy(stored[indices]).float()


def load_flow_data(cache: FlowCache | CineCache, encoder: EcgEncoder, chunk: int = 256) -> FlowData:
    """Prepare a cache for training with an ECG encoder, which stays as it is.

    Raises:
        TrainingError: If too few examples are complete.
    """
    ready = cache.ready
    if len(ready) < 8:
        raise TrainingError(
            f"Training needs at least 8 complete examples; found {len(ready)} in {cache.folder}. Finish the cache."
        )
    held = max(2, int(len(ready) * VALIDATION_SHARE))
    conditions = torch.zeros(cache.facts["subjects"], ECG_DRAWS, CONDITION_SIZE)
    with torch.inference_mode():
        for part in np.array_split(ready, max(1, len(ready) // chunk)):
            beats = torch.from_numpy(cache.arrays["beats"][part].astype(np.float32)).flatten(0, 1)
            scalars = torch.from_numpy(cache.arrays["scalars"][part]).flatten(0, 1)
            conditions[part] = condition_vector(encoder, beats, scalars).view(len(part), ECG_DRAWS, -1)
    sample = np.sort(ready[:: max(1, len(ready) // RMS_SUBJECTS)])
    maps = torch.from_numpy(cache.arrays["maps"][sample].astype(np.float32))
    velocity = torch.from_numpy(cache.arrays["velocity"][sample].astype(np.float32))
    weight = heart_confidence(maps)[:, None, None]
    power = (velocity.square() * weight).sum(dim=(0, 1, 3, 4, 5)) / (weight.sum() * velocity.shape[1])
    return FlowData(cache, conditions.clone(), ready[:-held], ready[-held:], PackScale(tuple(power.sqrt().tolist())))
