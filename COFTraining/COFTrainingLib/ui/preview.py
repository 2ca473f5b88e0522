"""Samples that a run writes while it trains, as a sequence in the scene; the newest replaces the one before."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import slicer
from COFGeneratorLib.scene import attributes
from COFGeneratorLib.scene.bootstrap import update_proxies
from COFGeneratorLib.scene.files import read_sequence

ENDING = ".seq.nrrd"


class SamplePreview:
    """Keeps the newest sample of one run."""

    def __init__(self) -> None:
        self.browser = None
        self.path = ""

    def take(self, event: Mapping[str, Any]) -> bool:
        """Load the file of an ``artifact`` event, if it is a sample; returns whether it was."""
        path = str(event.get("path", ""))
        if event["event"] != "artifact" or not path.endswith(ENDING) or not Path(path).is_file():
            return False
        self.clear()
        scene = slicer.mrmlScene
        name = attributes.node_name("Training sample", Path(path).name.removesuffix(ENDING))
        sequence = read_sequence(scene, Path(path), name)
        self.browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", f"{name} browser")
        self.browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
        for node in (sequence, self.browser):
            node.SetAttribute(attributes.SYNTHETIC, "true")
        update_proxies(self.browser)
        self.path = path
        return True

    def show(self) -> None:
        """Show it in the slice views and let it play."""
        if self.shown:
            proxy = self.browser.GetProxyNode(self.browser.GetMasterSequenceNode())
            slicer.util.setSliceViewerLayers(background=proxy, fit=True)
            slicer.modules.sequences.showSequenceBrowser(self.browser)
            self.browser.SetPlaybackActive(True)

    @property
    def shown(self) -> bool:
        """Whether a sample is in the scene."""
        return self.browser is not None and self.browser.GetScene() is not None

    def clear(self) -> None:
        """Take the sample out of the scene."""
        if self.shown:
            scene, master = self.browser.GetScene(), self.browser.GetMasterSequenceNode()
            for node in (self.browser.GetProxyNode(master), self.browser, master):
                if node is not None:
                    scene.RemoveNode(node)
        self.browser = None
