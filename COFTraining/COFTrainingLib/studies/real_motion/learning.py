"""What real cines add by their number: motion learnt from some hearts, tried on others, with EF and end-systole told.

Three simple learners stand beside the networks: no motion, the mean motion of the hearts learnt from, and a ridge
regression of it on EF, end-systole and the size of the heart. All are scaled to the EF of the heart they are tried on.
The registration itself, through the same motion grid, is what there is to reach.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from COFGeneratorLib.generator.bundle import Bundle

from COFTrainingLib.evaluation.comparators.library import fit_ridge
from COFTrainingLib.studies.real_motion.arms import told
from COFTrainingLib.studies.real_motion.figures import figures_of
from COFTrainingLib.studies.real_motion.hearts import RealHeart
from COFTrainingLib.studies.real_motion.moved import moved_by, standing_still
from COFTrainingLib.training.examples.cine_data import CineCache

COPY, MEAN, RIDGE, MODEL = "copy", "mean real motion", "ridge regression", "model"
REGISTERED = "registration on the grid"


@dataclass(frozen=True)
class Motions:
    """The motions of the hearts that can be learnt from.

    Attributes:
        names: Whose they are.
        velocity: (N, T, 3, D, H, W) nodes of each heart's motion grid.
        features: (N, F) what is told of each heart: EF, end-systole, and logarithms of its volumes.
    """

    names: tuple[str, ...]
    velocity: np.ndarray
    features: np.ndarray

    def of(self, names: Sequence[str]) -> "Motions":
        """Return those of some hearts."""
        rows = [self.names.index(name) for name in names]
        return Motions(tuple(names), self.velocity[rows], self.features[rows])


def motions_of(cache: CineCache) -> Motions:
    """Return the motions of a cohort's examples, the first of each subject."""
    pairs = cache.first_of(cache.ready)
    rows = [index for _, index in pairs]
    sizes = np.stack([cache.arrays["maps"][index].astype(np.float64).sum(axis=(1, 2, 3)) for index in rows])
    stated = np.stack([cache.arrays["stated"][index] for index in rows]).astype(np.float64)
    features = np.column_stack([stated[:, [0, 2]], np.log(np.maximum(sizes, 1.0))])
    velocity = np.stack([cache.arrays["velocity"][index].astype(np.float32) for index in rows])
    return Motions(tuple(subject.id for subject, _ in pairs), velocity, features)


def folds_of(names: Sequence[str], count: int, seed: int) -> list[tuple[str, ...]]:
    """Return the hearts in ``count`` parts of about equal size, in an order that the seed decides."""
    order = np.random.default_rng(seed).permutation(len(names))
    return [tuple(names[int(index)] for index in part) for part in np.array_split(order, count)]


def predicted(motions: Motions, features: np.ndarray) -> dict[str, np.ndarray]:
    """Return the velocities (T, 3, D, H, W) that each simple learner gives a heart with these features (F,)."""
    mean = motions.velocity.mean(axis=0)
    found = {MEAN: mean}
    if len(motions.names) > 2:
        centre, spread = motions.features.mean(axis=0), motions.features.std(axis=0)

        def inputs(rows: np.ndarray) -> np.ndarray:
            return np.clip((np.atleast_2d(rows) - centre) / np.maximum(spread, 1e-6), -3.0, 3.0)

        left = (motions.velocity - mean).reshape(len(motions.names), -1)
        weights, _ = fit_ridge(inputs(motions.features), left)
        found[RIDGE] = mean + (inputs(features) @ weights)[0].reshape(mean.shape).astype(np.float32)
    return found


def tried(bundle: Bundle, heart: RealHeart, velocity: np.ndarray | None) -> dict[str, float]:
    """Return the figures of a heart moved by velocities (T, 3, D, H, W) scaled to its EF; standing still where None."""
    labels, count = heart.labels[0], len(heart.frames)
    if velocity is None:
        return figures_of(heart, standing_still(heart.anchor, labels, count))
    moved = moved_by(bundle, heart.anchor, labels, torch.from_numpy(velocity), count, heart.ef_percent)
    return figures_of(heart, moved)


def simple_learners(
    bundle: Bundle, motions: Motions, hearts: dict[str, RealHeart], fold: Sequence[str], sizes: Sequence[int]
) -> Iterator[tuple[str, int, str, dict[str, float]]]:
    """Yield (learner, hearts learnt from, heart, figures) of every heart of a fold; 0 hearts where none are needed.

    Args:
        bundle: Whose motion grid and tools move the hearts, and whose own cine is shown as ``MODEL``.
        motions: Of all hearts.
        hearts: By name.
        fold: Those to try on; all others can be learnt from, the first so many of them.
        sizes: Numbers of hearts to learn from.
    """
    others = [name for name in motions.names if name not in fold]
    for name in fold:
        heart, own = hearts[name], motions.of([name])
        yield COPY, 0, name, tried(bundle, heart, None)
        yield MODEL, 0, name, figures_of(heart, told(bundle, heart))
        yield REGISTERED, 0, name, tried(bundle, heart, own.velocity[0])
        for size in sizes:
            for learner, velocity in predicted(motions.of(others[:size]), own.features[0]).items():
                yield learner, size, name, tried(bundle, heart, velocity)
