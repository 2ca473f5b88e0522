"""Signal follows physics, images follow their seed, artefacts do what they are for."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from COFTrainingLib.phantom.appearance import Acquisition, draw_acquisition, form_images
from COFTrainingLib.phantom.contrast import Contrast, bssfp_signal, draw_contrast, spoiled_signal
from COFTrainingLib.phantom.tissues import BLOOD, TISSUE_COUNT, Tissue


def a_plain_acquisition(**changes):
    mean = np.linspace(0.1, 1.0, TISSUE_COUNT).astype(np.float32)
    contrast = Contrast(mean, np.zeros(TISSUE_COUNT, np.float32), "random")
    plain = Acquisition(contrast, 0.0, 1.0, np.zeros(10), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    return replace(plain, **changes)


def halves():
    tissues = torch.full((3, 2, 32, 32), int(Tissue.MYOCARDIUM), dtype=torch.uint8)
    tissues[..., 16:] = int(Tissue.LV_BLOOD)
    return tissues


def test_balanced_ssfp_signal_at_1_5_tesla():
    flip = np.deg2rad(60.0)
    signal = bssfp_signal([1.0, 1.0, 1.0], [1500.0, 1030.0, 300.0], [250.0, 45.0, 70.0], flip)
    assert signal == pytest.approx([0.19245, 0.06690, 0.2377], abs=2e-4)  # worked by hand from the formula
    assert bssfp_signal(1.0, 1000.0, 1000.0, np.pi / 2) == pytest.approx(0.5)  # T1 = T2: half of M0 at 90°


def test_spoiled_signal_peaks_at_the_ernst_angle():
    t1, tr = 1000.0, 6.0
    angles = np.deg2rad(np.linspace(1, 30, 600))
    best = angles[np.argmax(spoiled_signal(1.0, t1, 1e9, angles, tr, 0.0))]
    assert best == pytest.approx(np.arccos(np.exp(-tr / t1)), abs=2e-3)


def test_blood_is_brighter_than_muscle_in_cines_and_in_most_random_contrasts():
    bright = {"bssfp": [], "gre": [], "random": []}
    for seed in range(150):
        for kind, seen in bright.items():
            mean = draw_contrast(np.random.default_rng(seed), kind).mean
            seen.append(mean[Tissue.LV_BLOOD] > mean[Tissue.MYOCARDIUM])
            assert np.isfinite(mean).all()
            assert mean.min() >= 0
    assert np.mean(bright["bssfp"]) > 0.97
    assert np.mean(bright["gre"]) > 0.88  # slow flow and large flip angles leave some dark
    assert 0.75 < np.mean(bright["random"]) < 0.95


def test_without_artefacts_the_image_is_the_contrast():
    acquisition = a_plain_acquisition()
    image = form_images(halves(), acquisition, 1.5, torch.Generator().manual_seed(0))
    assert image[:, :, :16].numpy() == pytest.approx(acquisition.contrast.mean[Tissue.MYOCARDIUM], abs=1e-6)
    assert image[:, :, 16:].numpy() == pytest.approx(acquisition.contrast.mean[Tissue.LV_BLOOD], abs=1e-6)


def test_partial_volume_mixes_what_lies_within_the_slice():
    tissues = halves()
    tissues[:, 0] = int(Tissue.LUNG)
    acquisition = a_plain_acquisition()
    mean = acquisition.contrast.mean
    image = form_images(tissues, acquisition, 1.5, torch.Generator().manual_seed(0))
    assert image[0, 0, 0] == pytest.approx(0.5 * (mean[Tissue.LUNG] + mean[Tissue.MYOCARDIUM]), abs=1e-6)


def fat_on_muscle(tissue=Tissue.EPICARDIAL_FAT):
    tissues = torch.full((3, 1, 32, 32), int(Tissue.MYOCARDIUM), dtype=torch.uint8)
    tissues[..., 16:] = int(tissue)
    return tissues


def test_in_opposed_phase_a_black_line_is_drawn_where_fat_meets_muscle():
    line = {}
    for opposed in (False, True):
        acquisition = a_plain_acquisition(blur_mm=1.0, opposed=opposed)
        image = form_images(fat_on_muscle(), acquisition, 1.0, torch.Generator().manual_seed(0))[1, 16]
        mean = acquisition.contrast.mean
        assert image[[0, -1]].numpy() == pytest.approx(mean[[Tissue.MYOCARDIUM, Tissue.EPICARDIAL_FAT]], abs=1e-4)
        line[opposed] = float(image.min()) / float(mean[Tissue.MYOCARDIUM])
    assert line[False] == pytest.approx(1.0, abs=1e-4)  # between the two there is nothing darker than muscle
    assert line[True] < 0.5


def test_opposed_phase_changes_nothing_where_there_is_no_fat():
    images = [
        form_images(halves(), a_plain_acquisition(blur_mm=1.0, opposed=opposed), 1.0, torch.Generator().manual_seed(0))
        for opposed in (False, True)
    ]
    assert torch.equal(*images)


def test_fat_is_sometimes_as_bright_as_blood():
    ratio = []
    for seed in range(200):
        mean = draw_contrast(np.random.default_rng(seed), "bssfp").mean
        ratio.append(mean[Tissue.EPICARDIAL_FAT] / mean[Tissue.LV_BLOOD])
    alike = np.mean((np.array(ratio) > 0.74) & (np.array(ratio) < 1.31))
    assert 0.35 < alike < 0.85


def test_noise_is_rician():
    tissues = torch.zeros((8, 1, 64, 64), dtype=torch.uint8)
    contrast = Contrast(np.zeros(TISSUE_COUNT, np.float32), np.zeros(TISSUE_COUNT, np.float32), "random")
    acquisition = a_plain_acquisition(contrast=contrast, noise=0.1)
    image = form_images(tissues, acquisition, 1.5, torch.Generator().manual_seed(0))
    assert float(image.mean()) == pytest.approx(0.1 * np.sqrt(np.pi / 2), rel=0.01)  # Rayleigh in air


def test_blurring_keeps_the_mean_and_softens_edges():
    sharp = form_images(halves(), a_plain_acquisition(), 1.5, torch.Generator().manual_seed(0))
    soft = form_images(halves(), a_plain_acquisition(blur_mm=2.0), 1.5, torch.Generator().manual_seed(0))
    assert float(soft.mean()) == pytest.approx(float(sharp.mean()), rel=1e-3)
    assert soft.diff(dim=2).abs().max() < 0.5 * sharp.diff(dim=2).abs().max()


@pytest.mark.parametrize("seed", range(20))
def test_every_drawn_scan_gives_finite_images_that_follow_their_seed(seed):
    acquisition = draw_acquisition(np.random.default_rng(seed))
    images = [form_images(halves(), acquisition, 1.5, torch.Generator().manual_seed(seed)) for _ in range(2)]
    assert torch.isfinite(images[0]).all()
    assert images[0].min() >= 0
    assert torch.equal(*images)


def test_flow_changes_blood_only():
    acquisition = a_plain_acquisition(flow=0.2)
    image = form_images(halves(), acquisition, 1.5, torch.Generator().manual_seed(1))
    assert Tissue.LV_BLOOD in BLOOD
    assert image[:, :, :16].std() < 1e-6
    assert image[:, :, 16:].std() > 0.01
