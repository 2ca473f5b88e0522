"""The preview of a result: one sheet to print (``preview.png``) and one film to show (``preview.gif``)."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from COFGeneratorLib.cine import Cine
from COFGeneratorLib.errors import ChainOfFlowError
from COFGeneratorLib.figures.bullseye import draw_bullseye
from COFGeneratorLib.figures.film import write_film
from COFGeneratorLib.figures.location import REGION, draw_location, location_words, region_of
from COFGeneratorLib.figures.palette import BACKGROUND, EPICARDIUM, LV, MARK, MUTED, RV, WARNING, rgb
from COFGeneratorLib.figures.sheet import Sheet
from COFGeneratorLib.figures.traces import draw_ecg, draw_volumes
from COFGeneratorLib.figures.view import HeartView, choose_view, render
from COFGeneratorLib.function.regional import measure_regional

ROWS, PHASES = 5, 8
TILE_PX, GAP_PX, BLOCK_GAP_PX = 174, 4, 26
DPI = 120
WIDTH_PX, MARGIN_PX, HEADER_PX, TITLES_PX, BOTTOM_PX, ROW_LABEL_PX = 1920, 40, 74, 30, 372, 56
CURVES_PX, LOCATION_PX, NUMBERS_PX = 800, 196, 425
"""Widths of the three left parts of the bottom row; the bull's-eye has the rest."""
LOCATION_HEIGHT_PX = 282
EXCURSION_MM = 15.0
"""Bright end of the bull's-eye's scale; a healthy wall moves in by 6 to 12 mm."""
LABELS_FROM = {
    "user": "labels given",
    "segmenter": "labels by the segmenter",
    "user+segmenter": "labels given, completed by the segmenter",
}


def write_preview(cine: Cine, directory: str | Path, parts: Collection[str] = ("preview", "film")) -> list[Path]:
    """Draw a cine, contours and curves where it has labels: ``preview.png`` (``preview``), ``preview.gif`` (``film``).

    Returns the files drawn.
    """
    writers = {"preview": (write_sheet, "preview.png"), "film": (write_film, "preview.gif")}
    written = []
    for part, (write, name) in writers.items():
        if part in parts:
            written.append(Path(directory) / name)
            write(cine, written[-1])
    return written


def write_sheet(cine: Cine, path: Path) -> None:
    """Draw ED, ES and eight phases from base to apex over the ECG, the volume curve and the numbers."""
    view = choose_view(cine.anchor, cine.labels, ROWS)
    columns = _columns(cine)
    mosaic, centres = _mosaic(cine, view, [frame for _, frame in columns])
    sheet = Sheet(WIDTH_PX, HEADER_PX + TITLES_PX + mosaic.shape[0] + BOTTOM_PX, DPI)
    _header(sheet, cine)

    left, top = MARGIN_PX + ROW_LABEL_PX, HEADER_PX + TITLES_PX
    axes = sheet.axes(left, top, mosaic.shape[1], mosaic.shape[0])
    axes.imshow(mosaic, interpolation="nearest", aspect="auto")
    axes.axis("off")
    for (title, _), centre in zip(columns, centres, strict=True):
        style = {"fontsize": 12, "fontweight": "bold"} if title in ("ED", "ES") else {"fontsize": 10, "color": MUTED}
        sheet.write(left + centre, top - 14, title, ha="center", **style)
    for row, (k, name) in enumerate(zip(view.slices, _row_names(len(view.slices)), strict=True)):
        middle = top + row * (TILE_PX + GAP_PX) + TILE_PX / 2
        sheet.write(left - 12, middle - 9, name, ha="right", fontsize=10)
        sheet.write(left - 12, middle + 9, f"slice {k + 1}", ha="right", fontsize=8, color=MUTED)

    bottom = top + mosaic.shape[0] + 36
    ecg_px = 92 if cine.function else 240
    draw_ecg(sheet.axes(left, bottom, CURVES_PX - ROW_LABEL_PX, ecg_px), cine)
    if cine.function:
        axes = sheet.axes(left, bottom + ecg_px + 8, CURVES_PX - ROW_LABEL_PX, 186)
        draw_volumes(axes, cine, cine.function, cine.samples)
    across = MARGIN_PX + CURVES_PX + 28
    _location(sheet, cine, view, across, bottom)
    across += LOCATION_PX + 34
    _numbers(sheet, cine, across, bottom)
    _regional(sheet, cine, across + NUMBERS_PX, bottom)
    sheet.save(path, MARK)


def _columns(cine: Cine) -> list[tuple[str, int]]:
    """Return (title, frame) of every column: ED and ES where known, then eight phases."""
    count = len(cine.time_ms)
    phases = np.unique(np.round(np.arange(PHASES) * count / PHASES).astype(int) % count)
    columns = [("ED", cine.function.ed_frame), ("ES", cine.function.es_frame)] if cine.function else []
    return columns + [(f"{cine.time_ms[frame]:.0f} ms", int(frame)) for frame in phases]


def _mosaic(cine: Cine, view: HeartView, frames: list[int]) -> tuple[np.ndarray, list[float]]:
    """Return all tiles as one picture, (h, w, 3) uint8, and the centre of each column, px."""
    step = TILE_PX + GAP_PX
    marked = 2 if cine.function else 0
    lefts = [column * step + (BLOCK_GAP_PX if marked and column >= marked else 0) for column in range(len(frames))]
    picture = np.empty((len(view.slices) * step - GAP_PX, lefts[-1] + TILE_PX, 3), dtype=np.uint8)
    picture[:] = rgb(BACKGROUND)
    for column, (frame, left) in enumerate(zip(frames, lefts, strict=True)):
        for row, k in enumerate(view.slices):
            labels = None if cine.labels is None else cine.labels[frame, k]
            tile = render(view, cine.frames[frame, k], TILE_PX, labels, line_px=1.7 if column < marked else 1.0)
            picture[row * step : row * step + TILE_PX, left : left + TILE_PX] = tile
    return picture, [left + TILE_PX / 2 for left in lefts]


def _row_names(count: int) -> list[str]:
    """Name the first, middle and last row."""
    names = [""] * count
    names[count // 2] = "mid" if count > 2 else ""
    names[0] = "base"
    if count > 1:
        names[-1] = "apex"
    return names


def _header(sheet: Sheet, cine: Cine) -> None:
    """Write what this is, and that it is synthetic."""
    after = sheet.write(MARGIN_PX, 38, "ChainOfFlow", fontsize=19, fontweight="bold")
    facts = (
        "4D cine from one short-axis volume and a 12-lead ECG",
        f"{cine.ecg[1].hr_bpm:.0f} bpm",
        f"{len(cine.time_ms)} frames of {cine.rr_ms / len(cine.time_ms):.1f} ms",
    )
    sheet.write(after + 26, 39, "   ·   ".join(facts), fontsize=11, color=MUTED)
    sheet.write(WIDTH_PX - MARGIN_PX, 38, MARK, fontsize=12, color=WARNING, ha="right", fontweight="bold")


def _location(sheet: Sheet, cine: Cine, view: HeartView, left: float, top: float) -> None:
    """Show where in the field of view the heart is, and where the user said it is."""
    sheet.write(left, top + 6, "where the heart is", fontsize=9.5, color=MUTED)
    draw_location(sheet, cine, view, (left, top + 18, LOCATION_PX, LOCATION_HEIGHT_PX - 18))
    below = top + LOCATION_HEIGHT_PX + 12
    sheet.write(left, below, location_words(cine), fontsize=9, color=MUTED)
    if region_of(cine) is not None:
        sheet.write(left, below + 18, "within the region of interest", fontsize=9, color=REGION)


def _numbers(sheet: Sheet, cine: Cine, left: float, top: float) -> None:
    """Write the read-outs, LV first, with their spread where there were several draws."""
    report = cine.function
    if report is None:
        sheet.write(left, top + 20, "No labels: volumes were not measured.", fontsize=12, color=MUTED)
        return

    def spread(name: str) -> str:
        draws = [getattr(draw, name) for draw in cine.samples]
        return f"± {np.std(draws, ddof=1):.0f}" if len(draws) > 1 else ""

    after = sheet.write(left, top + 36, f"{report.ef_percent:.0f}", fontsize=46, fontweight="bold", color=LV)
    sheet.write(after + 12, top + 22, f"% {spread('ef_percent')}", fontsize=18, color=LV)
    words = "LV ejection fraction"
    if report.ef_interval_percent:
        low, high = report.ef_interval_percent
        words += f" · 90 %: {low:.0f} – {high:.0f} %"
    sheet.write(after + 14, top + 54, words, fontsize=11, color=MUTED)
    mass_g = report.myocardial_mass_g[report.ed_frame]
    rows = [
        ("EDV", f"{report.edv_ml:.0f}", f"{spread('edv_ml')} mL", LV),
        ("ESV", f"{report.esv_ml:.0f}", f"{spread('esv_ml')} mL", LV),
        ("SV", f"{report.sv_ml:.0f}", f"{spread('sv_ml')} mL", LV),
        ("CO", f"{report.co_l_min:.1f}", "L/min", LV),
        ("mass", f"{mass_g:.0f}" if mass_g > 0 else "–", "g", EPICARDIUM),
    ]
    if np.isfinite(report.es_time_ms):
        share = f"ms · {100 * report.es_time_ms / report.rr_ms:.0f} %"
        rows.append(("ES", f"{report.es_time_ms:.0f}", share, LV))
    if np.isfinite(report.rv_ef_percent):
        rows += [("RV EDV", f"{report.rv_edv_ml:.0f}", "mL", RV), ("RV EF", f"{report.rv_ef_percent:.0f}", "%", RV)]
    for index, (name, value, beside, colour) in enumerate(rows):
        x, y = left + (index % 2) * 214, top + 112 + (index // 2) * 36
        sheet.write(x, y, name, fontsize=11, color=MUTED)
        after = sheet.write(x + (84 if index % 2 == 0 else 66), y, value, fontsize=14, color=colour, fontweight="bold")
        sheet.write(after + 6, y, beside.strip(), fontsize=9, color=MUTED)
    source = LABELS_FROM.get(cine.labels_from, "")
    seed = cine.provenance.get("seed")
    facts = (source, str(cine.provenance.get("model", "")), "" if seed is None else f"seed {seed}")
    sheet.write(left, top + 278, "   ·   ".join(fact for fact in facts if fact), fontsize=9, color=MUTED)


def _regional(sheet: Sheet, cine: Cine, left: float, top: float) -> None:
    """Draw inward motion of the wall by AHA segment, where there is a wall to measure."""
    if cine.function is None or cine.labels is None:
        return
    es, ed = cine.labels[cine.function.es_frame], cine.labels[cine.function.ed_frame]
    try:
        report = measure_regional(ed, es, cine.anchor.ijk_to_ras)
    except ChainOfFlowError:  # no labelled myocardium: the sheet has no bull's-eye
        return
    width = WIDTH_PX - MARGIN_PX - left
    sheet.write(left + width / 2, top + 6, "inward motion ED → ES, mm", fontsize=9.5, color=MUTED, ha="center")
    size = min(width, 272)
    draw_bullseye(sheet.axes(left + (width - size) / 2, top + 16, size, size), report.excursion_mm, 0.0, EXCURSION_MM)
