"""Fields of the panel that belong to the machine: filled from the settings, and kept there when they change."""

import json
from collections.abc import Callable
from typing import Any

from COFGeneratorLib.ui import settings
from COFGeneratorLib.ui.dependencies import fill_devices

PATHS = {"cohortPathEdit": settings.COHORT, "runsPathEdit": settings.RUNS, "pythonPathEdit": settings.PYTHON}
DEVICES = {"deviceSelector": settings.TRAINING_DEVICE, "evaluationDeviceSelector": settings.EVALUATION_DEVICE}


class RememberedFields:
    """Works on the path fields, the command and the choices of a device; ``on_change`` is called after a change."""

    def __init__(self, ui: Any, on_change: Callable[[], None]) -> None:
        self._ui, self._on_change = ui, on_change
        found = json.loads(settings.get(settings.DEVICES_FOUND, "[]"))  # by the Generator module's check
        for name, key in PATHS.items():
            getattr(ui, name).currentPath = settings.get(key)
        ui.commandTemplateEdit.text = settings.get(settings.COMMAND_TEMPLATE)
        for name, key in DEVICES.items():
            fill_devices(getattr(ui, name), found, settings.get(key, "auto"))
        for name in PATHS:
            getattr(ui, name).connect("currentPathChanged(QString)", self._keep)
        ui.commandTemplateEdit.connect("textChanged(QString)", self._keep)
        for name in DEVICES:
            getattr(ui, name).connect("currentIndexChanged(int)", self._keep)

    def device(self, selector: str) -> str:
        """Return the device that is chosen in a selector."""
        return str(getattr(self._ui, selector).currentData or "auto")

    def _keep(self, *_args: Any) -> None:
        for name, key in PATHS.items():
            settings.put(key, str(getattr(self._ui, name).currentPath or ""))
        settings.put(settings.COMMAND_TEMPLATE, str(self._ui.commandTemplateEdit.text or ""))
        for name, key in DEVICES.items():
            settings.put(key, self.device(name))
        self._on_change()
