"""Fit the statement of EF: what is in the encoder's domain, the estimators, and how wide their intervals must be."""

from dataclasses import dataclass

import numpy as np
import torch
from COFGeneratorLib.generator.domain import STATUSES, EcgDomain
from COFGeneratorLib.generator.ef_statement import SOURCES, EfEstimator, EfStatement, StatementConfig, reading_values
from COFGeneratorLib.generator.networks.ecg_encoder import EcgEncoder, EcgReading

from COFTrainingLib.training.ecg.statement_cohort import StatementCohort, draw_statement_cohort

LEVEL, DOUBTED_LEVEL = 0.90, 0.95
"""Of the intervals; those of doubted records are asked to hold more often."""
RANGE = (0.005, 0.995)
FLAGGED = 0.022
"""Share of the cohort's own records that the limits may flag, all checks together."""
FAR = 1.35
"""Beyond so many times the distance's limit a record is not read at all."""
BATCH = 256
SMALLEST_SD = 1e-3


@dataclass(frozen=True)
class StatementTraining:
    """Settings of the statement's fit.

    Args:
        patients: That the estimators learn from.
        held_out: Further patients that limits and intervals are fitted on, their beats found as in a user's record.
        far_out: Patients with ECGs outside the training's domain, for the width of doubted intervals.
        first_seed: Of the patients; disjoint from those of all other trainings.
        components: Of the embedding, in which distance is measured.
        hidden: Width of the estimators.
        steps: Of the estimators' training.
    """

    patients: int = 3000
    held_out: int = 1200
    far_out: int = 200
    first_seed: int = 71_000_000
    components: int = 32
    hidden: int = 24
    steps: int = 2500


def fit_statement(encoder: EcgEncoder, settings: StatementTraining, *, workers: int = 1) -> EfStatement:
    """Fit the statement to a trained encoder.

    Split conformal prediction (Vovk 2005; Angelopoulos & Bates 2021, arXiv:2107.07511): the score of a patient is
    |EF − stated| / SD, and the interval covers 90 % of new patients of the same population, however errors are
    distributed. The estimators learn from other patients than the widths.
    """
    seed = settings.first_seed
    learned = draw_statement_cohort(settings.patients, seed, workers=workers)
    seed += settings.patients
    held = draw_statement_cohort(settings.held_out, seed, detect=True, workers=workers)
    seed += settings.held_out
    far = draw_statement_cohort(settings.far_out, seed, far_out=True, workers=workers)
    config = StatementConfig(encoder.config.embedding, settings.components, settings.hidden, len(held))
    torch.manual_seed(settings.first_seed)
    statement = EfStatement(config).to(encoder.stem.weight.device)
    embedding, reading = read_cohort(encoder, learned)
    fit_domain(statement.domain, (embedding, learned.scalars), read_cohort(encoder, held), held)
    statement.prior.copy_(torch.stack([learned.ef.mean(), learned.ef.std()]))
    for source, values in source_values(reading, learned).items():
        fit_estimator(statement.estimators[source], values, learned.ef, settings.steps)
    _fit_widths(statement, encoder, held, far)
    return statement.eval()


@torch.inference_mode()
def read_cohort(encoder: EcgEncoder, cohort: StatementCohort) -> tuple[torch.Tensor, EcgReading]:
    """Return the embeddings (N, E) and the readings of a cohort."""
    encoder.eval()
    parts = [
        encoder(beat, scalars)[0]
        for beat, scalars in zip(cohort.beat_mv.split(BATCH), cohort.scalars.split(BATCH), strict=True)
    ]
    embedding = torch.cat(parts)
    return embedding, encoder.latents(embedding)


def source_values(reading: EcgReading, cohort: StatementCohort) -> dict[str, torch.Tensor]:
    """Return what each estimator takes, by source, each (N, …)."""
    ecg = reading_values(reading)
    return {"ecg": ecg, "anatomy": cohort.measures, "both": torch.cat([ecg, cohort.measures], dim=1)}


def fit_domain(
    domain: EcgDomain,
    learned: tuple[torch.Tensor, torch.Tensor],
    held: tuple[torch.Tensor, EcgReading],
    cohort: StatementCohort,
) -> None:
    """Fit centre, components and ranges to embeddings and scalars, and the limits to other patients.

    Args:
        domain: Filled in place.
        learned: Embeddings (N, E) and scalars (N, S).
        held: Embeddings and readings of the patients that the limits are fitted on.
        cohort: Those patients.
    """
    embedding, scalars = learned
    centre = embedding.mean(dim=0)
    offset = embedding - centre
    _, _, axes = torch.linalg.svd(offset, full_matrices=False)
    basis = axes[: domain.basis.shape[1]].T
    along = offset @ basis
    domain.centre.copy_(centre)
    domain.basis.copy_(basis)
    domain.spread.copy_(along.std(dim=0).clamp(min=SMALLEST_SD))
    rest = (offset.square().sum(dim=1) - along.square().sum(dim=1)).clamp(min=0.0)
    domain.beside.copy_(rest.mean().sqrt().clamp(min=SMALLEST_SD))
    for column, values in enumerate(scalars.unbind(1)):
        present = values[values != 0]
        if len(present):
            low, high = np.quantile(present.numpy(), RANGE)
            domain.scalar_low[column], domain.scalar_high[column] = float(low), float(high)

    distance = domain.distance(held[0])
    excess = domain.excess(cohort.scalars).amax(dim=1)
    mishap = 1.0 - held[1].mishap_logits.softmax(1)[:, 0]
    for level in np.linspace(1.0, 0.95, 51):
        limits = [torch.quantile(values, float(level)) for values in (distance, excess, mishap)]
        flagged = (distance > limits[0]) | (excess > limits[1]) | (mishap > limits[2])
        if flagged.float().mean() > FLAGGED:
            break
        domain.distance_limit.copy_(limits[0])
        domain.scalar_limit.copy_(limits[1])
        domain.mishap_limit.copy_(limits[2])
    domain.distance_far.copy_(FAR * domain.distance_limit)


def fit_estimator(estimator: EfEstimator, values: torch.Tensor, ef: torch.Tensor, steps: int) -> None:
    """Learn EF from values (N, …) by likelihood; values are blurred a little so that it stays smooth."""
    estimator.centre.copy_(values.mean(dim=0))
    estimator.unit.copy_(values.std(dim=0).clamp(min=SMALLEST_SD))
    optimiser = torch.optim.AdamW(estimator.parameters(), lr=4e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    generator = torch.Generator().manual_seed(steps)
    estimator.train()
    for _ in range(steps):
        rows = torch.randint(len(ef), (BATCH,), generator=generator)
        blur = 0.1 * torch.randn(BATCH, values.shape[1], generator=generator) * estimator.unit
        mean, sd = estimator(values[rows] + blur)
        error = (mean - ef[rows]) / sd
        loss = (0.5 * error.square() + sd.log()).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


@torch.inference_mode()
def _fit_widths(statement: EfStatement, encoder: EcgEncoder, held: StatementCohort, far: StatementCohort) -> None:
    """Fit z90 of every source: on the held-out patients, and on those with ECGs outside the domain."""
    for status, level, cohort in (("stated", LEVEL, held), ("widened", DOUBTED_LEVEL, far)):
        values = source_values(read_cohort(encoder, cohort)[1], cohort)
        for row, source in enumerate(SOURCES):
            mean, sd = statement.estimate(source, values[source])
            statement.widths[row, STATUSES.index(status)] = conformal_z(cohort.ef - mean, sd, level)
    # A doubted interval is never the narrower one; a withheld ECG leaves the anatomy's own, asked to hold as often.
    statement.widths[:, 1] = statement.widths[:, :2].amax(dim=1)
    statement.widths[:, 2] = statement.widths[:, 1]


def conformal_z(errors: torch.Tensor, sds: torch.Tensor, level: float) -> float:
    """Return the conformal quantile of |error| / SD, both (N,), at a level 0…1."""
    scores = torch.sort(errors.abs() / sds).values
    rank = min(int(np.ceil((len(scores) + 1) * level)), len(scores))
    return float(scores[rank - 1])
