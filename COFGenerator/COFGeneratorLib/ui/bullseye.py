"""The AHA-17 bull's-eye of a result as a picture, drawn by Qt: Slicer brings no plotting library for it."""

import math

import qt
from slicer.i18n import tr as _

RINGS = ((6, 0.76, 1.0, 60.0), (6, 0.5, 0.76, 60.0), (4, 0.22, 0.5, 45.0))
"""Sectors, inner and outer radius, start (degrees, counter-clockwise from the right) of basal, mid, apical ring."""

MEASURES = {
    "excursion_mm": ("Inward motion (mm)", 0.0, 12.0),
    "thickening_percent": ("Wall thickening (%)", 0.0, 80.0),
}
"""Key in ``segments`` of ``function.json`` → words, values at the ends of the colour scale."""

SIZE = 190
"""Height of the picture, pixels."""

LOW, MIDDLE, HIGH, UNKNOWN = (59, 28, 84), (200, 72, 72), (250, 214, 110), (150, 150, 150)


def bullseye(segments, measure: str, width: int):
    """Return a QPixmap of one measure.

    Args:
        segments: ``segments`` of ``function.json``: 17 rows with ``segment`` and the measures, None where unknown.
        measure: Key in ``MEASURES``.
        width: Of the picture, pixels.
    """
    words, low, high = MEASURES[measure]
    words = _(words)
    values = {row["segment"]: row.get(measure) for row in segments}
    pixmap = qt.QPixmap(width, SIZE)
    pixmap.fill(qt.QColor(0, 0, 0, 0))
    painter = qt.QPainter(pixmap)
    try:
        painter.setRenderHint(qt.QPainter.Antialiasing, True)
        font = painter.font()
        font.setPixelSize(10)
        painter.setFont(font)
        radius = SIZE / 2.0 - 16.0
        centre = (radius + 26.0, SIZE / 2.0)
        number = 1
        for count, inner, outer, start in RINGS:
            for sector in range(count):
                span = 360.0 / count
                _sector(
                    painter,
                    centre,
                    radius,
                    (inner, outer),
                    (start + sector * span, span),
                    values.get(number),
                    low,
                    high,
                )
                number += 1
        _sector(painter, centre, radius, (0.0, 0.22), (0.0, 360.0), values.get(17), low, high)
        _legend(painter, centre, radius, width, words, low, high)
    finally:
        painter.end()
    return pixmap


def colour_of(value, low: float, high: float) -> tuple[int, int, int]:
    """Return the RGB colour of a value: dark where little moves, light where much does, grey where unknown."""
    if value is None:
        return UNKNOWN
    share = min(max((value - low) / (high - low), 0.0), 1.0)
    first, second, part = (LOW, MIDDLE, 2 * share) if share < 0.5 else (MIDDLE, HIGH, 2 * share - 1)
    return tuple(round(a + (b - a) * part) for a, b in zip(first, second, strict=True))


def _sector(painter, centre, radius, ring, angles, value, low, high) -> None:
    (x, y), (inner, outer), (start, span) = centre, ring, angles
    path = qt.QPainterPath()
    steps = max(8, int(span / 3.0))
    outline = [(start + span * step / steps, outer) for step in range(steps + 1)]
    outline += [(start + span * step / steps, inner) for step in range(steps, -1, -1)] if inner else []
    for index, (angle, share) in enumerate(outline):
        at = x + radius * share * math.cos(math.radians(angle)), y - radius * share * math.sin(math.radians(angle))
        path.lineTo(*at) if index else path.moveTo(*at)
    path.closeSubpath()
    colour = colour_of(value, low, high)
    painter.setPen(qt.QPen(qt.QColor(245, 245, 245)))
    painter.setBrush(qt.QBrush(qt.QColor(*colour)))
    painter.drawPath(path)
    words = "–" if value is None else f"{value:.0f}"
    middle, angle = (inner + outer) / 2.0 if inner else 0.0, math.radians(start + span / 2.0)
    painter.setPen(qt.QPen(qt.QColor(20, 20, 20) if sum(colour) > 380 else qt.QColor(250, 250, 250)))
    left = x + radius * middle * math.cos(angle) - 3.0 * len(words)
    painter.drawText(int(left), int(y - radius * middle * math.sin(angle) + 4.0), words)


def _legend(painter, centre, radius, width: int, words: str, low: float, high: float) -> None:
    x, y = centre
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
    painter.drawText(left + 20, 78, f"≥ {high:.0f}")
    painter.drawText(left + 20, 130, f"≤ {low:.0f}")
    painter.drawText(left, 154, _("AHA 17 segments"))
