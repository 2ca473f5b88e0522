"""Stage 1: PA-MAE learns to restore masked input and to tell the phase of the heartbeat."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from COFGeneratorLib.ecgflowcmr.cycles import boundaries, resample_cycles
from COFGeneratorLib.ecgflowcmr.model import rate_scalars
from COFGeneratorLib.ecgflowcmr.pa_mae import TOKEN_MS, TOKEN_SAMPLES, PaMae
from COFGeneratorLib.ecgflowcmr.phenotype import PhenotypeHead

from COFTrainingLib.training.ecgflowcmr.data import Examples
from COFTrainingLib.training.ecgflowcmr.settings import PaMaeTraining
from COFTrainingLib.training.ecgflowcmr.warm_start import State, take_over
from COFTrainingLib.training.ecgflowcmr.windows import cut, true_cycles, whole, with_cycles
from COFTrainingLib.training.loop.loop import Loss, RunOptions, TrainedRun, train

VALIDATION_BATCH = 16
EDGE_TOKENS = 12
"""Boundaries this near the ends of a record are not scored: half a QRS is no QRS."""
CYCLE_TOKENS = 50
NEAR_R = 0.8
"""Cosine of the phase from which a token is near R: a tenth of a turn."""


def train_pa_mae(
    out: Path,
    config: PaMaeTraining,
    examples: Examples,
    held_out: Examples,
    *,
    start: State | None = None,
    **options: Unpack[RunOptions],
) -> tuple[PaMae, TrainedRun]:
    """Train PA-MAE, from ``start`` where given; returns it with the best weights, and its run."""
    torch.manual_seed(config.loop.seed)
    model = PaMae(config.network)
    take_over(model, start)
    names, window = config.network.phenotypes, config.window // TOKEN_SAMPLES * TOKEN_SAMPLES
    truths, cycles = examples.truths_by_ecg(), true_cycles(examples) if names or window else []

    def batches(step: int) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng([config.loop.seed, 21, step])
        chosen = rng.choice(len(examples.signals), min(config.batch, len(examples.signals)), False)
        if window:
            batch, inside = cut(examples, chosen, cycles, window, rng)
        else:
            batch, inside = whole(examples, chosen), [cycles[at] for at in chosen] if names else []
        return with_cycles(batch, inside, truths[torch.from_numpy(chosen)], names) if names else batch

    def validate(network: PaMae, step: int) -> dict[str, float]:
        return validation(network, config, held_out)

    run = train(
        model, pa_mae_loss(config), batches, out, config.loop, model_config=asdict(config.network),
        validate=validate, **options,
    )  # fmt: skip
    return model.eval(), run


def pa_mae_loss(config: PaMaeTraining) -> Callable[..., Any]:
    """Return the loop's loss: restoration of the masked patches from masked input; phase and phenotypes from the
    unmasked pass."""

    def loss(model: PaMae, batch: dict[str, torch.Tensor], generator: torch.Generator) -> Loss:
        signal = vary(batch["signal"], generator, config.variation)
        part = signal[: max(round(config.masked_share * len(signal)), 1)]
        masked = model.draw_mask(len(part), part.shape[2], generator)
        error = (model.reconstruct(part, masked) - part).square().mean(dim=1)
        rebuilt = (error * masked).sum() / masked.sum()
        tokens, phase = model.encode(signal)
        told = phase_loss(phase, batch["phase"], batch["known"], config.near_r)
        total, numbers = config.reconstruct * rebuilt + config.phase * told, {"rebuilt_mse": rebuilt, "phase_mse": told}
        if model.phenotype is not None:
            reading = read_phenotypes(model.phenotype, tokens, batch)
            numbers["phenotype_mse"] = read = phenotype_loss(model.phenotype, reading, batch)
            total = total + config.phenotype * read
        return total, numbers

    return loss


def phase_loss(predicted: torch.Tensor, wanted: torch.Tensor, known: torch.Tensor, near_r: float = 0.0) -> torch.Tensor:
    """Return the mean squared error of (sin, cos), (B, 2, N), where the phase is defined, (B, N).

    Args:
        predicted, wanted: Sine and cosine.
        known: Where the phase is known.
        near_r: Extra weight at R, falling to none a tenth of a turn away.
    """
    error = (predicted - wanted).square().sum(dim=1)
    weight = known * (1.0 + near_r * ((wanted[:, 1] - NEAR_R) / (1.0 - NEAR_R)).clamp_min(0.0))
    return (error * weight).sum() / weight.sum().clamp_min(1.0)


def read_phenotypes(head: PhenotypeHead, tokens: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return what the head reads from the mean of a batch's cycles, (B, phenotypes) in standard units."""
    cycles, real = resample_cycles(tokens, batch["bounds"], CYCLE_TOKENS), batch["real"]
    mean = (cycles * real[..., None, None]).sum(dim=1) / real.sum(dim=1).clamp_min(1)[:, None, None]
    return head(mean, rate_scalars(batch["bounds"], real)[:, :1].to(mean))


def phenotype_loss(head: PhenotypeHead, reading: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the mean squared error of a reading, where the phenotype is known and there is a cycle to read it from."""
    wanted = head.standard(batch["phenotypes"])
    known = wanted.isfinite() & batch["real"].any(dim=1)[:, None]
    error = torch.where(known, reading - wanted.nan_to_num(), 0.0).square()
    return error.sum() / known.sum().clamp_min(1)


def vary(signal: torch.Tensor, generator: torch.Generator, scale: float = 1.0) -> torch.Tensor:
    """Vary prepared signals (B, 12, L) as recorders do: gain, noise (both by ``scale``), now and then a lost lead."""

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, device=generator.device).to(signal)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, device=generator.device).to(signal)

    count, leads, samples = signal.shape
    gain = torch.exp(scale * (0.2 * normal(count, 1, 1) + 0.06 * normal(count, leads, 1)))
    out = gain * signal + scale * 0.02 * torch.exp(0.6 * normal(count, 1, 1)) * normal(count, leads, samples)
    lost = (uniform(count, leads, 1) < 0.25) & (uniform(count, 1, 1) < 0.08)
    return torch.where(lost, 0.0, out)


@torch.no_grad()
def validation(model: PaMae, config: PaMaeTraining, held_out: Examples) -> dict[str, float]:
    """Return losses on whole held-out ECGs, how far the cycle boundaries lie from R, and the error of each phenotype
    (standard units)."""
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(7)
    names, truths, cycles = config.network.phenotypes, held_out.truths_by_ecg(), true_cycles(held_out)
    rebuilt, told, away, read, wanted = [], [], [], [], []
    for first in range(0, len(held_out.signals), VALIDATION_BATCH):
        part = np.arange(first, min(first + VALIDATION_BATCH, len(held_out.signals)))
        batch = whole(held_out, part)
        if names:
            batch = with_cycles(batch, [cycles[at] for at in part], truths[torch.from_numpy(part)], names)
        batch = {name: value.to(device) for name, value in batch.items()}
        masked = model.draw_mask(len(batch["signal"]), batch["signal"].shape[2], generator)
        error = (model.reconstruct(batch["signal"], masked) - batch["signal"]).square().mean(dim=1)
        rebuilt.append(float((error * masked).sum() / masked.sum()))
        tokens, phase = model.encode(batch["signal"])
        told.append(float(phase_loss(phase, batch["phase"], batch["known"], config.near_r)))
        for predicted, at in zip(phase.cpu().numpy(), part, strict=True):
            away += list(boundary_errors_ms(boundaries(predicted), np.unique(cycles[at])))
        if model.phenotype is not None:
            read.append(read_phenotypes(model.phenotype, tokens, batch))
            wanted.append(model.phenotype.standard(batch["phenotypes"]))
    away_ms = np.array(away) if away else np.array([np.inf])
    score = config.reconstruct * float(np.mean(rebuilt)) + config.phase * float(np.mean(told))
    out = {
        "rebuilt_mse": float(np.mean(rebuilt)),
        "phase_mse": float(np.mean(told)),
        "boundary_median_ms": float(np.median(np.minimum(away_ms, 1000.0))),
        "boundary_within_20ms": float(np.mean(away_ms <= 20.0)),
        "boundary_missed": float(np.mean(away_ms > 100.0)),
    }
    if names:
        square = (torch.cat(read) - torch.cat(wanted)).square().nanmean(dim=0)
        score += config.phenotype * float(square.nan_to_num().mean())
        out |= {f"{name}_rmse": float(value) for name, value in zip(names, square.sqrt(), strict=True)}
    return {"score": score, **out}


def boundary_errors_ms(found: np.ndarray, true: np.ndarray, last_token: int = 625) -> np.ndarray:
    """Return for every true boundary (tokens), edges left out, how far the nearest found one is, ms; inf if none."""
    true = true[(true > EDGE_TOKENS) & (true < last_token - EDGE_TOKENS)]
    if len(found) == 0:
        return np.full(len(true), np.inf)
    return np.abs(true[:, None] - np.asarray(found)[None]).min(axis=1) * TOKEN_MS
