"""A page measured in pixels from its top left corner, on which axes and words are placed."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from COFGeneratorLib.figures.palette import BACKGROUND, TEXT

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Sheet:
    """A matplotlib figure without pyplot (no global state, no window); ``dpi`` sets how large a font's points are."""

    def __init__(self, width_px: int, height_px: int, dpi: int) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.width_px, self.height_px, self.dpi = width_px, height_px, dpi
        self.figure = Figure(figsize=(width_px / dpi, height_px / dpi), dpi=dpi, facecolor=BACKGROUND)
        self._canvas = FigureCanvasAgg(self.figure)

    def axes(self, left: float, top: float, width: float, height: float, **options: Any) -> "Axes":
        """Return new axes at a place, px."""
        bottom = 1.0 - (top + height) / self.height_px
        box = (left / self.width_px, bottom, width / self.width_px, height / self.height_px)
        return self.figure.add_axes(box, **options)

    def write(self, x: float, y: float, text: str, **style: Any) -> float:
        """Write words, vertically centred on y, and return the x of their right end, px."""
        style = {"color": TEXT, "va": "center_baseline"} | style
        item = self.figure.text(x / self.width_px, 1.0 - y / self.height_px, text, **style)
        return float(item.get_window_extent(self._canvas.get_renderer()).x1)

    def pixels(self) -> np.ndarray:
        """Return the page as (H, W, 3) uint8."""
        self._canvas.draw()
        return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()

    def save(self, path: Path, description: str) -> None:
        """Write a PNG with a description in its metadata."""
        note = {"Description": description, "Software": "ChainOfFlow"}
        self.figure.savefig(path, dpi=self.dpi, facecolor=BACKGROUND, metadata=note)
