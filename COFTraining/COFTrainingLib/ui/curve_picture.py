"""Curves of a run as a picture in the panel, growing while the run goes on: training on the left, validation beside it.

The plot view has them in full.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import qt
from COFGeneratorLib.ui.drawing import draw_line, drawn_on
from slicer.i18n import tr as _

HEIGHT, MAX_POINTS = 150, 300
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 16, 16
"""Around the area of the curves, for its axes, pixels."""
LINE_PX = 12
COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd")
PAPER, AXIS, WORDS = "#ffffff", "#9a9a9a", "#505050"
TRAINING = ("loss",)
"""Names of what is told of training; the rest is told at validations."""
NOT_DRAWN = ("samples_per_s", "gpu_mb", "peak_memory_mb", "lr")
"""What is told as a number only."""
LOG_FROM = 10.0
"""Ratio of largest to smallest value from which a scale is logarithmic."""

METRIC_WORDS = {"samples_per_s": "{:.1f} examples/s", "gpu_mb": "GPU {:.0f} MB", "peak_memory_mb": "memory {:.0f} MB"}
"""How numbers are told that are no curves."""

Curve = tuple[Sequence[float], Sequence[float]]
"""Steps and values."""


@dataclass(frozen=True)
class Scale:
    """Values at the ends of an axis, and whether it is logarithmic."""

    low: float
    high: float
    log: bool

    def share(self, value: float) -> float:
        """Return where a value lies between the ends, 0…1."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def middle(self) -> float:
        """Return the value halfway."""
        return math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2.0


def scale_of(values: Sequence[float]) -> Scale:
    """Return the scale that holds some finite values."""
    low, high = min(values), max(values)
    if low > 0.0 and high / low >= LOG_FROM:
        return Scale(low, high, True)
    return Scale(low, high if high > low else low + max(abs(low), 1.0) * 1e-3, False)


def curve_picture(values: Mapping[str, Curve], width: int) -> Any:
    """Return a QPixmap of all curves with their axes, or None without any.

    Args:
        values: Name → (steps, values).
        width: Of the picture, pixels.
    """
    drawn = {name: finite(curve) for name, curve in values.items() if name not in NOT_DRAWN}
    drawn = {name: curve for name, curve in drawn.items() if len(curve[0]) > 1}
    groups = [
        (title, group)
        for title, group in (
            (_("training"), {name: curve for name, curve in drawn.items() if name in TRAINING}),
            (_("validation"), {name: curve for name, curve in drawn.items() if name not in TRAINING}),
        )
        if group
    ]
    if not groups:
        return None
    pixmap = qt.QPixmap(width, HEIGHT)
    last = max(curve[0][-1] for curve in drawn.values()) or 1.0
    with drawn_on(pixmap, qt.QColor(PAPER)) as painter:
        each = width / len(groups)
        for place, (title, group) in enumerate(groups):
            _plot(painter, place * each, each, title, group, last)
    return pixmap


def finite(curve: Curve) -> Curve:
    """Return a curve without what is no number, thinned to what a picture can show."""
    pairs = [(step, value) for step, value in zip(*curve, strict=True) if math.isfinite(value)]
    pairs = pairs[:: max(1, len(pairs) // MAX_POINTS)]
    return [step for step, _ in pairs], [value for _, value in pairs]


def _plot(painter: Any, left: float, width: float, title: str, group: Mapping[str, Curve], last: float) -> None:
    """Draw one group of curves with its axes into a part of the picture."""
    names = list(group)[: len(COLOURS)]
    scale = scale_of([value for name in names for value in group[name][1]])
    x0, x1, y0, y1 = left + LEFT, left + width - RIGHT, HEIGHT - BOTTOM, TOP
    draw_line(painter, [(x0, y1), (x0, y0), (x1, y0)], qt.QPen(qt.QColor(AXIS)))
    painter.setPen(qt.QPen(qt.QColor(WORDS)))
    for share, value in ((0.0, scale.low), (0.5, scale.middle()), (1.0, scale.high)):
        y = y0 + share * (y1 - y0)
        painter.drawText(int(left) + 2, int(y) + 4, f"{value:.3g}")
        draw_line(painter, [(x0 - 3, y), (x0, y)], qt.QPen(qt.QColor(AXIS)))
        painter.setPen(qt.QPen(qt.QColor(WORDS)))
    painter.drawText(int(x0), HEIGHT - 3, "0")
    painter.drawText(int(x1) - 70, HEIGHT - 3, _("{steps:.0f} steps").format(steps=last))
    painter.drawText(int(x0) + 4, LINE_PX - 1, title + (_(" (log scale)") if scale.log else ""))
    for row, name in enumerate(names):
        steps, curve = group[name]
        points = (
            (x0 + s / last * (x1 - x0), y0 + scale.share(v) * (y1 - y0)) for s, v in zip(steps, curve, strict=True)
        )
        pen = qt.QPen(qt.QColor(COLOURS[row]))
        pen.setWidth(2)
        draw_line(painter, points, pen)
        painter.setPen(qt.QPen(qt.QColor(COLOURS[row])))
        painter.drawText(int(x1) - 110, TOP + LINE_PX * (row + 1), f"{name}  {curve[-1]:.4g}")


def metric_words(latest: dict[str, float]) -> str:
    """Return the newest numbers of a run in words."""
    known = (METRIC_WORDS.get(name, name + " {:.4g}").format(value) for name, value in latest.items())
    return " · ".join(known)
