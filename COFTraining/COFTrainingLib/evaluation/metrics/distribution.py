"""Distances between distributions of features, with what their small-sample bias needs: equal N, a floor, KID.

A Fréchet distance at small N is mostly sampling bias (two halves of one distribution are far from 0), so every
distance is printed beside that of two halves of the reference at the same N.
"""

from collections.abc import Callable

import numpy as np
from scipy.linalg import eigh

RESAMPLES = 50
SUBSAMPLE = 0.8
Distance = Callable[[np.ndarray, np.ndarray], float]
"""Of two samples (N, d)."""


def frechet(one: np.ndarray, other: np.ndarray) -> float:
    """Return |μ₁−μ₂|² + tr(Σ₁+Σ₂−2(Σ₁Σ₂)^½) of two samples (N, d) (Heusel et al. 2017).

    The trace of the root comes from the singular values of X₁X₂ᵀ: exact, and cheap where N < d.
    """
    one, other = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    mean_one, mean_other = one.mean(axis=0), other.mean(axis=0)
    a = (one - mean_one) / np.sqrt(len(one) - 1)
    b = (other - mean_other) / np.sqrt(len(other) - 1)
    # Σ₁Σ₂ and (a bᵀ)(a bᵀ)ᵀ share their non-zero eigenvalues: tr (Σ₁Σ₂)^½ is the sum of singular values of a bᵀ
    root = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(((mean_one - mean_other) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2.0 * root)


def paired_kernel_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return ``kernel_distance`` of samples whose rows belong together.

    A row and its own partner are left out, as a row and itself are: near-copies would make the distance negative.
    """
    return kernel_distance(one, other, paired=True)


def kernel_distance(one: np.ndarray, other: np.ndarray, paired: bool = False) -> float:
    """Return the unbiased squared MMD with the kernel (x·y/d + 1)³ (KID, Bińkowski et al. 2018)."""
    one, other = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    d = one.shape[1]

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / d + 1.0) ** 3

    def within(x: np.ndarray) -> float:
        k, n = kernel(x, x), len(x)
        return (k.sum() - np.trace(k)) / (n * (n - 1))

    across = kernel(one, other)
    n = len(one)
    between = (across.sum() - np.trace(across)) / (n * (n - 1)) if paired else across.mean()
    return float(within(one) + within(other) - 2.0 * between)


def standardise(reference: np.ndarray, *others: np.ndarray, keep: int = 0) -> list[np.ndarray]:
    """Return all samples in the reference's principal components.

    Args:
        reference: (N, d); its mean and its largest components are used for all.
        others: Further samples.
        keep: Number of components; all where 0. The scale is one number, so distances keep their proportions.
    """
    mean = reference.mean(axis=0)
    _, vectors = eigh(np.cov(reference.T))
    vectors = vectors[:, ::-1][:, :keep] if keep else vectors
    parts = [(sample - mean) @ vectors for sample in (reference, *others)]
    scale = np.sqrt(parts[0].var(axis=0).mean())
    return [part / max(scale, 1e-12) for part in parts]


def subsampled(
    one: np.ndarray, other: np.ndarray, distance: Distance, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Return mean and SD of a distance of paired samples over subsamples without replacement, as (mean, SD).

    With replacement, repeated subjects would add bias (methods of small samples).
    """
    rng = np.random.default_rng(seed)
    size = max(3, round(SUBSAMPLE * len(one)))
    values = []
    for _ in range(resamples):
        chosen = rng.permutation(len(one))[:size]
        values.append(distance(one[chosen], other[chosen]))
    return float(np.mean(values)), float(np.std(values))


def standard_error(spread: float) -> float:
    """Return the standard error that the SD over subsamples of ``SUBSAMPLE`` without replacement stands for.

    The delete-d jackknife (Shao and Wu 1989): subsamples overlap, so their SD is too small by √(kept / left out).
    """
    return spread * np.sqrt(SUBSAMPLE / (1.0 - SUBSAMPLE))


def half_split(
    sample: np.ndarray, distance: Distance, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Return mean and SD of the distance of two random halves of one sample: its floor."""
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(resamples):
        order = rng.permutation(len(sample))
        half = len(sample) // 2
        values.append(distance(sample[order[:half]], sample[order[half : 2 * half]]))
    return float(np.mean(values)), float(np.std(values))
