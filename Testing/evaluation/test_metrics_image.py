"""Image metrics against closed forms and a slow, independent SSIM."""

import numpy as np
import pytest
from COFTrainingLib.evaluation.metrics.image import (
    ReferenceImages,
    compare_cines,
    decibel,
    local,
    pearson,
    scale_of,
    ssim_map,
)


def slow_ssim(one, other, window=7):
    """SSIM window by window, from the definition (Wang 2004) with unbiased variances."""
    half, out = window // 2, []
    for row in range(half, one.shape[0] - half):
        for column in range(half, one.shape[1] - half):
            a = one[row - half : row + half + 1, column - half : column + half + 1].ravel()
            b = other[row - half : row + half + 1, column - half : column + half + 1].ravel()
            (va, c), (_, vb) = np.cov(a, b)
            out.append((2 * a.mean() * b.mean() + 1e-4) * (2 * c + 9e-4)
                       / ((a.mean() ** 2 + b.mean() ** 2 + 1e-4) * (va + vb + 9e-4)))  # fmt: skip
    return float(np.mean(out))


def test_psnr_of_a_known_error_is_its_closed_form():
    assert decibel(0.1**2) == pytest.approx(20.0)
    assert decibel(0.01**2) == pytest.approx(40.0)
    assert decibel(0.0) == 100.0
    assert np.isnan(decibel(np.nan))


def test_ssim_equals_the_slow_definition_and_is_one_for_equal_slices():
    rng = np.random.default_rng(0)
    one = rng.random((15, 18))
    other = np.clip(one + 0.2 * rng.standard_normal(one.shape), 0, 1)
    assert np.nanmean(ssim_map(one, other)) == pytest.approx(slow_ssim(one, other), abs=1e-9)
    assert np.nanmean(ssim_map(one, one)) == pytest.approx(1.0)


def test_ssim_looks_at_each_slice_alone_and_is_unknown_where_no_window_fits():
    rng = np.random.default_rng(1)
    stack, other = rng.random((3, 12, 12)), rng.random((3, 12, 12))
    whole = ssim_map(stack, other)
    assert np.nanmean(whole[1]) == pytest.approx(np.nanmean(ssim_map(stack[1], other[1])))
    assert np.isnan(ssim_map(stack[:, :5, :5], other[:, :5, :5])).all()


def test_ssim_agrees_with_scikit_image():
    structural = pytest.importorskip("skimage.metrics", reason="scikit-image is not installed")
    rng = np.random.default_rng(2)
    one = rng.random((40, 50))
    other = np.clip(one + 0.1 * rng.standard_normal(one.shape), 0, 1)
    theirs = structural.structural_similarity(one, other, data_range=1.0)
    assert np.nanmean(ssim_map(one, other)) == pytest.approx(theirs, abs=1e-7)
    theirs = structural.peak_signal_noise_ratio(one, other, data_range=1.0)
    assert decibel(float(np.mean((one - other) ** 2))) == pytest.approx(theirs)


def a_cine(shift=0):
    """A bright square that grows and shrinks, optionally out of phase."""
    frames = np.full((8, 2, 32, 32), 0.2, dtype=np.float32)
    for t in range(8):
        half = 6 + round(4 * np.cos(2 * np.pi * (t + shift) / 8))
        frames[t, :, 16 - half : 16 + half, 16 - half : 16 + half] = 0.9
    return frames


def test_a_cine_is_like_itself_and_a_still_one_has_no_motion_correlation():
    cine, heart = a_cine(), np.zeros((2, 32, 32), dtype=bool)
    heart[:, 6:26, 6:26] = True
    same = compare_cines(ReferenceImages(cine), cine, heart)
    assert same["psnr_db"] == 100.0
    assert same["ssim"] == same["motion_correlation"] == pytest.approx(1.0)
    still = compare_cines(ReferenceImages(cine), np.repeat(cine[:1], 8, axis=0), heart)
    assert np.isnan(still["motion_correlation"])
    assert still["psnr_heart_db"] < still["psnr_db"] < 40


def test_motion_out_of_phase_is_found_by_motion_metrics_first():
    cine, heart = a_cine(), np.ones((2, 32, 32), dtype=bool)
    late = compare_cines(ReferenceImages(cine), np.concatenate([cine[:1], a_cine(shift=3)[1:]]), heart)
    assert late["motion_correlation"] < 0.75
    assert late["motion_ssim_heart"] < compare_cines(ReferenceImages(cine), cine, heart)["motion_ssim_heart"]


def test_correlation_and_scale_survive_constants():
    assert np.isnan(pearson(np.ones(4), np.arange(4)))
    assert pearson(np.arange(5), -2.0 * np.arange(5)) == pytest.approx(-1.0)
    scale = scale_of(np.linspace(100, 200, 1001).reshape(7, 11, 13))
    assert scale(np.array([0.0, 150.0, 900.0])) == pytest.approx([0.0, 0.5, 1.0], abs=0.01)


def test_what_is_kept_of_a_reference_changes_nothing():
    one, other = np.random.default_rng(4).random((2, 2, 24, 20))
    assert np.array_equal(ssim_map(local(one), other), ssim_map(one, other), equal_nan=True)
