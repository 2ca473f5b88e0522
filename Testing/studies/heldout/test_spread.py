"""Whether draws are judged rightly: the score's closed form, what calibrated draws score, and bars that bite."""

import numpy as np
import pytest
from COFTrainingLib.evaluation.protocols.calibration import crps, prediction_interval
from COFTrainingLib.studies.heldout import heldout, spread
from COFTrainingLib.studies.heldout.heldout import failed_bars


def test_the_score_of_a_gaussian_is_that_of_many_draws_of_it():
    rng = np.random.default_rng(0)
    truth, mean, sd = rng.normal(size=40), rng.normal(size=40), 0.7
    draws = mean[:, None] + sd * rng.standard_normal((40, 1500))
    closed = spread.gaussian_crps(mean, sd, truth)
    assert np.abs(crps(draws, truth) - closed).max() < 0.06
    assert spread.gaussian_crps(truth, sd, truth) == pytest.approx(sd * (np.sqrt(2.0) - 1.0) / np.sqrt(np.pi))


def test_draws_as_wide_as_the_error_meet_the_bars_and_narrow_ones_miss_them():
    rng = np.random.default_rng(1)
    sd = np.where(np.arange(400) % 2, 3.0, 0.7)  # some hearts are told well, some are not
    centre, truth = np.zeros(400), sd * rng.standard_normal(400)
    for width, held in ((1.0, True), (0.3, False)):
        draws = width * sd[:, None] * rng.standard_normal((400, spread.DRAWS))
        low, high = prediction_interval(draws, spread.LEVEL)
        constant = spread.gaussian_crps(centre, float(truth.std()), truth).mean()
        row = {
            "coverage_percent": 100.0 * float(((truth >= low) & (truth <= high)).mean()),
            "crps": float(crps(draws, truth).mean()),
            "crps_constant": float(constant),
        }
        figures = spread.bars_of({"ef_percent": row})
        assert (failed_bars(figures, {name: spread.BARS[name] for name in figures}) == []) == held


def test_few_steps_are_compared_with_many():
    def errors(scale):
        rng = np.random.default_rng(2)
        parts = [scale * rng.normal(size=30) for _ in range(4)]
        return heldout.Errors(parts[0], np.abs(parts[1]), np.abs(parts[2]), np.abs(parts[3]), parts[0], parts[0])

    named = {heldout.MAIN: errors(0.0), heldout.DRAW: errors(1.0), heldout.DRAW_OF_20: errors(1.25)}
    found = heldout._few_steps(named)
    assert set(found) <= set(heldout.BARS)
    assert all(value == pytest.approx(0.2) for value in found.values())
