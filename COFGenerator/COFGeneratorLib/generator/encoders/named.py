"""An ECG encoder of others as a bundle names it: by kind and by the hash of its weights, which the user brings.

Chain of Flow gives its encoder one R–R interval. Encoders of others were trained on records of ten seconds, so they
hear the representative beat repeated at its own rate: training and use hear the same, and nothing but the beat.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from COFGeneratorLib.ecg.cycle import BEAT_FS_HZ, SCALAR_NAMES
from COFGeneratorLib.errors import BundleError
from COFGeneratorLib.files import sha256_of
from COFGeneratorLib.generator.encoders.contract import KINDS, load_foreign_encoder
from COFGeneratorLib.generator.encoders.signals import ForeignEcgEncoder
from COFGeneratorLib.resources import models_folders

STRIP_S = 10.0
PLACE = "encoders"
"""Folder beside the model bundles in which weights of others are looked for."""


def rhythm_strip(beat_mv: np.ndarray, rr_ms: float) -> np.ndarray:
    """Return ten seconds of a beat that repeats itself, (12, 2500) mV at ``BEAT_FS_HZ``.

    Args:
        beat_mv: (12, 256) average beat, 240 ms before R to 784 ms after it; at high rates it holds the next one, too.
        rr_ms: From R to R. Where it is longer than the beat, the line runs straight from its end to its beginning.
    """
    samples = max(round(rr_ms * BEAT_FS_HZ / 1000.0), 1)
    one = np.asarray(beat_mv, dtype=np.float64)[:, :samples]
    if (gap := samples - one.shape[1]) > 0:
        share = np.arange(1, gap + 1) / (gap + 1)
        one = np.concatenate([one, one[:, -1:] * (1.0 - share) + one[:, :1] * share], axis=1)
    length = round(STRIP_S * BEAT_FS_HZ)
    return np.tile(one, -(-length // samples))[:, :length]


@dataclass(frozen=True)
class NamedEncoder:
    """Which encoder of others a model was trained with.

    Attributes:
        kind: One of ``contract.KINDS``.
        sha256: Of the file of its weights.
        size: Length of its embedding.
        network: The encoder, where its weights are at hand.
    """

    kind: str
    sha256: str
    size: int
    network: ForeignEcgEncoder | None = None

    def facts(self) -> dict[str, Any]:
        """Return what a bundle states of it."""
        return {name: getattr(self, name) for name in ("kind", "sha256", "size")}

    def with_weights(self, file: Path | str | None) -> "NamedEncoder":
        """Return the encoder with its weights: of the file given, or found by their hash among the models.

        Without a file, and where none is found, the encoder stays silent until it is asked.

        Raises:
            BundleError: If the file given is another one.
        """
        file = _found(self.sha256) if file is None else Path(file)
        if file is None:
            return self
        return NamedEncoder(self.kind, self.sha256, self.size, load_foreign_encoder(self.kind, file, self.sha256))

    def embedding(self, beat_mv: torch.Tensor, scalars: torch.Tensor) -> torch.Tensor:
        """Return the embeddings (B, size) of beats (B, 12, 256) mV with raw scalars (B, 12).

        Raises:
            BundleError: If the weights are not at hand.
        """
        if self.network is None:
            raise BundleError(
                f"This model hears ECGs through {self.kind}, whose weights are not part of it; expected the file of "
                f"SHA-256 {self.sha256[:12]}…, found none. Give it with --encoder FILE, or put it into the folder "
                f"{PLACE} of the models."
            )
        rate = SCALAR_NAMES.index("rr_ms")
        heard = [
            self.network.encode(rhythm_strip(beat, float(numbers[rate])), BEAT_FS_HZ)[0]
            for beat, numbers in zip(beat_mv.cpu().numpy(), scalars.cpu().numpy(), strict=True)
        ]
        return torch.stack(heard).float().to(beat_mv.device)


def named_encoder(text: str) -> NamedEncoder:
    """Return the encoder of an option ``NAME=FILE``, with its weights.

    Raises:
        BundleError: If it does not read so, or the weights are not those of that encoder.
    """
    kind, _, file = text.partition("=")
    if kind not in KINDS or not file:
        raise BundleError(
            f"An ECG encoder of others is NAME=FILE with a name of {', '.join(KINDS)}; found {kind!r}. Correct it."
        )
    network = load_foreign_encoder(kind, file)
    return NamedEncoder(kind, network.weights_sha256, network.size, network)


def _found(sha256: str) -> Path | None:
    """Return a file of that hash among the models."""
    places = [folder / PLACE for folder in models_folders()]
    files = (file for place in places if place.is_dir() for file in sorted(place.iterdir()) if file.is_file())
    return next((file for file in files if sha256_of(file) == sha256), None)
