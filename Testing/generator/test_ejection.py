"""The EF that an ECG states is the EF that the heart gets."""

from dataclasses import replace

import numpy as np
import pytest
from COFGeneratorLib.generator import generate
from COFGeneratorLib.generator.ejection import StatedEf, ejection_fraction


def test_the_fraction_is_that_of_the_smooth_curve_and_knows_no_first_frame():
    time = np.arange(12) / 12
    volume = 100.0 + 30.0 * np.cos(2 * np.pi * (time - 0.04))
    assert ejection_fraction(volume) == pytest.approx(60 / 130, abs=1e-3)
    assert ejection_fraction(np.roll(volume, 5)) == pytest.approx(60 / 130, abs=1e-3)


def test_draws_have_the_spread_of_the_interval():
    stated = StatedEf(0.55, 0.03, 1.645)
    low, high = stated.interval_percent
    drawn = np.array([100 * stated.draw(seed) for seed in range(4000)])
    assert (low, high) == pytest.approx((50.065, 59.935))
    assert drawn.std() == pytest.approx(3.0, rel=0.05)
    assert np.mean((drawn > low) & (drawn < high)) == pytest.approx(0.9, abs=0.015)
    assert stated.draw(7) == stated.draw(7)


@pytest.mark.slow
def test_a_bundle_that_goes_by_the_ecg_says_the_interval(tiny_bundle, tiny_model, a_case, tmp_path):
    from COFGeneratorLib.generator import load_bundle, save_bundle

    assert (
        generate(a_case.anchor, a_case.record, tiny_bundle, labels=a_case.labels, frames=4).function.as_dict()[
            "ef_interval_percent"
        ]
        is None
    )
    save_bundle(tmp_path / "bundle", replace(tiny_model, ef_z90=1.7), {"name": "stated", "version": "1"})
    bundle = load_bundle(tmp_path / "bundle")
    report = generate(a_case.anchor, a_case.record, bundle, labels=a_case.labels, frames=4).function
    stated = bundle.model.stated_ef(a_case.cycle)
    assert stated.z90 == 1.7
    assert report.as_dict()["ef_interval_percent"] == pytest.approx(stated.interval_percent, abs=1e-5)
    assert bundle.model.stated_ef(None) is None
