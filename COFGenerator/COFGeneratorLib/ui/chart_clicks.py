"""Clicks on points of the chart in Slicer's plot views: ``qMRMLPlotView`` tells them as selected rows of series."""

from collections.abc import Callable
from typing import Any

import slicer

SELECTED = "dataSelected(vtkStringArray*,vtkCollection*)"


class ChartClicks:
    """Listens to the plot views of the layout: (ID of a plot series node, selected rows) of what is clicked."""

    def __init__(self, on_points: Callable[[list[tuple[str, list[int]]]], None]) -> None:
        self._on_points, self._views = on_points, []

    def listen(self) -> None:
        """Listen to the plot views that there are now; a layout makes its views when it is first shown."""
        self.stop()
        manager = slicer.app.layoutManager()
        for index in range(manager.plotViewCount if manager is not None else 0):
            view = manager.plotWidget(index).plotView()
            view.connect(SELECTED, self._on_selected)
            self._views.append(view)

    def stop(self) -> None:
        """Listen no more."""
        for view in self._views:
            view.disconnect(SELECTED, self._on_selected)
        self._views = []

    def _on_selected(self, series_ids: Any, selections: Any) -> None:
        count = min(series_ids.GetNumberOfValues(), selections.GetNumberOfItems())
        points = []
        for index in range(count):
            rows = selections.GetItemAsObject(index)
            values = [int(rows.GetValue(row)) for row in range(rows.GetNumberOfTuples())]
            points.append((series_ids.GetValue(index), values))
        self._on_points(points)
