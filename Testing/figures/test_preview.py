"""The preview's files: they open, they last one heart beat, they say that they are synthetic."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from COFGeneratorLib.figures import write_ecg_sheet, write_preview
from COFGeneratorLib.figures.film import playback
from COFGeneratorLib.figures.palette import LV, rgb
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image


@pytest.fixture(scope="module")
def preview(a_cine, tmp_path_factory):
    return write_preview(a_cine, tmp_path_factory.mktemp("preview"))


def test_the_sheet_opens_and_shows_pictures_curves_and_the_mark(preview):
    sheet = Image.open(preview[0])
    assert sheet.size[0] == 1920
    assert "SYNTHETIC" in sheet.text["Description"]
    pixels = np.asarray(sheet.convert("RGB"))
    assert (pixels == np.array(rgb(LV))).all(axis=2).sum() > 2000  # contours and the LV's curve
    assert pixels.std() > 30


def test_the_film_loops_and_lasts_one_heart_beat(preview, a_cine):
    film = Image.open(preview[1])
    assert film.info["loop"] == 0
    durations = []
    for frame in range(film.n_frames):
        film.seek(frame)
        durations.append(film.info["duration"])
    assert sum(durations) == pytest.approx(a_cine.rr_ms, abs=10)
    assert min(durations) >= 20


def test_the_film_moves(preview):
    film = Image.open(preview[1])
    first = np.asarray(film.convert("RGB")).astype(int)
    film.seek(film.n_frames // 2)
    assert (np.abs(np.asarray(film.convert("RGB")) - first) > 40).any(axis=2).mean() > 0.01


@given(st.integers(4, 120), st.floats(350.0, 1800.0))
def test_playback_keeps_the_true_rate_for_any_number_of_frames(count, rr_ms):
    chosen, delays_ms = playback(np.arange(count) * rr_ms / count, rr_ms)
    assert len(chosen) == len(delays_ms)
    assert chosen[0] == 0
    assert chosen == sorted(set(chosen))
    assert sum(delays_ms) == pytest.approx(rr_ms, abs=5.0)
    assert min(delays_ms) >= 20
    assert all(delay % 10 == 0 for delay in delays_ms)


@pytest.mark.slow
def test_a_cine_without_labels_is_shown_without_contours_and_numbers(a_cine, tmp_path):
    bare = replace(a_cine, labels=None, labels_from="none", function=None)
    sheet, film = write_preview(bare, tmp_path)
    pixels = np.asarray(Image.open(sheet).convert("RGB"))
    assert not (pixels == np.array(rgb(LV))).all(axis=2).any()
    assert Image.open(film).n_frames > 5


@pytest.mark.slow
def test_further_draws_are_shown_as_a_spread(a_cine, tmp_path):
    report = a_cine.function
    draws = tuple(replace(report, ef_percent=report.ef_percent + step) for step in (-4.0, 5.0))
    write_preview(replace(a_cine, samples=draws), tmp_path)
    assert (tmp_path / "preview.png").stat().st_size > 50_000


def test_a_stack_of_two_slices_and_a_lone_left_ventricle_is_shown(a_cine, tmp_path):
    few = replace(
        a_cine,
        frames=a_cine.frames[:, 1:3],
        labels=np.where(a_cine.labels[:, 1:3] == 1, 1, 0).astype(np.uint8),
        anchor=replace(a_cine.anchor, voxels=a_cine.frames[0, 1:3]),
    )
    sheet, _ = write_preview(few, tmp_path)
    assert Image.open(sheet).size[1] < 900


def test_the_ecg_sheet_is_drawn_and_names_no_one(an_ecg, tmp_path):
    path = write_ecg_sheet(*an_ecg, tmp_path / "ecg.png")
    sheet = Image.open(path)
    assert sheet.size[0] > 1200
    assert np.asarray(sheet.convert("L")).min() < 60


def test_tall_leads_get_room_and_a_lower_gain():
    """No row's traces reach another's or the header, whatever their height; the gain falls only where it must."""
    from COFGeneratorLib.figures.ecg_sheet import TALLEST_MM, TOP_MM, layout

    for height_mv, gain in ((1.0, 10.0), (3.0, 10.0), (5.0, 5.0), (9.0, 2.5), (40.0, 2.5)):
        rows = [[np.array([-0.6 * height_mv, height_mv]) * share] for share in (1.0, 0.8, 1.0, 0.4)]
        plan = layout(rows)
        assert plan.gain_mm_per_mv == gain
        top = np.array(plan.base_mm) - plan.above_mm
        bottom = np.array(plan.base_mm) + plan.below_mm
        assert top[0] >= TOP_MM - 1e-9
        assert (top[1:] >= bottom[:-1] - 1e-9).all()
        assert bottom[-1] < plan.height_mm
        assert bottom[-1] - top[0] <= TALLEST_MM + 1e-6
        if not plan.cut:
            for base, above, below, (row,) in zip(plan.base_mm, plan.above_mm, plan.below_mm, rows, strict=True):
                assert row.max() * gain < above, base
                assert -row.min() * gain < below, base
        assert plan.cut == (height_mv == 40.0)


def test_traces_of_a_tall_record_are_drawn_within_their_rows(an_ecg, tmp_path, monkeypatch):
    from COFGeneratorLib.figures import ecg_sheet

    drawn = {}

    def trace(axes, time_s, lead_mv, left_mm, plan, row):
        before = len(axes.lines)
        original(axes, time_s, lead_mv, left_mm, plan, row)
        drawn.setdefault(row, []).append(axes.lines[before].get_ydata())

    original = ecg_sheet._trace
    monkeypatch.setattr(ecg_sheet, "_trace", trace)
    record, cycle = an_ecg
    write_ecg_sheet(replace(record, signal_mv=4.0 * record.signal_mv), cycle, tmp_path / "tall.png")
    lowest = [max(line.max() for line in drawn[row]) for row in range(4)]
    highest = [min(line.min() for line in drawn[row]) for row in range(4)]
    assert highest[0] > ecg_sheet.TOP_MM
    assert all(above < below for above, below in zip(lowest[:-1], highest[1:], strict=True))


def test_a_leads_name_stands_clear_of_the_trace_that_begins_under_it():
    from COFGeneratorLib.figures.ecg_sheet import ABOVE_MM, APART_MM, CLEAR_MM, NAME_HEIGHT_MM, name_height_mm

    assert name_height_mm(ABOVE_MM, np.array([0.0, 2.0, -5.0])) == NAME_HEIGHT_MM
    for peak_mm in (10.5, 14.0, 30.0):
        height_mm = name_height_mm(peak_mm + APART_MM, np.array([0.0, peak_mm]))
        assert peak_mm + CLEAR_MM <= height_mm <= peak_mm + APART_MM
    assert name_height_mm(15.0, np.array([40.0])) == 15.0  # of a trace that is cut to its row


def test_drawing_opens_no_window(preview):
    assert preview[0].is_file()
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()
