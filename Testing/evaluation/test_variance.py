"""Variance within and between subjects, bundles that differ by their seed alone, and controls of the distances."""

import hashlib
import json

import numpy as np
import pytest
from COFTrainingLib.evaluation.features import temporal_vector
from COFTrainingLib.evaluation.metrics.distribution import SUBSAMPLE, frechet, standard_error, subsampled
from COFTrainingLib.evaluation.protocols.variance import components, trainings


def test_components_are_found_again():
    rng = np.random.default_rng(0)
    draws = 60.0 + rng.normal(0, 5.0, (4000, 1)) + rng.normal(0, 2.0, (4000, 4))
    within, between = components(draws)
    assert within == pytest.approx(2.0, rel=0.03)
    assert between == pytest.approx(5.0, rel=0.03)
    assert components(rng.normal(0, 2.0, (4000, 4)))[1] < 0.4


def a_bundle(folder, seed, steps=100, widths=(8,)):
    folder.mkdir(parents=True)
    (folder / "configs").mkdir()
    (folder / "weights").write_bytes(b"w")
    training = {"cohort": "c", "first_seed": 1, "last_seed": 9, "steps": {"flow": steps}, "seeds": {"flow": seed}}
    digest = hashlib.sha256(b"w").hexdigest()
    metadata = {"format": 1, "name": "a", "version": "1", "checksums": {"weights": digest}, "training": training,
                "cof": {"grid": {}, "mean": None, "flow": {"widths": widths}, "sampler": {}}}  # fmt: skip
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    return folder.name, folder


def test_only_bundles_that_differ_by_their_seed_are_grouped(tmp_path):
    one, two = a_bundle(tmp_path / "one", 0), a_bundle(tmp_path / "two", 1)
    longer, wider = a_bundle(tmp_path / "longer", 2, steps=200), a_bundle(tmp_path / "wider", 3, widths=(16,))
    copy = a_bundle(tmp_path / "copy", 0)
    assert trainings((one, longer, two, wider)) == [["one", "two"]]
    assert trainings((one, copy)) == []  # one training twice has no spread


def test_frames_in_another_order_are_further_away_than_two_halves_of_the_recorded():
    rng = np.random.default_rng(1)
    phase = np.arange(10) / 10 * 2 * np.pi
    cines = [np.cos(phase[:, None] - rng.normal(0, 0.1, 4)) * rng.uniform(0.9, 1.1, 4) for _ in range(60)]
    order = rng.permutation(10)
    kept = np.array([temporal_vector(cine) for cine in cines])
    shuffled = np.array([temporal_vector(cine[order]) for cine in cines])
    assert np.allclose(kept[:, :8], shuffled[:, :8])  # mean and SD know no order
    assert frechet(kept, shuffled) > 5 * frechet(kept[:30], kept[30:])


def test_the_standard_error_of_a_mean_is_recovered_from_subsamples():
    sample = np.random.default_rng(2).normal(0, 3.0, (200, 1))
    _, spread = subsampled(sample, sample, lambda one, _: float(one.mean()), resamples=4000)
    assert standard_error(spread) == pytest.approx(3.0 / np.sqrt(200), rel=0.1)
    assert 0 < SUBSAMPLE < 1
