"""The ECG encoder: an average beat and its measurements to an embedding, tokens, and a reading of the heart's state.

A 1-D residual network without any per-sample normalisation: amplitude is part of the message (voltages tell
hypertrophy, low T waves a weak ventricle) and a z-score or GroupNorm would delete it. Residual branches start at zero
(SkipInit, De & Smith 2020, arXiv:2002.10444), which trains stably without normalisation layers.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from COFGeneratorLib.ecg.cycle import BEAT_SAMPLES, SCALAR_NAMES, EcgCycle
from COFGeneratorLib.ecg.record import LEADS, EcgRecord

TERRITORIES = ("", "anterior", "inferior", "lateral")
CONDUCTIONS = ("", "lbbb", "rbbb")

SCALAR_CENTRE = (1000.0, 150.0, 100.0, 400.0, 0.36, 0.0, 0.0, 2.5, 1.5, 0.0, 0.0, 0.0)
SCALAR_SCALE = (180.0, 50.0, 25.0, 30.0, 0.06, 1.0, 1.0, 1.0, 1.0, 1.0, 0.1, 1.0)
SCALAR_LIMIT = 4.0
VOLTAGE_MV = 0.25
"""Voltages v enter as asinh(v / 0.25 mV): linear for P and T waves, compressed for tall QRS."""


class EcgReading(NamedTuple):
    """What the head reads from an embedding; all tensors have the batch as first axis.

    Attributes:
        ef: (B,) ejection fraction, fraction.
        ef_log_variance: (B,) logarithm of its variance, fraction².
        contractility: (B,) latent k.
        infarct_extent: (B,) fraction of the myocardium.
        territory_logits: (B, 4) in the order of ``TERRITORIES``.
        conduction_logits: (B, 3) in the order of ``CONDUCTIONS``.
        qrsd_ms: (B,) QRS duration.
        t_es_over_rr: (B,) end of ejection from R as a share of the R–R interval.
        atrial_fraction: (B,) share of filling by the atria.
        filling_tau_ms: (B,) time constant of early filling.
    """

    ef: torch.Tensor
    ef_log_variance: torch.Tensor
    contractility: torch.Tensor
    infarct_extent: torch.Tensor
    territory_logits: torch.Tensor
    conduction_logits: torch.Tensor
    qrsd_ms: torch.Tensor
    t_es_over_rr: torch.Tensor
    atrial_fraction: torch.Tensor
    filling_tau_ms: torch.Tensor


READING_UNITS = {
    "ef": (0.58, 0.08),
    "contractility": (0.0, 1.0),
    "infarct_extent": (0.05, 0.10),
    "qrsd_ms": (100.0, 22.0),
    "t_es_over_rr": (0.38, 0.045),
    "atrial_fraction": (0.24, 0.06),
    "filling_tau_ms": (110.0, 12.0),
}
"""Centre and scale of each regressed quantity: the head works in these units."""


@dataclass(frozen=True)
class EcgEncoderConfig:
    """Size of the encoder.

    Args:
        widths: Channels of the stages; each halves the time axis once.
        blocks: Residual blocks a stage.
        kernel: Samples a convolution spans.
        embedding: Length of the embedding and of the tokens.
        dropout: Share of pooled features left out in training.
    """

    widths: tuple[int, ...] = (32, 48, 96, 128)
    blocks: int = 2
    kernel: int = 5
    embedding: int = 128
    dropout: float = 0.1


class _ResidualBlock(nn.Module):
    """Pre-activation block whose branch is scaled by a learned number that starts at 0."""

    def __init__(self, inputs: int, outputs: int, stride: int, kernel: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(inputs, outputs, kernel, stride, kernel // 2)
        self.second = nn.Conv1d(outputs, outputs, kernel, 1, kernel // 2)
        self.gain = nn.Parameter(torch.zeros(()))
        self.skip = nn.Identity() if inputs == outputs and stride == 1 else nn.Conv1d(inputs, outputs, 1)
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branch = self.second(nn.functional.silu(self.first(nn.functional.silu(x))))
        if self.stride > 1:
            x = nn.functional.avg_pool1d(x, self.stride)
        return self.skip(x) + self.gain * branch


def _initialise(module: nn.Module) -> None:
    """Keep the size of the signal from layer to layer, as normalisation would (He et al. 2015, arXiv:1502.01852)."""
    if isinstance(module, nn.Conv1d | nn.Linear):
        one_by_one = isinstance(module, nn.Conv1d) and module.kernel_size == (1,)
        nn.init.kaiming_normal_(module.weight, nonlinearity="linear" if one_by_one else "relu")
        nn.init.zeros_(module.bias)


class EcgEncoder(nn.Module):
    """Encode an average beat and its scalars; of the default size it has about 0.9 million parameters."""

    def __init__(self, config: EcgEncoderConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or EcgEncoderConfig()
        self.register_buffer("scalar_centre", torch.tensor(SCALAR_CENTRE))
        self.register_buffer("scalar_scale", torch.tensor(SCALAR_SCALE))
        widths = config.widths
        self.stem = nn.Conv1d(len(LEADS), widths[0], 7, 2, 3)
        stages, inputs = [], widths[0]
        for index, width in enumerate(widths):
            for block in range(config.blocks):
                stride = 2 if block == 0 and index > 0 else 1
                stages.append(_ResidualBlock(inputs, width, stride, config.kernel))
                inputs = width
        self.stages = nn.Sequential(*stages)
        positions = BEAT_SAMPLES // 2 ** len(widths)
        # Timing within the beat must survive, so positions are kept and channels squeezed, instead of a mean over time.
        self.squeeze = nn.Conv1d(inputs, 48, 1)
        self.pool = nn.Linear(48 * positions, 2 * config.embedding)
        self.tokens = nn.Linear(inputs, config.embedding)
        self.scalars = nn.Sequential(nn.Linear(len(SCALAR_NAMES), 64), nn.SiLU(), nn.Linear(64, 64))
        self.drop = nn.Dropout(config.dropout)
        self.join = nn.Sequential(
            nn.SiLU(),
            nn.Linear(2 * config.embedding + 64, 2 * config.embedding),
            nn.SiLU(),
            nn.Linear(2 * config.embedding, config.embedding),
        )
        outputs = len(READING_UNITS) + 1 + len(TERRITORIES) + len(CONDUCTIONS)
        self.head = nn.Sequential(
            nn.Linear(config.embedding, config.embedding), nn.SiLU(), nn.Linear(config.embedding, outputs)
        )

        self.apply(_initialise)
        nn.init.normal_(self.head[-1].weight, std=0.02)

    def forward(self, beat_mv: torch.Tensor, scalars: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode beats (B, 12, 256) mV and raw scalars (B, 12): the embedding (B, 128), the tokens (B, 16, 128).

        Scalars are in the order of ``SCALAR_NAMES``; tokens run early to late in the beat.
        """
        features = self.stages(self.stem(torch.asinh(beat_mv / VOLTAGE_MV)))
        measured = (scalars - self.scalar_centre) / self.scalar_scale
        # A wave that is absent has the value 0 in raw units; it must not become an outlier.
        measured = self.scalars(measured.clamp(-SCALAR_LIMIT, SCALAR_LIMIT))
        pooled = self.pool(nn.functional.silu(self.squeeze(nn.functional.silu(features))).flatten(1))
        embedding = self.join(torch.cat([self.drop(pooled), measured], dim=1))
        return embedding, self.tokens(features.transpose(1, 2))

    def latents(self, embedding: torch.Tensor) -> EcgReading:
        """Read the state of the heart from an embedding, (B, 128)."""
        raw = self.head(embedding)
        values = {
            name: centre + scale * raw[:, column]
            for column, (name, (centre, scale)) in enumerate(READING_UNITS.items())
        }
        first = len(READING_UNITS)
        # The head starts at exp(−2) of the unit's variance, an EF error of about 3 points.
        values["ef_log_variance"] = 2.0 * np.log(READING_UNITS["ef"][1]) + (raw[:, first] - 2.0).clamp(-6.0, 2.0)
        values["territory_logits"] = raw[:, first + 1 : first + 1 + len(TERRITORIES)]
        values["conduction_logits"] = raw[:, first + 1 + len(TERRITORIES) :]
        return EcgReading(**values)

    @torch.inference_mode()
    def encode(self, ecg_mv: np.ndarray, fs_hz: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode a raw record: the contract of every ECG encoder.

        Args:
            ecg_mv: (12, L) mV, leads in the order of ``LEADS``.
            fs_hz: Sampling rate, Hz.

        Returns:
            The embedding (128,) and the tokens (16, 128).

        Raises:
            EcgError: If the record holds no usable beats.
        """
        from COFGeneratorLib.ecg.beats import analyse_ecg

        inputs = encoder_inputs(analyse_ecg(EcgRecord(ecg_mv, fs_hz)), self.stem.weight.device)
        embedding, tokens = self(*(part.to(self.stem.weight) for part in inputs))
        return embedding[0], tokens[0]


def encoder_inputs(cycle: EcgCycle, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the average beat (1, 12, 256), mV, and the scalars (1, 12), raw units, of one analysed ECG."""
    beat = torch.from_numpy(np.ascontiguousarray(cycle.beat_mv, dtype=np.float32))[None].to(device)
    return beat, torch.from_numpy(cycle.scalars())[None].to(device)
