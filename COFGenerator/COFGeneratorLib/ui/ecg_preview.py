"""Reads the chosen ECG in a child process and shows what it found: rates, intervals, quality, the 12 leads."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import qt
from slicer.i18n import tr as _

from COFGeneratorLib.errors import ChainOfFlowError
from COFGeneratorLib.jobs import JobRunner, JobState
from COFGeneratorLib.ui.monitor import JobMonitor

MIN_PLOT_WIDTH = 320
"""The picture of the leads is as wide as the panel, but not narrower than this, pixels."""


class EcgPreview:
    """Works on a label for words and one for the picture.

    Args:
        summary_label, plot_label: QLabel.
        start: ``start(path) -> JobRunner`` of a job that leaves ``ecg.json`` and ``ecg.png`` in ``result/ecg``.
    """

    def __init__(self, summary_label, plot_label, start: Callable[[str], JobRunner]):
        self._summary, self._plot, self._start = summary_label, plot_label, start
        self._monitor = JobMonitor(lambda update: None, self._on_end)
        self._path = ""
        self.facts: dict = {}
        self.clear()

    def clear(self) -> None:
        """Show nothing and stop reading."""
        self._stop()
        self._path, self.facts = "", {}
        self._show("", None)

    def show(self, path: str) -> None:
        """Read a file unless it is the one that is shown."""
        if path == self._path:
            return
        self.clear()
        self._path = path
        if not path:
            return
        if not Path(path).is_file():
            self._show(_("There is no such file."), None)
            return
        try:
            self._monitor.follow(self._start(path))
        except ChainOfFlowError as error:
            self._show(str(error), None)
            return
        self._show(_("Reading the ECG …"), None)

    def close(self) -> None:
        """Stop reading; for when the widget goes away."""
        self._stop()

    def _stop(self) -> None:
        runner = self._monitor.release()
        if runner is not None:
            runner.kill()
            shutil.rmtree(runner.folder.root, ignore_errors=True)

    def _on_end(self, runner: JobRunner) -> None:
        folder = runner.folder.result / "ecg"
        picture = None
        if runner.state is JobState.SUCCEEDED:
            self.facts = json.loads((folder / "ecg.json").read_text("utf-8"))
            picture = qt.QPixmap(str(folder / "ecg.png"))
            self._show(summary(self.facts), picture)
        else:
            self._show(runner.reason, None)
        shutil.rmtree(runner.folder.root, ignore_errors=True)

    def _show(self, words: str, picture) -> None:
        self._summary.text = words
        self._summary.visible = bool(words)
        has_picture = picture is not None and not picture.isNull()
        self._plot.visible = has_picture
        if has_picture:
            width = max(int(self._summary.width), MIN_PLOT_WIDTH)
            self._plot.setPixmap(picture.scaledToWidth(width, qt.Qt.SmoothTransformation))


def summary(facts) -> str:
    """Return the measurements of ``ecg.json`` in words."""
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
    return "\n".join([" · ".join(parts), *facts.get("warnings", ())])
