"""Training the registration teacher on phantoms."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from COFGeneratorLib.jobs.events import read_events
from COFGeneratorLib.motion.fields import warp
from COFGeneratorLib.registration.teacher import RegistrationTeacher
from COFGeneratorLib.registration.teacher_network import nodes_to_pixels
from COFTrainingLib.training.configurations import read_configuration
from COFTrainingLib.training.teacher.teacher import Objective, objective_of, train_teacher
from COFTrainingLib.training.teacher.teacher_pairs import PhantomPairs

SMOKE = read_configuration("teacher", "smoke")


@pytest.fixture(scope="module")
def pairs() -> PhantomPairs:
    return PhantomPairs(replace(SMOKE.pairs, still=0.0), SMOKE.network)


@pytest.mark.slow
def test_the_same_step_gives_the_same_batch_whatever_came_before(pairs):
    first = pairs(3)
    again = PhantomPairs(pairs.config, pairs.teacher)(3)
    assert first["names"] == again["names"]
    assert all(torch.equal(first[key], again[key]) for key in first if key != "names")
    assert any(not torch.equal(first["anchor"], pairs(step)["anchor"]) for step in (4, 5))


def test_the_true_displacement_explains_labels_and_image(pairs):
    batch = pairs(1)
    pixel_mm = torch.tensor([1.0, SMOKE.network.pixel_mm, SMOKE.network.pixel_mm]).view(1, 3, 1, 1, 1)
    movement = nodes_to_pixels(batch["displacement_mm"]) / pixel_mm
    movement[:, 0] = movement[:, 0] / batch["pitch_mm"].view(-1, 1, 1, 1)
    moved = warp(batch["anchor_labels"], movement)
    for channel in (0, 1):  # the thin RV of a 5-mm view is too coarse for this
        before = dice(batch["anchor_labels"][:, channel], batch["target_labels"][:, channel])
        after = dice(moved[:, channel], batch["target_labels"][:, channel])
        assert after >= max(before, 0.6)  # a pair may be of a frame with itself


def dice(one, other) -> float:
    one = one > 0.5
    return float(2 * (one & (other > 0.5)).sum() / (one.sum() + (other > 0.5).sum()))


def test_a_still_pair_has_no_motion_and_other_noise():
    pairs = PhantomPairs(replace(SMOKE.pairs, subjects=2, still=1.0), SMOKE.network)
    batch = pairs(0)
    assert float(batch["displacement_mm"].abs().max()) == 0.0
    assert not torch.equal(batch["anchor"], batch["target"])
    hard = torch.cat([1 - batch["anchor_labels"].sum(1, keepdim=True), batch["anchor_labels"]], 1).argmax(1)
    assert torch.equal((hard == 1).float(), batch["target_labels"][:, 0])


def test_the_objective_is_lower_for_the_true_motion_than_for_none(pairs):
    batch = pairs(2)
    objective = Objective(displacement=0.1)
    none, _ = objective_of(objective, SMOKE.network, torch.zeros_like(batch["displacement_mm"]), batch)
    true, terms = objective_of(objective, SMOKE.network, batch["displacement_mm"], batch)  # v ≈ u to first order
    assert float(true) < float(none)
    assert set(terms) == {"reconstruction", "segmentation", "smoothness", "largest_field", "displacement"}


def test_a_smoke_training_learns_motion_and_leaves_a_usable_teacher(walked):
    run = walked.folder / "smoke" / "run" / "teacher"
    events = read_events(run / "events.jsonl")
    assert all(np.isfinite(event["loss"]) for event in events if event["event"] == "progress")
    assert [event for event in events if event["event"] == "metric"][-1]["held_out_folded"] <= 0.001
    teacher = RegistrationTeacher.load(run / "teacher")
    assert teacher.config == SMOKE.network
    seen = PhantomPairs(SMOKE.pairs, SMOKE.network)
    learnt = nothing = 0.0
    for step in range(6):
        batch = seen(step)
        with torch.no_grad():
            velocity = teacher.network(batch["anchor"], batch["target"], batch["pitch_mm"])
        learnt += float(objective_of(SMOKE.objective, SMOKE.network, velocity, batch)[1]["displacement"])
        nothing += float(objective_of(SMOKE.objective, SMOKE.network, 0 * velocity, batch)[1]["displacement"])
    assert learnt < 0.96 * nothing  # twelve steps


@pytest.mark.slow
def test_a_resumed_teacher_is_the_uninterrupted_one(tmp_path):
    config = replace(SMOKE, loop=replace(SMOKE.loop, steps=6, checkpoint_every=3, log_every=1))
    whole = train_teacher(None, tmp_path / "whole", config)

    class StopHereError(Exception):
        pass

    def stop(event):
        if event["event"] == "progress" and event["step"] == 5:
            raise StopHereError

    with pytest.raises(StopHereError):
        train_teacher(None, tmp_path / "cut", config, progress=stop)
    resumed = train_teacher(None, tmp_path / "cut", config, resume=True)

    def curve(run):
        return [event["loss"] for event in read_events(run / "events.jsonl") if event["event"] == "progress"]

    assert curve(resumed.run) == pytest.approx(curve(whole.run), rel=1e-6)
