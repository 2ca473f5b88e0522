"""The page "Model and computer": model bundle, device, Python, packages."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from COFGeneratorLib.errors import ChainOfFlowError
from COFGeneratorLib.jobs import JobRunner, JobState
from COFGeneratorLib.resources import model_bundles
from COFGeneratorLib.scene.child import Child, child_environment
from COFGeneratorLib.scene.generation import ECG_ALONE
from COFGeneratorLib.ui import dependencies, settings
from COFGeneratorLib.ui.monitor import JobMonitor


class ComputerView:
    """Works on the widgets of the page.

    Args:
        ui: Widgets of the module by name.
        requirements: File that lists what generation needs.
        new_folder: Returns a new path for a job's folder.
        on_change: Called when something changed that a generation depends on.
    """

    def __init__(
        self, ui: Any, requirements: Path, new_folder: Callable[[str], Path], on_change: Callable[[], None]
    ) -> None:
        self._ui, self._requirements, self._new_folder, self._on_change = ui, requirements, new_folder, on_change
        self._monitor = JobMonitor(lambda update: None, self._on_probed)
        self._missing: list[str] | None = None
        self._alone = False
        self._fill_models()
        self._fill_devices(json.loads(settings.get(settings.DEVICES_FOUND, "[]")))
        ui.pythonPathEdit.currentPath = settings.get(settings.PYTHON)
        ui.modelSelector.connect("currentIndexChanged(int)", self._on_model)
        ui.modelBrowseButton.connect("clicked(bool)", self._on_browse)
        ui.deviceSelector.connect("currentIndexChanged(int)", self._on_device)
        ui.pythonPathEdit.connect("currentPathChanged(QString)", self._on_python)
        ui.probeButton.connect("clicked(bool)", self.probe)
        ui.installButton.connect("clicked(bool)", self._on_install)
        ui.repairButton.connect("clicked(bool)", self._on_repair)
        self._show_card()
        self._show_packages()

    def close(self) -> None:
        """Stop what is running; for when the widget goes away."""
        self._monitor.abandon()

    @property
    def python(self) -> str:
        """The interpreter that computes; empty for Slicer's own."""
        return str(self._ui.pythonPathEdit.currentPath or "").strip()

    @property
    def device(self) -> str:
        """The chosen device's id."""
        return str(self._ui.deviceSelector.currentData or "auto")

    @property
    def model(self) -> str | None:
        """Folder of the chosen bundle; None where there is none to choose."""
        return self._ui.modelSelector.currentData or None

    def why_not_ready(self) -> str:
        """Return what is missing for a generation, in words; empty if nothing is known to be."""
        if self.model is None:
            return self._no_model()
        if self.python:
            return "" if Path(self.python).is_file() else _("The Python chosen under Advanced does not exist.")
        if self._missing is None:
            self._missing = dependencies.missing(self._requirements)
        if self._missing:
            return _(
                "Python packages are missing: {names}. Press 'Install packages' under 'Model and computer'."
            ).format(names=", ".join(self._missing))
        return ""

    def _no_model(self) -> str:
        if self._alone:
            return _(
                "No model of this engine ships. Train one in the module COFTraining (stage ecgflowcmr), then choose "
                "its bundle under 'Model and computer'."
            )
        return _("No model bundle was found. Choose the folder of one under 'Model and computer'.")

    def environment(self) -> dict[str, str]:
        """Return the environment of child processes: a foreign Python must not see Slicer's own libraries."""
        base = slicer.util.startupEnvironment() if self.python else os.environ
        return child_environment(base, self.device)

    def probe(self, *_args: Any) -> None:
        """Try out packages and devices in a child process."""
        if self._monitor.active:
            return
        child = Child(python=self.python, env=self.environment())
        try:
            runner = dependencies.start_probe(self._new_folder("probe"), child)
        except ChainOfFlowError as error:
            self._say(str(error))
            return
        self._ui.probeButton.enabled = False
        self._say(_("Checking this computer …"))
        self._monitor.follow(runner)

    def _on_probed(self, runner: JobRunner) -> None:
        self._ui.probeButton.enabled = True
        if runner.state is JobState.SUCCEEDED:
            facts = json.loads((runner.folder.result / "probe.json").read_text("utf-8"))
            self._fill_devices(facts["devices"])
            settings.put(settings.DEVICES_FOUND, json.dumps(facts["devices"]))
            self._say(dependencies.describe(facts))
        else:
            self._say(runner.reason)
        self._missing = None
        shutil.rmtree(runner.folder.root, ignore_errors=True)
        self._on_change()

    def use_engine(self, alone: bool) -> None:
        """Offer the bundles of one engine: that which needs the ECG alone, or the one that moves an anchor."""
        if alone != self._alone:
            self._alone = alone
            self._fill_models()
            self._show_card()

    def _fill_models(self) -> None:
        selector, chosen = self._ui.modelSelector, settings.get(self._setting)
        folders = [str(folder) for folder in (model_bundles(ECG_ALONE) if self._alone else model_bundles())]
        if chosen and chosen not in folders and Path(chosen, "configs", "metadata.json").is_file():
            folders.append(chosen)
        selector.blockSignals(True)
        selector.clear()
        for folder in folders:
            selector.addItem(Path(folder).name, folder)
        if chosen in folders:
            selector.currentIndex = folders.index(chosen)
        selector.blockSignals(False)

    @property
    def _setting(self) -> str:
        return settings.MODEL_ECG_ALONE if self._alone else settings.MODEL

    def _fill_devices(self, devices: list[dict[str, Any]]) -> None:
        kept = self.device if self._ui.deviceSelector.count else settings.get(settings.DEVICE, "auto")
        dependencies.fill_devices(self._ui.deviceSelector, devices, kept)

    def _on_model(self, *_args: Any) -> None:
        settings.put(self._setting, self.model or "")
        self._show_card()
        self._on_change()

    def _on_browse(self, *_args: Any) -> None:
        folder = qt.QFileDialog.getExistingDirectory(None, _("Folder of a model bundle"))
        if folder:
            self.add_model(str(folder))

    def add_model(self, folder: str) -> None:
        """Add the folder of a bundle to the choice and choose it."""
        if not Path(folder, "configs", "metadata.json").is_file():
            self._ui.modelCardLabel.text = _("{folder} is not a model bundle: it has no configs/metadata.json.").format(
                folder=folder
            )
            return
        if needs_no_anchor(Path(folder)) != self._alone:
            words = _("{folder} is a model of the other engine. Choose that engine first, above the anchor.")
            self._ui.modelCardLabel.text = words.format(folder=folder)
            return
        if self._ui.modelSelector.findData(folder) < 0:
            self._ui.modelSelector.addItem(Path(folder).name, folder)
        self._ui.modelSelector.currentIndex = self._ui.modelSelector.findData(folder)

    def _show_card(self) -> None:
        self._ui.modelCardLabel.text = model_card(self.model) if self.model else self._no_model()
        self._ui.modelSelector.toolTip = self.model or self._no_model()

    def _on_device(self, *_args: Any) -> None:
        settings.put(settings.DEVICE, self.device)

    def _on_python(self, *_args: Any) -> None:
        settings.put(settings.PYTHON, self.python)
        self._on_change()

    def _on_install(self, *_args: Any) -> None:
        with slicer.util.tryWithErrorDisplay(_("The packages could not be installed."), waitCursor=True):
            folder = self._new_folder("install")
            folder.mkdir(parents=True)
            try:
                done = dependencies.install(self._requirements, folder)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            self._missing = None
            self._show_packages()
            self._on_change()
            if done:
                self.probe()

    def _on_repair(self, *_args: Any) -> None:
        text = _("PyTorch will be uninstalled. Restart Slicer afterwards, then install it again. Go on?")
        if slicer.util.confirmOkCancelDisplay(text, _("Remove PyTorch")):
            with slicer.util.tryWithErrorDisplay(_("PyTorch could not be removed."), waitCursor=True):
                dependencies.remove_torch()
            self._missing = None
            self._show_packages()
            self._on_change()

    def _show_packages(self) -> None:
        missing = dependencies.missing(self._requirements)
        self._missing = missing
        self._ui.installButton.enabled = bool(missing)
        self._say(
            _("Not installed yet: {names}").format(names=", ".join(missing))
            if missing
            else _("All Python packages are installed.")
        )

    def _say(self, words: str) -> None:
        self._ui.dependenciesLabel.text = words


def needs_no_anchor(folder: Path) -> bool:
    """Tell whether a bundle generates from the ECG alone."""
    try:
        cof = json.loads(Path(folder, "configs", "metadata.json").read_text("utf-8")).get("cof", {})
        return cof.get("engine") == ECG_ALONE
    except (OSError, ValueError, AttributeError):
        return False


def model_card(folder: str) -> str:
    """Return what a bundle says about itself in a few lines."""
    try:
        metadata = json.loads(Path(folder, "configs", "metadata.json").read_text("utf-8"))
    except (OSError, ValueError):
        return _("The model's configs/metadata.json cannot be read.")
    lines = [
        " · ".join(str(metadata[key]) for key in ("name", "version", "license") if metadata.get(key)),
        *(str(metadata[key]) for key in ("description", "intended_use") if metadata.get(key)),
    ]
    return "\n".join(line for line in lines if line)
