"""A region of interest: what it holds, and what is said when it misses."""

import numpy as np
import pytest
from COFGeneratorLib.anatomy.roi import Roi, as_roi, check_heart_in, check_on_stack
from COFGeneratorLib.errors import AnatomyError

SHAPE = (14, 90, 90)


@pytest.fixture(scope="module")
def grid(oblique) -> np.ndarray:
    matrix = oblique.copy()
    middle = matrix[:3, :3] @ [(n - 1) / 2 for n in SHAPE[::-1]]
    matrix[:3, 3] = -middle  # the heart of `heart_labels` sits at the origin
    return matrix


def test_the_voxels_of_a_box_are_those_within_its_bounds(grid):
    roi = Roi.from_bounds((-30, 20, -10, 40, -15, 25))
    k, j, i = np.indices(SHAPE)
    ras = np.stack([i, j, k], axis=-1) @ grid[:3, :3].T + grid[:3, 3]
    low, high = np.array([-30, -10, -15]), np.array([20, 40, 25])
    assert np.array_equal(roi.mask(SHAPE, grid), ((ras >= low) & (ras <= high)).all(axis=-1))
    assert np.array_equal(roi.mask(SHAPE, grid, 5.0), ((ras >= low - 5) & (ras <= high + 5)).all(axis=-1))
    assert roi.distance_mm([-40.0, 0.0, 0.0]) == pytest.approx(10.0)
    assert roi.distance_mm([0.0, 0.0, 0.0]) == 0.0


def test_a_turned_box_holds_what_its_axes_say():
    axes = np.array([[1.0, 1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, np.sqrt(2.0)]]) / np.sqrt(2.0)
    roi = Roi((0, 0, 0), (40, 4, 4), axes)
    assert roi.distance_mm([12.0, 12.0, 0.0]) == 0.0
    assert roi.distance_mm([12.0, -12.0, 0.0]) > 10.0
    back = roi.described()
    assert np.allclose(Roi(back["centre_ras_mm"], back["size_mm"], back["axes_ras"]).axes_ras, axes, atol=1e-5)


@pytest.mark.parametrize(
    ("bounds", "match"),
    [
        ((1, 2, 3), "six numbers; found 3"),
        ((10, -10, 0, 5, 0, 5), "must exceed"),
        ((0, 0, 0, 5, 0, 5), "must exceed"),
        ((float("nan"), 5, 0, 5, 0, 5), "must exceed"),
        ((-1e9, 5, 0, 5, 0, 5), "within 2000 mm"),
        ((-1900, 1900, 0, 5, 0, 5), "box of some size"),
        ("abcdef", "something else|numbers"),
    ],
)
def test_what_is_no_box_is_refused(bounds, match):
    with pytest.raises(AnatomyError, match=match):
        as_roi(bounds)


def test_a_box_that_misses_the_stack_is_refused_with_what_the_stack_covers(grid):
    check_on_stack(Roi((0, 0, 0), (50, 50, 50)), SHAPE, grid)
    with pytest.raises(AnatomyError, match=r"must overlap the stack, which reaches x .*found one around \(400"):
        check_on_stack(Roi((400, 0, 0), (50, 50, 50)), SHAPE, grid)


def test_a_box_written_in_lps_is_suspected(grid):
    moved = grid.copy()
    moved[:3, 3] += (150.0, 150.0, 0.0)
    with pytest.raises(AnatomyError, match="written in LPS"):
        check_on_stack(Roi((-150, -150, 0), (80, 80, 80)), SHAPE, moved)


def test_labels_must_have_their_ventricle_in_the_box(grid, heart_labels):
    labels, _ = heart_labels(SHAPE, grid)
    assert check_heart_in(Roi((0, 0, 0), (220, 220, 220)), labels, grid, "user") == ()
    cut = check_heart_in(Roi((0, 0, 0), (40, 40, 40)), labels, grid, "user")
    assert len(cut) == 1
    assert "outside the region of interest" in cut[0]
    with pytest.raises(AnatomyError, match=r"labels given has its centre at .*mm outside the box"):
        check_heart_in(Roi((120, 0, 0), (100, 100, 100)), labels, grid, "user")
