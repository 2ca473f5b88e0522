"""Statistics against published check values and independent computations."""

import numpy as np
import pytest
from COFTrainingLib.evaluation.metrics.distribution import frechet, half_split, kernel_distance, standardise
from COFTrainingLib.evaluation.statistics import (
    bca_interval,
    bootstrap_means,
    compare_family,
    compare_pair,
    correlation_interval,
    fisher_exact,
    holm,
    sign_test,
)


@pytest.mark.parametrize(
    ("wins", "n", "p"), [(58, 62, 2.6e-13), (61, 62, 2.7e-17), (36, 62, 0.253), (34, 62, 0.526), (42, 64, 0.017)]
)
def test_the_sign_test_gives_the_papers_check_values(wins, n, p):
    assert sign_test(wins, n - wins) == pytest.approx(p, rel=0.03)


def test_the_sign_test_without_pairs_says_nothing():
    assert sign_test(0, 0) == 1.0
    assert sign_test(5, 5) == pytest.approx(1.0)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]


def test_disjoint_fisher_reproduces_the_corrected_value():
    assert fisher_exact([[59, 10], [273, 82]]) == pytest.approx(0.150, abs=0.01)
    assert fisher_exact([[59, 10], [332, 92]]) == pytest.approx(0.201, abs=0.01)  # the paper's, with overlap


def test_bca_covers_the_mean_about_as_often_as_promised_and_is_skewed_where_data_are():
    rng = np.random.default_rng(0)
    inside = 0
    for trial in range(60):
        sample = rng.exponential(1.0, 40)
        interval = bca_interval(sample, resamples=600, seed=trial)
        inside += interval.low <= 1.0 <= interval.high
    assert 48 <= inside <= 60
    assert interval.high - interval.value > interval.value - interval.low


def test_small_or_constant_samples_have_honest_intervals():
    assert bca_interval([]).n == 0
    assert np.isnan(bca_interval([1.0, 2.0]).low)
    constant = bca_interval([2.0, 2.0, 2.0, 2.0, np.nan])
    assert (constant.low, constant.high, constant.n) == (2.0, 2.0, 4)


def test_pairs_count_wins_losses_and_ties_and_leave_unknown_pairs_out():
    pair = compare_pair([1, 2, 3, 4, np.nan], [2, 2, 2, 9, 1])
    assert (pair.wins, pair.losses, pair.ties) == (2, 1, 1)
    assert pair.difference.value == pytest.approx((-1 + 0 + 1 - 5) / 4)
    family = compare_family({"a": np.zeros(8), "b": np.zeros(8)}, {"a": np.ones(8), "b": np.arange(8) - 3.5})
    assert family["a"].p_sign == pytest.approx(2 / 256)
    assert family["a"].p_holm == pytest.approx(4 / 256)


def test_correlation_has_an_interval_around_it():
    rng = np.random.default_rng(3)
    x = rng.standard_normal(60)
    found = correlation_interval(x, x + rng.standard_normal(60))
    assert found.low < np.sqrt(0.5) < found.high
    assert np.isnan(correlation_interval([1, 2, 3], [1, 2, 3]).value)
    assert bootstrap_means([1.0, np.nan, 3.0], resamples=20).shape == (20,)


def test_frechet_is_the_closed_form_of_gaussians_and_equals_a_matrix_square_root():
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(1)
    one, other = rng.standard_normal((400, 5)) * 2.0, rng.standard_normal((300, 5)) + 1.0
    a, b = np.cov(one.T), np.cov(other.T)
    root = np.trace(sqrtm(a @ b)).real
    direct = ((one.mean(0) - other.mean(0)) ** 2).sum() + np.trace(a) + np.trace(b) - 2 * root
    assert frechet(one, other) == pytest.approx(direct, rel=1e-6)
    assert frechet(one, one) == pytest.approx(0.0, abs=1e-6)
    shifted = one + np.array([3.0, 0, 0, 0, 0])
    assert frechet(one, shifted) == pytest.approx(9.0, rel=1e-6)
    assert frechet(one[:4], one[4:8]) > 0  # fewer samples than dimensions


def test_kid_is_unbiased_and_the_floor_is_not_zero():
    rng = np.random.default_rng(2)
    same = [kernel_distance(rng.standard_normal((30, 4)), rng.standard_normal((30, 4))) for _ in range(80)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(80)
    assert kernel_distance(rng.standard_normal((50, 4)), rng.standard_normal((50, 4)) + 1.0) > 0.3
    sample = rng.standard_normal((40, 4))
    assert kernel_distance(sample, sample) < 0 == pytest.approx(kernel_distance(sample, sample, paired=True))
    assert half_split(rng.standard_normal((40, 6)), frechet, resamples=5)[0] > 0.1


def test_standardising_keeps_proportions():
    rng = np.random.default_rng(5)
    one = rng.standard_normal((50, 6)) * np.array([5, 3, 1, 1, 1, 0.1])
    parts = standardise(one, one + 1.0, keep=3)
    assert parts[0].shape == (50, 3)
    assert parts[0].var(axis=0).mean() == pytest.approx(1.0)
    assert parts[0].var(axis=0)[0] / parts[0].var(axis=0)[1] == pytest.approx(25 / 9, rel=0.6)
