"""Shows a generated cine: its EF first, views, playback, function table, bull's-eye, curves with a moving line."""

from collections.abc import Sequence
from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _

from COFGeneratorLib.scene import cardiac_layout, find_results, surfaces
from COFGeneratorLib.scene.attributes import INDEX_UNIT
from COFGeneratorLib.scene.bootstrap import nodes_of_class
from COFGeneratorLib.scene.result import ResultNodes
from COFGeneratorLib.scene.tables import clicked_frame, move_cursor
from COFGeneratorLib.ui.bullseye import MEASURES, bullseye
from COFGeneratorLib.ui.chart_clicks import ChartClicks
from COFGeneratorLib.ui.headline import headline, notes
from COFGeneratorLib.ui.heart_views import HeartViews
from COFGeneratorLib.ui.whole_table import show_whole

LABEL_OPACITY = 0.8
MIN_BULLSEYE_WIDTH = 340
"""The bull's-eye with its scale is as wide as the panel, but not narrower than this, pixels."""


class ResultView:
    """Works on the widgets of the result section."""

    def __init__(self, ui: Any) -> None:
        self._ui, self._nodes, self._tag, self._scene_tag = ui, None, None, None
        self._show_labels = True
        self._clicks = ChartClicks(self._on_chart_points)
        self.views = HeartViews(ui, self._clicks)
        ui.resultSelector.addAttribute("vtkMRMLSequenceBrowserNode", "COF.role", "browser")
        ui.showHeartButton.connect("clicked(bool)", self.show_heart)
        ui.showCineButton.connect("clicked(bool)", self.show_cine)
        ui.showChartButton.connect("clicked(bool)", self.show_chart)
        ui.show3dButton.connect("clicked(bool)", self.show_surfaces)
        for key, (words, _low, _high) in MEASURES.items():
            ui.bullseyeSelector.addItem(_(words), key)
        ui.bullseyeSelector.connect("currentIndexChanged(int)", self._show_bullseye)
        self.select(None)

    @property
    def nodes(self) -> ResultNodes | None:
        """The shown ``ResultNodes`` or None."""
        return self._nodes

    def select(self, browser: Any) -> None:
        """Show the result of a browser, or none."""
        if self._nodes is not None and browser is self._nodes.browser and self._nodes.whole:
            return
        if self._nodes is not None and browser is not self._nodes.browser:
            self._nodes.browser.SetPlaybackActive(False)
        self.release()
        found = find_results(slicer.mrmlScene) if browser is not None else []
        self._nodes = next((nodes for nodes in found if nodes.browser is browser), None)
        if self._nodes is not None:
            self._tag = browser.AddObserver(vtk.vtkCommand.ModifiedEvent, self._on_browser)
            self._scene_tag = slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.NodeRemovedEvent, self._on_removed)
            self._on_browser()
        shown = self._nodes.browser if self._nodes is not None else None
        self._ui.playWidget.setMRMLSequenceBrowserNode(shown)
        self._ui.seekWidget.setMRMLSequenceBrowserNode(shown)
        table = self._nodes.function if self._nodes is not None else None
        self._ui.functionTableView.setMRMLTableNode(table)
        self._ui.functionTableView.visible = table is not None
        ui = self._ui
        show_whole(ui.functionTableView)
        for widget in (ui.playWidget, ui.seekWidget, ui.showHeartButton, ui.showCineButton, ui.saveResultButton):
            widget.enabled = self._nodes is not None
        facts = self._nodes.facts if self._nodes is not None else {}
        for label, words in ((ui.efValueLabel, headline(facts)), (ui.efNotesLabel, notes(facts) if shown else "")):
            label.text = words
            label.visible = bool(words)
        ui.show3dButton.enabled = self._nodes is not None and self._nodes.labels is not None
        self._show_bullseye()
        has_chart = self._nodes is not None and None not in (self._nodes.chart, self._nodes.volumes)
        has_chart = has_chart and self._nodes.volumes.GetNumberOfColumns() > 1  # a single plane has areas only
        self._ui.showChartButton.enabled = has_chart
        self._ui.showChartButton.toolTip = (
            _("Show LV and RV volume over time beside the slices, with a line at the shown frame.")
            if has_chart or self._nodes is None
            else _("This result has no volumes: no labels were known, or it is a single plane.")
        )
        if self._nodes is not None and cardiac_layout.is_shown(slicer.mrmlScene):
            self.views.show(self._nodes, self._show_labels)

    def release(self) -> None:
        """Forget the nodes; the scene may be going away."""
        if self._nodes is not None and self._tag is not None:
            self._nodes.browser.RemoveObserver(self._tag)
            slicer.mrmlScene.RemoveObserver(self._scene_tag)
        self._clicks.stop()
        self._nodes, self._tag, self._scene_tag = None, None, None

    def show_labels(self, on: bool) -> None:
        """Show or hide the labels over the cine."""
        if on != self._show_labels:
            self._show_labels = on
            if self._nodes is not None:
                self._fill_slices(fit=False)
                cardiac_layout.show_labels(slicer.mrmlScene, self._nodes, on)

    def show_heart(self, *_args: Any) -> None:
        """Show the cine in the heart's own planes, with beating surfaces and curves, and let it play."""
        if self._nodes is not None:
            self.views.show(self._nodes, self._show_labels)
            self._play()

    def show_cine(self, *_args: Any) -> None:
        """Show the cine in the user's own slice views, turned into its planes, and let it play."""
        if self._nodes is None:
            return
        self._fill_slices(fit=True)
        self._play()

    def show_chart(self, *_args: Any) -> None:
        """Show the volume curve in the layout; from then on a click on a point of it shows that frame."""
        if self._nodes is not None and self._nodes.chart is not None:
            slicer.modules.plots.logic().ShowChartInLayout(self._nodes.chart)
            self._clicks.listen()

    def show_surfaces(self, *_args: Any) -> None:
        """Show the beating surfaces of the labels in the 3-D views."""
        if self._nodes is not None and self._nodes.labels is not None:
            with slicer.util.tryWithErrorDisplay(_("The labels could not be shown in 3D."), waitCursor=True):
                surfaces.show_surfaces(slicer.mrmlScene, self._nodes)

    def _on_removed(self, *_args: Any) -> None:
        """The user deleted a node: if it was one of the result's, show what is left of it."""
        if self._nodes is not None and not self._nodes.whole:
            browser = self._nodes.browser
            self.select(browser if browser.GetScene() is not None else None)

    def _play(self) -> None:
        slicer.modules.sequences.showSequenceBrowser(self._nodes.browser)
        self._nodes.browser.SetPlaybackActive(True)

    def _show_bullseye(self, *_args: Any) -> None:
        segments = self._nodes.facts.get("segments") if self._nodes is not None else None
        ui = self._ui
        for widget in (ui.bullseyeNameLabel, ui.bullseyeSelector, ui.bullseyePlotLabel):
            widget.visible = bool(segments)
        if segments:
            width = max(int(ui.functionTableView.width), MIN_BULLSEYE_WIDTH)
            ui.bullseyePlotLabel.setPixmap(bullseye(segments, ui.bullseyeSelector.currentData, width))

    def _fill_slices(self, fit: bool) -> None:
        labels = self._nodes.proxy("labels") if self._nodes.labels is not None and self._show_labels else None
        slicer.util.setSliceViewerLayers(
            background=self._nodes.proxy("cine"),
            label=labels,
            labelOpacity=LABEL_OPACITY,
            fit=fit,
            rotateToVolumePlane=fit,
        )
        for node in nodes_of_class(slicer.mrmlScene, "vtkMRMLSliceNode"):
            node.SetUseLabelOutline(True)

    def _on_chart_points(self, points: Sequence[tuple[str, list[int]]]) -> None:
        """Stop at the frame of the clicked point."""
        frame = (
            clicked_frame(self._nodes, points) if self._nodes is not None and self._nodes.chart is not None else None
        )
        if frame is not None:
            self._nodes.browser.SetPlaybackActive(False)
            self._nodes.browser.SetSelectedItemNumber(frame)

    def _on_browser(self, *_args: Any) -> None:
        """Move the line in the chart to the shown frame."""
        if self._nodes is None or self._nodes.cursor is None:
            return
        index = self._nodes.browser.GetSelectedItemNumber()
        if 0 <= index < self._nodes.cine.GetNumberOfDataNodes() and self._nodes.cine.GetIndexUnit() == INDEX_UNIT:
            move_cursor(self._nodes.cursor, float(self._nodes.cine.GetNthIndexValue(index)))
