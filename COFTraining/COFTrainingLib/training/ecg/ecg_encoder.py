"""Train the ECG encoder on synthetic ECGs and the physiology behind them; no image is involved."""

from dataclasses import asdict
from pathlib import Path
from typing import Unpack

import torch
from COFGeneratorLib.ecg.cycle import SCALAR_NAMES
from COFGeneratorLib.generator.networks.ecg_encoder import READING_UNITS, EcgEncoder, EcgEncoderConfig, EcgReading
from torch.nn import functional

from COFTrainingLib.phantom.lead_field import DOWER, twelve_leads
from COFTrainingLib.training.ecg.ecg_cohort import OVERSAMPLED, EcgCohort
from COFTrainingLib.training.loop.loop import LoopConfig, Loss, RunOptions, TrainedRun, train

WEIGHTS = {
    "contractility": 1.0,
    "infarct_extent": 1.0,
    "qrsd_ms": 0.3,
    "t_es_over_rr": 1.0,
    "atrial_fraction": 0.2,
    "filling_tau_ms": 0.1,
}
HELD_OUT = 1000


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
    count = len(cohort) - min(HELD_OUT, len(cohort) // 5)
    torch.manual_seed(seed)
    model = EcgEncoder(encoder)

    def batches(step: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        return _pick(cohort, torch.randint(count, (batch,), generator=generator))

    def loss_fn(model: EcgEncoder, batch: dict[str, torch.Tensor], generator: torch.Generator) -> Loss:
        beat = augment(batch["beat_mv"], generator)
        reading = model.latents(model(beat, jitter_scalars(batch["scalars"], generator))[0])
        return encoder_loss(reading, batch, weight=0.25)

    held_out = torch.arange(count, len(cohort))

    @torch.inference_mode()
    def validate(model: EcgEncoder, step: int) -> dict[str, float]:
        data = _pick(cohort, held_out)
        reading = model.latents(model(data["beat_mv"], data["scalars"])[0])
        loss, numbers = encoder_loss(reading, data)
        return {"score": float(loss), **{name: float(value) for name, value in numbers.items()}}

    settings = {"encoder": asdict(encoder), "records": records, "batch": batch, "prevalence": asdict(OVERSAMPLED)}
    return train(
        model, loss_fn, batches, out_dir, loop,
        model_config=settings, validate=validate, **options,
    )  # fmt: skip


def encoder_loss(reading: EcgReading, targets: dict[str, torch.Tensor], weight: float = 1.0) -> Loss:
    """Return the loss of a reading and its parts.

    EF enters as the likelihood of a normal distribution with the variance that the head states, so that the stated
    variance is an honest one; the rest as smooth L1 in units of its spread, and cross-entropy.

    Args:
        reading: What the head reads.
        targets: By name, each (B,).
        weight: Of the plain EF error added to the likelihood, which alone neglects cases it holds for uncertain.
    """
    scale = READING_UNITS["ef"][1]
    error = (reading.ef - targets["ef"]) / scale
    log_variance = reading.ef_log_variance - 2.0 * torch.log(torch.tensor(scale))
    likelihood = 0.5 * (error.square() * torch.exp(-log_variance) + log_variance).mean()
    loss = likelihood + weight * 4.0 * error.square().mean()
    for name, share in WEIGHTS.items():
        unit = READING_UNITS[name][1]
        difference = (getattr(reading, name) - targets[name]) / unit
        loss = loss + share * functional.smooth_l1_loss(difference, torch.zeros_like(difference), beta=0.5)
    territory, conduction = targets["territory"].long(), targets["conduction"].long()
    loss = loss + 0.5 * functional.cross_entropy(reading.territory_logits, territory)
    loss = loss + 0.2 * functional.cross_entropy(reading.conduction_logits, conduction)
    with torch.no_grad():
        right = reading.territory_logits.argmax(1) == territory
        numbers = {
            "ef_mae_percent": 100.0 * (reading.ef - targets["ef"]).abs().mean(),
            "contractility_mae": (reading.contractility - targets["contractility"]).abs().mean(),
            "extent_mae": (reading.infarct_extent - targets["infarct_extent"]).abs().mean(),
            "territory_accuracy": right.float().mean(),
            "t_es_mae_share": (reading.t_es_over_rr - targets["t_es_over_rr"]).abs().mean(),
        }
    return loss, numbers


def augment(beat_mv: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Vary average beats (B, 12, 256) as hearts, electrodes, recorders and R detection do; anew at every visit.

    A small turn of the heart vector and slipped chest electrodes, gain of the whole record and of each lead, time
    shift, residual noise and drift, and now and then a lead without signal.
    """

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, device=generator.device).to(beat_mv)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, device=generator.device).to(beat_mv)

    count, leads, samples = beat_mv.shape
    turned = _electrodes(0.08 * normal(count, 6)) @ _turns(0.09 * normal(count, 3)) @ beat_mv
    gain = torch.exp(0.06 * normal(count, 1, 1)) * (1.0 + 0.04 * normal(count, leads, 1))
    position = torch.arange(samples, device=beat_mv.device) + 2.0 * normal(count)[:, None]  # samples of 4 ms
    position = position.clamp(0, samples - 1.001)
    below = position.floor().long()
    part = (position - below)[:, None]
    rows = below[:, None].expand(-1, leads, -1)
    moved = turned.gather(2, rows) * (1 - part) + turned.gather(2, rows + 1) * part
    level = 0.006 * torch.exp(0.5 * normal(count, leads, 1))
    noise = level * normal(count, leads, samples)
    ramp = torch.linspace(-1, 1, samples, device=beat_mv.device)
    drift = 0.010 * normal(count, leads, 1) * (ramp + 0.5)
    lost = (uniform(count, leads, 1) < 0.25) & (uniform(count, 1, 1) < 0.04)
    return torch.where(lost, 0.0, gain * moved + noise + drift)


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


def _pick(cohort: EcgCohort, rows: torch.Tensor) -> dict[str, torch.Tensor]:
    targets = {name: value[rows] for name, value in cohort.targets.items()}
    return {"beat_mv": cohort.beat_mv[rows], "scalars": cohort.scalars[rows], **targets}
