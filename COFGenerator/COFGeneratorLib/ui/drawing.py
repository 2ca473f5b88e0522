"""Small pictures drawn by Qt: Slicer brings no plotting library for the panels."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import qt

FONT = 10
"""Height of letters, pixels."""


@contextlib.contextmanager
def drawn_on(pixmap: Any, background: Any) -> Iterator[Any]:
    """Fill a QPixmap and give a QPainter on it, with smooth lines and small letters; end it on exit."""
    pixmap.fill(background)
    painter = qt.QPainter(pixmap)
    try:
        painter.setRenderHint(qt.QPainter.Antialiasing, True)
        font = painter.font()
        font.setPixelSize(FONT)
        painter.setFont(font)
        yield painter
    finally:
        painter.end()


def path_through(points: Iterable[tuple[float, float]]) -> Any:
    """Return a QPainterPath of straight lines from point to point, pixels."""
    path = qt.QPainterPath()
    for index, point in enumerate(points):
        path.lineTo(*point) if index else path.moveTo(*point)
    return path


def draw_line(painter: Any, points: Iterable[tuple[float, float]], pen: Any) -> None:
    """Draw straight lines from point to point, pixels."""
    painter.setPen(pen)
    painter.setBrush(qt.Qt.NoBrush)
    painter.drawPath(path_through(points))
