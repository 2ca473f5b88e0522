"""Which way up a stack is shown, and that its shape on the screen is its shape in millimetres."""

from dataclasses import replace

import numpy as np
import pytest
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.figures.palette import EPICARDIUM, LV, rgb
from COFGeneratorLib.figures.view import choose_view, render

TURNS = ("none", "rows", "columns", "slices", "transpose", "all")


def turned(cine, turn):
    """Store the same heart another way: flip or swap axes and say so in the matrix."""
    frames, labels, matrix = cine.frames, cine.labels, cine.anchor.ijk_to_ras.copy()
    for name, axis, column in (("slices", 1, 2), ("rows", 2, 1), ("columns", 3, 0)):
        if turn in (name, "all"):
            flip = np.eye(4)
            flip[column, column], flip[column, 3] = -1, frames.shape[axis] - 1
            frames, labels, matrix = np.flip(frames, axis), np.flip(labels, axis), matrix @ flip
    if turn in ("transpose", "all"):
        frames, labels, matrix = frames.swapaxes(2, 3), labels.swapaxes(2, 3), matrix @ np.eye(4)[[1, 0, 2, 3]]
    return replace(cine, frames=frames, labels=labels, anchor=SaxStack(frames[0], matrix))


@pytest.mark.parametrize("turn", TURNS)
def test_the_heart_is_shown_the_same_way_however_it_is_stored(a_cine, turn):
    usual = choose_view(a_cine.anchor, a_cine.labels, 5)
    cine = turned(a_cine, turn)
    view = choose_view(cine.anchor, cine.labels, 5)
    for ours, theirs in zip(usual.slices, view.slices, strict=True):
        expected = usual.shown(a_cine.frames[0, ours], 96)
        assert view.shown(cine.frames[0, theirs], 96) == pytest.approx(expected, abs=1e-2)


def test_the_right_ventricle_is_on_the_left_and_slices_run_from_base_to_apex(a_cine):
    view = choose_view(a_cine.anchor, a_cine.labels, 4)
    shown = view.shown(a_cine.labels[0, view.slices[0]] == 3, 100)
    assert shown[:, :50].sum() > 3 * shown[:, 50:].sum()
    areas = [(a_cine.labels[0, k] == 1).sum() for k in view.slices]
    assert areas == sorted(areas, reverse=True)


def test_without_labels_the_stack_is_still_shown_upright(a_cine):
    view = choose_view(a_cine.anchor, None, 3)
    with_labels = choose_view(a_cine.anchor, a_cine.labels, 3)
    assert (view.swap, view.flip_rows, view.flip_columns) == (
        with_labels.swap,
        with_labels.flip_rows,
        with_labels.flip_columns,
    )
    assert len(view.slices) == 3


def test_unequal_pixels_are_shown_in_proportion():
    disc = np.hypot(*np.meshgrid((np.arange(80) - 39.5) * 1.0, (np.arange(40) - 19.5) * 2.0)) < 25  # 2 mm rows
    labels = np.repeat(disc[None, None].astype(np.uint8), 4, axis=1)
    matrix = np.diag([-1.0, -2.0, -8.0, 1.0])
    view = choose_view(SaxStack(labels[0] * 100.0, matrix), labels, 1)
    shown = view.shown(labels[0, view.slices[0]], 200) > 0.5
    assert shown.any(axis=0).sum() == pytest.approx(shown.any(axis=1).sum(), abs=8)


def test_contours_lie_on_the_borders_of_the_labels(a_cine):
    view = choose_view(a_cine.anchor, a_cine.labels, 3)
    k = view.slices[0]
    plain = render(view, a_cine.frames[0, k], 160)
    drawn = render(view, a_cine.frames[0, k], 160, a_cine.labels[0, k])
    changed = (plain != drawn).any(axis=2)
    cavity = view.shown(a_cine.labels[0, k] == 1, 160)
    line = (drawn == np.array(rgb(LV))).all(axis=2)
    assert line.sum() > 60
    assert np.abs(cavity[line] - 0.5).max() < 0.5
    assert (drawn == np.array(rgb(EPICARDIUM))).all(axis=2).sum() > 60
    assert changed.mean() < 0.15


def test_rendering_leaves_its_inputs_alone(a_cine):
    view = choose_view(a_cine.anchor, a_cine.labels, 3)
    before = a_cine.frames.copy()
    render(view, a_cine.frames[0, 3], 64, a_cine.labels[0, 3])
    assert np.array_equal(a_cine.frames, before)
