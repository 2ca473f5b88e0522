"""Samples that a run writes while it trains, by their names; the chosen one is a sequence in the scene."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import slicer
from COFGeneratorLib.scene import attributes
from COFGeneratorLib.scene.bootstrap import update_proxies
from COFGeneratorLib.scene.files import read_sequence
from slicer.i18n import tr as _

ENDING = ".seq.nrrd"


class SamplePreview:
    """Works on the list of samples and its button; keeps the samples of one run, and the one that is shown."""

    def __init__(self, ui: Any) -> None:
        self._ui = ui
        self.browser = None
        self.paths: dict[str, Path] = {}
        """Name of a sample → its file, the newest last."""
        ui.showPreviewButton.connect("clicked(bool)", self.show_chosen)
        self.forget()

    def forget(self) -> None:
        """Forget the samples of the run before; one that is shown stays."""
        self.paths = {}
        self._list()

    def take(self, events: Sequence[Mapping[str, Any]], run: Path) -> None:
        """Take in the files of ``artifact`` events, named within that run folder, that are samples."""
        found = [run / str(event.get("path", "")) for event in events if event["event"] == "artifact"]
        samples = [path for path in found if path.name.endswith(ENDING) and path.is_file()]
        for path in samples:
            name = path.name.removesuffix(ENDING)
            self.paths.pop(name, None)
            self.paths[name] = path
        if samples:
            self._list()

    def show_chosen(self, *_args: Any) -> None:
        """Show the sample that is chosen in the list."""
        with slicer.util.tryWithErrorDisplay(_("The sample cannot be shown."), waitCursor=True):
            self.show(str(self._ui.sampleSelector.currentText))

    def _list(self) -> None:
        self._ui.sampleSelector.clear()
        self._ui.sampleSelector.addItems(list(self.paths))
        self._ui.sampleSelector.currentIndex = len(self.paths) - 1
        for widget in (self._ui.sampleLabel, self._ui.sampleSelector, self._ui.showPreviewButton):
            widget.visible = bool(self.paths)

    def show(self, name: str) -> None:
        """Show a sample in the slice views and let it play; one that was shown before goes.

        Raises:
            SceneError: If its file cannot be read.
        """
        if name not in self.paths:
            return
        self.clear()
        scene = slicer.mrmlScene
        words = attributes.node_name("Training sample", name)
        sequence = read_sequence(scene, self.paths[name], words)
        self.browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", f"{words} browser")
        self.browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
        for node in (sequence, self.browser):
            node.SetAttribute(attributes.SYNTHETIC, "true")
        update_proxies(self.browser)
        proxy = self.browser.GetProxyNode(sequence)
        slicer.util.setSliceViewerLayers(background=proxy, fit=True, rotateToVolumePlane=True)
        slicer.modules.sequences.showSequenceBrowser(self.browser)
        self.browser.SetPlaybackActive(True)

    def clear(self) -> None:
        """Take the shown sample out of the scene."""
        if self.browser is not None and self.browser.GetScene() is not None:
            scene, master = self.browser.GetScene(), self.browser.GetMasterSequenceNode()
            for node in (self.browser.GetProxyNode(master), self.browser, master):
                if node is not None:
                    scene.RemoveNode(node)
        self.browser = None
