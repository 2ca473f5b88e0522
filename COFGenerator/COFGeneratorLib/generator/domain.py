"""Whether an ECG is one that the encoder knows: what was never learned is not stated with confidence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from COFGeneratorLib.ecg.cycle import SCALAR_NAMES
from COFGeneratorLib.generator.networks.ecg_encoder import MISHAPS

STATUSES = ("stated", "widened", "withheld")
"""In the order of doubt."""

UNFIT = {
    "leads": "the leads seem to be exchanged, or contradict each other",
    "electrodes": "electrodes may be exchanged",
    "polarity": "the record seems to be upside down",
    "paced": "a pacemaker drives the ventricles",
}
"""Doubts of the ECG's analysis under which its waves do not tell of the muscle."""
SUSPICIONS = ("electrodes", "polarity")
CLEARED = 0.02
"""A suspicion is said, and no more, where the encoder, which has learned such mishaps, gives all of them less chance:
it gives more to every recording that was turned upside down."""
DOUBTFUL = {"quality": "the record is noisy", "scale": "its voltages are not calibrated"}
"""Doubts under which they tell less."""
MISHAP_WORDS = {
    "inverted": UNFIT["polarity"],
    "limb": "limb cables seem to be exchanged",
    "chest": "chest cables seem to be exchanged",
    "paced": UNFIT["paced"],
}
SCALAR_WORDS = {
    "rr_ms": "R–R interval", "pr_ms": "PR interval", "qrsd_ms": "QRS duration", "qt_ms": "QT interval",
    "t_end_over_rr": "end of T within the cycle", "axis_cos": "QRS axis", "axis_sin": "QRS axis",
    "sokolow_mv": "Sokolow–Lyon voltage", "cornell_mv": "Cornell voltage", "rr_cv": "variation of R–R",
}  # fmt: skip
LOW_QUALITY = 0.7
"""Sound records, of recorders and of phantoms, have more."""
LOW_VOLTAGE_MV = 0.5, 1.0
"""Low voltage: no limb lead and no chest lead reaches these (Surawicz & Knilans, Chou's Electrocardiography)."""
HIGH_VOLTAGE_MV = 3.3, 7.0
"""Few limb and chest leads of sound records reach these: some phantoms with hypertrophy do, of 41 recordings none."""
SHORT_MS = 66.0, 100.0
"""QRS and PR of a record whose rate is stated too high are both shorter; an adult's are not."""


@dataclass(frozen=True)
class DomainFinding:
    """How far an ECG may be believed: one of ``STATUSES``, and the reasons in words."""

    status: str = "stated"
    reasons: tuple[str, ...] = ()


class EcgDomain(nn.Module):
    """The training's own ECGs in numbers: their embeddings, measurements, and limits that few of them pass.

    All is fitted by the training and travels with the weights. The distance is Mahalanobis' in the leading components
    of the embedding, with what lies beside them measured in its own spread (Lee et al. 2018, arXiv:1807.03888).
    """

    centre: torch.Tensor
    basis: torch.Tensor
    spread: torch.Tensor
    beside: torch.Tensor
    distance_limit: torch.Tensor
    distance_far: torch.Tensor
    scalar_low: torch.Tensor
    scalar_high: torch.Tensor
    scalar_limit: torch.Tensor
    mishap_limit: torch.Tensor

    def __init__(self, embedding: int, components: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(embedding))
        self.register_buffer("basis", torch.zeros(embedding, components))
        self.register_buffer("spread", torch.ones(components))
        self.register_buffer("beside", torch.ones(()))
        self.register_buffer("distance_limit", torch.full((), 1e4))
        self.register_buffer("distance_far", torch.full((), 1e4))
        self.register_buffer("scalar_low", torch.full((len(SCALAR_NAMES),), -1e4))
        self.register_buffer("scalar_high", torch.full((len(SCALAR_NAMES),), 1e4))
        self.register_buffer("scalar_limit", torch.zeros(()))
        self.register_buffer("mishap_limit", torch.ones(()))

    def distance(self, embedding: torch.Tensor) -> torch.Tensor:
        """Return how far embeddings (B, E) lie from the training's, (B,); about 1 within it."""
        offset = embedding - self.centre
        along = offset @ self.basis
        rest = (offset.square().sum(dim=1) - along.square().sum(dim=1)).clamp(min=0.0) / self.beside.square()
        return (((along / self.spread).square().sum(dim=1) + rest) / (len(self.spread) + 1)).sqrt()

    def excess(self, scalars: torch.Tensor) -> torch.Tensor:
        """Return by how much scalars (B, S) leave the training's range, in its widths; 0 inside and where absent."""
        width = (self.scalar_high - self.scalar_low).clamp(min=1e-3)
        outside = torch.maximum(self.scalar_low - scalars, scalars - self.scalar_high).clamp(min=0.0) / width
        return torch.where(scalars == 0, 0.0, outside)

    def judge(
        self,
        embedding: torch.Tensor,
        scalars: torch.Tensor,
        mishap_logits: torch.Tensor,
        doubts: Sequence[str] = (),
        quality: float = 1.0,
        beat_mv: np.ndarray | None = None,
    ) -> DomainFinding:
        """Judge one ECG.

        Args:
            embedding: (E,) of the encoder.
            scalars: (S,) raw, in the order of ``SCALAR_NAMES``.
            mishap_logits: (M,) of the encoder's reading.
            doubts: Of the ECG's analysis, by name: of ``UNFIT`` (of ``SUSPICIONS`` where the encoder shares them) and
                ``DOUBTFUL``.
            quality: Of the record, 0…1.
            beat_mv: (12, L) the average beat, whose voltages are looked at where it is given.
        """
        chances = mishap_logits.softmax(0)
        mishap = float(1.0 - chances[0])
        unfit = [UNFIT[name] for name in doubts if name in UNFIT and (name not in SUSPICIONS or mishap >= CLEARED)]
        distance = float(self.distance(embedding[None])[0])
        if distance > float(self.distance_far):
            unfit.append("its waves are unlike all that the model has learned from")
        if unfit:
            return DomainFinding("withheld", tuple(unfit))
        doubtful = []
        if mishap > float(self.mishap_limit):
            # a suspicion alone: recordings of hospitals raise it where the rules of the reading find nothing
            doubtful.append(MISHAP_WORDS[MISHAPS[1 + int(chances[1:].argmax())]])
        if distance > float(self.distance_limit):
            doubtful.append("its waves are unlike most that the model has learned from")
        outside = dict(zip(SCALAR_NAMES, self.excess(scalars[None])[0] > self.scalar_limit, strict=True))
        names = [words for name, words in SCALAR_WORDS.items() if outside[name]]
        doubtful += [f"{name} outside the range that the model has learned from" for name in dict.fromkeys(names)]
        doubtful += implausible(scalars, beat_mv)
        noted = {*doubts, "quality"} if quality < LOW_QUALITY else set(doubts)
        doubtful += [words for name, words in DOUBTFUL.items() if name in noted]
        return DomainFinding("widened", tuple(doubtful)) if doubtful else DomainFinding()


def implausible(scalars: torch.Tensor, beat_mv: np.ndarray | None) -> list[str]:
    """Return in words what hardly a sound record shows, whatever its heart: a wrong scale or rate is likelier.

    Args:
        scalars: (S,) raw, in the order of ``SCALAR_NAMES``.
        beat_mv: (12, L) mV, limb leads first, or None.
    """
    found = []
    qrsd_ms, pr_ms = (float(scalars[SCALAR_NAMES.index(name)]) for name in ("qrsd_ms", "pr_ms"))
    if 0 < qrsd_ms < SHORT_MS[0] and 0 < pr_ms < SHORT_MS[1]:
        found.append("its PR and QRS are shorter than an adult's")
    if beat_mv is not None:
        swing = np.ptp(beat_mv, axis=1)
        limb, chest = float(swing[:6].max()), float(swing[6:].max())
        if limb < LOW_VOLTAGE_MV[0] and chest < LOW_VOLTAGE_MV[1]:
            found.append("its voltages are low in all leads")
        if limb > HIGH_VOLTAGE_MV[0] or chest > HIGH_VOLTAGE_MV[1]:
            found.append("its voltages are higher than hearts give")
    return found
