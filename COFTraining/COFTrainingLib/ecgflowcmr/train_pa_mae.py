"""Stage 1: PA-MAE learns to restore masked input and to tell the phase of the heartbeat."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from COFGeneratorLib.ecgflowcmr.cycles import boundaries
from COFGeneratorLib.ecgflowcmr.pa_mae import TOKEN_MS, PaMae

from COFTrainingLib.ecgflowcmr.data import Examples
from COFTrainingLib.ecgflowcmr.settings import PaMaeTraining
from COFTrainingLib.training.loop import TrainedRun, train

VALIDATION_BATCH = 16
EDGE_TOKENS = 12
"""Boundaries this near the ends of a record are not scored: half a QRS is no QRS."""


def train_pa_mae(
    out: Path, config: PaMaeTraining, examples: Examples, held_out: Examples, *, resume=False, progress=None
) -> tuple[PaMae, TrainedRun]:
    """Train PA-MAE; returns it with the best weights, and its run."""
    torch.manual_seed(config.loop.seed)
    model = PaMae(config.network)

    def batches(step: int) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng([config.loop.seed, 21, step])
        return picked(examples, rng.choice(len(examples.signals), min(config.batch, len(examples.signals)), False))

    def validate(network, step: int) -> dict[str, float]:
        return validation(network, config, held_out)

    run = train(
        model, loss_function(config), batches, out, config.loop, model_config=asdict(config.network),
        validate=validate, resume=resume, progress=progress,
    )  # fmt: skip
    return model.eval(), run


def picked(examples: Examples, index) -> dict[str, torch.Tensor]:
    """Return ECGs by index, ready for the loss."""
    index = torch.as_tensor(np.asarray(index))
    return {
        "signal": examples.signals[index].float(),
        "phase": examples.phase[index].float(),
        "known": examples.known[index].float(),
    }


def loss_function(config: PaMaeTraining) -> Callable[..., Any]:
    """Return the loop's loss: restoration of the masked patches from masked input, phase from the unmasked pass."""

    def loss(model: PaMae, batch, generator: torch.Generator):
        signal = vary(batch["signal"], generator)
        masked = model.draw_mask(len(signal), signal.shape[2], generator)
        restored = model.reconstruct(signal, masked)
        error = (restored - signal).square().mean(dim=1)
        rebuilt = (error * masked).sum() / masked.sum()
        _, phase = model.encode(signal)
        told = phase_loss(phase, batch["phase"], batch["known"])
        return config.reconstruct * rebuilt + config.phase * told, {"rebuilt_mse": rebuilt, "phase_mse": told}

    return loss


def phase_loss(predicted: torch.Tensor, wanted: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Return the mean squared error of (sin, cos), (B, 2, N), where the phase is defined, (B, N)."""
    error = (predicted - wanted).square().sum(dim=1)
    return (error * known).sum() / known.sum().clamp_min(1.0)


def vary(signal: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Vary prepared signals (B, 12, L) as recorders do: gain, noise, and now and then a lead without signal."""

    def normal(*shape):
        return torch.randn(*shape, generator=generator, device=generator.device).to(signal)

    def uniform(*shape):
        return torch.rand(*shape, generator=generator, device=generator.device).to(signal)

    count, leads, samples = signal.shape
    gain = torch.exp(0.2 * normal(count, 1, 1) + 0.06 * normal(count, leads, 1))
    out = gain * signal + 0.02 * torch.exp(0.6 * normal(count, 1, 1)) * normal(count, leads, samples)
    lost = (uniform(count, leads, 1) < 0.25) & (uniform(count, 1, 1) < 0.08)
    return torch.where(lost, 0.0, out)


@torch.no_grad()
def validation(model: PaMae, config: PaMaeTraining, held_out: Examples) -> dict[str, float]:
    """Return losses on held-out ECGs, and how far the cycle boundaries lie from R."""
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(7)
    rebuilt, told, away, missed, total = [], [], [], 0, 0
    for first in range(0, len(held_out.signals), VALIDATION_BATCH):
        batch = picked(held_out, np.arange(first, min(first + VALIDATION_BATCH, len(held_out.signals))))
        batch = {name: value.to(device) for name, value in batch.items()}
        masked = model.draw_mask(len(batch["signal"]), batch["signal"].shape[2], generator)
        error = (model.reconstruct(batch["signal"], masked) - batch["signal"]).square().mean(dim=1)
        rebuilt.append(float((error * masked).sum() / masked.sum()))
        _, phase = model.encode(batch["signal"])
        told.append(float(phase_loss(phase, batch["phase"], batch["known"])))
        for predicted, wanted in zip(phase.cpu().numpy(), batch["phase"].cpu().numpy(), strict=True):
            found = boundary_errors_ms(boundaries(predicted), boundaries(wanted))
            away += list(found)
            missed += int(np.sum(found > 100.0))
            total += len(found)
    away_ms = np.array(away) if away else np.array([np.inf])
    return {
        "score": config.reconstruct * float(np.mean(rebuilt)) + config.phase * float(np.mean(told)),
        "rebuilt_mse": float(np.mean(rebuilt)),
        "phase_mse": float(np.mean(told)),
        "boundary_median_ms": float(np.median(np.minimum(away_ms, 1000.0))),
        "boundary_within_20ms": float(np.mean(away_ms <= 20.0)),
        "boundary_missed": missed / max(total, 1),
    }


def boundary_errors_ms(found: np.ndarray, true: np.ndarray, last_token: int = 625) -> np.ndarray:
    """Return for every true boundary (tokens), edges left out, how far the nearest found one is, ms; inf if none."""
    true = true[(true > EDGE_TOKENS) & (true < last_token - EDGE_TOKENS)]
    if len(found) == 0:
        return np.full(len(true), np.inf)
    return np.abs(true[:, None] - np.asarray(found)[None]).min(axis=1) * TOKEN_MS
