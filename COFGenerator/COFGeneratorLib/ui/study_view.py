"""The chooser of an acquisition: a DICOM study is listed in a child process, and the chosen part becomes the anchor."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from COFGeneratorLib.errors import ChainOfFlowError
from COFGeneratorLib.jobs import JobRunner, JobState
from COFGeneratorLib.scene.study import LIST_FILE, RESULT
from COFGeneratorLib.ui.monitor import JobMonitor


class StudyView:
    """Works on the button *DICOM…*, the list of acquisitions and its button *Load*.

    Args:
        ui: Widgets of the module by name.
        start: ``start(study, series) -> JobRunner``, see ``scene.study.start_study``.
        load: Called with the runner of a read acquisition and its words; makes it the anchor.
        say: Shows words where the user reads them.
    """

    def __init__(
        self,
        ui: Any,
        start: Callable[[str, str | None], JobRunner],
        load: Callable[[JobRunner, str], None],
        say: Callable[[str], None],
    ) -> None:
        self._ui, self._start, self._load, self._say = ui, start, load, say
        self._monitor = JobMonitor(lambda update: None, self._on_end)
        self._study, self._reads = "", False
        ui.studyButton.connect("clicked(bool)", self.ask)
        ui.loadAcquisitionButton.connect("clicked(bool)", self.read)
        self._offer([])

    def ask(self, *_args: Any) -> None:
        """Ask for the folder of a study, and list it."""
        folder = str(qt.QFileDialog.getExistingDirectory(None, _("The folder of a DICOM study")) or "")
        if folder:
            self.open(folder)

    def open(self, study: str) -> None:
        """List the acquisitions of the study in a folder."""
        self._study = study
        self._offer([])
        self._follow(None, _("Reading the study …"))

    def read(self, *_args: Any) -> None:
        """Read the chosen acquisition."""
        series = self._ui.acquisitionSelector.currentData
        if series:
            self._follow(str(series), _("Reading {name} …").format(name=self._ui.acquisitionSelector.currentText))

    def close(self) -> None:
        """Stop reading; for when the widget or the scene goes away."""
        self._monitor.abandon()
        self._offer([])

    def _follow(self, series: str | None, words: str) -> None:
        self._monitor.abandon()
        try:
            self._monitor.follow(self._start(self._study, series))
        except ChainOfFlowError as error:
            self._say(str(error))
            return
        self._reads = series is not None
        self._ui.loadAcquisitionButton.enabled = False
        self._say(words)

    def _on_end(self, runner: JobRunner) -> None:
        try:
            if runner.state is not JobState.SUCCEEDED:
                self._say(runner.reason)
            elif self._reads:
                self._load(runner, str(self._ui.acquisitionSelector.currentText).split(" (")[0])
            else:
                file = Path(runner.folder.result, RESULT, LIST_FILE)
                stacks = [one for one in json.loads(file.read_text("utf-8")) if not one["why_not"]]
                self._offer(stacks)
                self._say(
                    _("Choose an acquisition and load it.")
                    if stacks
                    else _("The study holds no short-axis stack: cof acquisitions tells what is there.")
                )
        except ChainOfFlowError as error:
            self._say(str(error))
        finally:
            self._ui.loadAcquisitionButton.enabled = self._ui.acquisitionSelector.count > 0
            shutil.rmtree(runner.folder.root, ignore_errors=True)

    def _offer(self, stacks: list[dict]) -> None:
        """Offer the acquisitions that can be an anchor; the first is the one that covers the most."""
        ui = self._ui
        ui.acquisitionSelector.clear()
        for one in stacks:
            ui.acquisitionSelector.addItem(one["name"], one["series"])
        for widget in (ui.acquisitionLabel, ui.acquisitionSelector, ui.loadAcquisitionButton):
            widget.visible = bool(stacks)
