"""The ejection fraction as a joint statement of ECG and anatomy, with the reasons for which it may not be believed.

Three small estimators, learned on synthetic patients that the encoder did not see: from what the encoder reads in the
ECG, from the anatomy's measures, and from both. Which one speaks follows from what is at hand and from the domain
check of the ECG. Where ECG and anatomy contradict each other, both are heard.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from COFGeneratorLib.ecg.cycle import EcgCycle
from COFGeneratorLib.generator.domain import STATUSES, DomainFinding, EcgDomain
from COFGeneratorLib.generator.ejection import StatedEf
from COFGeneratorLib.generator.heart_measures import MEASURES
from COFGeneratorLib.generator.networks.ecg_encoder import READING_UNITS, TERRITORIES, EcgEncoder, EcgReading

READINGS = ("ef", "ef_log_variance", "contractility", "infarct_extent", "rv_ef")
"""What of the encoder's reading the estimators take."""
SOURCES = {"ecg": len(READINGS), "anatomy": len(MEASURES), "both": len(READINGS) + len(MEASURES)}
"""Estimators, and how many numbers each takes."""
DISAGREE_SD = 2.0
"""ECG and anatomy disagree where their statements differ by more than so many of their common SDs."""
CLAIM_PROBABILITY = 0.75
"""An infarct is named where the calibrated probability of one territory reaches this: three claims in four hold."""
SPANS = "The interval of EF spans what ECG and anatomy say each; it was not calibrated."
EF_CENTRE, EF_UNIT = READING_UNITS["ef"]
LEAST_EF, MOST_EF = 0.05, 0.80


@dataclass(frozen=True)
class StatementConfig:
    """Size of the statement, and what it rests on.

    Args:
        embedding: Length of the encoder's embedding.
        components: Of the embedding, in which distance is measured.
        hidden: Width of the estimators.
        patients: Synthetic patients whose EF fitted the intervals.
    """

    embedding: int = 128
    components: int = 32
    hidden: int = 24
    patients: int = 0


class EfEstimator(nn.Module):
    """Numbers to a normal distribution of EF."""

    centre: torch.Tensor
    unit: torch.Tensor

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(inputs))
        self.register_buffer("unit", torch.ones(inputs))
        self.layers = nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU())
        self.out = nn.Linear(hidden, 2)

    def forward(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and SD of EF, each (B,), 0…1, from values (B, inputs)."""
        scaled = ((values - self.centre) / self.unit).clamp(-4.0, 4.0)
        mean, log_sd = self.out(self.layers(scaled)).unbind(1)
        return EF_CENTRE + EF_UNIT * mean, EF_UNIT * torch.exp(log_sd.clamp(-3.5, 0.5))


class EfStatement(nn.Module):
    """Domain check, estimators and the conformal widths of their intervals."""

    widths: torch.Tensor
    prior: torch.Tensor

    def __init__(self, config: StatementConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or StatementConfig()
        self.domain = EcgDomain(config.embedding, config.components)
        self.estimators = nn.ModuleDict(
            {source: EfEstimator(inputs, config.hidden) for source, inputs in SOURCES.items()}
        )
        self.register_buffer("widths", torch.full((len(SOURCES), len(STATUSES)), 1.645))
        """z90 by source and status; what is left of a withheld ECG is asked to hold as often as what is widened."""
        self.register_buffer("prior", torch.tensor([EF_CENTRE, EF_UNIT]))
        """Mean and SD of EF where neither ECG nor anatomy tells."""

    def estimate(self, source: str, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and SD of EF, each (B,), by one of ``SOURCES`` from values (B, …)."""
        estimator: EfEstimator = self.estimators[source]
        return estimator(values)

    @torch.inference_mode()
    def state(self, encoder: EcgEncoder, cycle: EcgCycle | None, measures: np.ndarray | None) -> StatedEf:
        """State the EF of one patient.

        Args:
            encoder: The ECG encoder that the statement was fitted to.
            cycle: The analysed ECG, or None.
            measures: ``heart_measures`` of the anchor's labels at end-diastole, or None where they are not known.
        """
        if cycle is None:
            return self._stated(None, measures, DomainFinding("withheld", ("no ECG is given",)))
        embedding, _ = encoder.read(cycle)
        reading = encoder.latents(embedding)
        scalars = torch.from_numpy(cycle.scalars()).to(embedding.device)
        finding = self.domain.judge(
            embedding[0], scalars, reading.mishap_logits[0], cycle.doubts, cycle.quality, cycle.beat_mv
        )
        return self._stated(reading, measures, finding)

    def _stated(self, reading: EcgReading | None, measures: np.ndarray | None, finding: DomainFinding) -> StatedEf:
        values: dict[str, torch.Tensor] = {}
        if measures is not None:
            values["anatomy"] = torch.as_tensor(measures, device=self.widths.device)[None]
        if reading is not None and finding.status != "withheld":
            values["ecg"] = reading_values(reading)
            if measures is not None:
                values["both"] = torch.cat([values["ecg"], values["anatomy"]], dim=1)
        said = {source: tuple(float(part) for part in self.estimate(source, value)) for source, value in values.items()}
        source = next((name for name in ("both", "ecg", "anatomy") if name in said), None)
        contradiction = disagreement(said)
        if source is None:
            mean, sd, z90 = float(self.prior[0]), float(self.prior[1]), 1.645
        else:
            mean, sd = between(said) if contradiction else said[source]
            doubted = reading is not None and finding.status != "stated"  # where no ECG is given, none is doubted
            z90 = float(self.widths[list(SOURCES).index(source), int(doubted)])
        claim = infarct_claim(reading) if reading is not None and finding.status != "withheld" else None
        scar = (f"The ECG has signs of an infarct ({claim[0]}, {100 * claim[1]:.0f} % by its waves).",) if claim else ()
        rests_on = SPANS if contradiction else self._calibrated()
        notes = (*_reasons(finding, source), *contradiction, *scar, rests_on)
        return StatedEf(float(np.clip(mean, LEAST_EF, MOST_EF)), sd, z90, finding.status, notes)

    def _calibrated(self) -> str:
        return f"The interval of EF was calibrated on {self.config.patients} synthetic patients, not on people."


def infarct_claim(reading: EcgReading) -> tuple[str, float] | None:
    """Return territory and probability of the infarct that the first reading is sure enough of, or None."""
    chances = reading.territory_logits[0].detach().softmax(0)
    best = 1 + int(chances[1:].argmax())
    return (TERRITORIES[best], float(chances[best])) if chances[best] >= CLAIM_PROBABILITY else None


def reading_values(reading: EcgReading) -> torch.Tensor:
    """Return what the estimators take of readings, (B, len(READINGS))."""
    return torch.stack([getattr(reading, name) for name in READINGS], dim=1)


def disagreement(said: dict[str, tuple[float, ...]]) -> tuple[str, ...]:
    """Return a note where ECG and anatomy say different things; ``said`` holds (mean, sd) by source."""
    if "ecg" not in said or "anatomy" not in said:
        return ()
    (ecg, ecg_sd), (anatomy, anatomy_sd) = said["ecg"], said["anatomy"]
    if abs(ecg - anatomy) <= DISAGREE_SD * float(np.hypot(ecg_sd, anatomy_sd)):
        return ()
    return (
        f"ECG and anatomy disagree: the ECG alone speaks for an EF of {100 * ecg:.0f} %, the size and shape of the "
        f"heart for {100 * anatomy:.0f} %. Check that both are of the same person.",
    )


def between(said: dict[str, tuple[float, ...]]) -> tuple[float, float]:
    """Return mean and SD where ECG and anatomy disagree: halfway, and an SD that spans both.

    Such pairs were hardly among the patients that the joint estimator learned from, one of the two may be another
    person's, and how sure each is of itself is what the contradiction puts in doubt.
    """
    (ecg, ecg_sd), (anatomy, anatomy_sd) = said["ecg"], said["anatomy"]
    return 0.5 * (ecg + anatomy), float(np.hypot(0.5 * (ecg - anatomy), min(ecg_sd, anatomy_sd)))


def _reasons(finding: DomainFinding, source: str | None) -> tuple[str, ...]:
    if finding.status == "stated":
        return ()
    why = "; ".join(finding.reasons)
    if finding.status == "widened":
        return (f"The EF is stated with a wider interval: {why}.",)
    instead = "the anatomy alone gives it" if source else "the population's mean stands in for it"
    return (f"No EF is read from the ECG: {why}; {instead}.",)
