"""The panel's labels: which segment is what, and their way into the Segment Editor and back."""

from typing import Any

import slicer
from slicer.i18n import tr as _

from COFGeneratorLib.errors import ChainOfFlowError
from COFGeneratorLib.scene import export
from COFGeneratorLib.scene.label_editing import editable_labels, found_labels
from COFGeneratorLib.ui.result_view import ResultView


class LabelEditing:
    """Works on the button *Edit…* beside the labels, and on their mapping."""

    def __init__(self, ui: Any, result: ResultView) -> None:
        self._ui, self._result, self._node = ui, result, None
        self._mapped = None
        ui.editLabelsButton.connect("clicked(bool)", self.edit)

    def select(self, node: Any) -> None:
        """Work on a parameter node, or on none."""
        self._node = node

    def refresh(self) -> None:
        """Enable the button where there are labels to edit."""
        given = self._node is not None and self._node.anchorLabels is not None
        shown = self._result.nodes is not None and self._result.nodes.labels is not None
        self._ui.editLabelsButton.enabled = given or shown
        self._ui.editLabelsButton.toolTip = (
            _("Correct these labels in the Segment Editor.")
            if given
            else _("Correct the labels that the model found, in the Segment Editor.")
            if shown
            else _("Choose labels, or generate first: then those that the model found can be corrected.")
        )

    def propose_mapping(self) -> None:
        """Fill in the mapping when other labels are chosen and the text names nothing that they have."""
        labels = self._node.anchorLabels
        if labels is self._mapped:
            return
        self._mapped = labels
        if labels is not None:
            names = export.label_names(labels)
            try:
                export.parse_label_mapping(self._node.labelMapping, names)
            except ChainOfFlowError:
                self._node.labelMapping = export.guess_label_mapping(names)

    def edit(self, *_args: Any) -> None:
        """Open the labels in the Segment Editor; they are the labels of the next generation."""
        with slicer.util.tryWithErrorDisplay(_("The labels cannot be edited."), waitCursor=True):
            node, nodes = self._node, self._result.nodes
            labels = node.anchorLabels or found_labels(slicer.mrmlScene, nodes)
            image = node.anchorVolume if node.anchorVolume is not None else nodes.proxy("cine")
            segmentation = editable_labels(slicer.mrmlScene, labels, image, _mapping(node, labels))
            node.anchorLabels = segmentation
            slicer.util.selectModule("SegmentEditor")
            editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
            editor.setSegmentationNode(segmentation)
            editor.setSourceVolumeNode(image)


def _mapping(node: Any, labels: Any) -> dict[str, str]:
    """Return structure → name or code, from the panel's text or else from the names."""
    names = export.label_names(labels)
    try:
        return export.parse_label_mapping(node.labelMapping or export.guess_label_mapping(names), names)
    except ChainOfFlowError:
        return {}
