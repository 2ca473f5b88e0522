"""The picture of where the heart is: its centre is named rightly, and the user's box is drawn."""

from dataclasses import replace

import numpy as np
import pytest
from COFGeneratorLib.anatomy.roi import Roi
from COFGeneratorLib.figures.location import between_slices, draw_location, heart_centre_ijk, location_words
from COFGeneratorLib.figures.sheet import Sheet
from COFGeneratorLib.figures.view import choose_view


def drawn(cine) -> np.ndarray:
    sheet = Sheet(220, 320, 100)
    draw_location(sheet, cine, choose_view(cine.anchor, cine.labels, 5), (10, 10, 200, 300))
    return sheet.pixels().astype(int)


def test_the_centre_is_that_of_the_cavity_in_words_of_the_patient(a_cine):
    k, j, i = np.nonzero(a_cine.labels[0] == 1)
    ras = a_cine.anchor.ijk_to_ras @ [i.mean(), j.mean(), k.mean(), 1.0]
    assert heart_centre_ijk(a_cine) == pytest.approx([i.mean(), j.mean(), k.mean()])
    assert ras[0] < 0  # left in this cine
    assert location_words(a_cine).startswith(f"L {-ras[0]:.0f} · ")


def test_a_region_of_interest_is_drawn_where_it_is(a_cine):
    centre = (a_cine.anchor.ijk_to_ras @ [*heart_centre_ijk(a_cine), 1.0])[:3]
    without, areas = drawn(a_cine), []
    for size in (30.0, 60.0):
        cine = replace(a_cine, provenance={"roi": Roi(centre, (size, size, size)).described()})
        changed = np.abs(drawn(cine) - without).max(axis=2) > 30
        rows, columns = np.nonzero(changed[:190])  # the upper picture
        areas.append(np.ptp(rows) * np.ptp(columns))
    assert areas[1] == pytest.approx(4 * areas[0], rel=0.15)


@pytest.mark.parametrize("swap", [False, True])
def test_the_cross_lies_on_the_heart_however_the_stack_is_stored(a_cine, swap):
    cine = a_cine
    if swap:
        matrix = cine.anchor.ijk_to_ras @ np.eye(4)[[1, 0, 2, 3]]
        anchor = replace(cine.anchor, voxels=cine.anchor.voxels.swapaxes(1, 2), ijk_to_ras=matrix)
        cine = replace(cine, anchor=anchor, labels=cine.labels.swapaxes(2, 3), frames=cine.frames.swapaxes(2, 3))
    assert np.abs(drawn(cine) - drawn(a_cine)).mean() < 1.0


def test_outlines_across_slices_slope_from_one_slice_to_the_next():
    """Of a cone, the edge between slices lies where the cone's is; masks would step by a slice's whole difference."""
    half_px, slope_px, column_mm, slice_mm = 24.0, 3.0, 1.5, 10.0
    columns = np.abs(np.arange(64) - 31.5)
    mask = np.stack([columns < half_px - slope_px * k for k in range(6)])
    inside_mm, rows_mm = between_slices(mask, (column_mm, slice_mm))
    right = inside_mm[:, 32:]  # from the middle outwards
    outside = (right <= 0).argmax(axis=1)
    before, after = (np.take_along_axis(right, at[:, None], 1)[:, 0] for at in (outside - 1, outside))
    edge_px = outside - 0.5 + before / (before - after)
    expected_px = half_px - slope_px * rows_mm / slice_mm
    assert edge_px == pytest.approx(expected_px, abs=0.6)


def test_an_outline_closes_half_a_slice_beyond_a_broad_end():
    mask = np.zeros((5, 40), bool)
    mask[1:4, 5:35] = True
    inside_mm, rows_mm = between_slices(mask, (1.5, 8.0))
    within = rows_mm[inside_mm[:, 20] > 0]
    assert within[0] == pytest.approx(4.0, abs=1.1)
    assert within[-1] == pytest.approx(28.0, abs=1.1)
