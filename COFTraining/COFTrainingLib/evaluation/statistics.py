"""Statistics of paired results: subjects are what is resampled, never frames or slices."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

RESAMPLES = 5000
LEVEL = 0.95
Values = Sequence[float] | np.ndarray
"""One number a subject; NaN where there is none."""


def as_number(value: float | None) -> float:
    """Return a number as it was before JSON, which has no NaN."""
    return float("nan") if value is None else float(value)


def known_mean(values: Values, mask: np.ndarray | None = None) -> float:
    """Return the mean of what is known, within a mask (broadcast over leading axes); NaN where nothing is."""
    values = np.asarray(values, dtype=float)
    known = np.isfinite(values)
    if mask is not None:
        known &= np.broadcast_to(mask, values.shape)
    return float(values[known].mean()) if known.any() else float("nan")


@dataclass(frozen=True)
class Interval:
    """An estimate with its bootstrap confidence interval."""

    value: float
    low: float
    high: float
    n: int


def bca_interval(
    values: Values,
    statistic: Callable[..., float] = np.mean,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """Return the BCa bootstrap interval of a statistic over subjects (Efron 1987).

    Args:
        values: One number a subject; NaN are left out (and not counted in ``n``).
        statistic: Takes an array and an ``axis``.
        resamples: Bootstrap samples.
        level: Of confidence.
        seed: Of the resampling.
    """
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    if len(known) == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    estimate = float(statistic(known, axis=0))
    if len(known) < 4:
        return Interval(estimate, float("nan"), float("nan"), len(known))
    if np.ptp(known) == 0:
        return Interval(estimate, estimate, estimate, len(known))
    result = stats.bootstrap(
        (known,), statistic, axis=0, n_resamples=resamples, confidence_level=level, method="BCa",
        rng=np.random.default_rng(seed), vectorized=True, batch=1000,
    )  # fmt: skip
    low, high = (float(end) for end in result.confidence_interval)
    return Interval(estimate, low, high, len(known))


def bootstrap_means(values: Values, resamples: int = 500, seed: int = 0) -> np.ndarray:
    """Return the means of bootstrap samples of what is known, (resamples,)."""
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    if len(known) == 0:
        return np.empty(0)
    rng = np.random.default_rng(seed)
    return known[rng.integers(len(known), size=(resamples, len(known)))].mean(axis=1)


def sign_test(wins: int, losses: int) -> float:
    """Return the exact two-sided p of ``wins`` against ``losses``; ties belong to neither (Dixon & Mood 1946)."""
    if wins + losses == 0:
        return 1.0
    return float(stats.binomtest(wins, wins + losses, 0.5).pvalue)


def holm(p_values: Values) -> list[float]:
    """Return Holm's step-down adjusted p values in the given order (Holm 1979)."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    raised = np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order])
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(raised, 1.0)
    return adjusted.tolist()


@dataclass(frozen=True)
class Paired:
    """Comparison of two methods on the same subjects; errors, so less is better.

    Attributes:
        wins, losses, ties: In how many subjects the first has the smaller, the larger, the same error.
        p_sign: Exact sign test.
        p_holm: The same after Holm over the metrics of one comparator; NaN where it stands alone.
        p_wilcoxon: Signed-rank test.
        difference: Mean difference (first − second) with its BCa interval.
    """

    wins: int
    losses: int
    ties: int
    p_sign: float
    p_holm: float
    p_wilcoxon: float
    difference: Interval


def compare_pair(first: Values, second: Values) -> Paired:
    """Compare the errors of two methods, (N,) each, subject by subject; pairs with a NaN are left out."""
    difference = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    difference = difference[np.isfinite(difference)]
    wins, losses = int((difference < 0).sum()), int((difference > 0).sum())
    moved = difference[difference != 0]
    wilcoxon = float(stats.wilcoxon(moved).pvalue) if len(moved) else 1.0
    ties = int((difference == 0).sum())
    return Paired(
        wins, losses, ties, p_sign=sign_test(wins, losses), p_holm=float("nan"), p_wilcoxon=wilcoxon,
        difference=bca_interval(difference),
    )  # fmt: skip


def compare_family(first: Mapping[str, Values], second: Mapping[str, Values]) -> dict[str, Paired]:
    """Compare two methods on a family of metrics, with Holm's correction over the family."""
    raw = {name: compare_pair(first[name], second[name]) for name in first}
    adjusted = dict(zip(raw, holm([pair.p_sign for pair in raw.values()]), strict=True))
    return {name: replace(pair, p_holm=adjusted[name]) for name, pair in raw.items()}


def fisher_exact(table: Sequence[Sequence[int]]) -> float:
    """Return the two-sided p of a 2×2 table of two *disjoint* groups."""
    return float(stats.fisher_exact(np.asarray(table)).pvalue)


def correlation_interval(one: Values, other: Values, resamples: int = 2000, seed: int = 0) -> Interval:
    """Return Pearson's r over subjects with a percentile bootstrap interval; NaN below four subjects."""
    pairs = np.column_stack([one, other]).astype(float)
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    if len(pairs) < 4 or np.ptp(pairs, axis=0).min() == 0:
        return Interval(float("nan"), float("nan"), float("nan"), len(pairs))
    rng = np.random.default_rng(seed)
    drawn = pairs[rng.integers(len(pairs), size=(resamples, len(pairs)))]
    centred = drawn - drawn.mean(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        r = (centred[..., 0] * centred[..., 1]).sum(1) / np.sqrt((centred**2).sum(1).prod(1))
    low, high = np.nanpercentile(r, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Interval(float(np.corrcoef(pairs.T)[0, 1]), float(low), float(high), len(pairs))
