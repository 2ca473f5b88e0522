"""The ECG encoder: a record's beats and measurements to an embedding, tokens, and a reading of the heart's state.

The average beat is what it always takes; single beats with their R–R intervals beside it are a choice of the
configuration (``EcgEncoderConfig.beats``), pooled by attention as the tokens of PA-MAE are.

A 1-D residual network without any per-sample normalisation: amplitude is part of the message (voltages tell
hypertrophy, small limb leads a weak ventricle) and a z-score or GroupNorm would delete it. Residual branches start at
zero (SkipInit, De & Smith 2020, arXiv:2002.10444), which trains stably without normalisation layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from COFGeneratorLib.ecg.cycle import BEAT_SAMPLES, SCALAR_NAMES, EcgCycle
from COFGeneratorLib.ecg.record import LEADS, EcgRecord

TERRITORIES = ("", "anterior", "inferior", "lateral")
CONDUCTIONS = ("", "lbbb", "rbbb")
MISHAPS = ("", "inverted", "limb", "chest", "paced")
"""What makes a record unfit to tell of the heart: upside down, limb or chest cables exchanged, a paced ventricle."""

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
        rv_ef, rv_ef_log_variance: (B,) the same of the right ventricle.
        t_es_over_rr, t_es_log_variance: (B,) end of ejection from R as a share of the R–R interval.
        contractility: (B,) latent k.
        infarct_extent: (B,) fraction of the myocardium.
        territory_logits: (B, 4) in the order of ``TERRITORIES``, calibrated: their softmax is what may be believed.
        conduction_logits: (B, 3) in the order of ``CONDUCTIONS``.
        mishap_logits: (B, 5) in the order of ``MISHAPS``.
        qrsd_ms: (B,) QRS duration.
        atrial_fraction: (B,) share of filling by the atria.
        filling_tau_ms: (B,) time constant of early filling.
    """

    ef: torch.Tensor
    ef_log_variance: torch.Tensor
    rv_ef: torch.Tensor
    rv_ef_log_variance: torch.Tensor
    t_es_over_rr: torch.Tensor
    t_es_log_variance: torch.Tensor
    contractility: torch.Tensor
    infarct_extent: torch.Tensor
    territory_logits: torch.Tensor
    conduction_logits: torch.Tensor
    mishap_logits: torch.Tensor
    qrsd_ms: torch.Tensor
    atrial_fraction: torch.Tensor
    filling_tau_ms: torch.Tensor


READING_UNITS = {
    "ef": (0.55, 0.12),
    "contractility": (0.5, 1.5),
    "infarct_extent": (0.05, 0.10),
    "qrsd_ms": (105.0, 24.0),
    "t_es_over_rr": (0.38, 0.055),
    "atrial_fraction": (0.24, 0.08),
    "filling_tau_ms": (110.0, 15.0),
    "rv_ef": (0.52, 0.10),
}
"""Centre and scale of each regressed quantity: the head works in these units."""
LOG_VARIANCES = {"ef": "ef_log_variance", "rv_ef": "rv_ef_log_variance", "t_es_over_rr": "t_es_log_variance"}
"""Quantities whose uncertainty the head states, and under which name."""


class SingleBeats(NamedTuple):
    """Single beats of records, beside their average.

    Attributes:
        mv: (B, N, 12, 256) mV, as the average beat; zeros where there is none.
        rr_ratio: (B, N, 2) R–R before and after the beat, relative to the record's median; 1 where not known.
        present: (B, N) bool.
    """

    mv: torch.Tensor
    rr_ratio: torch.Tensor
    present: torch.Tensor


@dataclass(frozen=True)
class EcgEncoderConfig:
    """Size of the encoder.

    Args:
        widths: Channels of the stages; each halves the time axis once.
        blocks: Residual blocks a stage.
        kernel: Samples a convolution spans.
        embedding: Length of the embedding and of the tokens.
        dropout: Share of pooled features left out in training.
        beats: Single beats that are read beside the average one; 0 for the average alone.
    """

    widths: tuple[int, ...] = (32, 48, 96, 128)
    blocks: int = 2
    kernel: int = 5
    embedding: int = 128
    dropout: float = 0.1
    beats: int = 0


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


class _BeatPooling(nn.Module):
    """Pool single beats by attention; the average beat asks. Its output is closed at first (SkipInit)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.rhythm = nn.Linear(2, size)
        self.attention = nn.MultiheadAttention(size, 4, batch_first=True)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, average: torch.Tensor, single: torch.Tensor, beats: SingleBeats) -> torch.Tensor:
        """Return what to add to the average's features (B, size), of those of single beats (B, N, size)."""
        tokens = single + self.rhythm(10.0 * (beats.rr_ratio - 1.0).clamp(-0.5, 0.5))
        # The average is itself among what is attended to: a record without single beats has an answer, too.
        tokens = torch.cat([average[:, None], tokens], dim=1)
        absent = torch.cat([torch.zeros_like(beats.present[:, :1]), ~beats.present], dim=1)
        pooled, _ = self.attention(average[:, None], tokens, tokens, key_padding_mask=absent, need_weights=False)
        return self.gain * pooled[:, 0]


class EcgEncoder(nn.Module):
    """Encode beats and scalars; of the default size it has about 0.9 million parameters."""

    def __init__(self, config: EcgEncoderConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or EcgEncoderConfig()
        self.register_buffer("scalar_centre", torch.tensor(SCALAR_CENTRE))
        self.register_buffer("scalar_scale", torch.tensor(SCALAR_SCALE))
        self.register_buffer("territory_factor", torch.ones(()))
        self.register_buffer("territory_offset", torch.zeros(len(TERRITORIES)))
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
        outputs = len(READING_UNITS) + len(LOG_VARIANCES) + len(TERRITORIES) + len(CONDUCTIONS) + len(MISHAPS)
        self.head = nn.Sequential(
            nn.Linear(config.embedding, config.embedding), nn.SiLU(), nn.Linear(config.embedding, outputs)
        )

        self.apply(_initialise)
        nn.init.normal_(self.head[-1].weight, std=0.02)
        self.beats = _BeatPooling(2 * config.embedding) if config.beats else None

    def forward(
        self, beat_mv: torch.Tensor, scalars: torch.Tensor, single: SingleBeats | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode records: the embedding (B, 128), the tokens (B, 16, 128), early to late in the average beat.

        Args:
            beat_mv: (B, 12, 256) mV, average beats.
            scalars: (B, 12) raw, in the order of ``SCALAR_NAMES``.
            single: Single beats of the records, for an encoder that reads them; it does without where None.
        """
        features, pooled = self._pooled(beat_mv)
        if self.beats is not None and single is not None:
            count, beats = single.mv.shape[:2]
            apart = self._pooled(single.mv.flatten(0, 1))[1].view(count, beats, -1)
            pooled = pooled + self.beats(pooled, apart, single)
        measured = (scalars - self.scalar_centre) / self.scalar_scale
        # A wave that is absent has the value 0 in raw units; it must not become an outlier.
        measured = self.scalars(measured.clamp(-SCALAR_LIMIT, SCALAR_LIMIT))
        embedding = self.join(torch.cat([self.drop(pooled), measured], dim=1))
        return embedding, self.tokens(features.transpose(1, 2))

    def _pooled(self, beat_mv: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features over time (B, C, 16) and pooled ones (B, 256) of beats (B, 12, 256)."""
        features = self.stages(self.stem(torch.asinh(beat_mv / VOLTAGE_MV)))
        return features, self.pool(nn.functional.silu(self.squeeze(nn.functional.silu(features))).flatten(1))

    def latents(self, embedding: torch.Tensor) -> EcgReading:
        """Read the state of the heart from an embedding, (B, 128)."""
        parts = [len(READING_UNITS), len(LOG_VARIANCES), len(TERRITORIES), len(CONDUCTIONS), len(MISHAPS)]
        means, spreads, territory, conduction, mishap = self.head(embedding).split(parts, dim=1)
        values = {
            name: centre + scale * means[:, column]
            for column, (name, (centre, scale)) in enumerate(READING_UNITS.items())
        }
        for column, (name, log_variance) in enumerate(LOG_VARIANCES.items()):
            # The head starts at exp(−2) of the unit's variance, an EF error of about 4 points.
            raw = (spreads[:, column] - 2.0).clamp(-6.0, 2.0)
            values[log_variance] = 2.0 * np.log(READING_UNITS[name][1]) + raw
        values["territory_logits"] = territory * self.territory_factor + self.territory_offset
        values["conduction_logits"], values["mishap_logits"] = conduction, mishap
        return EcgReading(**values)

    def calibrate_territories(self, factor: float, offset: torch.Tensor) -> None:
        """Make the territories' probabilities believable: their logits times a factor, plus an offset (4,)."""
        self.territory_factor.fill_(factor)
        self.territory_offset.copy_(offset)

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

        embedding, tokens = self.read(analyse_ecg(EcgRecord(ecg_mv, fs_hz)))
        return embedding[0], tokens[0]

    def read(self, cycle: EcgCycle) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode one analysed ECG: the embedding (1, 128) and the tokens (1, 16, 128)."""
        device = self.stem.weight.device
        beat, scalars = encoder_inputs(cycle, device)
        return self(beat, scalars, single_beats([cycle], self.config.beats, device) if self.config.beats else None)


def encoder_inputs(cycle: EcgCycle, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the average beat (1, 12, 256), mV, and the scalars (1, 12), raw units, of one analysed ECG."""
    beat = torch.from_numpy(np.ascontiguousarray(cycle.beat_mv, dtype=np.float32))[None].to(device)
    return beat, torch.from_numpy(cycle.scalars())[None].to(device)


def single_beats(cycles: Sequence[EcgCycle], count: int, device: torch.device | str = "cpu") -> SingleBeats:
    """Return the first ``count`` accepted beats of analysed ECGs, zeros where a record has fewer."""
    shape = (len(cycles), count)
    mv, ratio = np.zeros((*shape, len(LEADS), BEAT_SAMPLES), np.float32), np.ones((*shape, 2), np.float32)
    present = np.zeros(shape, dtype=bool)
    for row, cycle in enumerate(cycles):
        found = min(len(cycle.single_mv), count)
        mv[row, :found], ratio[row, :found] = cycle.single_mv[:found], cycle.rr_ratios()[:found]
        present[row, :found] = True
    return SingleBeats(*(torch.from_numpy(part).to(device) for part in (mv, ratio, present)))
