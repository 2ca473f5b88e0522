"""Train the ECG encoder on synthetic ECGs and the physiology behind them; no image is involved."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Unpack

import torch
from COFGeneratorLib.ecg.cycle import SCALAR_NAMES
from COFGeneratorLib.generator.networks.ecg_encoder import (
    LOG_VARIANCES,
    READING_UNITS,
    TERRITORIES,
    EcgEncoder,
    EcgEncoderConfig,
    EcgReading,
    SingleBeats,
)
from torch.nn import functional

from COFTrainingLib.phantom.lead_field import DOWER, twelve_leads
from COFTrainingLib.training.ecg.ecg_cohort import OVERSAMPLED, EcgCohort
from COFTrainingLib.training.loop.loop import LoopConfig, Loss, RunOptions, TrainedRun, train

WEIGHTS = {"contractility": 1.0, "infarct_extent": 1.0, "qrsd_ms": 0.3, "atrial_fraction": 0.2, "filling_tau_ms": 0.1}
"""Of quantities that enter by their error alone."""
LIKELIHOODS = {"ef": 1.0, "rv_ef": 0.4, "t_es_over_rr": 0.4}
"""Of quantities whose uncertainty is stated, too."""
HELD_OUT = 2000


UNKNOWN = -100
"""A class that is not known of a recorded ECG."""


def train_ecg_encoder(
    out_dir: Path | str,
    cohort: EcgCohort,
    *,
    records: int,
    batch: int,
    encoder: EcgEncoderConfig,
    loop: LoopConfig,
    **options: Unpack[RunOptions],
) -> TrainedRun:
    """Train an encoder; the run folder's ``model.safetensors`` holds its weights.

    The last of the cohort's records elect the best weights; ``records``, those to train on, is for the configuration.
    The loop's seed is that of weights and augmentation.
    """
    seed = loop.seed
    count = len(cohort) - held_out_of(cohort)
    torch.manual_seed(seed)
    model = EcgEncoder(encoder)

    def batches(step: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        return cohort.rows(torch.randint(count, (batch,), generator=generator))

    def loss_fn(model: EcgEncoder, batch: dict[str, torch.Tensor], generator: torch.Generator) -> Loss:
        return encoder_loss(read_batch(model, batch, generator), batch, weight=0.25)

    held_out = torch.arange(count, len(cohort))

    @torch.inference_mode()
    def validate(model: EcgEncoder, step: int) -> dict[str, float]:
        data = cohort.rows(held_out)
        loss, numbers = encoder_loss(read_batch(model, data), data)
        return {"score": float(loss), **{name: float(value) for name, value in numbers.items()}}

    settings = {"encoder": asdict(encoder), "records": records, "batch": batch, "prevalence": asdict(OVERSAMPLED)}
    return train(
        model, loss_fn, batches, out_dir, loop,
        model_config=settings, validate=validate, **options,
    )  # fmt: skip


def calibrate_territories(encoder: EcgEncoder, cohort: EcgCohort) -> None:
    """Fit factor and offset of the territories' logits to the natural records that were held out, in place.

    Training oversamples infarcts, so that its probabilities are too high by as much; and networks are too sure
    (Guo et al. 2017, arXiv:1706.04599).
    """
    rows = torch.arange(len(cohort) - held_out_of(cohort), len(cohort))
    rows = rows[(cohort.targets["mishap"][rows] == 0) & (cohort.targets["natural"][rows] > 0)]
    data = cohort.rows(rows)
    encoder.eval().calibrate_territories(1.0, torch.zeros(len(TERRITORIES)))
    with torch.inference_mode():
        logits = read_batch(encoder, data).territory_logits
    logits, territory = logits.clone(), data["territory"].long()
    log_factor, offset = torch.zeros((), requires_grad=True), torch.zeros(logits.shape[1], requires_grad=True)
    optimiser = torch.optim.LBFGS([log_factor, offset], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = functional.cross_entropy(logits * log_factor.exp() + offset, territory) + 1e-3 * offset.square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    encoder.calibrate_territories(float(log_factor.detach().exp()), offset.detach() - offset.detach().mean())


def held_out_of(cohort: EcgCohort) -> int:
    """Return how many of a cohort's records, its last, are held out."""
    return min(HELD_OUT, len(cohort) // 5)


def encoder_loss(reading: EcgReading, targets: dict[str, torch.Tensor], weight: float = 1.0) -> Loss:
    """Return the loss of a reading and its parts.

    EF, RVEF and the end of ejection enter as the likelihood of a normal distribution with the variance that the head
    states, so that the stated variance is an honest one; the rest as smooth L1 in units of its spread, and
    cross-entropy. Records unfit to tell of the heart teach that they are, and nothing else.

    Args:
        reading: What the head reads.
        targets: By name, each (B,); NaN, or ``UNKNOWN`` of a class, where it is not known: such teach nothing.
        weight: Of the plain error added to each likelihood, which alone neglects cases it holds for uncertain.
    """
    mishap = targets["mishap"].long()
    sound = (mishap == 0).to(reading.ef)
    per_sound = sound / sound.sum().clamp(min=1.0)
    loss = functional.cross_entropy(reading.mishap_logits, mishap)
    for name, share in LIKELIHOODS.items():
        scale = READING_UNITS[name][1]
        error = _difference(reading, targets, name) / scale
        known = per_sound * targets[name].isfinite()
        log_variance = getattr(reading, LOG_VARIANCES[name]) - 2.0 * math.log(scale)
        likelihood = 0.5 * (error.square() * torch.exp(-log_variance) + log_variance)
        loss = loss + share * ((likelihood + weight * 4.0 * error.square()) * known).sum()
    for name, share in WEIGHTS.items():
        difference = _difference(reading, targets, name) / READING_UNITS[name][1]
        each = functional.smooth_l1_loss(difference, torch.zeros_like(difference), beta=0.5, reduction="none")
        loss = loss + share * (each * per_sound).sum()
    for logits, name, share in (
        (reading.territory_logits, "territory", 0.5),
        (reading.conduction_logits, "conduction", 0.2),
    ):
        each = functional.cross_entropy(logits, targets[name].long(), reduction="none", ignore_index=UNKNOWN)
        loss = loss + share * (each * per_sound).sum()
    with torch.no_grad():
        numbers = _numbers(reading, targets, sound > 0)
    return loss, numbers


def _difference(reading: EcgReading, targets: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    """Return (B,) reading less target; 0 where the target is not known."""
    target = targets[name]
    return torch.where(target.isfinite(), getattr(reading, name) - target.nan_to_num(), 0.0)


def _numbers(reading: EcgReading, targets: dict[str, torch.Tensor], sound: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return what tells a reader how good a reading is, of the sound records (B,) alone."""

    def mae(name: str) -> torch.Tensor:
        return (getattr(reading, name) - targets[name])[sound].abs().mean()

    error = (reading.ef - targets["ef"])[sound]
    constant = (targets["ef"][sound] - targets["ef"][sound].median()).abs().mean()
    right = reading.territory_logits.argmax(1) == targets["territory"].long()
    return {
        "ef_mae_percent": 100.0 * mae("ef"),
        "ef_mae_over_constant": mae("ef") / constant,
        "ef_coverage": (error.abs() < 1.645 * reading.ef_log_variance[sound].mul(0.5).exp()).float().mean(),
        "rv_ef_mae_percent": 100.0 * mae("rv_ef"),
        "contractility_mae": mae("contractility"),
        "extent_mae": mae("infarct_extent"),
        "t_es_mae_share": mae("t_es_over_rr"),
        "territory_accuracy": right[sound].float().mean(),
        "mishap_accuracy": (reading.mishap_logits.argmax(1) == targets["mishap"].long()).float().mean(),
    }


def augment(beat_mv: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Vary beats (B, 12, 256) as hearts, electrodes, recorders and R detection do; anew at every visit.

    A small turn of the heart vector and slipped chest electrodes, gain of the whole record and of each lead, time
    shift, residual noise and drift, and now and then a lead without signal. Of several beats a record, (B, M, 12, 256),
    all have the same but noise and drift.
    """
    several = beat_mv if beat_mv.ndim == 4 else beat_mv[:, None]
    count, beats, leads, samples = several.shape

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, device=generator.device).to(several)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, device=generator.device).to(several)

    seen = _electrodes(0.08 * normal(count, 6)) @ _turns(0.09 * normal(count, 3))
    gain = torch.exp(0.06 * normal(count, 1, 1, 1)) * (1.0 + 0.04 * normal(count, 1, leads, 1))
    position = torch.arange(samples, device=several.device) + 2.0 * normal(count)[:, None]  # samples of 4 ms
    position = position.clamp(0, samples - 1.001)
    below = position.floor().long()
    part = (position - below)[:, None, None]
    rows = below[:, None, None].expand(-1, beats, leads, -1)
    turned = seen[:, None] @ several
    moved = turned.gather(3, rows) * (1 - part) + turned.gather(3, rows + 1) * part
    level = 0.006 * torch.exp(0.5 * normal(count, 1, leads, 1))
    noise = level * normal(count, beats, leads, samples)
    ramp = torch.linspace(-1, 1, samples, device=several.device)
    drift = 0.010 * normal(count, beats, leads, 1) * (ramp + 0.5)
    lost = (uniform(count, 1, leads, 1) < 0.25) & (uniform(count, 1, 1, 1) < 0.04)
    return torch.where(lost, 0.0, gain * moved + noise + drift).view(beat_mv.shape)


def _turns(angle: torch.Tensor) -> torch.Tensor:
    """Return (B, 12, 12): the dipolar part of the leads as a heart vector turned by (B, 3) rad gives it."""
    field = torch.from_numpy(twelve_leads(DOWER)).to(angle)
    x, y, z = angle.unbind(1)
    none = torch.zeros_like(x)
    cross = torch.stack([none, -z, y, z, none, -x, -y, x, none], dim=1).reshape(-1, 3, 3)
    change = torch.matrix_exp(cross) - torch.eye(3).to(angle)
    return torch.eye(len(field)).to(angle) + field @ change @ torch.linalg.pinv(field)


def _electrodes(slip: torch.Tensor) -> torch.Tensor:
    """Return (B, 12, 12): each chest lead mixed with its neighbour by (B, 6), towards V6 where positive."""
    mixing = torch.eye(12).to(slip).repeat(len(slip), 1, 1)
    for lead in range(6):
        share = slip[:, lead]
        to = torch.where(share > 0, min(lead + 1, 5), max(lead - 1, 0))
        rows = torch.arange(len(slip), device=slip.device)
        mixing[rows, 6 + lead, 6 + lead] -= share.abs()
        mixing[rows, 6 + lead, 6 + to] += share.abs()
    return mixing


def jitter_scalars(scalars: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Blur the measured scalars (B, 12) a little, as delineation on real records does; absent waves stay absent."""
    noise = torch.randn(scalars.shape, generator=generator, device=generator.device).to(scalars)
    spread = scalars.new_tensor([3.0, 8.0, 4.0, 10.0, 0.0, 0.08, 0.08, 0.15, 0.12, 0.0, 0.004, 0.0])
    blurred = torch.where(scalars == 0, scalars, scalars + spread * noise)
    rr, qt, end = (SCALAR_NAMES.index(name) for name in ("rr_ms", "qt_ms", "t_end_over_rr"))
    blurred[:, end] += (blurred[:, qt] - scalars[:, qt]) / scalars[:, rr]  # the same mark moved
    return blurred


def read_batch(
    model: EcgEncoder, batch: dict[str, torch.Tensor], generator: torch.Generator | None = None
) -> EcgReading:
    """Return what an encoder reads in a batch of ``EcgCohort.rows``, varied where a generator is given.

    A quarter of the varied batches goes without single beats: records without them must be read, too.
    """
    beat, scalars, single = batch["beat_mv"], batch["scalars"], None
    if model.config.beats and "single_mv" in batch:
        single = SingleBeats(*(batch[f"single_{name}"] for name in SingleBeats._fields))
        single = single._replace(mv=single.mv.float())
    if generator is not None:
        scalars = jitter_scalars(scalars, generator)
        if single is not None and torch.rand((), generator=generator, device=generator.device) < 0.25:
            single = None
        if single is None:
            beat = augment(beat, generator)
        else:
            varied = augment(torch.cat([beat[:, None], single.mv], dim=1), generator)
            beat, single = varied[:, 0], single._replace(mv=varied[:, 1:])
    return model.latents(model(beat, scalars, single)[0])
