"""Pictures of a generated plane: a sheet of phases over ECG and area curve, and a film at the true rate."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from COFGeneratorLib.ecgflowcmr.generate import PlaneCine
from COFGeneratorLib.figures.film import playback, save_film
from COFGeneratorLib.figures.palette import BACKGROUND, EPICARDIUM, LV, MARK, MUTED, RV, TEXT, WARNING, rgb
from COFGeneratorLib.figures.sheet import Sheet
from COFGeneratorLib.figures.traces import draw_ecg, frame_cycle
from COFGeneratorLib.figures.view import HeartView, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_PX, MARGIN_PX, DPI = 1500, 36, 110
TILE_PX, GAP_PX, COLUMNS = 232, 6, 6
FILM_PX, FILM_WIDTH_PX = 380, 900
NOT_THE_PATIENT = "ANATOMY IS NOT THE PATIENT'S"


def write_plane_preview(cine: PlaneCine, directory: Path, parts: Collection[str] = ("preview", "film")) -> list[Path]:
    """Draw ``preview.png`` (``preview``) and ``preview.gif`` (``film``), and return those; the folder must exist."""
    writers = {"preview": (_write_sheet, "preview.png"), "film": (_write_film, "preview.gif")}
    written = []
    for part, (write, name) in writers.items():
        if part in parts:
            written.append(Path(directory) / name)
            write(cine, written[-1])
    return written


def _view(cine: PlaneCine) -> HeartView:
    size = cine.frames.shape[-1]
    black, white = np.percentile(cine.frames, (1.0, 99.6))
    return HeartView((0,), False, False, False, (0, 0, size, size), (float(black), float(max(white, black + 1))))


def _tile(cine: PlaneCine, view: HeartView, frame: int, size: int) -> np.ndarray:
    labels = None if cine.labels is None else cine.labels[frame, 0]
    return render(view, cine.frames[frame, 0], size, labels)


def _write_sheet(cine: PlaneCine, path: Path) -> None:
    view, count = _view(cine), len(cine.time_ms)
    chosen = np.unique(np.round(np.arange(2 * COLUMNS) * count / (2 * COLUMNS)).astype(int) % count)
    step = TILE_PX + GAP_PX
    rows = -(-len(chosen) // COLUMNS)
    picture = np.empty((rows * step - GAP_PX, COLUMNS * step - GAP_PX, 3), dtype=np.uint8)
    picture[:] = rgb(BACKGROUND)
    for index, frame in enumerate(chosen):
        top, left = index // COLUMNS * step, index % COLUMNS * step
        picture[top : top + TILE_PX, left : left + TILE_PX] = _tile(cine, view, int(frame), TILE_PX)
    top = 92
    bottom = top + picture.shape[0] + 34
    sheet = Sheet(WIDTH_PX, bottom + 360, DPI)
    after = sheet.write(MARGIN_PX, 34, "ChainOfFlow · ECGFlowCMR", fontsize=17, fontweight="bold")
    plane = {"sax": "mid-ventricular short axis", "four-chamber": "four chambers"}[_plane(cine)]
    facts = f"{plane} from the ECG alone   ·   {60000 / cine.rr_ms:.0f} bpm   ·   {count} frames"
    sheet.write(after + 22, 35, facts, fontsize=10, color=MUTED)
    sheet.write(WIDTH_PX - MARGIN_PX, 34, NOT_THE_PATIENT, fontsize=12, color=WARNING, ha="right", fontweight="bold")
    sheet.write(WIDTH_PX - MARGIN_PX, 62, MARK, fontsize=9, color=WARNING, ha="right")
    axes = sheet.axes(MARGIN_PX, top, picture.shape[1], picture.shape[0])
    axes.imshow(picture, interpolation="nearest", aspect="auto")
    axes.axis("off")
    for index, frame in enumerate(chosen):
        x, y = MARGIN_PX + index % COLUMNS * step + 8, top + index // COLUMNS * step + 14
        sheet.write(x, y, f"{cine.time_ms[frame]:.0f} ms", fontsize=9, color=TEXT)
    draw_ecg(sheet.axes(MARGIN_PX + 44, bottom, 900, 120), cine)
    if cine.plane is not None:
        _draw_areas(sheet.axes(MARGIN_PX + 44, bottom + 128, 900, 170), cine)
        _numbers(sheet, cine, MARGIN_PX + 1000, bottom)
    sheet.save(path, f"{MARK}. {NOT_THE_PATIENT}.")


def _plane(cine: PlaneCine) -> str:
    return cine.plane.plane if cine.plane is not None else "sax"


def _draw_areas(axes: "Axes", cine: PlaneCine) -> None:
    report = cine.plane
    assert report is not None  # asked for only where areas were measured
    frame_cycle(axes, cine)
    time_ms = np.append(report.time_ms, report.rr_ms)
    for draw in cine.plane_draws[1:]:
        axes.plot(time_ms, np.append(draw.lv_area_mm2, draw.lv_area_mm2[0]) / 100, color=LV, linewidth=0.8, alpha=0.35)
    for name, colour, label in (("rv_area_mm2", RV, "RV"), ("lv_area_mm2", LV, "LV")):
        area = getattr(report, name)
        axes.plot(time_ms, np.append(area, area[0]) / 100, color=colour, linewidth=2.0, label=label)
    if np.isfinite(report.es_time_ms):
        axes.axvline(report.es_time_ms, color=EPICARDIUM, linewidth=1.0, linestyle=(0, (3, 3)))
    axes.set_ylim(0, None)
    axes.set_ylabel("area, cm²", color=MUTED, fontsize=9)
    axes.set_xlabel("time from R, ms", color=MUTED, fontsize=9)
    axes.legend(loc="lower center", frameon=False, fontsize=9, labelcolor="linecolor", ncols=2)


def _numbers(sheet: Sheet, cine: PlaneCine, left: float, top: float) -> None:
    report = cine.plane
    assert report is not None  # asked for only where areas were measured
    after = sheet.write(left, top + 30, f"{report.fac_percent:.0f} %", fontsize=34, fontweight="bold", color=LV)
    sheet.write(after + 12, top + 34, "LV fractional area change", fontsize=10, color=MUTED)
    rows = [
        ("ED area", f"{report.ed_area_mm2 / 100:.1f} cm²"),
        ("ES area", f"{report.es_area_mm2 / 100:.1f} cm²"),
        ("ES", f"{report.es_time_ms:.0f} ms · {100 * report.es_time_ms / report.rr_ms:.0f} % of R–R"),
    ]
    if cine.plane_draws:
        values = [draw.fac_percent for draw in cine.plane_draws]
        rows.append(("FAC over draws", f"{np.mean(values):.0f} ± {np.std(values, ddof=1):.0f} %"))
    for index, (name, value) in enumerate(rows):
        sheet.write(left, top + 84 + 32 * index, name, fontsize=10, color=MUTED)
        sheet.write(left + 130, top + 84 + 32 * index, value, fontsize=12, fontweight="bold")
    seed, model = cine.provenance.get("seed"), cine.provenance.get("model", "")
    sheet.write(left, top + 232, f"{model}   ·   seed {seed}", fontsize=9, color=MUTED)
    sheet.write(left, top + 258, "Sizes are the synthetic heart's. No volume, no EF.", fontsize=9, color=WARNING)


def _write_film(cine: PlaneCine, path: Path) -> None:
    from PIL import Image

    view = _view(cine)
    sheet = Sheet(FILM_WIDTH_PX, FILM_PX + 84, 100)
    sheet.write(20, 26, "ECGFlowCMR", fontsize=14, fontweight="bold")
    sheet.write(FILM_WIDTH_PX - 20, 26, NOT_THE_PATIENT, fontsize=11, color=WARNING, ha="right", fontweight="bold")
    sheet.write(FILM_WIDTH_PX - 20, 48, MARK, fontsize=8, color=WARNING, ha="right")
    axes = [sheet.axes(FILM_PX + 90, 80, FILM_WIDTH_PX - FILM_PX - 110, 130)]
    draw_ecg(axes[0], cine)
    if cine.plane is not None:
        axes.append(sheet.axes(FILM_PX + 90, 226, FILM_WIDTH_PX - FILM_PX - 110, 180))
        _draw_areas(axes[1], cine)
    still = sheet.pixels()
    to_px = axes[-1].transData
    top, bottom = int(sheet.height_px - axes[0].bbox.y1), int(sheet.height_px - axes[-1].bbox.y0)
    chosen, delays_ms = playback(np.asarray(cine.time_ms), cine.rr_ms)
    pictures = []
    for frame in chosen:
        picture = still.copy()
        picture[66 : 66 + FILM_PX, 20 : 20 + FILM_PX] = _tile(cine, view, frame, FILM_PX)
        column = round(to_px.transform((float(cine.time_ms[frame]), 0.0))[0])
        picture[top:bottom, column : column + 2] = rgb(TEXT)
        pictures.append(Image.fromarray(picture))
    save_film(pictures, path, delays_ms, f"{MARK}. {NOT_THE_PATIENT}.")
