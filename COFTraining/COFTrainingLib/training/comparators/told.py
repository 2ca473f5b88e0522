"""What a comparator is told of the ECG, and guidance without a classifier."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from COFGeneratorLib.ecg.cycle import EcgCycle
from COFGeneratorLib.generator.networks.ecg_encoder import EcgEncoder

DROPPED = 0.1
"""Share of the clips whose ECG is left out in training, for guidance (Ho and Salimans 2022, arXiv:2207.12598)."""


@dataclass(frozen=True)
class Heard:
    """ECGs as the product's frozen encoder hears them: ``embedding`` (B, d) and ``tokens`` (B, n, d)."""

    embedding: torch.Tensor
    tokens: torch.Tensor

    def of(self, rows: torch.Tensor) -> "Heard":
        """Return those at some rows."""
        return Heard(self.embedding[rows], self.tokens[rows])


def heard_in(encoder: EcgEncoder, cycle: EcgCycle) -> Heard:
    """Return one analysed ECG as the encoder hears it, (1, d) and (1, n, d)."""
    with torch.inference_mode():
        embedding, tokens = encoder.read(cycle)
    return Heard(embedding.clone(), tokens.clone())


def guided(
    predict: Callable[[torch.Tensor], torch.Tensor], told: torch.Tensor, nothing: torch.Tensor, guidance: float
) -> torch.Tensor:
    """Return a prediction away from that without an ECG: ``p_∅ + g·(p_e − p_∅)``, once where g is 1."""
    found = predict(told)
    if guidance == 1.0:
        return found
    without = predict(nothing)
    return without + guidance * (found - without)
