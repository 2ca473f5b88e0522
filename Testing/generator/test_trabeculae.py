import numpy as np
import pytest
import torch
from COFGeneratorLib.generator.networks.grid import label_fractions
from COFGeneratorLib.generator.trabeculae import VEIL, Trabeculae

BLOOD, MUSCLE = 200.0, 50.0


@pytest.fixture
def heart():
    """A stack whose LV is a quarter muscle, its RV none: voxels and labels (D, H, W)."""
    labels = np.zeros((2, 12, 12), dtype=np.uint8)
    labels[:, 2:10, 2:8] = 2
    labels[:, 4:8, 3:7] = 1
    labels[:, 2:10, 8:10] = 3
    voxels = np.full(labels.shape, 20.0, dtype=np.float32)
    voxels[(labels == 1) | (labels == 3)] = BLOOD
    voxels[labels == 2] = MUSCLE
    voxels[:, 4, 3:7] = MUSCLE
    return voxels, labels


def shown(voxels, labels, left, right):
    frames, fractions = torch.from_numpy(voxels)[None], torch.from_numpy(label_fractions(labels))[None]
    return Trabeculae(voxels, labels).veil(frames, fractions, torch.tensor([[left, 1.0, right]]))[0].numpy()


@pytest.mark.parametrize("squeezed", [0.4, 0.5, 0.8])
def test_muscle_fills_more_of_a_squeezed_cavity(heart, squeezed):
    voxels, labels = heart
    found = shown(voxels, labels, squeezed, 0.7)
    blood = (labels == 1) & (voxels == BLOOD)
    assert found[blood] == pytest.approx(BLOOD - VEIL * (BLOOD - MUSCLE) * 0.25 * (1 / squeezed - 1), abs=0.01)
    assert found[labels != 1] == pytest.approx(voxels[labels != 1])  # the RV holds no muscle
    assert found[(labels == 1) & ~blood] == pytest.approx(MUSCLE)  # nothing is darker than muscle


def test_a_cavity_as_large_as_the_anchor_s_is_as_it_was(heart):
    voxels, labels = heart
    assert (shown(voxels, labels, 1.0, 1.0) == voxels).all()


def test_a_cavity_that_fills_from_an_anchor_at_end_systole_brightens(heart):
    voxels, labels = heart
    found = shown(voxels, labels, 2.0, 1.0)
    muscle = (BLOOD - MUSCLE) * 0.25
    assert found[labels == 1].mean() == pytest.approx(voxels[labels == 1].mean() + VEIL * muscle * 0.5, abs=0.01)


@pytest.mark.parametrize("change", ["dark blood", "no wall", "no cavity", "flat"])
def test_pictures_without_bright_blood_are_left_alone(heart, change):
    voxels, labels = heart
    voxels, labels = voxels.copy(), labels.copy()
    if change == "dark blood":
        voxels[labels == 1] = voxels[labels == 3] = 10.0
    elif change == "no wall":
        labels[labels == 2] = 0
    elif change == "no cavity":
        labels[labels != 2] = 0
    else:
        voxels[:] = 7.0
    assert not Trabeculae(voxels, labels).shown
    assert (shown(voxels, labels, 0.5, 0.5) == voxels).all()
