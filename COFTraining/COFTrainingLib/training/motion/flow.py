"""Stage 2: the regression of motion on anatomy and ECG, and flow matching of what it leaves open."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import torch
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.generator.networks.condition import null_condition
from COFGeneratorLib.generator.networks.flow_network import FlowConfig, VelocityUNet
from COFGeneratorLib.generator.networks.grid import MotionGrid
from COFGeneratorLib.generator.networks.mean_network import MeanConfig, MotionMean
from COFGeneratorLib.generator.networks.pack import PackScale, heart_confidence, pack
from COFGeneratorLib.generator.networks.sampler import RATE_SCALE, diffusion_scales
from COFGeneratorLib.machine import choose_device
from COFGeneratorLib.motion.fields import exponential, warp
from torch import nn

from COFTrainingLib.training.examples.flow_data import FlowData
from COFTrainingLib.training.examples.flow_samples import volume_phases
from COFTrainingLib.training.loop.loop import LoopConfig, Loss, RunOptions, TrainedRun, train
from COFTrainingLib.training.loop.precision import full_precision, to_device

PATH_NOISE = 0.05
"""Of the motion so far, in units of the pack, where its rate is learnt: so that small errors do not run away."""
TAU_DRAWS = ("logit-normal", "uniform")
Preview = Callable[[torch.Tensor, torch.Tensor, int], None]
"""Takes maps, predicted velocities and the step."""
VOLUME_ERROR = 0.05
"""Relative volume error that weighs like a velocity error of one RMS times ``volume_weight``."""


@dataclass(frozen=True)
class StageTwoConfig:
    """Settings shared by both networks of Stage 2.

    Args:
        batch: Subjects a step.
        volume_weight: Weight of the linear volume loss (remedy against under-contraction).
        condition_dropout: Share of examples without an ECG, which makes "no ECG" a condition of its own.
        background_weight: Weight of velocities away from the heart, relative to those within.
        deficit_share: Share of what the coarse grid loses in volume of LV, wall and RV that the network is to make up
            for. On native grids the LV loses nothing (the gain is fitted anyway), wall and RV half of what the
            refined grid shows.
    """

    batch: int = 16
    volume_weight: float = 0.2
    condition_dropout: float = 0.1
    background_weight: float = 0.25
    deficit_share: tuple[float, float, float] = (0.0, 0.5, 0.5)


def _drop(condition: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    gone = torch.rand(len(condition), 1, generator=generator, device=condition.device) < share
    return torch.where(gone, null_condition(condition), condition)


def motion_loss(
    predicted: torch.Tensor, batch: dict, scale: PackScale, grid: MotionGrid, config: StageTwoConfig
) -> Loss:
    """Return the loss of predicted normalised velocities (B, T, 3, D, H, W).

    Weighted mean square plus the squared error of the relative volumes of LV, wall and RV about end-systole, linearised
    about the true velocity: V(v̂) − V_true ≈ Σ ∂V/∂v · (v̂ − v) − deficit. The deficit is what the coarse grid itself
    loses, so the network learns to make up for it.
    """
    error = predicted.float() - batch["velocity"]
    weight = config.background_weight + (1 - config.background_weight) * heart_confidence(batch["maps"])
    square = (error.square() * weight[:, None, None]).sum() / (weight.sum() * error.shape[1] * 3)
    chosen = scale.restore(error[:, volume_phases(grid, "any" if "anchor" in batch else "ed")])
    volume = torch.einsum("btcdhw,btrcdhw->btr", chosen, batch["sensitivity"])
    volume = volume - batch["deficit"] * torch.tensor(config.deficit_share).to(volume)
    relative = (volume / VOLUME_ERROR).square()
    relative = torch.where(relative > 4.0, 4.0 * relative.clamp(min=1e-9).sqrt() - 4.0, relative)  # Huber
    spread = 100 * volume.detach().square().mean(dim=(0, 1)).sqrt()
    metrics = {"velocity": square.detach(), "lv_percent": spread[0], "wall_percent": spread[1], "rv_percent": spread[2]}
    return square + config.volume_weight * relative.mean(), metrics


def train_mean(
    data: FlowData,
    out_dir: Path,
    loop: LoopConfig,
    config: StageTwoConfig,
    network: MeanConfig,
    initial: dict[str, torch.Tensor] | None = None,
    preview: Preview | None = None,
    **options: Unpack[RunOptions],
) -> tuple[MotionMean, TrainedRun]:
    """Train the regression network, from ``initial`` weights where given; returns it with its averaged weights.

    ``preview`` is called at each validation with maps and predicted velocities of a subject, and the step.
    """
    torch.manual_seed(loop.seed)
    network = replace(network, any_anchor=data.any_anchor)
    model = MotionMean(data.cache.grid, network)
    if initial is not None:
        model.load_state_dict(initial)

    def loss_fn(model: nn.Module, batch: dict[str, Any], generator: torch.Generator) -> Loss:
        condition = _drop(batch["condition"], config.condition_dropout, generator)
        predicted = model(batch["maps"], condition, data.phases, batch.get("anchor"))
        return motion_loss(predicted, batch, data.scale, data.cache.grid, config)

    def validate(model: nn.Module, step: int) -> dict[str, float]:
        totals: dict[str, float] = {}
        parts = [data.valid[start : start + 16] for start in range(0, len(data.valid), 16)]
        for part in parts:
            batch = to_device(data.batch(part), next(model.parameters()).device)
            predicted = model(batch["maps"], batch["condition"], data.phases, batch.get("anchor"))
            if preview is not None and part is parts[0]:
                preview(batch["maps"][:1], predicted[:1].float(), step)
            loss, metrics = motion_loss(predicted, batch, data.scale, data.cache.grid, config)
            for name, value in {"score": loss, **metrics}.items():
                totals[f"{name}"] = totals.get(name, 0.0) + float(value) * len(part) / len(data.valid)
        return totals

    facts = {"kind": "mean", "network": asdict(network), "stage": asdict(config), "rms": data.scale.rms}
    run = train(
        model,
        loss_fn,
        lambda step: data.training_batch(step, config.batch, loop.seed),
        out_dir,
        loop,
        model_config=facts,
        model_defaults={"network": asdict(MeanConfig()), "stage": asdict(StageTwoConfig())},
        validate=validate,
        **options,
    )
    return model, run


def moved_maps(data: FlowData, batch: dict) -> torch.Tensor:
    """Return the anatomy maps of every phase, (B, T, 3, D, H, W), as 2·occupancy − 1: the anchor's under its motion."""
    velocity = data.scale.restore(batch["velocity"]).flatten(0, 1)
    maps = batch["maps"][:, None].expand(-1, len(data.phases), -1, -1, -1, -1).flatten(0, 1)
    with full_precision(velocity.device):
        moved = warp(maps.float(), exponential(velocity.float()))
    return 2.0 * moved.view(*batch["velocity"].shape) - 1.0


def flow_target(
    data: FlowData,
    batch: dict,
    mean: MotionMean | None,
    condition: torch.Tensor,
    spread: torch.Tensor,
    frames: bool = False,
) -> tuple:
    """Return (x0 pack, mean) of a batch: what the regression leaves, divided by its spread, or the whole motion.

    With ``frames`` the pack holds the moved anatomy itself.
    """
    confidence = heart_confidence(batch["maps"])[:, None].expand(-1, len(data.phases), -1, -1, -1)
    velocity, centre = batch["velocity"], None
    if frames:
        return pack(moved_maps(data, batch), confidence), None
    if mean is not None:
        with torch.no_grad():
            centre = mean(batch["maps"], condition, data.phases, batch.get("anchor")).float()
        velocity = (velocity - centre) / spread.view(3, 1, 1, 1)
    return pack(velocity, confidence), centre


def rate_loss(
    model: nn.Module,
    clean: torch.Tensor,
    weight: torch.Tensor,
    *,
    maps: torch.Tensor,
    condition: torch.Tensor,
    phases: torch.Tensor,
    generator: torch.Generator,
) -> Loss:
    """Return the loss of the rate of change over the beat, given the motion so far (COF v1's physical time).

    Packs ``clean`` are (B, T, 4·D, H, W), their confidence plays no part; ``weight`` is (B, 4·D, H, W).
    """
    motion = clean.clone()
    motion[:, :, 3 * clean.shape[2] // 4 :] = 0.0
    after = torch.roll(motion, -1, dims=1)
    rate = (after - motion) * (len(phases) / RATE_SCALE)
    noise = torch.randn(motion.shape, generator=generator, device=motion.device)
    still = torch.zeros(len(motion), device=motion.device)
    predicted = model(motion + PATH_NOISE * noise, still, maps, condition, phases)
    loss = ((predicted.float() - rate).square() * weight[:, None]).mean() / weight.mean()
    return loss, {"flow": loss.detach()}


def residual_spread(data: FlowData, mean: MotionMean, subjects: int = 48) -> tuple[float, float, float]:
    """Return the RMS of what the regression leaves on validation subjects, per component, in units of the pack."""
    batch = to_device(data.batch(data.valid[:subjects]), next(mean.parameters()).device)
    with torch.no_grad():
        predicted = mean(batch["maps"], batch["condition"], data.phases, batch.get("anchor"))
        error = batch["velocity"] - predicted
    weight = heart_confidence(batch["maps"])[:, None, None]
    power = (error.square() * weight).sum(dim=(0, 1, 3, 4, 5)) / (weight.sum() * error.shape[1])
    return tuple(power.sqrt().tolist())


def train_flow(
    data: FlowData,
    out_dir: Path,
    loop: LoopConfig,
    config: StageTwoConfig,
    network: FlowConfig,
    mean: MotionMean | None = None,
    *,
    tau_draw: str = "logit-normal",
    spread: tuple[float, float, float] | None = None,
    **options: Unpack[RunOptions],
) -> tuple[VelocityUNet, tuple[float, float, float], TrainedRun]:
    """Train the velocity network by rectified flow (COF v2, eq. 8–9): x_τ = (1 − τ)·x0 + τ·x1, target x1 − x0.

    ``network.prediction`` names other objectives: x0 itself, the noise of a diffusion, or the rate of COF v1.

    With ``network.residual`` it learns what ``mean`` leaves open. ``tau_draw`` says how τ is drawn: ``"logit-normal"``
    visits the middle more often, where the task is hardest (Esser 2024); ``"uniform"`` is the paper's. ``spread``
    is that of the run to be resumed; measured where None. Returns the network, the residual's spread, the run.
    """
    if tau_draw not in TAU_DRAWS:
        raise TrainingError(f"τ is drawn {' or '.join(TAU_DRAWS)}; found {tau_draw!r}. Choose one of them.")
    torch.manual_seed(loop.seed)
    network = replace(network, residual=mean is not None, any_anchor=data.any_anchor)
    model = VelocityUNet(data.cache.grid, network)
    if mean is not None:
        mean = mean.to(choose_device(loop.device)).eval()
    if spread is None:
        spread = residual_spread(data, mean) if mean is not None else (1.0, 1.0, 1.0)
    widths = torch.tensor(spread)

    def loss_fn(model: nn.Module, batch: dict[str, Any], generator: torch.Generator) -> Loss:
        condition = _drop(batch["condition"], config.condition_dropout, generator)
        frames = network.target == "frames"
        clean, centre = flow_target(data, batch, mean, condition, widths.to(condition.device), frames)
        weight = heart_confidence(batch["maps"])
        weight = config.background_weight + (1 - config.background_weight) * weight.repeat(1, 4, 1, 1)
        if network.prediction == "rate":
            return rate_loss(
                model, clean, weight, maps=batch["maps"], condition=condition, phases=data.phases, generator=generator
            )
        noise = torch.randn(clean.shape, generator=generator, device=clean.device)
        if tau_draw == "uniform":
            tau = torch.rand(len(clean), generator=generator, device=clean.device)
        else:
            tau = torch.sigmoid(torch.randn(len(clean), generator=generator, device=clean.device))
        at = tau.view(-1, 1, 1, 1, 1)
        data_share, noise_share = diffusion_scales(at) if network.prediction == "noise" else (1 - at, at)
        noisy = data_share * clean + noise_share * noise
        predicted = model(noisy, tau, batch["maps"], condition, data.phases, mean=centre, anchor=batch.get("anchor"))
        target = {"x0": clean, "v": noise - clean, "noise": noise}[network.prediction]
        loss = ((predicted.float() - target).square() * weight[:, None]).mean() / weight.mean()
        return loss, {"flow": loss.detach()}

    facts = {"kind": "flow", "network": asdict(network), "stage": asdict(config), "rms": data.scale.rms}
    run = train(
        model,
        loss_fn,
        lambda step: data.training_batch(step, config.batch, loop.seed),
        out_dir,
        loop,
        model_config={**facts, "spread": spread, "tau_draw": tau_draw},
        model_defaults={"network": asdict(FlowConfig()), "stage": asdict(StageTwoConfig())},
        **options,
    )
    return model, spread, run
