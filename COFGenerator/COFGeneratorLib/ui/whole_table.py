"""Tables that show all of their rows, so that nothing in them has to be scrolled."""

from typing import Any

import qt

FRAME_PX = 4


def show_whole(view: Any, row_px: int = 22) -> None:
    """Give a qMRMLTableView the height of its rows and its columns the width of the view."""
    rows = view.verticalHeader()
    rows.setVisible(False)
    rows.setDefaultSectionSize(row_px)
    columns = view.horizontalHeader()
    columns.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
    model = view.model()
    if model.columnCount() > 0:
        columns.setSectionResizeMode(0, qt.QHeaderView.Stretch)
    for row in range(model.rowCount()):
        view.setRowHeight(row, row_px)
    columns.setFixedHeight(row_px)
    view.setFixedHeight(row_px * (model.rowCount() + 1) + FRAME_PX)
