"""Volumes, EF, output and mass against ellipsoids whose volumes are known in closed form."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from COFGeneratorLib.anatomy.geometry import voxel_volume_ml
from COFGeneratorLib.errors import FunctionError
from COFGeneratorLib.function import findings, measure_function, report_from_curves, summarise, write_function
from COFGeneratorLib.function.volumes import VolumeCurves, volume_curves
from hypothesis import given, settings
from hypothesis import strategies as st

SPACING_KJI = (8.0, 1.5, 1.5)
RR_MS = 800.0
CONTRACT = [
    "hr_bpm",
    "rr_ms",
    "time_ms",
    "lv_volume_ml",
    "rv_volume_ml",
    "myocardial_mass_g",
    "edv_ml",
    "esv_ml",
    "sv_ml",
    "ef_percent",
    "co_l_min",
    "ed_frame",
    "es_frame",
    "es_time_ms",
    "folded_fraction",
    "labels_from",
]


def geometry(spacing_kji=SPACING_KJI):
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag(spacing_kji[::-1])
    return matrix


def ellipsoid_fraction(radii_mm, spacing_kji=SPACING_KJI, shape=(14, 64, 64), fine=(8, 4, 4)):
    """Share of each voxel inside an ellipsoid at the grid's centre, by supersampling, (D, H, W)."""
    squared = 0.0
    for axis, (radius, spacing, size, steps) in enumerate(zip(radii_mm, spacing_kji, shape, fine, strict=True)):
        at = (np.arange(size * steps) + 0.5) / steps - size / 2
        squared = squared + (at * spacing / radius).reshape([-1 if a == axis else 1 for a in range(3)]) ** 2
    blocks = (squared <= 1.0).reshape(shape[0], fine[0], shape[1], fine[1], shape[2], fine[2])
    return blocks.mean(axis=(1, 3, 5))


def ball_ml(radii_mm):
    return 4 / 3 * np.pi * np.prod(radii_mm) / 1000


def heart(scale):
    """LV cavity, wall and RV fractions, (3, D, H, W), of a heart whose cavity radii are scaled."""
    cavity = ellipsoid_fraction(np.array([45.0, 25.0, 25.0]) * scale)
    wall = ellipsoid_fraction((52.0, 34.0, 34.0)) - cavity
    return np.stack([cavity, wall, np.zeros_like(cavity)]).astype(np.float32)


def report(lv_ml, rv_ml=None, wall_ml=None, hr_bpm=75.0):
    lv_ml = np.asarray(lv_ml, dtype=float)
    rv = np.zeros_like(lv_ml) if rv_ml is None else np.asarray(rv_ml, dtype=float)
    wall = np.full_like(lv_ml, 110.0) if wall_ml is None else np.asarray(wall_ml, dtype=float)
    time = np.arange(lv_ml.size) * RR_MS / lv_ml.size
    return report_from_curves(
        VolumeCurves(lv_ml, wall, rv), time, RR_MS, hr_bpm, labels_from="user", folded_fraction=0.0
    )


def beating(ef=0.6, edv=150.0, count=40):
    phase = np.arange(count) / count
    return edv * (1 - ef * np.exp(-(((phase - 0.4) / 0.13) ** 2)))


def test_ellipsoid_volumes_match_the_closed_form():
    scales = [1.0, 0.9, 0.8, 0.7, 0.8, 0.9]
    fractions = np.stack([heart(scale) for scale in scales])
    curves = volume_curves(fractions, geometry())
    expected = [ball_ml(np.array([45.0, 25.0, 25.0]) * scale) for scale in scales]
    assert curves.lv_ml == pytest.approx(expected, rel=2e-3)
    assert curves.myocardium_ml == pytest.approx(ball_ml((52.0, 34.0, 34.0)) - np.array(expected), rel=5e-3)

    measured = measure_function(
        fractions, geometry(), np.arange(6) * RR_MS / 6, RR_MS, 75.0, labels_from="user", folded_fraction=0.0
    )
    assert measured.ef_percent == pytest.approx(100 * (1 - 0.7**3), abs=0.2)
    assert measured.co_l_min == pytest.approx(measured.sv_ml * 75 / 1000)
    assert (measured.ed_frame, measured.es_argmin_frame) == (0, 3)
    assert np.isnan(measured.rv_ef_percent)


def test_integer_labels_count_voxels_times_pitch_including_the_gap():
    labels = np.zeros((5, 4, 6, 6), np.uint8)
    labels[:, 1:3, 2:4, 2:4] = 1
    labels[:, 0, :2, :3] = 2
    labels[:, 3, 1, 1] = 3
    curves = volume_curves(labels, geometry((10.0, 2.0, 1.0)))
    assert curves.lv_ml == pytest.approx(np.full(5, 8 * 20 / 1000))
    assert curves.myocardial_mass_g == pytest.approx(np.full(5, 6 * 20 / 1000 * 1.05))
    assert curves.rv_ml == pytest.approx(np.full(5, 20 / 1000))


@given(st.floats(-np.pi, np.pi), st.floats(-np.pi, np.pi), st.booleans(), st.tuples(*[st.floats(0.3, 20.0)] * 3))
def test_turning_or_mirroring_the_stack_leaves_the_voxel_volume_alone(first, second, mirror, spacing):
    def turn(angle, axes):
        matrix = np.eye(4)
        matrix[np.ix_(axes, axes)] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        return matrix

    oblique = turn(first, (0, 1)) @ turn(second, (1, 2)) @ geometry(spacing)
    if mirror:
        oblique = oblique @ np.diag([1.0, 1.0, -1.0, 1.0])
    assert voxel_volume_ml(oblique) == pytest.approx(np.prod(spacing) / 1000)


@settings(max_examples=40)
@given(st.floats(0.1, 0.8), st.floats(60.0, 300.0), st.floats(0.5, 1.6))
def test_rescaling_the_volumes_scales_edv_and_sv_but_leaves_ef_and_es_alone(ef, edv, factor):
    once, scaled = report(beating(ef, edv)), report(beating(ef, edv) * factor)
    assert scaled.ef_percent == pytest.approx(once.ef_percent)
    assert scaled.edv_ml == pytest.approx(once.edv_ml * factor)
    assert scaled.co_l_min == pytest.approx(once.co_l_min * factor)
    assert scaled.es_time_ms == pytest.approx(once.es_time_ms, abs=0.5)
    assert once.ef_percent == pytest.approx(100 * ef, abs=1.5)


def test_right_ventricle_is_measured_where_labelled():
    measured = report(beating(), rv_ml=beating(0.5, 160.0))
    assert measured.rv_ef_percent == pytest.approx(50.0, abs=1.0)
    assert measured.rv_edv_ml == pytest.approx(160.0, abs=1.0)


def test_a_still_heart_has_ef_zero_and_no_es_time():
    measured = report(np.full(30, 120.0))
    assert measured.ef_percent == pytest.approx(0.0)
    assert np.isnan(measured.es_time_ms)
    assert any("stands still" in text for text in findings(measured))


def test_a_volume_too_small_for_a_ventricle_is_refused():
    with pytest.raises(FunctionError, match=r"at least 10 mL; found 8\.0 mL"):
        report(np.full(20, 8.0))


def test_times_that_do_not_fit_the_frames_are_refused():
    with pytest.raises(FunctionError, match="39 times for 40 volumes"):
        report_from_curves(
            VolumeCurves(beating(), beating(), beating()),
            np.arange(39.0),
            RR_MS,
            75.0,
            labels_from="user",
            folded_fraction=0.0,
        )


@pytest.mark.parametrize("labels", [np.zeros((4, 8, 8), np.uint8), np.zeros((4, 2, 3, 8, 8)), np.zeros((4, 3, 8, 8))])
def test_arrays_that_are_not_a_labelled_cine_are_refused(labels):
    with pytest.raises(FunctionError, match="found shape"):
        volume_curves(labels, geometry())


def test_findings_name_mass_that_is_not_kept_and_missing_chambers():
    wall = np.full(40, 110.0)
    wall[16] = 80.0
    said = " ".join(findings(report(beating(), wall_ml=wall)))
    assert "mass changes by up to 27 %" in said
    assert "No right ventricle" in said
    assert findings(report(beating(), rv_ml=beating(0.5, 160.0))) == ()


def test_summary_gives_mean_sd_and_an_interval_that_covers_a_further_draw():
    rng = np.random.default_rng(0)
    hits, trials = 0, 200
    for _ in range(trials):
        efs = rng.normal(0.55, 0.03, 5)
        draws = [report(beating(ef)) for ef in efs[:4]]
        low, high = summarise(draws)["ef_percent"]["interval"]
        hits += low <= report(beating(efs[4])).ef_percent <= high
    assert hits / trials == pytest.approx(0.90, abs=0.06)


def test_the_words_of_the_ef_statement_are_written_and_are_no_measure(tmp_path):
    notes = ("ECG and anatomy disagree.", "Calibrated on synthetic patients.")
    said = [replace(report(beating(ef)), ef_statement="widened", ef_notes=notes) for ef in (0.5, 0.6)]
    json_path, _ = write_function(said[0], tmp_path, samples=said)
    content = json.loads(json_path.read_text())
    assert (content["ef_statement"], tuple(content["ef_notes"])) == ("widened", notes)
    assert not {"ef_statement", "ef_notes"} & set(content["samples"])
    assert report(beating()).as_dict()["ef_notes"] == []


def test_summary_needs_two_draws():
    with pytest.raises(FunctionError, match="at least 2 draws; found 1"):
        summarise([report(beating())])


def test_written_json_has_the_contracted_keys_and_no_nan(tmp_path):
    measured = report(beating())
    json_path, csv_path = write_function(measured, tmp_path, samples=[report(beating(0.6)), report(beating(0.5))])
    content = json.loads(json_path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert set(CONTRACT) <= set(content)
    assert content["rv_ef_percent"] is None
    assert content["rv_volume_ml"][0] is None
    assert len(content["time_ms"]) == len(content["lv_volume_ml"]) == 40
    assert content["ef_percent"] == pytest.approx(measured.ef_percent, abs=1e-5)
    assert content["samples"]["count"] == 2
    assert content["samples"]["ef_percent"]["mean"] == pytest.approx(55.0, abs=1.0)
    rows = list(csv.DictReader(csv_path.open()))
    assert len(rows) == 40
    assert float(rows[3]["lv_volume_ml"]) == pytest.approx(measured.lv_volume_ml[3], abs=1e-4)
