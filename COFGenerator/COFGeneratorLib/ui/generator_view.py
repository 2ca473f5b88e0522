"""Behaviour of the COFGenerator panel: what can be pressed when, and what happens then.

One method, ``refresh``, derives what is enabled from inputs and state; nothing else enables or disables.
"""

import shutil
from enum import Enum, auto
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from COFGeneratorLib.errors import ChainOfFlowError
from COFGeneratorLib.jobs import JobRunner, JobState
from COFGeneratorLib.scene import export
from COFGeneratorLib.ui.comparison_view import ComparisonView, ask_where_to_save
from COFGeneratorLib.ui.computer_view import ComputerView
from COFGeneratorLib.ui.desktop import copy_to_clipboard, open_path
from COFGeneratorLib.ui.ecg_preview import AUTOMATIC, EcgPreview
from COFGeneratorLib.ui.events import on_drop
from COFGeneratorLib.ui.job_view import JobView
from COFGeneratorLib.ui.label_editing import LabelEditing
from COFGeneratorLib.ui.monitor import JobMonitor
from COFGeneratorLib.ui.result_view import ResultView
from COFGeneratorLib.ui.starting import is_alone, start_generating, why_no_start
from COFGeneratorLib.ui.study_view import StudyView
from COFGeneratorLib.ui.what_if import WhatIf


class PanelState(Enum):
    """What the panel is doing."""

    EMPTY = auto()
    READY = auto()
    RUNNING = auto()
    DONE = auto()
    FAILED = auto()


class GeneratorView:
    """Controls the widgets of ``COFGenerator.ui``, with ``COFGeneratorLogic`` and a file of what generation needs."""

    def __init__(self, ui: Any, logic: Any, requirements: Path) -> None:
        self._ui, self._logic, self._node = ui, logic, None
        self._last_end: JobState | None = None
        self._anchor_words = ui.anchorSelector.toolTip
        self.job_view = JobView(ui.progressBar, ui.statusLabel, ui.logEdit)
        self.result = ResultView(ui)
        self.comparison = ComparisonView(ui, logic, self.result)
        self.editing = LabelEditing(ui, self.result)
        self.what_if = WhatIf(ui, self.generate)
        self.study = StudyView(ui, start=self._start_study, load=self._load_acquisition, say=self.job_view.say)
        self.computer = ComputerView(ui, requirements, logic.newJobFolder, self.refresh)
        self.ecg = EcgPreview(
            ui.ecgSummaryLabel,
            ui.ecgPlotLabel,
            start=self._start_ecg,
            on_beat=self._choose_beat,
            on_read=self._on_ecg_read,
        )
        self._drops = [on_drop(widget, self.drop) for widget in (ui.inputsCollapsibleButton, ui.ecgPathEdit)]
        self.generation = JobMonitor(self.job_view.update, self._on_end)
        ui.generateButton.connect("clicked(bool)", self.generate)
        ui.cancelButton.connect("clicked(bool)", self.cancel)
        ui.sampleButton.connect("clicked(bool)", self.load_sample)
        ui.ecgPathEdit.connect("currentPathChanged(QString)", self._on_ecg_path)
        ui.saveResultButton.connect("clicked(bool)", self.save_result)
        ui.copyLogButton.connect("clicked(bool)", lambda *_args: copy_to_clipboard(self.job_view.log_text()))
        ui.openFolderButton.connect("clicked(bool)", lambda *_args: open_path(self._folder))
        self._folder: Path | None = None
        self.refresh()

    @property
    def state(self) -> PanelState:
        """What the panel is doing."""
        if self.generation.active:
            return PanelState.RUNNING
        if self._last_end is JobState.SUCCEEDED and self.result.nodes is not None:
            return PanelState.DONE
        if self._last_end in (JobState.FAILED, JobState.LOST):
            return PanelState.FAILED
        return PanelState.READY if not self.why_not() else PanelState.EMPTY

    def set_parameter_node(self, node: Any) -> None:
        """Work on another parameter node, or on none while the scene is closed."""
        self._node = node
        self.editing.select(node)
        self.what_if.select(node)
        if node is None:
            self.result.select(None)
        self.on_parameters()

    def scene_closing(self) -> None:
        """The scene goes away: stop the job, because its result would have no place, and forget all nodes."""
        if self.generation.abandon():
            self.job_view.idle(_("Stopped, because the scene was closed."))
        self._last_end = None
        self.study.close()
        self.result.views.restore()
        self.set_parameter_node(None)

    def close(self) -> None:
        """The widget goes away."""
        self.generation.abandon()
        self.ecg.close()
        self.study.close()
        self.computer.close()
        self.result.release()

    def on_parameters(self, *_args: Any) -> None:
        """React to a change of the parameter node."""
        if self._node is not None:
            self.computer.use_engine(is_alone(self._node))
            self.editing.propose_mapping()
            if self._node.ecgTable is not None and self.ecg_path:
                self._ui.ecgPathEdit.currentPath = ""
            self.result.select(self._node.resultBrowser)
            self.result.show_labels(self._node.showLabels)
            self.comparison.select(self._node.realBrowser)
            if self._node.ecgTable is not None:
                self.ecg.show(self._node.ecgTable)
            elif not self.ecg_path:
                self.ecg.show("")
            self.ecg.choose(self._node.beat)
        browser, sequence = export.browser_showing(self._node.anchorVolume if self._node is not None else None)
        self._ui.anchorFrameWidget.setMRMLSequenceBrowserNode(browser)
        several = sequence is not None and sequence.GetNumberOfDataNodes() > 1
        self._ui.anchorFrameWidget.visible = self._ui.anchorFrameLabel.visible = several
        self._ui.registerCheckBox.visible = several
        self.refresh()

    @property
    def ecg_path(self) -> str:
        """The chosen ECG file; dropped files come as URLs."""
        text = str(self._ui.ecgPathEdit.currentPath or "").strip()
        return qt.QUrl(text).toLocalFile() if text.startswith("file:") else text

    @property
    def registers(self) -> bool:
        """Whether the motion of a real cine is measured instead of generated."""
        if self._node is None or is_alone(self._node):
            return False
        several = export.browser_showing(self._node.anchorVolume)[1] is not None
        return several and self._node.registerReal

    def why_not(self) -> str:
        """Return why a generation cannot start, in words with what to do; empty if it can."""
        node = self._node
        if node is None:
            return _("There is no scene.")
        reason = why_no_start(node, self.ecg_path, self.ecg, self.registers)
        return reason or self.computer.why_not_ready()

    def refresh(self) -> None:
        """Enable what can be used now, and say why the rest cannot."""
        running, reason = self.generation.active, self.why_not()
        self._ui.generateButton.enabled = not running and not reason
        self._ui.generateButton.toolTip = (
            _("The generation is running.") if running else reason or _("Generate the cine of this patient.")
        )
        self._ui.generateButton.text = (
            _("Measure the motion of the real cine") if self.registers else _("Generate the beating heart")
        )
        has_ecg = bool(self.ecg.beats)
        alone = is_alone(self._node)
        self._ui.beatLabel.visible = self._ui.beatSpinBox.visible = has_ecg and not self.registers and not alone
        self._ui.engineNoteLabel.visible = alone
        for name in ("anchorSelector", "anchorFrameWidget", "registerCheckBox", "labelsSelector", "roiSelector"):
            getattr(self._ui, name).enabled = not alone
        self._ui.anchorSelector.toolTip = _("No anchor is needed by this engine.") if alone else self._anchor_words
        self._ui.cancelButton.enabled = running
        for section in ("inputsCollapsibleButton", "modelCollapsibleButton", "advancedCollapsibleButton", "whatIfBox"):
            getattr(self._ui, section).enabled = not running
        has_labels = self._node is not None and self._node.anchorLabels is not None and not alone
        self._ui.labelMappingEdit.visible = self._ui.labelMappingLabel.visible = has_labels
        self._ui.openFolderButton.enabled = self._folder is not None and self._folder.is_dir()
        self.comparison.refresh()
        self.editing.refresh()
        self.result.views.refresh()
        self.what_if.refresh(
            can_start=not running and not reason, alone=alone or self.registers, hr_bpm=self.ecg.facts.get("hr_bpm")
        )
        if not running and self._last_end is None:
            self.job_view.say(reason)

    def generate(self, *_args: Any) -> None:
        """Start the generation."""
        if self.generation.active or self.why_not():
            return
        node = self._node
        ecg = node.ecgTable if node.ecgTable is not None else self.ecg_path
        self._forget_folder()
        try:
            runner = start_generating(
                self._logic, node, self.computer, ecg=ecg, rr_ms=self.ecg.facts.get("rr_ms"), registers=self.registers
            )
        except ChainOfFlowError as error:
            self._last_end = JobState.FAILED
            self.job_view.end(JobState.FAILED, str(error), "")
            self.refresh()
            return
        self._name = node.engine if is_alone(node) else node.anchorVolume.GetName()
        self._last_end, self._folder = None, runner.folder.root
        self.job_view.begin(_("Starting …"))
        self.generation.follow(runner)
        self.refresh()

    def drop(self, path: str) -> None:
        """Take a file that was dropped on the panel as the ECG."""
        if not self.generation.active:
            self._ui.ecgPathEdit.currentPath = path

    def save_result(self, *_args: Any) -> None:
        """Ask where to, and save the shown result."""
        if self.result.nodes is None:
            return
        path = ask_where_to_save(self.result.nodes)
        if path:
            with slicer.util.tryWithErrorDisplay(_("The result could not be saved."), waitCursor=True):
                written = self._logic.save(self.result.nodes.browser, path)
                self.job_view.say(_("Saved: {names}").format(names=", ".join(file.name for file in written)))

    def cancel(self, *_args: Any) -> None:
        """Ask the running generation to stop; the monitor sees to it."""
        if self.generation.runner is not None:
            self.generation.runner.cancel()
            self.job_view.say(_("Stopping …"))
            self._ui.cancelButton.enabled = False

    def load_sample(self, *_args: Any) -> None:
        """Load the sample patient and choose it."""
        with slicer.util.tryWithErrorDisplay(_("The sample patient could not be loaded."), waitCursor=True):
            anchor, labels, ecg_path = self._logic.loadSamplePatient()
            self._node.ecgTable = None
            self._node.anchorVolume = anchor
            self._node.anchorLabels = labels
            self._ui.ecgPathEdit.currentPath = str(ecg_path)

    def _on_end(self, runner: JobRunner) -> None:
        self._last_end = runner.state
        reason = runner.reason
        if runner.state is JobState.SUCCEEDED:
            try:
                self._node.resultBrowser = self._logic.load(runner, self._name)
                self.result.select(self._node.resultBrowser)
                self.result.show_heart()
            except Exception as error:
                self._last_end, reason = JobState.FAILED, str(error)
        words = "\n".join([_("Done. The heart is beating in the cardiac views."), *self.job_view.warnings])
        self.job_view.end(self._last_end, reason, words)
        if self._last_end not in (JobState.FAILED, JobState.LOST):
            self._forget_folder()
        self.refresh()

    def _start_ecg(self, source: Any) -> JobRunner:
        return self._logic.startEcg(source, self.computer.python, self.computer.environment())

    def _start_study(self, study: str, series: str | None) -> JobRunner:
        return self._logic.startStudy(study, series, self.computer.python, self.computer.environment())

    def _load_acquisition(self, runner: JobRunner, name: str) -> None:
        if self._node is not None:
            self._node.anchorVolume = self._logic.loadAcquisition(runner, name)

    def _choose_beat(self, beat: int) -> None:
        if self._node is not None and not self.generation.active:
            self._node.beat = beat

    def _on_ecg_read(self) -> None:
        if self._node is not None and self.ecg.beats and self._node.beat >= len(self.ecg.beats) - 1:
            self._node.beat = AUTOMATIC  # it belonged to another record
        self.refresh()

    def _on_ecg_path(self, *_args: Any) -> None:
        if self.ecg_path and self._node is not None and self._node.ecgTable is not None:
            self._node.ecgTable = None
        if self.ecg_path or self._node is None or self._node.ecgTable is None:
            self.ecg.show(self.ecg_path)
        self._last_end = None
        self.refresh()

    def _forget_folder(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None
