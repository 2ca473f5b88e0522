"""Curves of a run as a small picture in the panel, growing while the run goes on; the plot view has them in full."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import qt
from COFGeneratorLib.ui.drawing import draw_line, drawn_on

HEIGHT, MARGIN, MAX_POINTS = 96, 4, 300
COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd")
NOT_DRAWN = ("samples_per_s", "gpu_mb", "peak_memory_mb", "lr")
"""What is told as a number only."""

METRIC_WORDS = {"samples_per_s": "{:.1f} examples/s", "gpu_mb": "GPU {:.0f} MB", "peak_memory_mb": "memory {:.0f} MB"}
"""How numbers are told that are no curves."""


def curve_picture(values: Mapping[str, tuple[list[float], list[float]]], width: int) -> Any:
    """Return a QPixmap of all curves, or None without any; each is scaled to its own range, on a log scale if positive.

    Args:
        values: Name → (steps, values).
        width: Of the picture, pixels.
    """
    drawn = {name: curve for name, curve in values.items() if name not in NOT_DRAWN and len(curve[0]) > 1}
    if not drawn:
        return None
    pixmap = qt.QPixmap(width, HEIGHT)
    last = max(steps[-1] for steps, _ in drawn.values()) or 1.0
    with drawn_on(pixmap, qt.QColor("#ffffff")) as painter:
        for row, (name, (steps, curve)) in enumerate(list(drawn.items())[: len(COLOURS)]):
            _draw(painter, [step / last for step in steps], curve, width, COLOURS[row])
            painter.setPen(qt.QPen(qt.QColor(COLOURS[row])))
            painter.drawText(width - 120, 12 + 12 * row, f"{name}  {curve[-1]:.4g}")
    return pixmap


def _draw(painter: Any, places: Sequence[float], curve: Sequence[float], width: int, colour: str) -> None:
    finite = [(place, value) for place, value in zip(places, curve, strict=True) if math.isfinite(value)]
    if len(finite) < 2:
        return
    finite = finite[:: max(1, len(finite) // MAX_POINTS)]
    if min(value for _, value in finite) > 0.0:
        finite = [(place, math.log(value)) for place, value in finite]
    low, high = min(value for _, value in finite), max(value for _, value in finite)
    points = (
        (
            MARGIN + place * (width - 2 * MARGIN),
            HEIGHT - MARGIN - (value - low) / max(high - low, 1e-12) * (HEIGHT - 2 * MARGIN),
        )
        for place, value in finite
    )
    pen = qt.QPen(qt.QColor(colour))
    pen.setWidth(2)
    draw_line(painter, points, pen)


def metric_words(latest: dict[str, float]) -> str:
    """Return the newest numbers of a run in words."""
    known = (METRIC_WORDS.get(name, name + " {:.4g}").format(value) for name, value in latest.items())
    return " · ".join(known)
