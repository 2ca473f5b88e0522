"""The picture of an ECG: twelve leads about the chosen beat, and the rhythm strip on which beats are chosen."""

from collections.abc import Mapping, Sequence
from typing import Any

import qt

from COFGeneratorLib.ui.drawing import draw_line, drawn_on

LEAD_COLUMNS = (("I", "II", "III", "aVR", "aVL", "aVF"), ("V1", "V2", "V3", "V4", "V5", "V6"))
RHYTHM_LEAD = "II"
ROW, STRIP, MARGIN = 34, 62, 4
"""Heights of a lead and of the rhythm strip, and the gap around them, pixels."""
NAME = 26
"""Width of the column of a lead's name, which no trace crosses, pixels."""

BEFORE_S, AFTER_S = 0.3, 0.35
"""What is shown of the leads before the chosen R peak and after the next one, s."""

PAPER, GRID, LINE = "#fff7f2", "#f3d9cd", "#2b2b33"
CHOSEN, MARK, REFUSED, WORDS = "#cfe3f6", "#1f6fb4", "#b0a8a4", "#6d6660"


class EcgPlot:
    """Draws the beats of ``ecg.json`` on a record's ``trace.json`` onto a pixmap, and knows which beat lies where."""

    def __init__(self, trace: Mapping[str, Any], beats: list[dict[str, Any]]) -> None:
        self._fs_hz, self._leads, self.beats = float(trace["fs_hz"]), trace["leads"], beats
        self._duration_s = len(self._leads[RHYTHM_LEAD]) / self._fs_hz
        self._width = 1.0

    @property
    def height(self) -> int:
        """Height of the picture, pixels."""
        return len(LEAD_COLUMNS[0]) * ROW + STRIP + 3 * MARGIN

    def default_beat(self) -> int:
        """Return the beat that stands best for all of them."""
        return next((beat["index"] for beat in self.beats if beat["representative"]), 0)

    def beat_at(self, x: float, y: float) -> int | None:
        """Return the index of the beat that is shown at a point of the picture; None off the rhythm strip.

        The last R peak starts no whole beat and cannot be chosen.
        """
        if y < self.height - STRIP - MARGIN or len(self.beats) < 2:
            return None
        time_ms = 1000.0 * self._duration_s * (x - MARGIN - NAME) / max(self._width - 2 * MARGIN - NAME, 1.0)
        started = [beat["index"] for beat in self.beats[:-1] if beat["r_ms"] <= time_ms]
        return started[-1] if started else self.beats[0]["index"]

    def draw(self, width: int, chosen: int) -> Any:
        """Return a QPixmap of some width with a beat highlighted."""
        self._width = float(width)
        pixmap = qt.QPixmap(width, self.height)
        with drawn_on(pixmap, qt.QColor(PAPER)) as painter:
            self._draw_leads(painter, width, chosen)
            self._draw_strip(painter, width, chosen)
        return pixmap

    def _span_s(self, chosen: int) -> tuple[float, float]:
        """Return begin and end of a beat, s."""
        beat = self.beats[min(chosen, len(self.beats) - 1)]
        return beat["r_ms"] / 1000.0, (beat["r_ms"] + (beat["rr_ms"] or 800.0)) / 1000.0

    def _draw_leads(self, painter: Any, width: int, chosen: int) -> None:
        begin, end = self._span_s(chosen) if self.beats else (0.0, min(self._duration_s, 1.0))
        first, last = max(begin - BEFORE_S, 0.0), min(end + AFTER_S, self._duration_s)
        values = [value for lead in self._leads.values() for value in self._cut(lead, first, last)]
        largest_mv = max(0.8, max(values, default=1.0) - min(values, default=0.0))
        column_width = (width - 3 * MARGIN) / 2.0
        for column, leads in enumerate(LEAD_COLUMNS):
            left = MARGIN + column * (column_width + MARGIN)
            for row, lead in enumerate(leads):
                box = (left + NAME, MARGIN + row * ROW, column_width - NAME, ROW - 2)
                painter.fillRect(*(int(value) for value in box), qt.QColor("#ffffff"))
                scale = box[2] / (last - first)
                x, wide = box[0] + (begin - first) * scale, (end - begin) * scale
                painter.fillRect(int(x), int(box[1]), int(wide), int(box[3]), qt.QColor(CHOSEN))
                # Leads share one scale, so that their amplitudes can be compared; tall ones may touch neighbours.
                self._draw_curve(painter, self._cut(self._leads[lead], first, last), box, 2.2 * ROW / largest_mv)
                self._write(painter, left + 1, box[1] + ROW / 2 + 3, lead, WORDS)

    def _draw_strip(self, painter: Any, width: int, chosen: int) -> None:
        top = self.height - STRIP - MARGIN
        box = (MARGIN + NAME, top, width - 2 * MARGIN - NAME, STRIP)
        painter.fillRect(*(int(value) for value in box), qt.QColor("#ffffff"))
        scale = box[2] / self._duration_s
        painter.setPen(qt.QPen(qt.QColor(GRID)))
        for second in range(1, int(self._duration_s) + 1):
            x = int(box[0] + second * scale)
            painter.drawLine(x, int(top), x, int(top + STRIP))
        if self.beats:
            begin, end = self._span_s(chosen)
            painter.fillRect(
                int(box[0] + begin * scale), int(top), max(int((end - begin) * scale), 2), STRIP, qt.QColor(CHOSEN)
            )
        signal = self._leads[RHYTHM_LEAD]
        largest_mv = max(0.5, max(signal) - min(signal))
        self._draw_curve(painter, signal, (box[0], top, box[2], STRIP - 12), 0.9 * (STRIP - 12) / largest_mv)
        for beat in self.beats:
            x = box[0] + beat["r_ms"] / 1000.0 * scale
            colour = MARK if beat["accepted"] else REFUSED
            self._write(painter, x - 3, top + STRIP - 3, "▲" if beat["accepted"] else "△", colour)
        self._write(painter, MARGIN + 1, top + STRIP / 2 + 3, RHYTHM_LEAD, WORDS)

    def _cut(self, samples: Sequence[float], first_s: float, last_s: float) -> Sequence[float]:
        return samples[int(first_s * self._fs_hz) : max(int(last_s * self._fs_hz), int(first_s * self._fs_hz) + 2)]

    def _draw_curve(
        self, painter: Any, samples: Sequence[float], box: tuple[float, float, float, float], pixels_per_mv: float
    ) -> None:
        left, top, width, height = box
        middle = (max(samples) + min(samples)) / 2.0
        step = width / max(len(samples) - 1, 1)
        pixels_per_mv = min(pixels_per_mv, 1.15 * height / max(max(samples) - min(samples), 1e-3))
        points = (
            (left + index * step, top + height / 2.0 - (value - middle) * pixels_per_mv)
            for index, value in enumerate(samples)
        )
        draw_line(painter, points, qt.QPen(qt.QColor(LINE)))

    @staticmethod
    def _write(painter: Any, x: float, y: float, words: str, colour: str) -> None:
        painter.setPen(qt.QPen(qt.QColor(colour)))
        painter.drawText(int(x), int(y), words)
