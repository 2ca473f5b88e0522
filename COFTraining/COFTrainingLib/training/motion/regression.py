"""The expected motion: the trunk of the flow learns by regression on every example, told now this and now that."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Unpack

import torch
from COFGeneratorLib.generator.networks.condition import STATED_SIZE, null_condition, with_stated
from COFGeneratorLib.generator.networks.grid import MotionGrid
from COFGeneratorLib.generator.networks.mean_network import MeanConfig, MotionMean
from COFGeneratorLib.generator.networks.pack import PackScale, heart_confidence
from COFGeneratorLib.motion.constants import constant
from torch import nn

from COFTrainingLib.training.examples.flow_data import FlowData
from COFTrainingLib.training.examples.flow_samples import volume_phases
from COFTrainingLib.training.loop.loop import LoopConfig, Loss, RunOptions, TrainedRun, train
from COFTrainingLib.training.loop.precision import to_device

Preview = Callable[[torch.Tensor, torch.Tensor, int], None]
"""Takes maps, predicted velocities and the step."""
VOLUME_ERROR = 0.05
"""Relative volume error that weighs like a velocity error of one RMS times ``volume_weight``."""
EACH_STATED = 0.7
"""Share of what could be stated that is, in an example where anything is."""
WITHOUT_ECG = 0.5
"""Share of such examples that are told in place of an ECG, not beside it."""


@dataclass(frozen=True)
class StageTwoConfig:
    """Settings shared by the networks of Stage 2.

    Args:
        batch: Subjects a step.
        volume_weight: Weight of the linear volume loss (remedy against under-contraction).
        condition_dropout: Share of examples without an ECG, which makes "no ECG" a condition of its own.
        stated_share: Share of examples that are told EF, RVEF or the time of ES, beside an ECG or in its place.
        background_weight: Weight of velocities away from the heart, relative to those within.
        deficit_share: Share of what the coarse grid loses in volume of LV, wall and RV that the network is to make up
            for. On native grids the LV loses nothing (the gain is fitted anyway), wall and RV half of what the
            refined grid shows.
    """

    batch: int = 16
    volume_weight: float = 0.2
    condition_dropout: float = 0.1
    stated_share: float = 0.3
    background_weight: float = 0.25
    deficit_share: tuple[float, float, float] = (0.0, 0.5, 0.5)


def dropped(condition: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    """Return conditions (B, CONDITION_SIZE) of which a share is that of "no ECG"."""
    gone = torch.rand(len(condition), 1, generator=generator, device=condition.device) < share
    return torch.where(gone, null_condition(condition), condition)


def told_condition(batch: dict[str, Any], config: StageTwoConfig, generator: torch.Generator) -> torch.Tensor:
    """Return what a training batch is told, (B, CONDITION_SIZE): ECGs, what can be stated, both, or nothing.

    An example without an ECG is told all that can be stated of it, but for the share that is told nothing.
    """
    condition, stated = batch["condition"], batch["stated"]
    count = len(condition)

    def drawn(columns: int) -> torch.Tensor:
        return torch.rand(count, columns, generator=generator, device=condition.device)

    silent = condition[:, -STATED_SIZE - 1 : -STATED_SIZE] == 0
    told = drawn(1) < config.stated_share
    named = (told & (drawn(stated.shape[1]) < EACH_STATED)) | silent
    condition = torch.where(told & (drawn(1) < WITHOUT_ECG), null_condition(condition), condition)
    gone = drawn(1) < config.condition_dropout
    said = with_stated(condition, torch.where(named, stated, torch.full_like(stated, torch.nan)))
    return torch.where(gone, null_condition(said), said)


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
    phases = volume_phases(grid, "any" if "anchor" in batch else "ed")
    chosen = scale.restore(error.index_select(1, constant(tuple(phases), torch.int64, error.device)))
    volume = torch.einsum("btcdhw,btrcdhw->btr", chosen, batch["sensitivity"])
    volume = volume - batch["deficit"] * constant(tuple(config.deficit_share), volume.dtype, volume.device)
    relative = (volume / VOLUME_ERROR).square()
    relative = torch.where(relative > 4.0, 4.0 * relative.clamp(min=1e-9).sqrt() - 4.0, relative)  # Huber
    spread = 100 * volume.detach().square().mean(dim=(0, 1)).sqrt()
    metrics = {"velocity": square.detach(), "lv_percent": spread[0], "wall_percent": spread[1], "rv_percent": spread[2]}
    return square + config.volume_weight * relative.mean(), metrics


def trunk_config(network: MeanConfig) -> MeanConfig:
    """Return the size of the trunk alone, of a network that has one."""
    return MeanConfig(**{item.name: getattr(network, item.name) for item in fields(MeanConfig)})


def train_trunk(
    data: FlowData,
    out_dir: Path,
    loop: LoopConfig,
    config: StageTwoConfig,
    network: MeanConfig,
    initial: dict[str, torch.Tensor] | None = None,
    preview: Preview | None = None,
    **options: Unpack[RunOptions],
) -> tuple[MotionMean, TrainedRun]:
    """Train the trunk, from ``initial`` weights where given; returns it with its averaged weights.

    ``preview`` is called at each validation with maps and predicted velocities of a subject, and the step.
    """
    torch.manual_seed(loop.seed)
    network = replace(trunk_config(network), any_anchor=data.any_anchor)
    model = MotionMean(data.cache.grid, network)
    if initial is not None:
        model.load_state_dict(initial)

    def loss_fn(model: nn.Module, batch: dict[str, Any], generator: torch.Generator) -> Loss:
        condition = told_condition(batch, config, generator)
        predicted = model(batch["maps"], condition, data.phases_on(condition.device), batch.get("anchor"))
        return motion_loss(predicted, batch, data.scale, data.cache.grid, config)

    def validate(model: nn.Module, step: int) -> dict[str, float]:
        totals: dict[str, float] = {}
        parts = [data.valid[start : start + 16] for start in range(0, len(data.valid), 16)]
        for part in parts:
            batch = to_device(data.batch(part), next(model.parameters()).device)
            condition = heard_or_stated(batch)
            predicted = model(batch["maps"], condition, data.phases, batch.get("anchor"))
            if preview is not None and part is parts[0]:
                preview(batch["maps"][:1], predicted[:1].float(), step)
            loss, metrics = motion_loss(predicted, batch, data.scale, data.cache.grid, config)
            for name, value in {"score": loss, **metrics}.items():
                totals[f"{name}"] = totals.get(name, 0.0) + float(value) * len(part) / len(data.valid)
        return totals

    facts = {"kind": "trunk", "network": asdict(network), "stage": asdict(config), "rms": data.scale.rms}
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


def heard_or_stated(batch: dict[str, Any]) -> torch.Tensor:
    """Return what a user would tell of each example, (B, CONDITION_SIZE): its ECG, or what can be stated."""
    condition, stated = batch["condition"], batch["stated"]
    silent = condition[:, -STATED_SIZE - 1 : -STATED_SIZE] == 0
    return torch.where(silent, with_stated(condition, stated), condition)
