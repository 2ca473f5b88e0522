"""``preview.gif``: basal, mid and apical slices beating at the true rate, a cursor running over ECG and volumes."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from COFGeneratorLib.cine import Cine
from COFGeneratorLib.figures.palette import BACKGROUND, LV, MARK, MUTED, PANEL, RV, TEXT, WARNING, rgb
from COFGeneratorLib.figures.sheet import Sheet
from COFGeneratorLib.figures.traces import draw_ecg, draw_volumes
from COFGeneratorLib.figures.view import choose_view, render
from COFGeneratorLib.function.curve import interpolate_periodic

if TYPE_CHECKING:
    from PIL import Image

TILE_PX, GAP_PX, MARGIN_PX = 290, 8, 26
WIDTH_PX, DPI = 3 * TILE_PX + 2 * GAP_PX + 2 * MARGIN_PX, 100
TOP_PX, CURVES_PX = 60, 250
MIN_STEP_MS = 30.0
"""GIF counts in 10 ms and viewers slow down what is faster than 20 ms, so frames are left out, never slowed."""


def write_film(cine: Cine, path: Path) -> None:
    """Write the film, looping for ever."""
    from PIL import Image

    stage = _Stage(cine)
    chosen, delays_ms = playback(np.asarray(cine.time_ms), cine.rr_ms)
    pictures = [Image.fromarray(stage.picture(frame)) for frame in chosen]
    save_film(pictures, path, delays_ms, MARK)


def save_film(pictures: "list[Image.Image]", path: Path, delays_ms: list[int], comment: str) -> None:
    """Write pictures as a GIF that loops for ever, in one palette, so that nothing flickers.

    All are RGB of one size; delays are multiples of 10 ms.
    """
    from PIL import Image

    palette = _shared_palette(pictures)
    indexed = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    indexed[0].save(
        path, save_all=True, append_images=indexed[1:], duration=delays_ms, loop=0, optimize=False, comment=comment
    )


def playback(time_ms: np.ndarray, rr_ms: float) -> tuple[list[int], list[int]]:
    """Choose frames and their delays so that one loop lasts one R–R to within 5 ms.

    Returns:
        Frame indices and delays, ms, multiples of 10.
    """
    stride = max(1, int(np.ceil(MIN_STEP_MS * len(time_ms) / rr_ms - 1e-9)))
    chosen = list(range(0, len(time_ms), stride))
    edges = np.append(time_ms[chosen] - time_ms[0], rr_ms)
    if len(chosen) > 1 and edges[-1] - edges[-2] < 20.0:  # a last frame too short to be shown
        chosen, edges = chosen[:-1], np.delete(edges, -2)
    ticks = np.round(edges / 10.0).astype(int) * 10
    return chosen, [int(step) for step in np.diff(ticks)]


class _Stage:
    """Everything that stays still, drawn once, and the few pixels that move."""

    def __init__(self, cine: Cine) -> None:
        self.cine, report = cine, cine.function
        self.view = choose_view(cine.anchor, cine.labels, 64)
        self.slices = _three_slices(cine, self.view.slices)
        sheet = Sheet(WIDTH_PX, TOP_PX + TILE_PX + CURVES_PX, DPI)
        after = sheet.write(MARGIN_PX, 32, "ChainOfFlow", fontsize=15, fontweight="bold")
        after = sheet.write(after + 20, 32, f"{cine.ecg[1].hr_bpm:.0f} bpm", fontsize=11, color=MUTED)
        if report is not None:
            text = f"EF {report.ef_percent:.0f} %    EDV {report.edv_ml:.0f} mL    ESV {report.esv_ml:.0f} mL"
            sheet.write(after + 26, 32, text, fontsize=11, color=LV, fontweight="bold")
        sheet.write(WIDTH_PX - MARGIN_PX, 32, MARK, fontsize=9.5, color=WARNING, ha="right", fontweight="bold")

        left, top, width = MARGIN_PX + 44, TOP_PX + TILE_PX + 22, WIDTH_PX - 2 * MARGIN_PX - 44
        axes = [sheet.axes(left, top, width, 60 if report else 170)]
        draw_ecg(axes[0], cine)
        if report is not None:
            axes.append(sheet.axes(left, top + 66, width, 116))
            draw_volumes(axes[1], cine, report)
        self.still = sheet.pixels()
        self._height_px = sheet.height_px
        self._data_to_px = axes[-1].transData
        self._span = (int(sheet.height_px - axes[0].bbox.y1), int(sheet.height_px - axes[-1].bbox.y0))
        curves = [] if report is None else [(report.rv_volume_ml, RV), (report.lv_volume_ml, LV)]
        self._curves = [(curve, colour) for curve, colour in curves if np.isfinite(curve).all()]

    def picture(self, frame: int) -> np.ndarray:
        """Return one frame of the film, (H, W, 3) uint8."""
        cine, picture = self.cine, self.still.copy()
        for index, k in enumerate(self.slices):
            labels = None if cine.labels is None else cine.labels[frame, k]
            left = MARGIN_PX + index * (TILE_PX + GAP_PX)
            tile = render(self.view, cine.frames[frame, k], TILE_PX, labels, 1.6)
            picture[TOP_PX : TOP_PX + TILE_PX, left : left + TILE_PX] = tile
            _stamp(picture, left + 10, TOP_PX + 8, f"slice {k + 1}")
        at_ms = float(cine.time_ms[frame])
        column = round(self._data_to_px.transform((at_ms, 0.0))[0])
        top, bottom = self._span
        line = picture[top:bottom, column : column + 2].astype(float)
        picture[top:bottom, column : column + 2] = (0.25 * line + 0.75 * np.array(rgb(TEXT))).astype(np.uint8)
        for curve, colour in self._curves:
            volume = float(interpolate_periodic(curve, np.asarray(cine.time_ms), cine.rr_ms, np.array([at_ms]))[0])
            x, y = self._data_to_px.transform((at_ms, volume))
            _dot(picture, x + 0.5, self._height_px - y, colour)
        return picture


def _three_slices(cine: Cine, base_to_apex: tuple[int, ...]) -> list[int]:
    """Choose a basal, a mid and an apical slice, if possible such that the cavity never leaves."""
    order = list(base_to_apex)
    if cine.labels is not None:
        always = (cine.labels == 1).any(axis=(2, 3)).all(axis=0)  # (D,)
        stays = [k for k in order if always[k]]
        order = stays if len(stays) >= 3 else order
    return list(dict.fromkeys(order[round((len(order) - 1) * part)] for part in (0.08, 0.45, 0.85)))


def _stamp(picture: np.ndarray, left: int, top: int, text: str) -> None:
    """Write a small name into the corner of a tile."""
    from PIL import Image, ImageDraw, ImageFont

    area = (slice(top, top + 22), slice(left, left + 90))
    image = Image.fromarray(picture[area])
    ImageDraw.Draw(image).text(
        (0, 0), text, fill=rgb(TEXT), font=ImageFont.load_default(14), stroke_width=2, stroke_fill=rgb(BACKGROUND)
    )
    picture[area] = np.asarray(image)


def _dot(picture: np.ndarray, x: float, y: float, colour: str, radius: float = 5.0) -> None:
    """Draw a round mark with a soft rim."""
    left, top = int(x) - 9, int(y) - 9
    rows, columns = np.mgrid[top : top + 19, left : left + 19]
    away = np.hypot(rows - y, columns - x)
    area = picture[top : top + 19, left : left + 19].astype(float)
    for reach, paint in ((radius + 2.0, rgb(PANEL)), (radius, rgb(colour))):
        alpha = np.clip(reach + 0.5 - away, 0.0, 1.0)[..., None]
        area = area * (1.0 - alpha) + np.array(paint) * alpha
    picture[top : top + 19, left : left + 19] = area.astype(np.uint8)


def _shared_palette(pictures: "list[Image.Image]") -> "Image.Image":
    """Return one 256-colour palette for the whole film."""
    from PIL import Image

    sample = np.concatenate([np.asarray(picture)[::3, ::3] for picture in pictures[:: max(1, len(pictures) // 6)]])
    return Image.fromarray(sample).quantize(256, method=Image.Quantize.MEDIANCUT)
