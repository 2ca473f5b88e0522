"""Between two slices one wall is shown, where it lies; in the plane nothing is lost and nothing overshoots."""

import numpy as np
import pytest
import torch
from COFGeneratorLib.motion.between import correspondence
from COFGeneratorLib.motion.fields import identity_positions
from COFGeneratorLib.motion.refined import RefinedStack

SIZE, SPACING = 64, (10.0, 1.5, 1.5)


def a_cone(radii):
    """A bright disc in a dark ring on grey, of another radius in every slice: (D, H, W), and what it is made of."""
    j, i = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    away = np.hypot(j, i)
    cavity = np.stack([1 / (1 + np.exp(3 * (away - r))) for r in radii])
    outer = np.stack([1 / (1 + np.exp(3 * (away - r - 6))) for r in radii])
    guides = torch.tensor(np.stack([cavity, outer - cavity]), dtype=torch.float32)
    return torch.tensor(100 + 200 * cavity - 80 * (outer - cavity), dtype=torch.float32), guides


def at_depth(stack: RefinedStack, k: float) -> np.ndarray:
    positions = identity_positions((1, SIZE, SIZE)).clone()
    positions[:, 0] = k
    return stack.sample(positions)[0, 0].numpy()


def radius_px(image: np.ndarray) -> float:
    return float(np.sqrt((image > 200).sum() / np.pi))


def test_half_way_between_two_discs_lies_one_of_the_mean_radius():
    image, guides = a_cone([18.0, 12.0])
    middle = at_depth(RefinedStack(image, guides, np.array(SPACING)), 0.5)
    assert radius_px(middle) == pytest.approx(15.0, abs=0.7)
    wall = (middle < 60).sum()  # mixed straight across, cavity covers wall and no pixel is as dark as it
    straight = image.mean(dim=0).numpy()
    assert wall > 0.8 * np.pi * (21**2 - 15**2)
    assert (straight < 60).sum() < 0.3 * wall


def test_the_disc_narrows_steadily_from_slice_to_slice():
    image, guides = a_cone([18.0, 12.0])
    stack = RefinedStack(image, guides, np.array(SPACING))
    radii = [radius_px(at_depth(stack, k)) for k in np.linspace(0, 1, 9)]
    assert np.allclose(radii, np.linspace(18, 12, 9), atol=0.9)
    assert np.all(np.diff(radii) < 0.1)


def test_like_slices_correspond_where_they_are_and_none_folds():
    _, guides = a_cone([15.0, 15.0, 9.0])
    apart = correspondence(guides, SPACING[1:])
    assert apart.shape == (2, 2, SIZE, SIZE)
    assert apart[0].abs().max() < 1e-3
    slopes = torch.gradient(apart, dim=(2, 3))
    folds = (1 + slopes[0][:, 0]) * (1 + slopes[1][:, 1]) - slopes[0][:, 1] * slopes[1][:, 0]
    assert folds.min() > 0


def test_a_slice_itself_is_as_it_was_taken():
    image, guides = a_cone([18.0, 12.0, 8.0])
    noisy = image + torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    stack = RefinedStack(noisy, guides, np.array(SPACING))
    sampled = stack.sample(identity_positions(noisy.shape))[0]
    assert (sampled - noisy).abs().max() < 0.05  # of a range of 300: positions in a tall image are rounded


def test_half_a_pixel_off_keeps_the_sharpness_that_linear_sampling_loses_and_stays_in_range():
    texture = torch.randn(1, 1, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    kernel = (
        torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16.0
    )  # texture of a pixel's size is noise; this is what MR resolves
    image = torch.nn.functional.conv2d(texture[0], (kernel[:, None] * kernel)[None, None], padding=2)[0]
    stack = RefinedStack(image, torch.zeros(1, 1, SIZE, SIZE), np.array(SPACING))
    positions = identity_positions(image.shape) + torch.tensor([0.0, 0.5, 0.5]).view(1, 3, 1, 1, 1)
    shifted = stack.sample(positions)[0, 0, 4:-4, 4:-4]
    assert shifted.diff(dim=0).square().mean() > 0.92 * image[0, 4:-4, 4:-4].diff(dim=0).square().mean()
    linear = torch.nn.functional.avg_pool2d(image[None], 2, 1)[0, 0, 4:-3, 4:-3]
    assert linear.diff(dim=0).square().mean() < 0.8 * image[0, 4:-4, 4:-4].diff(dim=0).square().mean()
    assert image.min() <= shifted.min()
    assert shifted.max() <= image.max()


def test_one_slice_and_places_beyond_the_stack_are_sampled_too():
    image, guides = a_cone([15.0])
    assert at_depth(RefinedStack(image, guides, np.array(SPACING)), 3.0).shape == (SIZE, SIZE)
    image, guides = a_cone([18.0, 12.0])
    stack = RefinedStack(image, guides, np.array(SPACING))
    assert np.allclose(at_depth(stack, -2.0), at_depth(stack, 0.0))
    assert np.allclose(at_depth(stack, 9.0), at_depth(stack, 1.0))
