"""The segmentation term of Stage 1: hard teacher, soft student, gradients that reach the motion."""

from dataclasses import replace

import pytest
import torch
from COFGeneratorLib.anatomy.segmenters.frozen_segmentation import FrozenSegmentation, NetworkSpace
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.registration.teacher_network import TeacherConfig
from COFTrainingLib.training.teacher.seen_labels import hard_labels, largest_components, seen_loss
from COFTrainingLib.training.teacher.teacher import Objective, objective_of, teacher_loss

CONFIG = TeacherConfig(plane=(32, 32), pixel_mm=3.0, filters=(4, 8))
SPACING = (9.0, 3.0, 3.0)
ALONE = Objective(reconstruction=0.0, smoothness=0.0, largest_field=0.0, segmentation_by="network")


class SeesBright(torch.nn.Module):
    """Calls what is bright LV cavity, and nothing else anything."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        bright = 20.0 * (image - 0.5)
        low = torch.full_like(image, -20.0)
        return torch.cat([-bright, bright, low, low], dim=1)


@pytest.fixture
def frozen():
    space = NetworkSpace((9.0, 1.5, 1.5), (1, 8, 8), lambda image: image)
    return FrozenSegmentation(SeesBright(), space, {"lv": 1, "myo": 2, "rv": 3}, {"kind": "test"})


def disc(centre: float, radius: float = 7.0) -> torch.Tensor:
    """Return an image (1, 1, 4, 32, 32) of a bright disc with a soft edge about a column."""
    j, i = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    return torch.sigmoid(radius - torch.hypot(j - 15.5, i - centre)).expand(1, 1, 4, 32, 32).clone()


def batch_of(anchor: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
    nothing = torch.zeros(1, 3, 4, 32, 32)
    return {"anchor": anchor, "target": target, "anchor_labels": nothing, "target_labels": nothing,
            "pitch_mm": torch.tensor([9.0])}  # fmt: skip


def test_of_every_class_the_largest_part_is_kept():
    masks = torch.zeros(1, 2, 3, 8, 8)
    masks[0, 0, 1, 1:4, 1:4] = 1.0
    masks[0, 0, 1, 6, 6] = 1.0
    masks[0, 0, 2, 4, 4] = 1.0  # a corner joins nothing
    kept = largest_components(masks)
    assert float(kept[0, 0].sum()) == 9.0
    assert float(kept[0, 1].sum()) == 0.0


def test_the_teacher_is_hard_and_clean(frozen):
    image = disc(12.0)
    image[..., 28:31, 28:31] = 1.0
    hard = hard_labels(frozen(image, SPACING))
    assert set(hard.unique().tolist()) == {0.0, 1.0}
    assert float(hard[0, 0, :, 54:, 54:].sum()) == 0.0  # the island went, at twice the density
    area = float(hard[0, 0, 0].sum()) * 1.5**2
    assert area == pytest.approx(torch.pi * 21.0**2, rel=0.05)


def test_what_is_seen_alike_costs_next_to_nothing(frozen):
    assert float(seen_loss(frozen, disc(15.0), disc(15.0), SPACING)) < 0.03
    assert float(seen_loss(frozen, disc(10.0), disc(21.0), SPACING)) > 0.4


def test_gradients_reach_the_motion_and_descending_them_moves_the_disc(frozen):
    batch = batch_of(disc(12.0), disc(16.0))
    velocity = torch.zeros(1, 3, 4, 16, 16, requires_grad=True)
    first, terms = objective_of(ALONE, CONFIG, velocity, batch, frozen)
    assert set(terms) == {"reconstruction", "segmentation", "smoothness", "largest_field"}
    optimizer = torch.optim.Adam([velocity], lr=1.0)
    for _ in range(30):
        optimizer.zero_grad()
        loss, _ = objective_of(ALONE, CONFIG, velocity, batch, frozen)
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.25 * float(first.detach())
    middle = velocity.detach()[0, 2, 1:3, 6:10, 6:11].mean()
    assert float(middle) < -3.0  # the anchor lies at lower i: the pull field is negative along it


def test_a_weight_of_nothing_asks_no_network():
    silent = replace(ALONE, segmentation=0.0)
    assert not silent.needs_network
    velocity = torch.zeros(1, 3, 4, 16, 16)
    loss, _ = objective_of(silent, CONFIG, velocity, batch_of(disc(12.0), disc(16.0)))
    assert float(loss) == 0.0


def test_an_objective_that_asks_a_network_needs_one():
    velocity = torch.zeros(1, 3, 4, 16, 16)
    with pytest.raises(TrainingError, match="--segmenter"):
        objective_of(ALONE, CONFIG, velocity, batch_of(disc(12.0), disc(16.0)))
    with pytest.raises(TrainingError, match="segmentation_by"):
        Objective(segmentation_by="eye")
    assert callable(teacher_loss(Objective()))
