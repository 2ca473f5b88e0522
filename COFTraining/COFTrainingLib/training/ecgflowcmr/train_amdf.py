"""Stage 4: latents and template from the VAE, cycles from PA-MAE, then flow matching with the encoder fine-tuned."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from COFGeneratorLib.ecgflowcmr.cycles import Cycles, find_cycles
from COFGeneratorLib.ecgflowcmr.model import Amdf
from COFGeneratorLib.ecgflowcmr.pa_mae import PaMae
from COFGeneratorLib.ecgflowcmr.transformer import RATE_SCALARS, VelocityTransformer
from COFGeneratorLib.ecgflowcmr.video_vae import VideoVae
from COFGeneratorLib.errors import EcgError, TrainingError
from torch import nn

from COFTrainingLib.training.ecgflowcmr.data import Examples
from COFTrainingLib.training.ecgflowcmr.settings import EcgFlowTraining
from COFTrainingLib.training.ecgflowcmr.train_pa_mae import phase_loss, phenotype_loss, vary
from COFTrainingLib.training.ecgflowcmr.train_vae import as_input
from COFTrainingLib.training.ecgflowcmr.warm_start import State, take_over
from COFTrainingLib.training.ecgflowcmr.windows import whole, with_cycles
from COFTrainingLib.training.loop.loop import Loss, RunOptions, TrainedRun, train

ENCODE_BATCH = 16


@dataclass(frozen=True)
class Latents:
    """Latents (M, C, T, h, w) over ``scale``, their mean over clips and time (1, C, 1, h, w), and the scale."""

    values: torch.Tensor
    template: torch.Tensor
    scale: float


@dataclass(frozen=True)
class Beats:
    """ECGs that hold complete cycles: their indices among the examples, and the cycles."""

    index: np.ndarray
    cycles: list[Cycles]


@torch.no_grad()
def encode_clips(vae: VideoVae, clips: torch.Tensor, like: Latents | None = None) -> Latents:
    """Encode clips (M, T, H, W) uint8 to posterior means; template and scale are those of ``like`` where given."""
    device = next(vae.parameters()).device
    means = [vae.encode(as_input(part).to(device))[0].cpu() for part in clips.split(4)]
    values = torch.cat(means)
    if like is not None:
        return Latents(values / like.scale, like.template, like.scale)
    template = values.mean(dim=(0, 2), keepdim=True)
    scale = float((values - template).std())
    return Latents(values / scale, template / scale, scale)


@torch.no_grad()
def find_beats(pa_mae: PaMae, examples: Examples) -> Beats:
    """Find the cycles of every ECG by the phase head; an ECG without a complete cycle is left out."""
    device = next(pa_mae.parameters()).device
    index, cycles = [], []
    for first in range(0, len(examples.signals), ENCODE_BATCH):
        _, phase = pa_mae.encode(examples.signals[first : first + ENCODE_BATCH].float().to(device))
        for offset, one in enumerate(phase.cpu().numpy()):
            try:
                cycles.append(find_cycles(one))
            except EcgError:
                continue
            index.append(first + offset)
    return Beats(np.array(index, dtype=np.int64), cycles)


@dataclass(frozen=True)
class ClipLatents:
    """What the flow learns from: ECGs, their cycles, and the latents of the cines."""

    examples: Examples
    beats: Beats
    latents: Latents


def flow_data(
    pa_mae: PaMae, vae: VideoVae, examples: Examples, held_out: Examples, template: bool = True
) -> tuple[ClipLatents, ClipLatents]:
    """Encode training and held-out cines and find the cycles of their ECGs; without ``template`` it is nought.

    Raises:
        TrainingError: If no ECG has a complete cycle.
    """
    latents = encode_clips(vae, examples.cines())
    if not template:
        latents = replace(latents, template=torch.zeros_like(latents.template))
    beats, held_beats = find_beats(pa_mae, examples), find_beats(pa_mae, held_out)
    if not len(beats.index) or not len(held_beats.index):
        raise TrainingError(
            "ECGs with complete cycles are needed; the phase head found none in training or in validation. Train the "
            "stage pa-mae for longer."
        )
    held_latents = encode_clips(vae, held_out.cines(), latents)
    return ClipLatents(examples, beats, latents), ClipLatents(held_out, held_beats, held_latents)


def train_amdf(
    out: Path,
    config: EcgFlowTraining,
    pa_mae: PaMae,
    data: ClipLatents,
    held_out: ClipLatents,
    *,
    start: State | None = None,
    network: type[Amdf] = Amdf,
    **options: Unpack[RunOptions],
) -> tuple[Amdf, TrainedRun]:
    """Train the flow and fine-tune the encoder; returns the network with the best weights, and the run.

    Data are from ``flow_data``; weights to begin from (``start``) are the flow's alone, the encoder is that of the run;
    ``network`` is the class to build, for ablations.
    """
    settings = config.amdf
    torch.manual_seed(settings.loop.seed)
    model = network(pa_mae, VelocityTransformer(config.dit()))
    take_over(model.velocity, _below("velocity.", start))
    take_over(model.beat, _below("beat.", start))
    names = config.pa_mae.network.phenotypes

    def batches(step: int) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng([settings.loop.seed, 24, step])
        return _batch(data, rng.choice(len(data.beats.index), settings.batch), names)

    loss = amdf_loss(config, data.latents.template)

    def validate(network: nn.Module, step: int) -> dict[str, float]:
        device = next(network.parameters()).device
        generator = torch.Generator(device).manual_seed(11)
        values = []
        for first in range(0, len(held_out.beats.index), settings.batch):
            chosen = np.arange(first, min(first + settings.batch, len(held_out.beats.index)))
            batch = {name: value.to(device) for name, value in _batch(held_out, chosen, names).items()}
            values.append(float(loss(network, batch, generator, still=True)[1]["flow_mse"]))
        return {"score": float(np.mean(values)), "flow_mse": float(np.mean(values))}

    run = train(
        model, loss, batches, out, settings.loop, model_config=asdict(config.dit()), validate=validate, **options,
    )  # fmt: skip
    return model.eval(), run


def _batch(data: ClipLatents, chosen: np.ndarray, names: tuple[str, ...]) -> dict[str, torch.Tensor]:
    examples, beats, latents = data.examples, data.beats, data.latents
    index = beats.index[chosen]
    truths = examples.truths_by_ecg()[torch.from_numpy(index)]
    batch = with_cycles(whole(examples, index), [beats.cycles[at].bounds for at in chosen], truths, names)
    return {**batch, "latent": latents.values[examples.owner[torch.from_numpy(index)]]}


def _below(prefix: str, state: State | None) -> State:
    return {name.removeprefix(prefix): value for name, value in (state or {}).items() if name.startswith(prefix)}


def amdf_loss(config: EcgFlowTraining, template: torch.Tensor) -> Callable[..., Any]:
    """Return the loop's loss; with ``still`` nothing is varied or dropped (validation)."""
    settings = config.amdf

    def loss(model: Amdf, batch: dict[str, torch.Tensor], generator: torch.Generator, still: bool = False) -> Loss:
        for norm in model.pa_mae.modules():
            if isinstance(norm, nn.BatchNorm1d):
                norm.eval()  # fine-tuning keeps the statistics that pre-training found
        z1 = batch["latent"]

        def uniform(*shape: int) -> torch.Tensor:
            return torch.rand(*shape, generator=generator, device=generator.device).to(z1)

        signal = batch["signal"] if still else vary_gently(batch["signal"], generator)
        tokens, scalars, phase = model.condition(signal, batch["bounds"], batch["real"])
        reading, scalars = scalars[:, RATE_SCALARS:], scalars.detach()  # the flow must not bend what the head reads
        tokens = tokens.detach() + settings.encoder_gradient * (tokens - tokens.detach())
        if not still:
            kept = (uniform(len(z1)) >= settings.drop).to(z1)
            tokens, scalars = tokens * kept[:, None, None], scalars * kept[:, None]
        noise = torch.randn(z1.shape, generator=generator, device=generator.device).to(z1)
        z0 = template.to(z1) + settings.alpha * noise
        t = uniform(len(z1))
        at = t[:, None, None, None, None]
        error = model((1 - at) * z0 + at * z1, t, tokens, scalars) - (z1 - z0)
        flow = error.square().mean()
        total = flow
        if settings.moving:
            total = total + settings.moving * (error - error.mean(dim=2, keepdim=True)).square().mean()
        told = phase_loss(phase, batch["phase"], batch["known"], config.pa_mae.near_r)
        total, numbers = total + settings.phase * told, {"flow_mse": flow, "phase_mse": told}
        if model.pa_mae.phenotype is not None:
            numbers["phenotype_mse"] = read = phenotype_loss(model.pa_mae.phenotype, reading, batch)
            total = total + settings.phenotype * read
        return total, numbers

    return loss


def vary_gently(signal: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Vary ECGs (B, 12, L) half as much as the paper's PA-MAE does: voltages carry what the flow must learn."""
    return vary(signal, generator, 0.5)
