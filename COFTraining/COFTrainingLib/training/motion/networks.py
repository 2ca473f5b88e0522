"""The flow of a run of Stage 2: trained, or read where it is finished."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.files import write_json
from COFGeneratorLib.generator.bundle import Bundle
from COFGeneratorLib.generator.networks.expected_flow import ExpectedFlow, ExpectedFlowConfig
from COFGeneratorLib.generator.networks.flow_network import FlowConfig, VelocityUNet
from COFGeneratorLib.generator.networks.mean_network import MotionMean
from COFGeneratorLib.generator.networks.pack import PackScale
from COFGeneratorLib.registration.teacher_network import TeacherNetwork
from COFGeneratorLib.weights import save_exact
from safetensors.torch import load_file

from COFTrainingLib.training.ecg.ecg_training import CONFIG, WEIGHTS
from COFTrainingLib.training.examples.flow_data import FlowData
from COFTrainingLib.training.loop.loop import LoopConfig
from COFTrainingLib.training.motion.flow import train_flow
from COFTrainingLib.training.motion.regression import Preview, train_trunk, trunk_config
from COFTrainingLib.training.motion.residuals import Fold, fit_basis, open_part, split_people
from COFTrainingLib.training.motion.spread import fit_spread, fit_temperature
from COFTrainingLib.training.motion.stage_two_settings import StageTwoTraining

FITTED = "fit.json"
"""What was found when the spread was fitted, beside the flow's weights."""
TRUNK = "trunk."
Told = Callable[[str, dict[str, Any]], None]
"""Called with (stage, event) for everything that happens."""


@dataclass(frozen=True)
class Start:
    """Where a training begins that does not begin from nothing.

    Attributes:
        flow: Weights of the flow, by name.
        scale: RMS of the velocity components that they are for.
    """

    flow: Mapping[str, torch.Tensor]
    scale: PackScale

    @property
    def trunk(self) -> dict[str, torch.Tensor]:
        """The weights of the trunk alone."""
        return {name.removeprefix(TRUNK): value for name, value in self.flow.items() if name.startswith(TRUNK)}


def start_of(bundle: Bundle, training: StageTwoTraining) -> Start:
    """Return the weights and scale of a bundle to begin with.

    Raises:
        TrainingError: If its flow, or its motion grid, is not that of the settings.
    """
    wanted, found = training.flow_config, bundle.model.flow.config
    if isinstance(wanted, ExpectedFlowConfig) and isinstance(found, ExpectedFlowConfig):
        same = trunk_config(wanted) == trunk_config(found)  # the basis is fitted anew
    else:
        same = isinstance(wanted, FlowConfig) and isinstance(found, FlowConfig)
        if same:  # teacher and size of the ECG come with the data
            same = replace(wanted, teacher=found.teacher, ecg_size=found.ecg_size) == found
    if not same or bundle.model.grid != training.grid:
        raise TrainingError(
            f"A training starts from a bundle of its own network and motion grid; those of {bundle.model_id} differ. "
            "Give the configuration that the bundle was trained with (its docs/configuration.json) by --config."
        )
    return Start(bundle.model.flow.state_dict(), bundle.model.scale)


def trained_expected(
    run: Path, training: StageTwoTraining, data: FlowData, tell: Told, preview: Preview | None, start: Start | None,
) -> ExpectedFlow:  # fmt: skip
    """Return the flow of a run that is both expectation and draw: trained before, or now.

    The trunk learns from every subject; trunks of the folds, shorter, tell what it leaves open on subjects it has not
    seen. On these residuals the basis and the spread are fitted, and on validation subjects the temperature.
    """
    network = training.flow_config
    assert isinstance(network, ExpectedFlowConfig)  # the caller's choice
    flow, folder = ExpectedFlow(data.cache.grid, network), run / "flow"
    if (folder / WEIGHTS).is_file():
        flow.load_state_dict(load_file(folder / WEIGHTS))
        return flow.eval()
    initial = start.trunk if start else None

    def trunk(name: str, examples: FlowData, loop: LoopConfig, shown: Preview | None) -> MotionMean:
        place = run / name
        if (place / WEIGHTS).is_file():
            ready = MotionMean(data.cache.grid, trunk_config(network))
            ready.load_state_dict(load_file(place / WEIGHTS))
            return ready.eval()
        trained, _ = train_trunk(
            examples, place, loop, training.stage, network, initial, shown, resume=(place / CONFIG).exists(),
            progress=lambda event: tell(name.split("-")[0], {**event, "of": loop.steps}),
        )  # fmt: skip
        return trained.cpu().eval()

    flow.trunk.load_state_dict(trunk("expected", data, training.expected_loop, preview).state_dict())
    folds = []
    loop = replace(training.expected_loop, steps=training.fold_steps, validate_every=training.fold_steps + 1)
    for number, held in enumerate(split_people(data, training.folds)):
        rest = replace(data, train=np.setdiff1d(data.train, held))
        folds.append(Fold(trunk(f"fold-{number}", rest, replace(loop, seed=loop.seed + 1 + number), None), held))
    flow.eval()
    how = training.expected_loop.precision
    fit_basis(flow, data, folds, how)
    found = fit_spread(flow, open_part(flow, data, folds, how))
    found["temperature"] = fit_temperature(flow, open_part(flow, data, [Fold(flow.trunk, data.valid)], how))
    folder.mkdir(exist_ok=True)
    write_json(folder / FITTED, found)
    save_exact(flow.state_dict(), folder / WEIGHTS)
    return flow


def trained_plain(
    run: Path, training: StageTwoTraining, data: FlowData, tell: Told, start: Start | None,
    teacher: TeacherNetwork | None,
) -> VelocityUNet:  # fmt: skip
    """Return the papers' plain flow of a run, trained before or now, with the encoder of a registration teacher."""
    network, folder = training.flow_config, run / "flow"
    assert isinstance(network, FlowConfig)  # the caller's choice
    network = replace(network, ecg_size=data.conditions.shape[-1] - 1)
    if teacher is not None:
        network = replace(network, teacher=teacher.config)
    if (folder / WEIGHTS).is_file():
        flow = VelocityUNet(data.cache.grid, network)
        flow.load_state_dict(load_file(folder / WEIGHTS))
        return flow.eval()
    loop = training.flow_loop
    if training.flow_epochs:
        loop = replace(loop, steps=training.flow_epochs * -(-len(data.train) // training.stage.batch))
    flow, _ = train_flow(
        data, folder, loop, training.stage, network, tau_draw=training.tau_draw,
        initial=start.flow if start else None, teacher=teacher.state_dict() if teacher else None,
        resume=(folder / CONFIG).exists(),
        progress=lambda event: tell("flow", {**event, "of": loop.steps}),
    )  # fmt: skip
    return flow.eval()
