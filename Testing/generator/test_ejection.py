"""The EF that an ECG states is the EF that the heart gets."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from COFGeneratorLib.generator import generate
from COFGeneratorLib.generator.ejection import StatedEf, ejection_factor, ejection_fraction
from COFGeneratorLib.motion.volume_gradient import relative_volumes


def _squeezed(strength: float, shape=(6, 20, 20)) -> torch.Tensor:
    """Velocities (T, 3, D, H, W) that pull from outside in, in-plane, by a share of the radius."""
    _, height, width = shape
    j, i = torch.meshgrid(torch.arange(height) - 9.5, torch.arange(width) - 9.5, indexing="ij")
    plane = torch.stack([torch.zeros_like(j), j, i])[:, None].expand(3, *shape)
    return strength * torch.tensor([0.0, 0.6, 1.0, 0.4])[:, None, None, None, None] * plane


def _heart(shape=(11, 39, 39)) -> torch.Tensor:
    """A cylinder of LV with a wall, smooth at its edges, on a grid of twice the density."""
    radius = torch.hypot(*torch.meshgrid(torch.arange(39) - 19.0, torch.arange(39) - 19.0, indexing="ij"))
    lv = torch.sigmoid((8.0 - radius) * 2)
    wall = torch.sigmoid((13.0 - radius) * 2) - lv
    return torch.stack([lv, wall, torch.zeros_like(lv)])[:, None].expand(3, *shape).contiguous()


def test_the_fraction_is_that_of_the_smooth_curve_and_knows_no_first_frame():
    time = np.arange(12) / 12
    volume = 100.0 + 30.0 * np.cos(2 * np.pi * (time - 0.04))
    assert ejection_fraction(volume) == pytest.approx(60 / 130, abs=1e-3)
    assert ejection_fraction(np.roll(volume, 5)) == pytest.approx(60 / 130, abs=1e-3)


@pytest.mark.parametrize("wanted", [0.25, 0.35, 0.45])
def test_the_factor_gives_the_fraction_that_is_wanted(wanted):
    velocity, heart = _squeezed(0.2), _heart()
    lv = relative_volumes(velocity, heart)[:, 0].numpy()
    factor = ejection_factor(velocity, heart, 120.0 * lv, wanted)
    after = relative_volumes(factor * velocity, heart)[:, 0].numpy()
    assert ejection_fraction(after) == pytest.approx(wanted, abs=0.01)


def test_a_linear_squeeze_has_the_volume_of_its_exponential():
    volume = relative_volumes(_squeezed(0.2), _heart())[2, 0]
    assert float(volume) == pytest.approx(np.exp(-2 * 0.2), abs=0.01)  # area shrinks by e^(−2a)


def test_a_heart_that_stands_still_or_has_no_cavity_is_left_alone():
    velocity, heart = _squeezed(0.2), _heart()
    assert ejection_factor(velocity, heart, np.full(4, 100.0), 0.6) == 1.0
    assert ejection_factor(velocity, heart, np.zeros(4), 0.6) == 1.0


def test_the_factor_stays_within_bounds_whatever_is_asked():
    velocity, heart = _squeezed(0.2), _heart()
    lv = 120.0 * relative_volumes(velocity, heart)[:, 0].numpy()
    assert ejection_factor(velocity, heart, lv, 0.0) == 0.55
    assert ejection_factor(velocity, heart, lv, 1.0) == 1.7


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
