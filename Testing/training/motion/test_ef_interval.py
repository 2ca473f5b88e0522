"""The interval of the EF that an encoder states: its bias is taken off and its width covers what it promises."""

import numpy as np
from COFTrainingLib.training.motion.ef_interval import fit_ef_interval, interval_of


def test_bias_is_found_and_the_interval_covers_ninety_percent_of_new_subjects():
    rng = np.random.default_rng(0)
    widths = rng.uniform(0.01, 0.05, 6000)
    errors = 0.03 + 1.4 * widths * rng.standard_t(4, 6000)  # biased, too narrow, heavy-tailed
    fitted = interval_of(errors[:2000], widths[:2000])
    assert abs(fitted.shift - 0.03) < 0.005
    covered = np.abs(errors[2000:] - fitted.shift) <= fitted.z90 * widths[2000:]
    assert abs(covered.mean() - 0.9) < 0.025


def test_the_width_is_the_conformal_quantile_of_the_second_half():
    errors = np.concatenate([np.zeros(9), np.arange(1, 10) / 10])
    fitted = interval_of(errors, np.ones(18))
    assert fitted.shift == 0.0
    assert fitted.z90 == 0.9  # ceil(0.9 · 10) = the ninth of nine scores


def test_fitting_asks_the_encoder_as_a_user_does(tiny_model):
    told = []
    fitted = fit_ef_interval(tiny_model, 5, 4, lambda done, total: told.append((done, total)))
    assert told[-1] == (4, 4)
    assert np.isfinite(fitted.shift)
    assert fitted.z90 > 0
