"""Batches of Stage 2 from a flow cache, the same batch for the same step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.generator.networks.condition import STATED_UNITS, condition_vector, null_condition
from COFGeneratorLib.generator.networks.dynamics import embedding_condition
from COFGeneratorLib.generator.networks.ecg_encoder import EcgEncoder
from COFGeneratorLib.generator.networks.pack import PackScale, heart_confidence
from COFGeneratorLib.motion.constants import constant

from COFTrainingLib.training.examples.cine_data import CineCache
from COFTrainingLib.training.examples.flow_cache import ECG_DRAWS, SENSITIVITY_SCALE, FlowCache

Embedding: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Beats (B, 12, 256) mV and raw scalars (B, 12) → what a model hears of them, (B, d)."""
VALIDATION_SHARE = 0.04
RMS_SUBJECTS = 64
NO_RV_SHARE = 0.05
"""Some users have labels of the left ventricle alone."""


@dataclass(frozen=True)
class FlowData:
    """Examples of a cache with their conditions, split by subject.

    Attributes:
        cache: The examples.
        conditions: (N, R, C) what is heard of every recording: what the encoder reads from it, or its embedding.
        train, valid: Indices of the subjects of each split.
        scale: RMS of the velocity components.
        stated: (N, 3) what can be stated of every heart in the order of ``STATED_UNITS``, NaN where not known.
    """

    cache: FlowCache | CineCache
    conditions: torch.Tensor
    train: np.ndarray
    valid: np.ndarray
    scale: PackScale
    stated: torch.Tensor

    @property
    def people(self) -> np.ndarray:
        """(N,) whose heart an example is: copies of one recorded subject are of one person."""
        return np.array([str(name).split("/")[0] for name in self.cache.seeds])

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
        seen = {name: _single(arrays[name], indices) for name in ("image", "confidence") if name in arrays}
        return {
            **told,
            **seen,
            "names": [str(self.cache.seeds[index]) for index in indices],
            "maps": maps,
            "velocity": self.scale.normalise(_single(arrays["velocity"], indices)),
            "sensitivity": _single(arrays["sensitivity"], indices).div_(SENSITIVITY_SCALE),
            "deficit": deficit,
            "condition": self.conditions[indices, draw],
            "stated": self.stated[indices],
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
        return self.phases_on(torch.device("cpu"))

    def phases_on(self, device: torch.device) -> torch.Tensor:
        """Return ``phases`` on a device, where they stay: sent at every step, they would be waited for."""
        count = self.cache.grid.phases
        return constant(tuple(phase / count for phase in range(count)), torch.float32, device)


def _single(stored: Any, indices: np.ndarray) -> torch.Tensor:
    """Return stored half-precision rows in single precision; torch converts them three times as fast as NumPy."""
    return torch.from_numpy(stored[indices]).float()


def load_flow_data(
    cache: FlowCache | CineCache, encoder: EcgEncoder, embedding: Embedding | None = None, chunk: int = 256
) -> FlowData:
    """Prepare a cache for training with an ECG encoder, which stays as it is.

    With ``embedding`` conditions are the ECGs' embeddings, for the papers' flow, not what the encoder reads from them.

    Raises:
        TrainingError: If too few examples are complete.
    """
    ready = cache.ready
    if len(ready) < 8:
        raise TrainingError(
            f"Training needs at least 8 complete examples; found {len(ready)} in {cache.folder}. Finish the cache."
        )
    held = max(2, int(len(ready) * VALIDATION_SHARE))
    heard_parts = []
    with torch.inference_mode():
        for part in np.array_split(ready, max(1, len(ready) // chunk)):
            beats = torch.from_numpy(cache.arrays["beats"][part].astype(np.float32)).flatten(0, 1)
            scalars = torch.from_numpy(cache.arrays["scalars"][part]).flatten(0, 1)
            if embedding is None:
                heard = condition_vector(encoder, beats, scalars)
            else:
                heard = embedding_condition(embedding(beats, scalars))
            silent = (beats == 0).flatten(1).all(dim=1)  # a cine without an ECG
            heard = torch.where(silent[:, None], null_condition(heard), heard)
            heard_parts.append(heard.view(len(part), ECG_DRAWS, -1))
    known = torch.cat(heard_parts)
    conditions = torch.zeros(cache.facts["subjects"], ECG_DRAWS, known.shape[-1])
    conditions[ready] = known
    sample = np.sort(ready[:: max(1, len(ready) // RMS_SUBJECTS)])
    maps = torch.from_numpy(cache.arrays["maps"][sample].astype(np.float32))
    velocity = torch.from_numpy(cache.arrays["velocity"][sample].astype(np.float32))
    weight = heart_confidence(maps)[:, None, None]
    power = (velocity.square() * weight).sum(dim=(0, 1, 3, 4, 5)) / (weight.sum() * velocity.shape[1])
    stated = torch.full((cache.facts["subjects"], len(STATED_UNITS)), torch.nan)
    if "stated" in cache.arrays:
        stated[ready] = torch.from_numpy(cache.arrays["stated"][ready].astype(np.float32))
    scale = PackScale(tuple(power.sqrt().tolist()))
    return FlowData(cache, conditions.clone(), ready[:-held], ready[-held:], scale, stated)
