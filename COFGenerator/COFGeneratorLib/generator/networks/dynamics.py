"""The dynamics of Chain of Flow: the ECG's embedding, 768 numbers, and an embedding of the phase, 128; 896 in all."""

import torch
from torch import nn

from COFGeneratorLib.generator.networks.ecg_encoder import EcgEncoder

ECG_SIZE, PHASE_SIZE = 768, 128
DYNAMICS_SIZE = ECG_SIZE + PHASE_SIZE
HARMONICS = 5


def embedding_condition(embedding: torch.Tensor) -> torch.Tensor:
    """Return the condition (B, d + 1) of ECG embeddings (B, d): a flag says that there is an ECG.

    The condition of "no ECG" is all zeros, the flag included (``condition.null_condition``).
    """
    return torch.cat([embedding, torch.ones_like(embedding[:, :1])], dim=1)


def own_embedding(encoder: EcgEncoder, beat_mv: torch.Tensor, scalars: torch.Tensor) -> torch.Tensor:
    """Return the embedding (B, d) that our encoder makes of beats (B, 12, 256) mV and raw scalars (B, 12)."""
    return encoder(beat_mv, scalars)[0]


def phase_features(phases: torch.Tensor) -> torch.Tensor:
    """Return the harmonics of phases (…) 0…1 and the phase itself, (…, 2·HARMONICS + 1)."""
    angle = 2.0 * torch.pi * phases[..., None] * torch.arange(1, HARMONICS + 1, device=phases.device)
    return torch.cat([torch.sin(angle), torch.cos(angle), phases[..., None]], dim=-1)


class Dynamics(nn.Module):
    """What drives the motion of each phase.

    An encoder whose embedding is of another size than 768 (ours, ECGFounder) is widened by a learned linear layer;
    whatever its scale, the embedding is normalised. "No ECG" has an embedding of its own, which is learned.
    """

    def __init__(self, ecg_size: int, hidden: int) -> None:
        super().__init__()
        self.widen = nn.Identity() if ecg_size == ECG_SIZE else nn.Linear(ecg_size, ECG_SIZE)
        self.norm = nn.LayerNorm(ECG_SIZE, elementwise_affine=False)
        self.nothing = nn.Parameter(0.02 * torch.randn(ECG_SIZE))
        self.phase = nn.Sequential(
            nn.Linear(2 * HARMONICS + 1, PHASE_SIZE), nn.SiLU(), nn.Linear(PHASE_SIZE, PHASE_SIZE)
        )
        self.out = nn.Linear(DYNAMICS_SIZE, hidden)

    def ecg(self, condition: torch.Tensor) -> torch.Tensor:
        """Return the ECG's part (B, 768) of conditions (B, d + 1)."""
        heard = self.norm(self.widen(condition[:, :-1]))
        return torch.where(condition[:, -1:] > 0.5, heard, self.nothing.to(heard))

    def forward(self, ecg: torch.Tensor, phases: torch.Tensor) -> torch.Tensor:
        """Return what is added to the time embedding of each phase, (B, T, hidden).

        Args:
            ecg: (B, 768), see ``ecg``.
            phases: (T,) or (B, T), 0…1.
        """
        phase = self.phase(phase_features(phases.to(ecg))).expand(len(ecg), phases.shape[-1], -1)
        return self.out(torch.cat([ecg[:, None].expand(-1, phases.shape[-1], -1), phase], dim=-1))
