"""Behaviour of the COFTraining panel: one job at a time is watched; jobs go on without us."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import slicer
from COFGeneratorLib.errors import ChainOfFlowError
from COFGeneratorLib.jobs import JobRunner, JobState, JobUpdate, find_jobs
from COFGeneratorLib.jobs.folder import JobFolder
from COFGeneratorLib.ui.desktop import copy_to_clipboard, open_path
from COFGeneratorLib.ui.job_view import JobView
from COFGeneratorLib.ui.monitor import JobMonitor
from slicer.i18n import tr as _

from COFTrainingLib.ui import commands
from COFTrainingLib.ui.cohort_page import CohortPage
from COFTrainingLib.ui.curve_picture import curve_picture, metric_words
from COFTrainingLib.ui.curves import RunCurves
from COFTrainingLib.ui.needs import BUTTONS, START, Choices, why_not
from COFTrainingLib.ui.preview import SamplePreview
from COFTrainingLib.ui.protocol_choices import protocol_choices
from COFTrainingLib.ui.remembered import RememberedFields
from COFTrainingLib.ui.stages import PLANE, show_stage

MIN_CURVES_WIDTH = 340


class TrainingView:
    """Controls the widgets of ``COFTraining.ui``, with ``COFTrainingLogic``."""

    def __init__(self, ui: Any, logic: Any) -> None:
        self._ui, self._logic, self._node = ui, logic, None
        self._ended: JobState | None = None
        self._title, self._kind = "", ""
        self._report: Path | None = None
        self._folder: Path | None = None
        self._run = Path()
        self.curves, self.preview = RunCurves(), SamplePreview(ui)
        self.job_view = JobView(ui.progressBar, ui.statusLabel, ui.logEdit)
        self.monitor = JobMonitor(self._on_update, self._on_end)
        self.cohort_page = CohortPage(ui, self.refresh)
        self._remembered = RememberedFields(ui, self._on_machine)
        for name, words in protocol_choices():
            ui.protocolSelector.addItem(words, name)
        for name in ("configurationPathEdit", "bundlePathEdit", "ecgRunPathEdit"):
            getattr(ui, name).connect("currentPathChanged(QString)", self.refresh)
        for name, slot in (
            ("synthesizeButton", self.synthesize),
            ("importButton", self.import_),
            ("checkButton", self.check),
            ("startButton", lambda *_args: self.train(resume=False)),
            ("resumeButton", lambda *_args: self.train(resume=True)),
            ("stopButton", self.stop),
            ("attachButton", self.attach),
            ("showCurvesButton", self.show_curves),
            ("exportButton", self.export),
            ("evaluateButton", self.evaluate),
            ("openReportButton", lambda *_args: open_path(self._report)),
            ("openFolderButton", lambda *_args: open_path(self._folder)),
            ("copyLogButton", lambda *_args: copy_to_clipboard(self.job_view.log_text())),
        ):
            getattr(ui, name).connect("clicked(bool)", slot)
        self.list_jobs()
        self.refresh()

    def set_parameter_node(self, node: Any) -> None:
        """Work on another parameter node, or on none while the scene is closed."""
        self._node = node
        self.refresh()

    def on_parameters(self) -> None:
        """React to a change of the parameter node."""
        self.refresh()

    def close(self) -> None:
        """The widget goes away; what runs goes on and can be watched again."""
        self.monitor.release()

    def path(self, widget: str) -> Path | None:
        """Return what a path field holds, or None."""
        text = str(getattr(self._ui, widget).currentPath or "").strip()
        return Path(text) if text else None

    def why_not(self, needs: Collection[str]) -> str:
        """Return why a job that needs some things cannot start, in words; empty if it can."""
        if self._node is None:
            return _("There is no scene.")
        if self.monitor.active:
            return _("A job is being watched. Wait for its end or stop it.")
        chosen = Choices(
            stage=self._node.stage,
            run_name=self._node.runName,
            runs=self.path("runsPathEdit"),
            cohort=self.path("cohortPathEdit"),
            bundle=self.path("bundlePathEdit"),
            ecg_run=self.path("ecgRunPathEdit"),
            source=self.cohort_page.source,
        )
        return why_not(needs, chosen)

    def refresh(self, *_args: Any) -> None:
        """Enable what can be used now, and say why the rest cannot."""
        running = self.monitor.active
        for name, (needs, words) in BUTTONS.items():
            reason, button = self.why_not(needs), getattr(self._ui, name)
            button.enabled, button.toolTip = not reason, reason or _(words)
        self._ui.stopButton.enabled = running
        show_stage(self._ui, self._node.stage if self._node is not None else "")
        for label in (self._ui.cohortSummaryLabel, self._ui.metricsLabel):
            label.visible = bool(label.text)
        self._ui.attachButton.enabled = not running and self._ui.jobSelector.count > 0
        self._ui.jobSelector.enabled = not running
        self._ui.showCurvesButton.enabled = bool(self.curves.values)
        self._ui.openFolderButton.enabled = self._folder is not None
        self._ui.openReportButton.enabled = self._report is not None and self._report.is_file()
        for section in ("cohortCollapsibleButton", "configurationCollapsibleButton", "evaluationCollapsibleButton"):
            getattr(self._ui, section).enabled = not running
        if not running and self._ended is None:
            self.job_view.say(self.why_not(START))

    def train(self, resume: bool) -> None:
        """Start or resume the run that the panel describes."""
        run = commands.run_folder(self.path("runsPathEdit"), self._node.runName)
        plane = self._node.stage == PLANE
        named = self._node.planeConfiguration if plane else self._node.configuration
        configuration = str(self.path("configurationPathEdit") or named)
        file = run.with_name(f"{run.name}.toml")
        try:
            if not plane:
                configuration = commands.with_knobs(
                    self._node.stage, configuration, file, steps=self._node.steps, learning_rate=self._node.learningRate
                )
        except OSError as error:
            self._fail(_("The settings could not be written: {error}").format(error=error))
            return
        arguments = commands.train_arguments(
            self._node.stage,
            run,
            configuration,
            cohort=self.path("cohortPathEdit"),
            ecg_run=self.path("ecgRunPathEdit"),
            resume=resume,
            device=self._remembered.device("deviceSelector"),
            plane_stage=self._node.planeStage,
        )
        title = _("Training {stage} in {name}").format(stage=self._node.stage, name=run.name)
        self._start("train", title, arguments)

    def synthesize(self, *_args: Any) -> None:
        """Make a synthetic cohort."""
        cohort = self.path("cohortPathEdit")
        arguments = ["cohort", "synthesize", "--subjects", str(self._node.subjects), "--seed", "0"]
        self._start("cohort", _("Making a synthetic cohort"), [*arguments, "--out", str(cohort)])

    def import_(self, *_args: Any) -> None:
        """Write the manifest of recordings."""
        arguments = self.cohort_page.import_arguments(self.path("cohortPathEdit"))
        self._start("cohort", _("Importing a cohort"), arguments)

    def check(self, *_args: Any) -> None:
        """Check the cohort; its ledger comes as a table."""
        arguments = self.cohort_page.check_arguments(self.path("runsPathEdit"), self.path("cohortPathEdit"))
        self._start("check", _("Checking the cohort"), arguments)

    def export(self, *_args: Any) -> None:
        """Write the run as a bundle."""
        run = commands.run_folder(self.path("runsPathEdit"), self._node.runName)
        arguments = commands.export_arguments(self._node.stage, run, self.path("bundlePathEdit"))
        self._start("export", _("Exporting {name}").format(name=run.name), arguments)

    def evaluate(self, *_args: Any) -> None:
        """Evaluate the bundle on the cohort."""
        bundle = self.path("bundlePathEdit")
        out = self.path("runsPathEdit") / f"evaluation-{bundle.name}"
        self._report = out / "report.html"
        arguments = commands.evaluate_arguments(
            self.path("cohortPathEdit"), out, bundle, self._node.split, str(self._ui.protocolSelector.currentData)
        )
        device = self._remembered.device("evaluationDeviceSelector")
        self._start("evaluate", _("Evaluating {name}").format(name=bundle.name), arguments, device)

    def stop(self, *_args: Any) -> None:
        """Ask the watched job to stop."""
        if self.monitor.runner is not None:
            self.monitor.runner.cancel(grace_s=20.0)  # a training writes a checkpoint first
            self.job_view.say(_("Stopping …"))
            self._ui.stopButton.enabled = False

    def attach(self, *_args: Any) -> None:
        """Watch the job that is chosen in the list."""
        folder = self._ui.jobSelector.currentData
        if folder:
            with slicer.util.tryWithErrorDisplay(_("The job cannot be watched.")):
                self._watch(JobRunner.attach(folder))

    def list_jobs(self) -> None:
        """Fill the list of jobs from the runs folder."""
        runs = self.path("runsPathEdit")
        self._ui.jobSelector.clear()
        for folder in find_jobs(runs / commands.JOBS) if runs is not None else []:
            job = JobFolder(folder).facts()
            self._ui.jobSelector.addItem(f"{job.title or folder.name} ({folder.name[:15]})", str(folder))

    def show_curves(self, *_args: Any) -> None:
        """Show the curves of the run in a plot view."""
        chart = self.curves.draw(slicer.mrmlScene)
        if chart is not None:
            slicer.modules.plots.logic().ShowChartInLayout(chart)

    def _start(self, kind: str, title: str, arguments: list[str], device: str = "auto") -> None:
        try:
            runner = self._logic.start(
                self.path("runsPathEdit"),
                kind=kind,
                title=title,
                arguments=arguments,
                python=self.path("pythonPathEdit"),
                template=str(self._ui.commandTemplateEdit.text or ""),
                device=device,
            )
        except ChainOfFlowError as error:
            self._fail(str(error))
            return
        self._watch(runner)
        self.list_jobs()

    def _fail(self, words: str) -> None:
        self._ended = JobState.FAILED
        self.job_view.end(JobState.FAILED, words, "")
        self.refresh()

    def _watch(self, runner: JobRunner) -> None:
        job = runner.folder.facts()
        self._title, self._kind, self._ended = job.title or runner.folder.root.name, job.kind, None
        self.curves = RunCurves(self._title)
        self.preview.forget()
        self._ui.metricsLabel.text = ""
        self._ui.curvesLabel.visible = False
        self._folder, self._run = runner.folder.root, commands.out_of(job.argv)
        self.job_view.begin(self._title)
        self.monitor.follow(runner)
        self.refresh()

    def _on_update(self, update: JobUpdate) -> None:
        self.job_view.update(update)
        grown = [self.curves.add(event) for event in update.events]
        if any(grown):
            self._ui.metricsLabel.text = metric_words(self.curves.latest())
            self._ui.metricsLabel.visible = self._ui.showCurvesButton.enabled = True
            self._draw_curves()
            if self.curves.drawn:
                self.curves.draw(slicer.mrmlScene)
        self.preview.take(update.events, self._run)

    def _draw_curves(self) -> None:
        picture = curve_picture(self.curves.values, max(int(self._ui.progressBar.width), MIN_CURVES_WIDTH))
        self._ui.curvesLabel.visible = picture is not None
        if picture is not None:
            self._ui.curvesLabel.setPixmap(picture)

    def _on_end(self, runner: JobRunner) -> None:
        self._ended = runner.state
        done = _("{title}: done.").format(title=self._title)
        self.job_view.end(runner.state, runner.reason, "\n".join([done, *self.job_view.warnings]))
        if self._kind == "check" and runner.returncode in (0, 2):  # 2: checked, and not to be used as it is
            self._ended = JobState.SUCCEEDED
            self.cohort_page.show_check(runner, self.path("runsPathEdit"), self.path("cohortPathEdit"))
            self.job_view.say(
                _("The cohort is in order.")
                if runner.returncode == 0
                else _("The cohort cannot be used as it is: see the ledger above.")
            )
        self.refresh()

    def _on_machine(self) -> None:
        if not self.monitor.active:
            self.list_jobs()
        self.refresh()
