"""The window about the heart: what goes in comes back, and what is outside stays."""

import numpy as np
import pytest
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.errors import TrainingError
from COFTrainingLib.training.comparators.windows import ClipGrid, window_of

GRID = ClipGrid(frames=4, size=32, pixel_mm=2.0)


@pytest.fixture
def heart():
    """Return a stack of four slices whose labels lie in the middle two, off its centre, and a smooth image."""
    row, column = np.mgrid[:60, :80]
    image = 100.0 + 60.0 * np.sin(row / 9.0) * np.cos(column / 11.0)
    labels = np.zeros((4, 60, 80), dtype=np.uint8)
    labels[1:3, 20:31, 40:51] = 1
    matrix = np.diag([1.5, 1.25, 8.0, 1.0])
    return SaxStack(np.repeat(image[None], 4, axis=0).astype(np.float32), matrix), labels


def test_a_smooth_image_comes_back_and_the_surroundings_stay(heart):
    anchor, labels = heart
    window = window_of(anchor, labels, GRID)
    assert window.slices == (1, 2)
    assert window.centre == (25.0, 45.0)
    clips = window.into(anchor.voxels[None].repeat(3, axis=0))
    assert tuple(clips.shape) == (2, 3, 32, 32)
    back = window.out_of(clips, anchor.voxels)
    assert back.shape == (3, 4, 60, 80)
    assert np.abs(back[:, 1:3, 15:36, 35:56] - anchor.voxels[1:3, 15:36, 35:56]).max() < 6.0  # of a range of 120
    assert np.array_equal(back[:, 0], anchor.voxels[[0, 0, 0]])
    far = np.ones((60, 80), dtype=bool)
    far[0:53, 21:70] = False  # 32 pixels of 2 mm about the centre
    assert np.array_equal(back[0, 1][far], anchor.voxels[1][far])


def test_a_bright_spot_stays_where_it_is(heart):
    anchor, labels = heart
    volume = np.zeros((1, 4, 60, 80), dtype=np.float32)
    volume[0, 1, 30:33, 50:53] = 1.0
    window = window_of(SaxStack(volume[0], anchor.ijk_to_ras), labels, GRID)
    window = type(window)(**{**window.__dict__, "low": 0.0, "high": 1.0})
    back = window.out_of(window.into(volume), np.zeros((4, 60, 80), dtype=np.float32))[0, 1]
    weight = back.clip(0)
    rows, columns = np.indices(back.shape)
    assert (weight * rows).sum() / weight.sum() == pytest.approx(31.0, abs=0.3)
    assert (weight * columns).sum() / weight.sum() == pytest.approx(51.0, abs=0.3)


def test_labels_without_a_heart_are_refused(heart):
    anchor, labels = heart
    with pytest.raises(TrainingError, match="must show a heart"):
        window_of(anchor, np.zeros_like(labels), GRID)
    with pytest.raises(TrainingError, match="at least 4 frames"):
        ClipGrid(frames=2)
