"""Every loss of both stages on a GPU that is not there: no devices meet, and a step waits once, for its guard."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from COFGeneratorLib.generator.networks.condition import CONDITION_SIZE, STATED_SIZE
from COFGeneratorLib.generator.networks.flow_network import FlowConfig
from COFGeneratorLib.generator.networks.grid import MotionGrid
from COFGeneratorLib.generator.networks.mean_network import MeanConfig
from COFGeneratorLib.generator.networks.pack import PackScale
from COFGeneratorLib.registration.teacher_network import TeacherConfig
from COFTrainingLib.training.examples.flow_data import FlowData
from COFTrainingLib.training.examples.flow_samples import volume_phases
from COFTrainingLib.training.loop import loop as training_loop
from COFTrainingLib.training.loop.loop_config import LoopConfig
from COFTrainingLib.training.loop.precision import to_device
from COFTrainingLib.training.loop.ranks import Ranks
from COFTrainingLib.training.loop.run_state import RunState
from COFTrainingLib.training.motion import flow, regression
from COFTrainingLib.training.motion.regression import StageTwoConfig
from COFTrainingLib.training.teacher.teacher import Objective, new_network, teacher_loss
from support.pretended_device import DEVICE, pretended_device

GRID = MotionGrid(shape=(4, 8, 8), spacing_mm=(30.0, 18.0, 18.0), phases=6)
ECG_SIZE, BATCH = 24, 2
LOOP = LoopConfig(steps=3, learning_rate=1e-3, ema_decay=0.9, device="cpu")


class TakenError(Exception):
    """Ends a training where it would begin its loop."""


def of_stage_two(module, start, monkeypatch):
    """Return network and loss of a training of Stage 2, as it hands them to the loop."""

    def take(model, loss_fn, *_, **__):
        raise TakenError(model, loss_fn)

    monkeypatch.setattr(module, "train", take)
    with pytest.raises(TakenError) as taken:
        start()
    return taken.value.args


def examples(conditions: int) -> FlowData:
    cache = SimpleNamespace(grid=GRID, arrays={})
    return FlowData(
        cache, torch.zeros(4, 1, conditions), np.arange(3), np.arange(3, 4), PackScale((0.6, 0.5, 0.9)),
        torch.zeros(4, STATED_SIZE // 2),
    )  # fmt: skip


def a_batch(conditions: int) -> dict:
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape):
        return torch.rand(BATCH, *shape, generator=generator)

    volumes = len(volume_phases(GRID))
    return {
        "maps": drawn(3, *GRID.shape), "velocity": drawn(GRID.phases, 3, *GRID.shape) - 0.5,
        "sensitivity": drawn(volumes, 3, 3, *GRID.shape), "deficit": drawn(volumes, 3),
        "condition": drawn(conditions), "stated": drawn(STATED_SIZE // 2),
    }  # fmt: skip


def trunk(monkeypatch):
    size = MeanConfig(widths=(16, 16, 16), blocks=1, modes=2, hidden=16)
    data, stage = examples(CONDITION_SIZE), StageTwoConfig(BATCH)
    taken = of_stage_two(regression, lambda: regression.train_trunk(data, None, LOOP, stage, size), monkeypatch)
    return *taken, a_batch(CONDITION_SIZE)


def plain_flow(monkeypatch, **changes):
    size = FlowConfig(widths=(16, 16, 16), heads=2, hidden=16, anatomy="labels", **changes)
    data, stage, heard = examples(ECG_SIZE + 1), StageTwoConfig(BATCH), ECG_SIZE + 1
    taken = of_stage_two(flow, lambda: flow.train_flow(data, None, LOOP, stage, size), monkeypatch)
    return *taken, a_batch(heard)


def teacher(_):
    config = TeacherConfig(plane=(32, 32), filters=(8, 8))
    batch = {"anchor": (1, 4, 32, 32), "target": (1, 4, 32, 32), "anchor_labels": (3, 4, 32, 32)}
    batch = {name: torch.rand(BATCH, *shape) for name, shape in batch.items()}
    batch["target_labels"] = (torch.rand(BATCH, 3, 4, 32, 32) > 0.5).float()
    batch["pitch_mm"] = torch.full((BATCH,), 10.0)
    return new_network(config, 0), teacher_loss(Objective()), batch


LOSSES = {
    "trunk": trunk,
    "flow": plain_flow,
    "flow of x0": lambda patch: plain_flow(patch, prediction="x0"),
    "flow of noise": lambda patch: plain_flow(patch, prediction="noise"),
    "flow of rate": lambda patch: plain_flow(patch, prediction="rate"),
    "flow of frames": lambda patch: plain_flow(patch, target="frames"),
    "teacher": teacher,
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_step_is_that_of_the_cpu_and_waits_for_its_guard_alone(name, monkeypatch, tmp_path):
    torch.manual_seed(0)
    model, loss_fn, batch = LOSSES[name](monkeypatch)
    numbers = training_loop.step_generator
    monkeypatch.setattr(training_loop, "step_generator", lambda seed, step, _, shard: numbers(seed, step, CPU, shard))
    initial = {key: value.clone() for key, value in model.state_dict().items()}

    def steps(device: torch.device, count: int):
        state = RunState(model.to(device), LOOP, device)
        there = to_device(batch, device)
        for _ in range(count):
            value, norm, _ = training_loop._step(state, model, loss_fn, there, tmp_path, Ranks())
            yield float(value), norm

    expected = list(steps(CPU, 3))
    model.load_state_dict(initial)
    with pretended_device() as guard:
        run = steps(DEVICE, 3)
        found = [next(run), next(run)]
        guard.waits.clear()  # what never changes has been sent
        found.append(next(run))
        waits = dict(guard.waits)
    assert waits.pop("_local_scalar_dense") <= 2  # the norm; and here, to compare it, the loss
    assert not waits, waits
    assert np.allclose(found, expected, rtol=1e-3)


CPU = torch.device("cpu")
