"""End-systole and smoothing against curves whose answer is known in closed form."""

import numpy as np
import pytest
from COFGeneratorLib.errors import FunctionError
from COFGeneratorLib.function import end_systole
from COFGeneratorLib.function.curve import interpolate_periodic, smooth_periodic
from hypothesis import given
from hypothesis import strategies as st

RR_MS = 900.0
SUB_FRAME = 0.05  # frames; what the dense grid and the spline leave


def dip(time_ms, centre_ms, width_ms, depth_ml=80.0, edv_ml=140.0):
    """A curve that falls and rises symmetrically about ``centre_ms``."""
    return edv_ml - depth_ml * np.exp(-(((time_ms - centre_ms) / width_ms) ** 2))


def frames(count=50, rr_ms=RR_MS):
    return np.arange(count) * rr_ms / count


@given(st.floats(260.0, 480.0), st.floats(60.0, 110.0))
def test_es_of_a_symmetric_dip_is_its_centre(centre_ms, width_ms):
    es = end_systole(dip(frames(), centre_ms, width_ms), RR_MS)
    assert es.time_ms == pytest.approx(centre_ms, abs=SUB_FRAME * RR_MS / 50)
    assert es.frame == pytest.approx(centre_ms / RR_MS * 50, abs=SUB_FRAME)


def test_es_of_a_plateau_is_its_middle_where_argmin_is_decided_by_noise():
    time = frames()
    curve = np.interp(time, [0, 100, 300, 400, 550, 900], [140, 138, 60, 60, 130, 140])
    tilted = curve - 0.5 * (time > 390) * (time < 410)  # half a millilitre of noise at the plateau's end
    ten_percent = 0.1 * 80
    left, right = 300 - ten_percent / 78 * 200, 400 + ten_percent / 70 * 150
    for given_curve in (curve, tilted):
        assert end_systole(given_curve, RR_MS).time_ms == pytest.approx((left + right) / 2, abs=3.0)
    assert end_systole(tilted, RR_MS).argmin_frame == 22


def test_es_ignores_a_late_dip_outside_the_window():
    time = frames()
    curve = dip(time, 330.0, 80.0) - 90.0 * np.exp(-(((time - 780.0) / 40.0) ** 2))
    es = end_systole(curve, RR_MS)
    assert es.time_ms == pytest.approx(330.0, abs=5.0)
    assert es.argmin_frame == 43


def test_a_standing_ventricle_has_no_end_systole():
    es = end_systole(np.full(50, 120.0), RR_MS)
    assert np.isnan(es.time_ms)
    assert np.isnan(es.frame)


def test_es_respects_given_times():
    time = frames() + 7.0
    es = end_systole(dip(time, 350.0, 80.0), RR_MS, time)
    assert es.time_ms == pytest.approx(350.0, abs=1.0)
    assert es.frame == pytest.approx((350.0 - 7.0) / RR_MS * 50, abs=SUB_FRAME)


@given(st.floats(0.2, 5.0))
def test_es_time_scales_with_the_cycle(factor):
    curve = dip(frames(), 330.0, 90.0)
    once, scaled = end_systole(curve, RR_MS), end_systole(curve, RR_MS * factor)
    assert scaled.frame == pytest.approx(once.frame)
    assert scaled.time_ms == pytest.approx(once.time_ms * factor)


def test_smoothing_keeps_a_quadratic_peak_and_reduces_noise():
    rng = np.random.default_rng(5)
    clean = 100 + 30 * np.cos(2 * np.pi * np.arange(50) / 50)
    assert np.abs(smooth_periodic(clean) - clean).max() < 0.02
    noise = rng.normal(0, 1, 5000)
    assert smooth_periodic(noise).std() < 0.75


def test_smoothing_leaves_few_frames_alone_and_never_changes_its_argument():
    few = np.array([100.0, 80, 60, 50, 70, 90])
    assert np.array_equal(smooth_periodic(few), few)
    many = np.random.default_rng(1).normal(100, 5, 40)
    before = many.copy()
    smooth_periodic(many)
    assert np.array_equal(many, before)


def test_periodic_interpolation_goes_through_its_points_and_closes():
    volume = np.random.default_rng(2).uniform(50, 150, 20)
    time = frames(20)
    assert interpolate_periodic(volume, time, RR_MS, time) == pytest.approx(volume)
    assert interpolate_periodic(volume, time, RR_MS, time + RR_MS) == pytest.approx(volume)


@pytest.mark.parametrize(
    ("curve", "rr_ms", "message"),
    [
        ([100.0, 50.0], 900.0, "at least 4 frames"),
        ([100.0, np.nan, 60.0, 80.0], 900.0, "finite"),
        ([100.0, -5.0, 60.0, 80.0], 900.0, "not negative"),
        ([100.0, 50.0, 60.0, 80.0], 0.0, "cycle length"),
    ],
)
def test_curves_that_cannot_be_measured_are_refused(curve, rr_ms, message):
    with pytest.raises(FunctionError, match=message):
        end_systole(np.array(curve), rr_ms)
