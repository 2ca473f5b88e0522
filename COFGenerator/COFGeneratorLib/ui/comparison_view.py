"""The page "Compare with a real cine" and saving of results."""

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from COFGeneratorLib.errors import ChainOfFlowError
from COFGeneratorLib.scene import saving
from COFGeneratorLib.scene.comparison import ComparisonNodes, why_not_comparable
from COFGeneratorLib.scene.result import ResultNodes
from COFGeneratorLib.ui.result_view import ResultView
from COFGeneratorLib.ui.whole_table import show_whole


class ComparisonView:
    """Works on the widgets of the page; compares the result that a ``ResultView`` shows."""

    def __init__(self, ui: Any, logic: Any, result: ResultView) -> None:
        self._ui, self._logic, self._result, self._real = ui, logic, result, None
        self.nodes: ComparisonNodes | None = None
        ui.compareButton.connect("clicked(bool)", self.compare)
        ui.showDifferenceButton.connect("clicked(bool)", self.show_difference)
        self._show("")

    def select(self, real: Any) -> None:
        """Choose the browser of the real cine, or none."""
        if real is not self._real:
            self._real = real
            self.clear()
        self.refresh()

    def clear(self) -> None:
        """Forget the last comparison."""
        self.nodes = None
        self._show("")

    def refresh(self) -> None:
        """Enable what can be used now."""
        if self.nodes is not None and self.nodes.difference.GetScene() is None:
            self.clear()
        reason = why_not_comparable(self._result.nodes, self._real)
        self._ui.compareButton.enabled = not reason
        self._ui.compareButton.toolTip = reason or _(
            "Measure difference, correlation and overlap, beside those of the anchor held still."
        )
        self._ui.showDifferenceButton.enabled = self.nodes is not None

    def compare(self, *_args: Any) -> None:
        """Compare and show the figures."""
        try:
            self.nodes = self._logic.compare(self._result.nodes.browser, self._real)
        except ChainOfFlowError as error:
            self.clear()
            self._show(str(error))
            return
        words = _("Difference (1 is the image's range) and correlation are those around the heart, frames by phase.")
        if not self.nodes.agreement.dice:
            words += " " + _("The real cine has no label maps, so Dice and volumes are unknown.")
        self._show(words)
        if self.nodes.chart is not None:
            slicer.modules.plots.logic().ShowChartInLayout(self.nodes.chart)
        self.refresh()

    def show_difference(self, *_args: Any) -> None:
        """Show generated minus real in the slice views."""
        if self.nodes is not None:
            proxy = self._result.nodes.browser.GetProxyNode(self.nodes.difference)
            slicer.util.setSliceViewerLayers(background=proxy, fit=True)
            slicer.modules.sequences.showSequenceBrowser(self._result.nodes.browser)

    def _show(self, words: str) -> None:
        table = self.nodes.figures if self.nodes is not None else None
        self._ui.comparisonTableView.setMRMLTableNode(table)
        self._ui.comparisonTableView.visible = table is not None
        show_whole(self._ui.comparisonTableView)
        self._ui.comparisonLabel.text = words
        self._ui.comparisonLabel.visible = bool(words)


def ask_where_to_save(nodes: ResultNodes) -> str:
    """Ask for a file name; returns an empty text if the user declines. DICOM is not among the formats."""
    filters = ";;".join(f"{_(words)} (*{ending})" for ending, words in saving.formats().items())
    name = nodes.cine.GetName().replace(" ", "-")
    answer = qt.QFileDialog.getSaveFileName(None, _("Save the result"), f"{name}.seq.nrrd", filters)
    return str(answer[0] if isinstance(answer, tuple) else answer or "")
