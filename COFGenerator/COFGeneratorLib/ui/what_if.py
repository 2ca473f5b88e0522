"""What if: another ejection fraction or heart rate than the ECG's, or another random draw, of the same patient."""

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _


class WhatIf:
    """Works on the fields and buttons of the group; ``generate`` starts a generation with what the panel holds."""

    def __init__(self, ui: Any, generate: Callable[..., None]) -> None:
        self._ui, self._generate, self._node = ui, generate, None
        ui.whatIfButton.connect("clicked(bool)", generate)
        ui.drawAnotherButton.connect("clicked(bool)", self.draw_another)

    def select(self, node: Any) -> None:
        """Work on a parameter node, or on none."""
        self._node = node

    def refresh(self, can_start: bool, alone: bool, hr_bpm: float | None) -> None:
        """Enable what can be used now.

        Args:
            can_start: Whether a generation could be started.
            alone: Whether nothing can be told to it: an engine without an anchor, or a registration.
            hr_bpm: Heart rate that the ECG says, beats per minute.
        """
        ui = self._ui
        ui.whatIfBox.visible = not alone
        ui.whatIfButton.enabled = ui.drawAnotherButton.enabled = can_start
        ui.hrSpinBox.specialValueText = (
            _("from the ECG") if hr_bpm is None else _("the ECG's, {rate:.0f} bpm").format(rate=hr_bpm)
        )

    def draw_another(self, *_args: Any) -> None:
        """Generate a random draw; after one, that of the next seed."""
        if self._node is not None:
            if self._node.draw:
                self._node.seed = (self._node.seed + 1) % 1_000_000
            self._node.draw = True
            self._generate()
