"""AHA-17 walls and motion on rings whose radii are known."""

import numpy as np
import pytest
from COFGeneratorLib.anatomy.heart_frame import heart_frame_from_labels
from COFGeneratorLib.errors import FunctionError
from COFGeneratorLib.function import measure_regional
from COFGeneratorLib.function.regional import SEGMENT_NAMES, TERRITORIES

SPACING_MM = 1.0
PITCH_MM = 8.0
CENTRE = (60, 64)  # row, column
TOLERANCE_MM = 0.3  # a third of a pixel: areas of sectors of hard labels


def geometry():
    """Slices 0 → base at high S; rows run anterior → inferior (−A), columns from patient right to left (−R)."""
    matrix = np.zeros((4, 4))
    matrix[:3, 0] = (-SPACING_MM, 0, 0)
    matrix[:3, 1] = (0, -SPACING_MM, 0)
    matrix[:3, 2] = (0, 0, -PITCH_MM)
    matrix[3, 3] = 1
    return matrix


def rings(endo, epi):
    """Label nine slices with circles and a cap; radii may be (mm) numbers or functions of the angle."""
    rows, columns = np.meshgrid(np.arange(128), np.arange(128), indexing="ij")
    y, x = (rows - CENTRE[0]) * SPACING_MM, (columns - CENTRE[1]) * SPACING_MM
    radius, angle = np.hypot(y, x), np.arctan2(y, x)  # 0 to the lateral wall, +90° inferior
    endo = endo(angle) if callable(endo) else endo
    labels = np.zeros((10, 128, 128), np.uint8)
    for k in range(9):
        labels[k][radius < epi] = 2
        labels[k][radius < endo] = 1
        if k < 6:
            labels[k][(np.hypot(y, x + 45) < 26 - 2 * k) & (radius >= epi)] = (
                3  # RV on the patient's right, tapering to the apex
            )
    labels[9][radius < 15] = 2  # the apical cap
    return labels


def test_uniform_rings_give_wall_thickening_and_excursion_everywhere():
    ed, es = rings(26.0, 34.0), rings(18.0, 30.0)
    report = measure_regional(ed, es, geometry())
    assert report.wall_ed_mm[:16] == pytest.approx(np.full(16, 8.0), abs=TOLERANCE_MM)
    assert report.wall_es_mm[:16] == pytest.approx(np.full(16, 12.0), abs=TOLERANCE_MM)
    assert report.excursion_mm[:16] == pytest.approx(np.full(16, 8.0), abs=TOLERANCE_MM)
    assert report.thickening_percent[:16] == pytest.approx(np.full(16, 50.0), abs=6.0)
    assert report.wall_ed_mm[16] == PITCH_MM
    assert np.isnan(report.excursion_mm[16])


@pytest.mark.parametrize(
    ("direction_deg", "territory", "segments"),
    [
        (0, "lateral", (5, 6, 11, 12, 16)),
        (90, "inferior", (4, 10, 15)),
        (-90, "anterior", (1, 7, 13)),
        (180, None, (2, 3, 8, 9, 14)),
    ],
)
def test_a_still_sector_shows_in_its_own_segments(direction_deg, territory, segments):
    def endo(angle):
        away = np.angle(np.exp(1j * (angle - np.deg2rad(direction_deg))))
        return np.where(np.abs(away) < np.deg2rad(45), 26.0, 18.0)

    report = measure_regional(rings(26.0, 34.0), rings(endo, 34.0), geometry())
    order = np.argsort(report.excursion_mm[:16]) + 1
    assert set(order[:3]) <= set(segments)
    if territory:
        means = {name: report.territory(name)["excursion_mm"] for name in TERRITORIES}
        assert min(means, key=means.get) == territory


@pytest.mark.parametrize("turn", ["flip slices", "flip rows", "flip columns", "transpose"])
def test_how_the_stack_is_stored_does_not_matter(turn):
    def endo(angle):
        return np.where(np.abs(angle - np.pi / 2) < 0.8, 26.0, 18.0)

    ed, es, matrix = rings(26.0, 34.0), rings(endo, 34.0), geometry()
    expected = measure_regional(ed, es, matrix)
    swap = np.eye(4)
    if turn == "transpose":
        swap[:2, :2] = [[0, 1], [1, 0]]
        ed, es = (labels.transpose(0, 2, 1) for labels in (ed, es))
    else:
        axis, column = {"flip slices": (0, 2), "flip rows": (1, 1), "flip columns": (2, 0)}[turn]
        swap[column, column], swap[column, 3] = -1, ed.shape[axis] - 1
        ed, es = np.flip(ed, axis), np.flip(es, axis)
    found = measure_regional(ed, es, matrix @ swap)
    assert found.excursion_mm == pytest.approx(expected.excursion_mm, abs=TOLERANCE_MM, nan_ok=True)


def test_a_given_heart_frame_is_used():
    ed, es = rings(26.0, 34.0), rings(20.0, 34.0)
    frame = heart_frame_from_labels(ed, geometry())
    given, found = measure_regional(ed, es, geometry(), frame), measure_regional(ed, es, geometry())
    assert given.wall_es_mm == pytest.approx(found.wall_es_mm, nan_ok=True)


def test_report_rows_are_named_and_hold_no_nan():
    rows = measure_regional(rings(26.0, 34.0), rings(20.0, 34.0), geometry()).as_dict()
    assert [row["name"] for row in rows] == list(SEGMENT_NAMES)
    assert rows[16]["excursion_mm"] is None


def test_label_maps_without_a_wall_or_on_two_grids_are_refused():
    ed = rings(26.0, 34.0)
    with pytest.raises(FunctionError, match="share one 3-D grid"):
        measure_regional(ed, ed[:5], geometry())
    with pytest.raises(FunctionError, match="needs labelled myocardium"):
        measure_regional(np.where(ed == 2, 0, ed), ed, geometry())
