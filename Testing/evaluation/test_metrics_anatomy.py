"""Overlap and distances by hand and against MONAI: empties, one slice, anisotropy, islands."""

import numpy as np
import pytest
import torch
from COFTrainingLib.evaluation.metrics.anatomy import (
    compare_slices,
    compare_volumes,
    confusion,
    hausdorff95,
    overlap,
    parts,
    slice_ranks,
)


def test_overlap_is_what_one_counts_by_hand():
    reference = np.array([[[1, 1, 2, 0]], [[0, 0, 0, 0]]])
    found = np.array([[[1, 2, 2, 0]], [[0, 0, 0, 0]]])
    dice, iou = overlap(confusion(reference, found), 1)
    assert dice[0] == pytest.approx(2 / 3)
    assert iou[0] == pytest.approx(1 / 2)
    assert np.isnan(dice[1])  # neither has it: nothing to compare
    assert overlap(confusion(reference[:1], np.zeros_like(reference[:1])), 2)[0] == 0.0


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (10.0, 1.4, 1.4)])
def test_hd95_equals_monai_s_in_3d_with_spacing(spacing):
    from monai.metrics import compute_hausdorff_distance

    grid = np.stack(np.meshgrid(np.arange(9), np.arange(30), np.arange(30), indexing="ij"))
    one = ((grid - np.array([4, 14, 14])[:, None, None, None]) ** 2 / np.array([9, 80, 80])[:, None, None, None]).sum(
        0
    ) < 1
    other = np.roll(one, (1, 3), axis=(0, 2))
    other[0, 2:4, 2:4] = True  # an island far away

    def shaped(mask):
        return torch.from_numpy(mask.astype(np.float32))[None, None]

    theirs = compute_hausdorff_distance(shaped(other), shaped(one), include_background=True, percentile=95,
                                        spacing=list(spacing))  # fmt: skip
    assert hausdorff95(one, other, spacing) == pytest.approx(float(theirs), rel=1e-4)


def test_hd95_of_a_shift_in_plane_is_the_shift_in_mm_and_a_lost_slice_costs_the_pitch():
    square = np.zeros((1, 40, 40), dtype=bool)
    square[:, 10:20, 10:20] = True
    assert hausdorff95(square[0], np.roll(square[0], 4, axis=1), (1.5, 1.5)) == pytest.approx(6.0)
    stack = np.repeat(square, 6, axis=0)
    lost = stack.copy()
    lost[0] = False
    assert hausdorff95(stack, lost, (9.0, 1.5, 1.5)) == pytest.approx(9.0)
    assert hausdorff95(stack, stack, (9.0, 1.5, 1.5)) == 0.0


def test_empties_are_charged_the_diagonal_and_counted():
    full, none = np.ones((2, 3, 4), dtype=bool), np.zeros((2, 3, 4), dtype=bool)
    assert hausdorff95(full, none, (2.0, 1.0, 1.0)) == pytest.approx(np.sqrt(4**2 + 3**2 + 4**2))
    assert np.isnan(hausdorff95(none, none, (2.0, 1.0, 1.0)))
    reference = np.zeros((2, 2, 3, 4), dtype=np.uint8)
    reference[:, 0] = 1
    row = compare_volumes(reference, np.zeros_like(reference), (2.0, 1.0, 1.0), [0, 1])
    assert row["dice_lv"] == 0.0
    assert row["empty_lv"] == 2
    assert np.isnan(row["dice_rv"])
    assert row["dice_macro"] == 0.0  # over what is there


def test_one_slice_can_be_compared():
    reference = np.zeros((1, 1, 20, 20), dtype=np.uint8)
    reference[0, 0, 5:15, 5:15] = 2
    row = compare_volumes(reference, reference, (8.0, 1.0, 1.0), [0])
    assert row["dice_myo"] == 1.0
    assert row["hd95_myo_mm"] == 0.0


def test_slices_are_ranked_from_the_base_and_thin_ones_left_out():
    labels = np.zeros((6, 10, 10), dtype=np.uint8)
    for k, size in enumerate((1, 4, 8, 8, 6, 0)):
        labels[k, :size, :size] = 2
    assert slice_ranks(labels, apex_last=True) == [1, 2, 3, 4]
    assert slice_ranks(labels, apex_last=False) == [4, 3, 2, 1]
    rows = compare_slices(labels, labels, [1, 2], (8.0, 1.0, 1.0))
    assert {(row["rank"], row["structure"]) for row in rows} == {(r, s) for r in (1, 2) for s in ("lv", "myo", "rv")}
    assert [row["dice"] for row in rows if row["structure"] == "myo"] == [1.0, 1.0]


def test_parts_are_counted_over_corners():
    mask = np.zeros((2, 4, 4), dtype=bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[0, 3, 3] = True
    assert parts(mask) == 2


def test_overlap_agrees_with_scipy():
    from scipy.spatial.distance import dice, jaccard

    reference, found = np.random.default_rng(3).integers(0, 4, (2, 2, 5, 9, 9))
    table = confusion(reference, found)
    for code in (1, 2, 3):
        mine = overlap(table, code)
        for frame in range(2):
            one, other = (reference[frame] == code).ravel(), (found[frame] == code).ravel()
            assert mine[0][frame] == pytest.approx(1.0 - dice(one, other))
            assert mine[1][frame] == pytest.approx(1.0 - jaccard(one, other))
