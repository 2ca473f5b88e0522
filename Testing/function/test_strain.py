"""Strain of walls whose deformation is known in closed form."""

import numpy as np
import pytest
from COFGeneratorLib.errors import FunctionError
from COFGeneratorLib.function import measure_strain, write_function
from COFGeneratorLib.function.strain import DIRECTIONS

SPACING_KJI = (8.0, 1.25, 1.25)
SHAPE = (9, 96, 96)
ENDO_MM, EPI_MM = 24.0, 34.0
TOLERANCE = 1.5
"""Percent: differences of a field over voxels, and a cavity's centre of hard labels."""


def geometry():
    matrix = np.zeros((4, 4))
    matrix[:3, 0], matrix[:3, 1], matrix[:3, 2] = (
        (-SPACING_KJI[2], 0, 0),
        (0, -SPACING_KJI[1], 0),
        (0, 0, -SPACING_KJI[0]),
    )
    matrix[3, 3] = 1
    return matrix


def places():
    k, j, i = np.meshgrid(*(np.arange(n, dtype=float) for n in SHAPE), indexing="ij")
    return np.stack([k * SPACING_KJI[0], (j - 47.5) * SPACING_KJI[1], (i - 47.5) * SPACING_KJI[2]])


def ring(endo_mm, epi_mm):
    _, y, x = places()
    radius = np.hypot(y, x)
    labels = np.where(radius < endo_mm, 1, np.where(radius < epi_mm, 2, 0)).astype(np.uint8)
    for k in range(6):
        labels[k][(np.hypot(y[k], x[k] + 45) < 22 - 2 * k) & (radius[k] >= epi_mm)] = 3
    return labels


def scaled(in_plane, along):
    """Return the pull field of a body that becomes so many times as wide and as long."""
    at = places()
    return np.stack([at[0] * (1 / along - 1), at[1] * (1 / in_plane - 1), at[2] * (1 / in_plane - 1)])


def test_a_uniform_change_is_the_strain_of_every_direction_and_segment():
    motion = [scaled(1.0, 1.0), scaled(0.8, 0.85)]
    report = measure_strain(
        np.stack([ring(ENDO_MM, EPI_MM), ring(0.8 * ENDO_MM, 0.8 * EPI_MM)]), motion.__getitem__, geometry(),
        ed_frame=0, es_frame=1,
    )  # fmt: skip
    assert report.at_es() == pytest.approx({"radial": -20.0, "circumferential": -20.0, "longitudinal": -15.0}, abs=0.01)
    assert [getattr(report, f"{name}_percent")[0] for name in DIRECTIONS] == [0.0, 0.0, 0.0]
    covered = report.segments_percent[:16]
    assert covered == pytest.approx(np.tile([-20.0, -20.0, -15.0], (16, 1)), abs=0.01)
    assert np.isnan(report.segments_percent[16]).all()  # no slice cuts the cap alone


def test_a_ring_that_keeps_its_area_thickens_and_shortens_as_the_formula_says():
    moved_mm2 = ENDO_MM**2 - 16.0**2  # the cavity shrinks to 16 mm
    at = places()
    radius = np.maximum(np.hypot(at[1], at[2]), 1e-6)
    stretch = np.sqrt(radius**2 + moved_mm2) / radius  # R / r
    motion = [np.zeros_like(at), np.stack([np.zeros_like(radius), at[1] * (stretch - 1), at[2] * (stretch - 1)])]
    epi_mm = float(np.sqrt(EPI_MM**2 - moved_mm2))
    labels = np.stack([ring(ENDO_MM, EPI_MM), ring(16.0, epi_mm)])
    report = measure_strain(labels, motion.__getitem__, geometry(), ed_frame=0, es_frame=1)
    wall = radius[labels[1] == 2]
    before = np.sqrt(wall**2 + moved_mm2)
    found = report.at_es()
    assert found["circumferential"] == pytest.approx(100 * (1 / np.mean(before / wall) - 1), abs=TOLERANCE)
    assert found["radial"] == pytest.approx(100 * (1 / np.mean(wall / before) - 1), abs=TOLERANCE)
    assert found["longitudinal"] == pytest.approx(0.0, abs=0.01)
    assert found["radial"] > 20.0 > 0.0 > found["circumferential"]


def test_strain_is_relative_to_end_diastole_wherever_the_anchor_lies():
    """The anchor is the small heart; the same beat as above, told from there."""
    motion = [scaled(1.25, 1.0 / 0.85), scaled(1.0, 1.0)]
    labels = np.stack([ring(ENDO_MM, EPI_MM), ring(0.8 * ENDO_MM, 0.8 * EPI_MM)])
    report = measure_strain(labels, motion.__getitem__, geometry(), ed_frame=0, es_frame=1)
    assert report.at_es() == pytest.approx({"radial": -20.0, "circumferential": -20.0, "longitudinal": -15.0}, abs=0.01)


def test_tissue_that_slides_beside_the_wall_does_not_strain_it():
    motion = [scaled(1.0, 1.0), scaled(0.9, 1.0)]
    labels = np.stack([ring(ENDO_MM, EPI_MM), ring(0.9 * ENDO_MM, 0.9 * EPI_MM)])
    motion[1] = np.where(labels[1] == 2, motion[1], 0.0)  # blood and surroundings stay where they are
    report = measure_strain(labels, motion.__getitem__, geometry(), ed_frame=0, es_frame=1)
    assert report.at_es()["radial"] == pytest.approx(-10.0, abs=0.01)


def test_labels_without_a_wall_are_refused():
    labels = np.stack([ring(ENDO_MM, EPI_MM)] * 2)
    labels[labels == 2] = 0
    with pytest.raises(FunctionError, match="cavity and wall"):
        measure_strain(labels, lambda frame: scaled(1.0, 1.0), geometry(), ed_frame=0, es_frame=1)


def test_strain_is_written_with_the_read_outs(tmp_path):
    import json

    from COFGeneratorLib.function import measure_function

    labels = np.stack([ring(ENDO_MM, EPI_MM), ring(0.8 * ENDO_MM, 0.8 * EPI_MM)] * 2)
    motion = [scaled(1.0, 1.0), scaled(0.8, 0.85)] * 2
    function = measure_function(
        labels, geometry(), np.arange(4) * 200.0, 800.0, 75.0, labels_from="user", folded_fraction=0.0
    )
    report = measure_strain(labels, motion.__getitem__, geometry(), ed_frame=0, es_frame=1)
    write_function(function, tmp_path, strain=report)
    content = json.loads((tmp_path / "function.json").read_text())
    assert content["strain"]["es_circumferential_percent"] == -20.0
    assert len(content["strain"]["radial_percent"]) == 4
    assert content["segments"][0]["longitudinal_strain_percent"] == -15.0
    assert content["segments"][16]["radial_strain_percent"] is None
