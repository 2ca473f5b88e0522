"""The names that PythonQt has in one module, out of PySide6 with the habits of PythonQt."""

import habits  # noqa: F401 - before any widget is made
from PySide6 import QtUiTools
from PySide6.QtCore import *  # noqa: F403
from PySide6.QtGui import *  # noqa: F403
from PySide6.QtWidgets import *  # noqa: F403


class QUiLoader(QtUiTools.QUiLoader):
    """Knows the widgets of CTK and qMRML that stand in here."""

    def __init__(self, parent=None):
        super().__init__(parent)
        import widgets

        for widget_class in widgets.ALL:
            self.registerCustomWidget(widget_class)
