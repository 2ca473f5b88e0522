"""What a registration optimises, against numbers worked by hand and against MONAI's own losses."""

import pytest
import torch
from COFGeneratorLib.motion.fields import identity_positions
from COFGeneratorLib.registration.similarity import (
    box_mean,
    confidence_map,
    correlation_loss,
    dice_loss,
    folding_loss,
    largest_field_loss,
    local_correlation,
    smoothness_loss,
)

SHAPE = (3, 24, 26)


def texture(seed=0, shape=SHAPE) -> torch.Tensor:
    return torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(seed))


def test_a_box_mean_is_the_mean_of_the_window_and_of_what_is_left_of_it_at_the_border():
    image = texture()
    mean = box_mean(image, (1, 5, 3))
    assert float(mean[0, 0, 1, 10, 10]) == pytest.approx(float(image[0, 0, 1, 8:13, 9:12].mean()), rel=1e-5)
    assert float(mean[0, 0, 2, 0, 0]) == pytest.approx(float(image[0, 0, 2, 0:3, 0:2].mean()), rel=1e-5)


def test_an_image_correlates_perfectly_with_itself_under_any_gain_and_offset():
    image = texture()
    correlation, _ = local_correlation(image, 2.0 * image + 0.3)
    assert float(correlation.min()) > 0.999
    assert float(local_correlation(image, 1.0 - image)[0].max()) < -0.999
    assert float(correlation_loss(image, 0.5 * image)) < 1e-3


def test_unrelated_images_do_not_correlate_and_flat_regions_do_not_count():
    assert float(correlation_loss(texture(0), texture(1))) == pytest.approx(1.0, abs=0.1)
    half = texture().clone()
    half[..., 13:] = 0.5
    other = half.clone()
    other[..., :13] = texture()[..., :13]
    assert float(correlation_loss(half, other)) < 0.05
    assert float(confidence_map(half, half)[..., 20:].max()) < 1e-6
    assert float(confidence_map(half, half)[..., 4:8].min()) > 0.99


def test_the_local_correlation_squares_to_monais():
    from monai.losses import LocalNormalizedCrossCorrelationLoss

    a, b = texture(0, (9, 20, 20)), 0.6 * texture(0, (9, 20, 20)) + 0.4 * texture(1, (9, 20, 20))
    ours = local_correlation(a, b, (3, 3, 3))[0][..., 2:-2, 2:-2, 2:-2].square().mean()
    theirs = LocalNormalizedCrossCorrelationLoss(spatial_dims=3, kernel_size=3, reduction="none")(a, b)
    assert float(-theirs[..., 2:-2, 2:-2, 2:-2].mean()) == pytest.approx(float(ours), abs=2e-3)


def test_a_mask_limits_where_images_are_compared():
    one, other = texture(0), texture(0).clone()
    other[..., :10] = texture(2)[..., :10]
    mask = torch.zeros(1, 1, *SHAPE)
    mask[..., 16:] = 1
    assert float(correlation_loss(one, other, mask=mask, scales=((1, 1.0),))) < 1e-3
    assert float(correlation_loss(one, other, scales=((1, 1.0),))) > 0.2


def test_dice_has_squared_denominators_and_equals_monais():
    from monai.losses import DiceLoss

    soft = torch.rand(2, 3, *SHAPE, generator=torch.Generator().manual_seed(3))
    hard = (torch.rand(2, 3, *SHAPE, generator=torch.Generator().manual_seed(4)) > 0.6).float()
    theirs = DiceLoss(squared_pred=True, smooth_nr=0.0)(soft, hard)
    assert float(dice_loss(soft, hard)) == pytest.approx(float(theirs), abs=1e-5)


def test_perfect_overlap_costs_nothing_none_costs_all_and_absent_classes_do_not_count():
    hard = torch.zeros(1, 3, *SHAPE)
    hard[:, 0, 1, :10] = 1
    hard[:, 1, 1, 10:20] = 1
    assert float(dice_loss(hard, hard)) < 1e-5
    assert float(dice_loss(hard.roll(1, dims=2), hard)) == pytest.approx(1.0, abs=1e-4)


def test_half_an_overlap_is_worked_by_hand():
    truth, found = torch.zeros(1, 1, 1, 4, 4), torch.zeros(1, 1, 1, 4, 4)
    truth[..., :2, :] = 1  # 8 voxels
    found[..., 1:3, :] = 1  # 8 voxels, 4 shared: Dice 0.5
    assert float(dice_loss(found, truth)) == pytest.approx(0.5, abs=1e-5)


def test_smoothness_is_zero_for_a_shift_and_counts_slopes_in_mm_per_mm():
    shift = torch.ones(1, 3, *SHAPE)
    assert float(smoothness_loss(shift, (10.0, 2.0, 2.0))) == 0.0
    slope = torch.zeros(1, 3, *SHAPE)
    slope[:, 1] = 0.2 * 2.0 * identity_positions(SHAPE)[:, 1]  # 0.2 mm per mm along j on a 2-mm grid
    assert float(smoothness_loss(slope, (10.0, 2.0, 2.0))) == pytest.approx(0.04, rel=1e-4)
    assert float(smoothness_loss(slope[:, :, :1], (10.0, 2.0, 2.0))) == pytest.approx(0.04, rel=1e-4)


def test_smoothness_takes_a_spacing_for_each_of_a_batch():
    slope = torch.zeros(2, 3, *SHAPE)
    slope[:, 0] = identity_positions(SHAPE)[:, 0]
    spacing = torch.tensor([[5.0, 2.0, 2.0], [10.0, 2.0, 2.0]])
    assert float(smoothness_loss(slope, spacing)) == pytest.approx(0.5 * (0.2**2 + 0.1**2), rel=1e-4)


def test_the_largest_field_costs_nothing_below_the_limit_and_its_squared_excess_above():
    field = torch.zeros(1, 3, *SHAPE)
    field[:, 0] = 19.0
    field[:, 1] = -17.0
    assert float(largest_field_loss(field)) == 0.0
    field[0, 2, 1, 5, 5] = 24.0  # 6 mm over: the soft maximum is the maximum for one lonely voxel
    assert float(largest_field_loss(field)) == pytest.approx(36.0, rel=1e-3)


def test_folding_costs_what_the_determinant_lacks():
    line = torch.arange(6.0).view(1, 1, 1, 1, 6).expand(1, 1, 4, 5, 6)
    still = torch.zeros(1, 2, 4, 5, 6)
    squeezed = torch.cat([still, -0.5 * line], dim=1)  # half the width: det 0.5
    folded = torch.cat([still, -1.2 * line], dim=1)  # det −0.2
    assert float(folding_loss(squeezed)) == 0.0
    assert float(folding_loss(folded)) == pytest.approx(0.3)
    assert float(folding_loss(folded, margin=0.0)) == pytest.approx(0.2)
