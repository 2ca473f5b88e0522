"""Reads the chosen ECG in a child process and shows what it found: rates, intervals, quality, leads, beats."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from COFGeneratorLib.errors import ChainOfFlowError
from COFGeneratorLib.jobs import JobRunner, JobState
from COFGeneratorLib.ui.ecg_plot import EcgPlot
from COFGeneratorLib.ui.events import on_click
from COFGeneratorLib.ui.monitor import JobMonitor

MIN_PLOT_WIDTH = 320
"""The picture of the leads is as wide as the panel, but not narrower than this, pixels."""

AUTOMATIC = -1
"""Stands for the beat that the analysis chooses."""


class EcgPreview:
    """Works on a label for words and one for the picture.

    Args:
        summary_label, plot_label: QLabel.
        start: ``start(source) -> JobRunner`` of a job that leaves ``ecg.json`` and ``trace.json`` in ``result/ecg``.
        on_beat: Called with the index of a beat that the user clicks.
        on_read: Called when an ECG has been read, or could not be.
    """

    def __init__(
        self,
        summary_label: Any,
        plot_label: Any,
        start: Callable[[object], JobRunner],
        on_beat: Callable[[int], None],
        on_read: Callable[[], None],
    ) -> None:
        self._summary, self._picture, self._start = summary_label, plot_label, start
        self._on_beat, self._on_read = on_beat, on_read
        self._monitor = JobMonitor(lambda update: None, self._on_end)
        self._clicks = on_click(plot_label, self._on_click)
        self._source: object = ""
        self._beat = AUTOMATIC
        self.plot: EcgPlot | None = None
        self.facts: dict = {}
        self.problem = ""
        self.clear()

    def clear(self) -> None:
        """Show nothing and stop reading."""
        self._monitor.abandon()
        self._source, self.facts, self.plot, self.problem = "", {}, None, ""
        self._show("")

    def show(self, source: Any) -> None:
        """Read a file or a table node unless it is the one that is shown."""
        if source is self._source or (isinstance(source, str) and source == self._source):
            return
        self.clear()
        self._source = source
        if isinstance(source, str) and not source:
            return
        if isinstance(source, str) and not Path(source).is_file():
            self._show(_("There is no such file."))
            return
        try:
            self._monitor.follow(self._start(source))
        except ChainOfFlowError as error:
            self.problem = str(error)
            self._show(self.problem)
            return
        self._show(_("Reading the ECG …"))

    def choose(self, beat: int) -> None:
        """Highlight a beat; ``AUTOMATIC`` for the one that the analysis chose."""
        if beat != self._beat:
            self._beat = beat
            if self.plot is not None:
                self._show(summary(self.facts, self.beat))

    @property
    def beat(self) -> int:
        """Index of the highlighted beat."""
        return self.plot.default_beat() if self._beat == AUTOMATIC and self.plot is not None else max(self._beat, 0)

    @property
    def beats(self) -> list:
        """The beats of the record; empty while none is read."""
        return self.plot.beats if self.plot is not None else []

    def close(self) -> None:
        """Stop reading; for when the widget goes away."""
        self._monitor.abandon()

    def _on_end(self, runner: JobRunner) -> None:
        folder = runner.folder.result / "ecg"
        if runner.state is JobState.SUCCEEDED:
            self.facts = json.loads((folder / "ecg.json").read_text("utf-8"))
            self.plot = EcgPlot(json.loads((folder / "trace.json").read_text("utf-8")), self.facts["beats"])
            self._show(summary(self.facts, self.beat))
        else:
            self.problem = runner.reason
            self._show(runner.reason)
        shutil.rmtree(runner.folder.root, ignore_errors=True)
        self._on_read()

    def _on_click(self, x: float, y: float) -> None:
        found = self.plot.beat_at(x, y) if self.plot is not None else None
        if found is not None:
            self._on_beat(found)

    def _show(self, words: str) -> None:
        self._summary.text = words
        self._summary.visible = bool(words)
        self._picture.visible = self.plot is not None
        if self.plot is None:
            self._picture.setPixmap(qt.QPixmap())
        else:
            self._picture.setPixmap(self.plot.draw(max(int(self._summary.width), MIN_PLOT_WIDTH), self.beat))


def summary(facts: Mapping[str, Any], beat: int | None = None) -> str:
    """Return the measurements of ``ecg.json`` in words, with the R–R of a chosen beat that is not the analysis' own."""
    parts = [
        _("{name} {value:.0f} {unit}").format(name=name, value=facts[key], unit=unit)
        for name, key, unit in (
            (_("HR"), "hr_bpm", "/min"),
            ("PR", "pr_ms", "ms"),
            ("QRS", "qrsd_ms", "ms"),
            ("QT", "qt_ms", "ms"),
        )
        if facts.get(key) is not None
    ]
    quality = facts.get("quality") or 0.0
    parts.append(_("quality good") if quality >= 0.8 else _("quality fair") if quality >= 0.5 else _("quality poor"))
    lines = [" · ".join(parts)]
    beats = facts.get("beats") or []
    if beat is not None and beat < len(beats):
        chosen = beats[beat]
        words = _("Beat {n} (of 0 to {last})").format(n=beat, last=len(beats) - 2)
        if chosen.get("rr_ms"):
            words = _("{words}, R–R {rr:.0f} ms ({rate:.0f} /min)").format(
                words=words, rr=chosen["rr_ms"], rate=60000.0 / chosen["rr_ms"]
            )
        lines.append(words + (_(" – chosen by the analysis") if chosen["representative"] else ""))
        if not chosen["accepted"]:
            lines.append(_("This beat is unlike the others (ectopic or noisy)."))
    return "\n".join([*lines, *facts.get("warnings", ())])
