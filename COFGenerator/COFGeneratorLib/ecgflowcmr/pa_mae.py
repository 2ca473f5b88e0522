"""PA-MAE, the phase-aware masked autoencoder of ECGs: tokens at an eighth of the rate, and the phase of the heartbeat.

Encoder: a 1-D ResNet with strides 2·2·1·2·1·1, 12×5000 → width×625 (10 s at 500 Hz). One decoder restores the signal
from a *masked input*; one head tells (sin, cos) of the phase, 0 at every R and 2π at the next, from the unmasked pass.
Voltages enter in mV without any per-record normalisation: amplitude is part of the message.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from COFGeneratorLib.ecg.conditioning import condition
from COFGeneratorLib.ecg.record import EcgRecord
from COFGeneratorLib.ecgflowcmr.phenotype import PhenotypeHead
from COFGeneratorLib.errors import EcgError

FS_HZ = 500.0
TOKEN_SAMPLES = 8
"""Samples a token: token n stands at sample 8n, i.e. every 16 ms."""
TOKEN_MS = 1000.0 * TOKEN_SAMPLES / FS_HZ
SHORTEST_S = 2.5
VOLTAGE_MV = 0.5
"""Voltages v enter as asinh(v / 0.5 mV): linear for P and T, compressed for tall QRS."""


@dataclass(frozen=True)
class PaMaeConfig:
    """Size of the network; the defaults are the paper's (4.4 M and 0.9 M parameters).

    Args:
        widths: Channels of the stem and first stage, and of the further stages (strides 1, 2, 1, 1 after the stem's 4).
        blocks: Residual blocks a stage.
        dilations: Of each stage: with 1, 1, 2, 4 the last tokens see more than one R–R.
        tokens: Width of a token.
        decoder: Channels of the decoder's three upsampling steps.
        phase_hidden: Hidden width of the phase head.
        mask_patch: Samples of a masked patch; all leads are masked together (they are linearly dependent).
        mask_ratio: Share of the patches that are masked.
        phenotypes: What a head reads from the mean cycle, see ``phenotype``; the paper has no such head.
        phenotype_hidden: Its hidden width.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    blocks: int = 2
    dilations: tuple[int, ...] = (1, 1, 2, 4)
    tokens: int = 768
    decoder: tuple[int, ...] = (512, 256, 128, 64)
    phase_hidden: int = 256
    mask_patch: int = 40
    mask_ratio: float = 0.5
    phenotypes: tuple[str, ...] = ()
    phenotype_hidden: int = 64


class _Block(nn.Module):
    """Two convolutions around a shortcut (ResNet-18's basic block in one dimension)."""

    def __init__(self, inside: int, out: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(inside, out, 3, stride, dilation, dilation, bias=False)
        self.norm_1, self.norm_2 = nn.BatchNorm1d(out), nn.BatchNorm1d(out)
        self.second = nn.Conv1d(out, out, 3, 1, dilation, dilation, bias=False)
        self.shortcut = nn.Sequential()
        if stride != 1 or inside != out:
            self.shortcut = nn.Sequential(nn.Conv1d(inside, out, 1, stride, bias=False), nn.BatchNorm1d(out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = functional.relu(self.norm_1(self.first(x)))
        return functional.relu(self.norm_2(self.second(inner)) + self.shortcut(x))


class PaMae(nn.Module):
    """Encoder, decoder, phase head and, where asked for, a phenotype head (else None)."""

    def __init__(self, config: PaMaeConfig) -> None:
        super().__init__()
        self.config = config
        first = config.widths[0]
        self.stem = nn.Sequential(
            nn.Conv1d(12, first, 7, 2, 3, bias=False), nn.BatchNorm1d(first), nn.ReLU(), nn.MaxPool1d(3, 2, 1)
        )
        stages, inside = [], first
        strides = (1, 2, 1, 1, *([1] * len(config.widths)))
        for width, stride, dilation in zip(config.widths, strides, config.dilations, strict=False):
            for index in range(config.blocks):
                stages.append(_Block(inside, width, stride if index == 0 else 1, dilation))
                inside = width
        self.stages = nn.Sequential(*stages)
        self.project = nn.Conv1d(inside, config.tokens, 1)
        self.phase = nn.Sequential(
            nn.Conv1d(inside, config.phase_hidden, 1), nn.ReLU(), nn.Conv1d(config.phase_hidden, 2, 1)
        )
        steps: list[nn.Module] = [nn.Conv1d(config.tokens, config.decoder[0], 1)]
        for before, after in zip(config.decoder[:-1], config.decoder[1:], strict=True):
            steps += [
                nn.Upsample(scale_factor=2, mode="linear", align_corners=False),
                nn.Conv1d(before, after, 3, 1, 1), nn.BatchNorm1d(after), nn.ReLU(),
            ]  # fmt: skip
        self.decoder = nn.Sequential(*steps, nn.Conv1d(config.decoder[-1], 12, 7, 1, 3))
        self.mask_token = nn.Parameter(torch.zeros(12))
        self.phenotype = None
        if config.phenotypes:
            self.phenotype = PhenotypeHead(config.tokens, config.phenotypes, config.phenotype_hidden)

    def encode(self, signal: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return tokens (B, tokens, L/8) and phase (B, 2, L/8) of prepared signals (B, 12, L), L a multiple of 8.

        Sine and cosine of the phase are not normalised.
        """
        features = self.stages(self.stem(signal))
        return self.project(features), self.phase(features)

    def reconstruct(self, signal: torch.Tensor, masked: torch.Tensor) -> torch.Tensor:
        """Return the signal (B, 12, L) restored from what the mask (B, L) bool leaves of it.

        Running statistics of the normalisation stay those of whole signals, which is what inference sees.
        """
        seen = torch.where(masked[:, None], self.mask_token[None, :, None].to(signal.dtype), signal)
        with _statistics_kept(self.stem, self.stages):
            tokens, _ = self.encode(seen)
        return self.decoder(tokens)

    def draw_mask(self, count: int, length: int, generator: torch.Generator) -> torch.Tensor:
        """Draw (B, L) bool: exactly ``mask_ratio`` of the patches of each record, at random."""
        patches = -(-length // self.config.mask_patch)
        order = torch.rand((count, patches), generator=generator, device=generator.device).argsort(dim=1)
        chosen = order < round(self.config.mask_ratio * patches)
        return chosen.repeat_interleave(self.config.mask_patch, dim=1)[:, :length]


@contextmanager
def _statistics_kept(*modules: nn.Module) -> Iterator[None]:
    """Normalise with the batch's statistics but leave the running ones alone."""
    norms = [norm for module in modules for norm in module.modules() if isinstance(norm, nn.BatchNorm1d)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, before, strict=True):
            norm.momentum = momentum


def prepare_record(record: EcgRecord, length: int | None = None) -> np.ndarray:
    """Return a record as the network takes it: filtered, at 500 Hz, asinh-compressed, (12, L) float32.

    Args:
        record: Any 12-lead record of at least ``SHORTEST_S``.
        length: Samples to return; cut or filled with zeros at the end. The largest multiple of 8 where None.

    Raises:
        EcgError: If the record is too short for a complete cycle.
    """
    if record.duration_s < SHORTEST_S:
        raise EcgError(
            f"A complete cardiac cycle needs a record of at least {SHORTEST_S} s; found {record.duration_s:.1f} s. "
            "Use a longer recording."
        )
    whole = int(record.duration_s * FS_HZ) // TOKEN_SAMPLES * TOKEN_SAMPLES
    signal = condition(record.signal_mv, record.fs_hz).at(np.arange(whole) / FS_HZ)
    signal = np.arcsinh(signal / VOLTAGE_MV).astype(np.float32)
    if length is None:
        return signal
    out = np.zeros((12, length), dtype=np.float32)
    out[:, : min(length, whole)] = signal[:, :length]
    return out


def phase_labels(r_peaks_samples: np.ndarray, tokens: int, fs_hz: float = FS_HZ) -> tuple[np.ndarray, np.ndarray]:
    """Return the phase at every token and where it is known.

    Args:
        r_peaks_samples: (n,) R peaks, samples at ``fs_hz``.
        tokens: Number of tokens, one every ``TOKEN_SAMPLES`` at 500 Hz.
        fs_hz: Rate of the peaks.

    Returns:
        (2, tokens) sine and cosine, linear in phase from each R (0) to the next (2π), and (tokens,) 1 between the first
        and the last R and 0 outside, where no phase is defined.
    """
    peaks = np.sort(np.asarray(r_peaks_samples, dtype=np.float64)) * FS_HZ / fs_hz / TOKEN_SAMPLES
    at = np.arange(tokens)
    turns = np.interp(at, peaks, np.arange(len(peaks)))
    known = (at >= peaks[0]) & (at <= peaks[-1])
    angle = 2.0 * np.pi * turns
    return np.stack([np.sin(angle), np.cos(angle)]).astype(np.float32), known.astype(np.float32)
