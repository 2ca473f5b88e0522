"""Anchors of any phase as an option of Stage 2: targets lead from the anchor, and the networks are told when it was."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.generator.choices import SamplerDefaults
from COFGeneratorLib.generator.networks.condition import CONDITION_SIZE
from COFGeneratorLib.generator.networks.flow_network import FlowConfig
from COFGeneratorLib.generator.networks.grid import MotionGrid
from COFGeneratorLib.generator.networks.mean_network import MeanConfig
from COFGeneratorLib.motion.fields import exponential, warp
from COFTrainingLib.phantom.subject import draw_subject
from COFTrainingLib.training.examples.cine_example import Recipe
from COFTrainingLib.training.examples.cine_motion import CineMotion
from COFTrainingLib.training.examples.example_store import recipe_id
from COFTrainingLib.training.examples.flow_cache import build_flow_cache
from COFTrainingLib.training.examples.flow_samples import (
    R_WAVE_SHARE,
    displacement_on_grid,
    draw_anchor,
    flow_example,
    volume_phases,
)
from COFTrainingLib.training.loop.loop import LoopConfig
from COFTrainingLib.training.motion.calibrate import population_velocity
from COFTrainingLib.training.motion.flow import train_flow
from COFTrainingLib.training.motion.regression import StageTwoConfig, train_trunk
from COFTrainingLib.training.motion.stage_two_settings import StageTwoTraining

GRID = MotionGrid(shape=(6, 16, 16), spacing_mm=(22.0, 10.0, 10.0), phases=6)
MEAN = MeanConfig(widths=(16, 16, 16), blocks=1, modes=3, hidden=16)
FLOW = FlowConfig(widths=(16, 16, 16), heads=2, hidden=16, anatomy="labels")
ANCHOR = 0.3
"""About end-systole."""


@pytest.fixture(scope="module")
def data(make_examples):
    return make_examples("any")


def loop(steps):
    return LoopConfig(steps=steps, learning_rate=3e-3, ema_decay=0.5, checkpoint_every=10, log_every=5, device="cpu",
                      threads=1)  # fmt: skip


@pytest.fixture(scope="module")
def subject():
    return draw_subject(2)


@pytest.mark.parametrize("phase", [0.0, 0.1, 0.7])
def test_the_relative_displacement_is_the_phantom_s_own(subject, phase):
    """Where a point of the frame comes from in the anchor is where, in the anchor's own past, both come from."""
    grid = MotionGrid()
    field = displacement_on_grid(subject, np.eye(4), grid, np.array([phase]), ANCHOR)[0]
    nodes, rr_ms = grid.points_mm(), subject.physiology.rr_ms
    inside = subject.heart.label_at(nodes, phase * rr_ms) > 0
    start = nodes[inside]
    found = start + (field.permute(1, 2, 3, 0).numpy()[inside] * np.array(grid.spacing_mm))
    origin = start + subject.heart.pull_mm(start, phase * rr_ms)
    error = np.linalg.norm(found + subject.heart.pull_mm(found, ANCHOR * rr_ms) - origin, axis=1)
    assert np.linalg.norm(found - start, axis=1).mean() > 1.5  # mm: there is motion between the two
    assert error.mean() < 0.2
    assert np.percentile(error, 95) < 0.7


def test_the_anchor_s_maps_under_the_relative_motion_are_those_of_every_phase(subject):
    grid = MotionGrid(phases=6)
    rng = next(n for n in range(50) if 0.3 < draw_anchor(np.random.default_rng(n)) < 0.5)
    example = flow_example(subject, grid, np.random.default_rng(rng), anchor="any")
    assert 0.3 < example["anchor"][0] < 0.5
    maps = torch.from_numpy(example["maps"])
    moved = warp(maps[None].expand(6, -1, -1, -1, -1), exponential(torch.from_numpy(example["velocity"])))
    volume = moved.sum(dim=(2, 3, 4)) / moved[:1].sum(dim=(2, 3, 4))
    times = np.arange(6) / 6 * subject.physiology.rr_ms
    for column, true in ((0, subject.heart.lv_volume_ml(times)), (2, subject.heart.rv_volume_ml(times))):
        assert np.abs(volume[:, column].numpy() - true / true[0]).max() < 0.12  # a coarse grid, and rough labels
    assert np.abs(example["deficit"]).max() < 0.25
    assert len(example["deficit"]) == len(volume_phases(grid, "any")) == len(volume_phases(grid)) + 1


def test_at_the_r_wave_an_example_is_the_one_without_the_option(subject):
    grid = MotionGrid(phases=4)
    seed = next(n for n in range(50) if draw_anchor(np.random.default_rng(n)) == 0.0)
    told = np.random.default_rng(seed)
    plain = np.random.default_rng(seed)
    draw_anchor(plain)  # the same numbers from here on
    one, other = flow_example(subject, grid, told, "any"), flow_example(subject, grid, plain)
    for name in ("maps", "velocity"):
        assert np.array_equal(one[name], other[name])
    assert "anchor" not in other
    assert np.array_equal(one["sensitivity"][1:], other["sensitivity"])


def test_anchors_are_drawn_over_the_whole_beat():
    drawn = np.array([draw_anchor(np.random.default_rng(n)) for n in range(400)])
    assert (drawn == 0).mean() == pytest.approx(R_WAVE_SHARE, abs=0.06)
    assert np.histogram(drawn[drawn > 0], bins=4, range=(0, 1))[0].min() > 50


def test_both_networks_learn_with_anchors_of_any_phase(data, tmp_path):
    batch = data.batch(data.train)
    assert batch["anchor"].shape == (len(data.train),)
    assert (batch["anchor"] > 0).any()
    events = []
    stage = StageTwoConfig(batch=4)
    mean, _ = train_trunk(data, tmp_path / "mean", loop(60), stage, MEAN, progress=events.append)
    losses = [event["loss"] for event in events if event["event"] == "progress"]
    assert np.mean(losses[-3:]) < 0.8 * losses[0]
    assert mean.config.any_anchor
    assert mean.anchor.weight.abs().max() > 1e-3
    with torch.no_grad():
        motion = mean(batch["maps"][:1], torch.zeros(1, CONDITION_SIZE), torch.tensor([0.0, 0.5]), torch.tensor([0.5]))
    assert motion[:, 1].abs().max() < 1e-6
    assert motion[:, 0].abs().max() > 1e-3
    flow, _ = train_flow(data, tmp_path / "flow", loop(20), stage, FLOW)
    assert flow.config.any_anchor
    assert flow.anchor.weight.abs().max() > 0.0


def test_the_population_s_motion_begins_at_the_r_wave(data):
    velocity = population_velocity(data)
    assert velocity[0].abs().max() == 0.0
    assert velocity[2].abs().max() > 0.2


def test_examples_of_another_option_are_not_taken_for_these(data):
    with pytest.raises(TrainingError, match="other settings"):
        build_flow_cache(data.cache.folder, 10, 40, GRID, workers=1)
    recipe = Recipe(GRID, CineMotion(source="demons"))
    assert recipe_id(recipe) != recipe_id(replace(recipe, anchor="any"))


def test_settings_that_begin_at_the_r_wave_by_their_nature_are_refused():
    assert asdict(StageTwoTraining())["anchor"] == "ed"
    assert StageTwoTraining(anchor="any").flow_config.any_anchor
    assert not StageTwoTraining().flow_config.any_anchor
    with pytest.raises(TrainingError, match="anchor = 'es'"):
        StageTwoTraining(anchor="es")
    plain = {"expected": None, "flow": FlowConfig(prediction="rate"), "sampler": SamplerDefaults("euler", 4)}
    for settings in (plain, {"cines": CineMotion(source="truth")}):
        with pytest.raises(TrainingError, match="begin at the R wave"):
            StageTwoTraining(anchor="any", **settings)


def test_maps_of_an_end_systolic_anchor_are_its_own(subject):
    """What the network sees is the anatomy of the anchor's phase in the frame found in that anatomy."""
    grid = MotionGrid(phases=4)
    seed = next(n for n in range(50) if 0.3 < draw_anchor(np.random.default_rng(n)) < 0.4)
    example = flow_example(subject, grid, np.random.default_rng(seed), "any")
    still = flow_example(subject, grid, np.random.default_rng(seed))
    ratio = example["maps"][0].sum() / still["maps"][0].sum()
    times = float(example["anchor"][0]) * subject.physiology.rr_ms
    assert ratio == pytest.approx(subject.heart.lv_volume_ml(times) / subject.heart.lv_volume_ml(0.0), rel=0.2)
