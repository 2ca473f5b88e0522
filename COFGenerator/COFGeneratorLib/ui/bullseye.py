"""The AHA-17 bull's-eye of a result as a picture."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import qt
from slicer.i18n import tr as _

from COFGeneratorLib.ui.drawing import drawn_on, path_through

RINGS = ((6, 0.76, 1.0, 60.0), (6, 0.5, 0.76, 60.0), (4, 0.22, 0.5, 45.0))
"""Sectors, inner and outer radius, start (degrees, counter-clockwise from the right) of basal, mid, apical ring."""

MEASURES = {
    "excursion_mm": ("Inward motion (mm)", 0.0, 12.0),
    "thickening_percent": ("Wall thickening (%)", 0.0, 80.0),
    "radial_strain_percent": ("Radial strain (%)", 0.0, 60.0),
    "circumferential_strain_percent": ("Circumferential strain (%)", 0.0, -30.0),
    "longitudinal_strain_percent": ("Longitudinal strain (%)", 0.0, -25.0),
}
"""Key in ``segments`` of ``function.json`` → words, values where little and where much happens."""

SIZE = 190
"""Height of the picture, pixels."""

LOW, MIDDLE, HIGH, UNKNOWN = (59, 28, 84), (200, 72, 72), (250, 214, 110), (150, 150, 150)


@dataclass(frozen=True)
class _Target:
    """Where the bull's-eye lies, pixels, and what the ends of its colour scale stand for."""

    painter: Any
    centre: tuple[float, float]
    radius: float
    low: float
    high: float

    def at(self, degrees: float, share: float) -> tuple[float, float]:
        """Return the point at an angle, at a share of the radius."""
        angle, distance = math.radians(degrees), self.radius * share
        return self.centre[0] + distance * math.cos(angle), self.centre[1] - distance * math.sin(angle)


def bullseye(segments: Sequence[Mapping[str, Any]], measure: str, width: int) -> Any:
    """Return a QPixmap of one measure.

    Args:
        segments: ``segments`` of ``function.json``: 17 rows with ``segment`` and the measures, None where unknown.
        measure: Key in ``MEASURES``.
        width: Of the picture, pixels.
    """
    words, low, high = MEASURES[measure]
    values = {row["segment"]: row.get(measure) for row in segments}
    pixmap = qt.QPixmap(width, SIZE)
    radius = SIZE / 2.0 - 16.0
    with drawn_on(pixmap, qt.QColor(0, 0, 0, 0)) as painter:
        target = _Target(painter, (radius + 26.0, SIZE / 2.0), radius, low, high)
        places = [
            ((inner, outer), (start + sector * 360.0 / count, 360.0 / count))
            for count, inner, outer, start in RINGS
            for sector in range(count)
        ]
        places.append(((0.0, RINGS[-1][1]), (0.0, 360.0)))
        for draw in (_sector, _number):  # numbers last, so that no sector covers one
            for number, (ring, angles) in enumerate(places, start=1):
                draw(target, ring, angles, values.get(number))
        _legend(target, width, _(words))
    return pixmap


def colour_of(value: float | None, low: float, high: float) -> tuple[int, int, int]:
    """Return the RGB colour of a value: dark where little moves, light where much does, grey where unknown."""
    if value is None:
        return UNKNOWN
    share = min(max((value - low) / (high - low), 0.0), 1.0)
    first, second, part = (LOW, MIDDLE, 2 * share) if share < 0.5 else (MIDDLE, HIGH, 2 * share - 1)
    return tuple(round(a + (b - a) * part) for a, b in zip(first, second, strict=True))


def _sector(target: _Target, ring: tuple[float, float], angles: tuple[float, float], value: float | None) -> None:
    (inner, outer), (start, span), painter = ring, angles, target.painter
    steps = max(8, int(span / 3.0))
    outline = [(start + span * step / steps, outer) for step in range(steps + 1)]
    outline += [(start + span * step / steps, inner) for step in range(steps, -1, -1)] if inner else []
    path = path_through(target.at(angle, share) for angle, share in outline)
    path.closeSubpath()
    colour = colour_of(value, target.low, target.high)
    painter.setPen(qt.QPen(qt.QColor(245, 245, 245)))
    painter.setBrush(qt.QBrush(qt.QColor(*colour)))
    painter.drawPath(path)


def _number(target: _Target, ring: tuple[float, float], angles: tuple[float, float], value: float | None) -> None:
    """Write a sector's value into its middle."""
    (inner, outer), (start, span), painter = ring, angles, target.painter
    colour = colour_of(value, target.low, target.high)
    words = "–" if value is None else f"{value:.0f}".replace("-", "−")
    x, y = target.at(start + span / 2.0, (inner + outer) / 2.0 if inner else 0.0)
    painter.setPen(qt.QPen(qt.QColor(20, 20, 20) if sum(colour) > 380 else qt.QColor(250, 250, 250)))
    painter.drawText(int(x - 3.0 * len(words)), int(y + 4.0), words)


def _legend(target: _Target, width: int, words: str) -> None:
    painter, (x, y), radius, low, high = target.painter, target.centre, target.radius, target.low, target.high
    painter.setPen(qt.QPen(qt.QColor(128, 128, 128)))
    painter.drawText(int(x - 20), 11, _("anterior"))
    painter.drawText(int(x - 18), SIZE - 4, _("inferior"))
    for text, place, turn in ((_("septal"), x - radius - 8, -90.0), (_("lateral"), x + radius + 8, 90.0)):
        painter.save()
        painter.translate(place, y)
        painter.rotate(turn)
        painter.drawText(-16, 4, text)
        painter.restore()
    left = int(x + radius + 30)
    if width - left < 90:
        return
    for line, text in enumerate(words.split(" (")):
        painter.drawText(left, 40 + 13 * line, text if line == 0 else f"({text}")
    for step in range(60):
        painter.fillRect(left, 70 + step, 14, 1, qt.QColor(*colour_of(high + (low - high) * step / 59.0, low, high)))
    beyond, short_of = ("≥", "≤") if high > low else ("≤", "≥")
    painter.drawText(left + 20, 78, f"{beyond} {high:.0f}".replace("-", "−"))
    painter.drawText(left + 20, 130, f"{short_of} {low:.0f}")
    painter.drawText(left, 154, _("AHA 17 segments"))
