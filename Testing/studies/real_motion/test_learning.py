"""Learning from real motions: the mean is the mean, the ridge finds what EF decides, folds share nobody."""

import numpy as np
import pytest
from COFTrainingLib.studies.real_motion.learning import MEAN, RIDGE, Motions, folds_of, predicted

SHAPE = (2, 3, 2, 4, 4)


@pytest.fixture
def motions() -> Motions:
    """Return twelve hearts whose motion is a pattern times their EF, and a part of each one's own."""
    rng = np.random.default_rng(0)
    pattern, ef = rng.standard_normal(SHAPE), rng.uniform(0.1, 0.7, 12)
    velocity = ef[:, None, None, None, None, None] * pattern + 0.02 * rng.standard_normal((12, *SHAPE))
    features = np.column_stack([ef, rng.normal(0.38, 0.04, 12), rng.normal(5.0, 0.3, (12, 3))])
    return Motions(tuple(f"heart-{n}" for n in range(12)), velocity.astype(np.float32), features)


def test_the_ridge_finds_what_ef_decides_and_the_mean_does_not(motions):
    learnt, tried = motions.of(motions.names[:9]), motions.of(motions.names[9:])
    error = {MEAN: [], RIDGE: []}
    for features, truth in zip(tried.features, tried.velocity, strict=True):
        found = predicted(learnt, features)
        assert np.allclose(found[MEAN], learnt.velocity.mean(axis=0))
        for name, velocity in found.items():
            assert velocity.shape == SHAPE
            error[name].append(np.abs(velocity - truth).mean())
    assert np.mean(error[RIDGE]) < 0.5 * np.mean(error[MEAN])


def test_two_hearts_are_too_few_for_a_regression(motions):
    assert set(predicted(motions.of(motions.names[:2]), motions.features[5])) == {MEAN}


def test_every_heart_is_in_one_fold_and_the_seed_decides():
    names = [f"heart-{n}" for n in range(17)]
    folds = folds_of(names, 3, 1)
    assert sorted(name for fold in folds for name in fold) == sorted(names)
    assert {len(fold) for fold in folds} == {5, 6}
    assert folds == folds_of(names, 3, 1)
    assert folds != folds_of(names, 3, 2)
