"""The two networks of a run of Stage 2: trained, or read where they are finished."""

import json
from dataclasses import replace
from pathlib import Path

from COFGeneratorLib.generator.networks.flow_network import FlowConfig, VelocityUNet
from COFGeneratorLib.generator.networks.mean_network import MeanConfig, MotionMean
from safetensors.torch import load_file

from COFTrainingLib.training.ecg.ecg_training import CONFIG, WEIGHTS
from COFTrainingLib.training.examples.flow_data import FlowData
from COFTrainingLib.training.loop.loop import Progress
from COFTrainingLib.training.motion.flow import Preview, train_flow, train_mean
from COFTrainingLib.training.motion.stage_two_settings import StageTwoTraining


def trained_mean(
    folder: Path, network: MeanConfig, training: StageTwoTraining, data: FlowData, progress: Progress,
    preview: Preview | None,
) -> MotionMean:  # fmt: skip
    """Return the regression of a run: trained before, or now."""
    if (folder / WEIGHTS).is_file():
        mean = MotionMean(data.cache.grid, network)
        mean.load_state_dict(load_file(folder / WEIGHTS))
        return mean.eval()
    mean, _ = train_mean(
        data, folder, training.mean_loop, training.stage, network, preview=preview,
        resume=(folder / CONFIG).exists(), progress=lambda event: progress({**event, "of": training.mean_loop.steps}),
    )  # fmt: skip
    return mean.eval()


def trained_flow(
    folder: Path, network: FlowConfig, training: StageTwoTraining, data: FlowData, mean: MotionMean | None,
    progress: Progress,
) -> tuple[VelocityUNet, tuple[float, float, float]]:  # fmt: skip
    """Return the velocity network of a run, trained before or now, and the residual's spread."""
    begun, spread = folder / CONFIG, None
    if begun.exists():
        k, j, i = json.loads(begun.read_text(encoding="utf-8"))["model"]["spread"]
        spread = (k, j, i)
    if spread is not None and (folder / WEIGHTS).is_file():
        flow = VelocityUNet(data.cache.grid, network)
        flow.load_state_dict(load_file(folder / WEIGHTS))
        return flow.eval(), spread
    loop = training.flow_loop
    if training.flow_epochs:
        loop = replace(loop, steps=training.flow_epochs * -(-len(data.train) // training.stage.batch))
    flow, spread, _ = train_flow(
        data, folder, loop, training.stage, network, mean,
        tau_draw=training.tau_draw, spread=spread, resume=begun.exists(),
        progress=lambda event: progress({**event, "of": loop.steps}),
    )  # fmt: skip
    return flow.eval(), spread
