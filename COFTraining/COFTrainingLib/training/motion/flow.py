"""Flow matching of the whole motion: the papers' plain flow, and the objectives of its ablations."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Unpack

import torch
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.generator.networks.flow_network import FlowConfig, VelocityUNet
from COFGeneratorLib.generator.networks.pack import heart_confidence, pack
from COFGeneratorLib.generator.networks.sampler import RATE_SCALE, diffusion_scales
from COFGeneratorLib.motion.fields import exponential, warp
from torch import nn

from COFTrainingLib.training.examples.flow_data import FlowData
from COFTrainingLib.training.loop.loop import LoopConfig, Loss, RunOptions, TrainedRun, train
from COFTrainingLib.training.loop.precision import full_precision
from COFTrainingLib.training.motion.regression import StageTwoConfig, dropped

PATH_NOISE = 0.05
"""Of the motion so far, in units of the pack, where its rate is learnt: so that small errors do not run away."""
TAU_DRAWS = ("logit-normal", "uniform")


def moved_maps(data: FlowData, batch: dict) -> torch.Tensor:
    """Return the anatomy maps of every phase, (B, T, 3, D, H, W), as 2·occupancy − 1: the anchor's under its motion."""
    velocity = data.scale.restore(batch["velocity"]).flatten(0, 1)
    maps = batch["maps"][:, None].expand(-1, len(data.phases), -1, -1, -1, -1).flatten(0, 1)
    with full_precision(velocity.device):
        moved = warp(maps.float(), exponential(velocity.float()))
    return 2.0 * moved.view(*batch["velocity"].shape) - 1.0


def flow_target(data: FlowData, batch: dict, frames: bool = False) -> torch.Tensor:
    """Return the clean pack of a batch, (B, T, 4·D, H, W): the motion, or with ``frames`` the moved anatomy itself.

    Its confidence is the teacher's of each phase, where the teacher found the motion; of exact motion 1 in the heart.
    """
    confidence = batch.get("confidence")
    if confidence is None:
        confidence = heart_confidence(batch["maps"])[:, None].expand(-1, len(data.phases), -1, -1, -1)
    return pack(moved_maps(data, batch) if frames else batch["velocity"], confidence)


def rate_loss(
    model: nn.Module,
    clean: torch.Tensor,
    weight: torch.Tensor,
    *,
    maps: torch.Tensor,
    image: torch.Tensor | None,
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
    predicted = model(motion + PATH_NOISE * noise, still, maps, condition, phases, image=image)
    loss = ((predicted.float() - rate).square() * weight[:, None]).mean() / weight.mean()
    return loss, {"flow": loss.detach()}


def train_flow(
    data: FlowData,
    out_dir: Path,
    loop: LoopConfig,
    config: StageTwoConfig,
    network: FlowConfig,
    *,
    tau_draw: str = "logit-normal",
    initial: Mapping[str, torch.Tensor] | None = None,
    teacher: Mapping[str, torch.Tensor] | None = None,
    **options: Unpack[RunOptions],
) -> tuple[VelocityUNet, TrainedRun]:
    """Train the velocity network by rectified flow (COF v2, eq. 8–9): x_τ = (1 − τ)·x0 + τ·x1, target x1 − x0.

    ``network.prediction`` names other objectives: x0 itself, the noise of a diffusion, or the rate of COF v1.

    ``tau_draw`` says how τ is drawn: ``"logit-normal"`` visits the middle more often, where the task is hardest (Esser
    2024); ``"uniform"`` is the paper's. ``initial`` are weights to begin with, ``teacher`` those of the registration
    teacher whose encoder looks at the anchor's image. Returns the network and the run.
    """
    if tau_draw not in TAU_DRAWS:
        raise TrainingError(f"τ is drawn {' or '.join(TAU_DRAWS)}; found {tau_draw!r}. Choose one of them.")
    torch.manual_seed(loop.seed)
    network = replace(network, any_anchor=data.any_anchor, ecg_size=data.conditions.shape[-1] - 1)
    model = VelocityUNet(data.cache.grid, network)
    if teacher is not None and network.needs_image:
        own = model.reference.encoder
        own.load_state_dict({name: teacher[name] for name in own.state_dict()})
    if initial is not None:
        model.load_state_dict(initial)

    def loss_fn(model: nn.Module, batch: dict[str, Any], generator: torch.Generator) -> Loss:
        condition = dropped(batch["condition"], config.condition_dropout, generator)
        phases = data.phases_on(condition.device)
        clean = flow_target(data, batch, network.target == "frames")
        weight = heart_confidence(batch["maps"])
        weight = config.background_weight + (1 - config.background_weight) * weight.repeat(1, 4, 1, 1)
        if network.prediction == "rate":
            return rate_loss(
                model,
                clean,
                weight,
                maps=batch["maps"],
                image=batch.get("image"),
                condition=condition,
                phases=phases,
                generator=generator,
            )
        noise = torch.randn(clean.shape, generator=generator, device=clean.device)
        if tau_draw == "uniform":
            tau = torch.rand(len(clean), generator=generator, device=clean.device)
        else:
            tau = torch.sigmoid(torch.randn(len(clean), generator=generator, device=clean.device))
        at = tau.view(-1, 1, 1, 1, 1)
        data_share, noise_share = diffusion_scales(at) if network.prediction == "noise" else (1 - at, at)
        noisy = data_share * clean + noise_share * noise
        predicted = model(
            noisy, tau, batch["maps"], condition, phases, image=batch.get("image"), anchor=batch.get("anchor")
        )
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
        model_config={**facts, "tau_draw": tau_draw},
        model_defaults={"network": asdict(FlowConfig()), "stage": asdict(StageTwoConfig())},
        **options,
    )
    return model, run
