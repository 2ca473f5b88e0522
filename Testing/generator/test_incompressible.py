"""The wall's volume comes back; the cavities' stay; what needs no change gets none."""

import numpy as np
import torch
from COFGeneratorLib.function.volumes import WALL_GROWTH
from COFGeneratorLib.generator.incompressible import LARGEST_STEP_VOXELS, WALL_TOLERANCE, keep_wall_volume
from COFGeneratorLib.motion.volume_gradient import volume_sensitivity


def a_ring():
    """Refined maps of a ventricle with a wall and a crescent beside it, and a velocity that squeezes all of it."""
    shape = (7, 16, 16)
    fine = [(n - 1) * 2 + 1 for n in shape]
    _, j, i = np.meshgrid(*[np.linspace(-1, 1, n) for n in fine], indexing="ij")
    radius = np.hypot(j, i)
    deep = np.zeros(fine)
    deep[3:10] = 1.0
    maps = np.stack([(radius < 0.3), (radius >= 0.3) & (radius < 0.55), (radius >= 0.55) & (radius < 0.75) & (i < 0)])
    k, j, i = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    inward = np.exp(-(np.hypot(j, i) ** 2) / 0.3)
    squeeze = 2.0 * np.stack([0 * k, j * inward, i * inward])
    velocity = torch.tensor(np.stack([0 * squeeze, squeeze]), dtype=torch.float32)
    return velocity, torch.tensor(maps * deep, dtype=torch.float32)


def test_the_wall_comes_back_and_the_cavities_stay():
    velocity, maps = a_ring()
    before, _ = volume_sensitivity(velocity, maps)
    assert before[1, 1] < 0.95  # the squeeze takes wall away, too
    ratios = before[:, 0].numpy(), before[:, 1].numpy()
    after, _ = volume_sensitivity(keep_wall_volume(velocity, maps, *ratios), maps)
    least = 1.0 + WALL_GROWTH[0] * (1.0 - float(before[1, 0])) - WALL_TOLERANCE
    assert abs(float(after[1, 1]) - least) < 0.25 * (least - float(before[1, 1]))
    assert torch.allclose(after[:, [0, 2]], before[:, [0, 2]], atol=0.02)


def test_the_anchor_and_what_lies_in_range_are_left_alone():
    velocity, maps = a_ring()
    same = keep_wall_volume(velocity, maps, np.array([1.0, 0.5]), np.array([1.0, 1.15]))
    assert torch.equal(same, velocity)
    changed = keep_wall_volume(velocity, maps, np.array([0.5, 0.5]), np.array([0.5, 0.6]))
    assert torch.equal(changed[0], velocity[0])
    assert float((changed - velocity).abs().max()) <= LARGEST_STEP_VOXELS * 1.001


def test_labels_without_a_wall_change_nothing():
    velocity, maps = a_ring()
    maps[1] = 0.0
    assert torch.equal(keep_wall_volume(velocity, maps, np.array([1.0, 0.5]), np.array([1.0, 0.5])), velocity)
