"""Motions of training subjects, condensed for the baselines that only know others' hearts.

Source is a flow cache, i.e. exact motions and ECG measurements of training phantoms on a model's own grid: that of a
training run, or one made for the evaluation. What is kept: the mean motion, the mean of every ECG group, principal
components with the ridge regression of their scores on ECG measurements, and a few single motions.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
from COFGeneratorLib.ecg.cycle import SCALAR_NAMES
from COFGeneratorLib.errors import CohortError
from COFGeneratorLib.files import replacing
from COFGeneratorLib.generator.bundle import Bundle

from COFTrainingLib.evaluation.groups import ecg_group
from COFTrainingLib.training.examples.flow_cache import FlowCache

MOST_SUBJECTS = 384
COMPONENTS = 24
SINGLES = 32
LEAST_GROUP = 3
RIDGES = np.geomspace(1e-2, 1e4, 25)
FILE = "motions.npz"


def condense(cache: FlowCache, out: Path, subjects: int = MOST_SUBJECTS) -> Path:
    """Condense a cache's first examples into one file, unless it is there already; returns its path.

    Raises:
        CohortError: If there are too few complete examples.
    """
    chosen = cache.ready[:subjects]
    if len(chosen) < 8:
        raise CohortError(
            f"A library of motions needs at least 8 complete examples; found {len(chosen)} in {cache.folder}. Finish "
            "the cache, or leave --motions out."
        )
    origin = json.dumps({"facts": cache.facts, "used": len(chosen), "grid": cache.facts["grid"]}, sort_keys=True)
    path = Path(out) / FILE
    if path.is_file() and str(np.load(path)["origin"]) == origin:
        return path
    velocity, scalars = cache.arrays["velocity"], np.array(cache.arrays["scalars"][chosen, 0], dtype=float)
    mean, components, scores = _components(velocity, chosen)
    groups = [ecg_group(dict(zip(SCALAR_NAMES, row, strict=True))) for row in scalars]
    group_mean = {}
    for name in sorted(set(groups)):
        members = chosen[[group == name for group in groups]]
        if len(members) >= LEAST_GROUP:
            group_mean[name] = np.mean([velocity[index].astype(np.float32) for index in members], axis=0)
    weights, ridge = fit_ridge(features(scalars), scores)
    with replacing(path) as beside:
        np.savez(
            beside, origin=origin, mean=mean, components=components.astype(np.float16), ridge_weights=weights,
            ridge=ridge, centre=scalars.mean(axis=0), spread=scalars.std(axis=0),
            group_names=np.array(list(group_mean)),
            group_means=np.array(list(group_mean.values()), dtype=np.float16),
            singles=np.array(velocity[chosen[:SINGLES]], dtype=np.float16), used=len(chosen),
        )  # fmt: skip
    return path


def _components(velocity: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean (T, 3, D, H, W), components (K, T, 3, D, H, W) and scores (N, K), by the Gram matrix, phase by phase.

    The components are scaled so that scores have unit variance.
    """
    phases = velocity.shape[1]
    gram, mean = np.zeros((len(chosen), len(chosen))), []
    for phase in range(phases):
        part = velocity[chosen, phase].astype(np.float32).reshape(len(chosen), -1)
        mean.append(part.mean(axis=0))
        part = part - mean[-1]
        gram += (part @ part.T).astype(np.float64)
    values, vectors = np.linalg.eigh(gram)
    keep = np.argsort(values)[::-1][: min(COMPONENTS, len(chosen) - 1)]
    scores = vectors[:, keep] * np.sqrt(len(chosen))
    shape = velocity.shape[2:]
    components = np.empty((len(keep), phases, *shape), dtype=np.float32)
    for phase in range(phases):
        part = velocity[chosen, phase].astype(np.float32).reshape(len(chosen), -1) - mean[phase]
        components[:, phase] = (scores.T @ part / len(chosen)).reshape(len(keep), *shape)
    return np.stack(mean).reshape(phases, *shape), components, scores


def features(scalars: np.ndarray, centre: np.ndarray | None = None, spread: np.ndarray | None = None) -> np.ndarray:
    """Return the regression's inputs (N, F): standardised scalars, squares and products of the first four, and 1."""
    scalars = np.atleast_2d(scalars).astype(float)
    centre = scalars.mean(axis=0) if centre is None else centre
    spread = scalars.std(axis=0) if spread is None else spread
    z = np.clip((scalars - centre) / np.where(spread > 1e-9, spread, 1.0), -4, 4)
    products = [z[:, a] * z[:, b] for a in range(4) for b in range(a, 4)]
    return np.column_stack([np.ones(len(z)), z, *products])


def fit_ridge(inputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, float]:
    """Return ridge weights (F, K) and the penalty with the least leave-one-out error (closed form)."""
    u, s, vt = np.linalg.svd(inputs, full_matrices=False)
    best, least = (np.empty(0), 0.0), np.inf
    for ridge in RIDGES:
        shrink = s**2 / (s**2 + ridge)
        fitted = u @ (shrink[:, None] * (u.T @ targets))
        leverage = (u**2 * shrink).sum(axis=1)
        error = float((((targets - fitted) / (1.0 - np.minimum(leverage, 0.999))[:, None]) ** 2).mean())
        if error < least:
            best, least = (vt.T @ ((s / (s**2 + ridge))[:, None] * (u.T @ targets)), float(ridge)), error
    return best


def library_identity(path: Path) -> str:
    """Return what changes when the library does."""
    return hashlib.sha256(str(np.load(path)["origin"]).encode()).hexdigest()[:16]


def population_of(bundle: Bundle) -> np.ndarray | None:
    """Return the mean motion of a bundle's training subjects, (T, 3, D, H, W), or None where it carries none."""
    return None if bundle.model.mean is None else bundle.model.mean.float().cpu().numpy()
