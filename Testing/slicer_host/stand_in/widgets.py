"""Small widgets under the names of CTK and qMRML widgets, with the properties, slots and signals that we use."""

import habits  # noqa: F401 - before any widget is made
import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal

HEADER_PX = 24


class qMRMLWidget(QtWidgets.QWidget):
    mrmlSceneChanged = Signal(object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene = None

    def setMRMLScene(self, scene):
        """Pass the scene on, as the connections in the .ui file do."""
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)
        for child in self.findChildren(QtWidgets.QWidget):
            if hasattr(type(child), "setMRMLScene") and child.parent() is not None:
                child.setMRMLScene(scene)

    def mrmlScene(self):
        return self._scene


class ctkCollapsibleButton(QtWidgets.QWidget):
    contentsCollapsed = Signal(bool)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._text, self._collapsed = "", False

    def _set_text(self, text):
        self._text = text
        self.update()

    def _set_collapsed(self, collapsed):
        if collapsed != self._collapsed:
            self._collapsed = collapsed
            self._apply()
            self.contentsCollapsed.emit(collapsed)

    text = Property(str, lambda self: self._text, _set_text)
    collapsed = Property(bool, lambda self: self._collapsed, _set_collapsed)

    def _apply(self):
        layout = QtWidgets.QWidget.layout(self)
        if layout is not None:
            layout.setContentsMargins(6, HEADER_PX + 4, 6, 6)
        limit = HEADER_PX if self._collapsed else 16777215
        QtWidgets.QWidget.setMaximumHeight(self, limit)
        QtWidgets.QWidget.setMinimumHeight(self, HEADER_PX if self._collapsed else 0)

    def showEvent(self, event):
        self._apply()
        super().showEvent(event)

    def mousePressEvent(self, event):
        if event.position().y() < HEADER_PX:
            self._set_collapsed(not self._collapsed)

    def paintEvent(self, event):
        painter = QtGui.QPainter(self)
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, self.width, HEADER_PX)
        option.text = ("▸ " if self._collapsed else "▾ ") + self._text
        option.state |= QtWidgets.QStyle.State_Raised
        self.style().drawControl(QtWidgets.QStyle.CE_PushButton, option, painter, self)
        painter.end()


class _NumberBox(QtWidgets.QWidget):
    valueChanged = Signal(float)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._value, self._minimum, self._maximum, self._step, self._decimals = 0.0, 0.0, 100.0, 1.0, 2

    def _set(self, value):
        value = min(max(float(value), self._minimum), self._maximum)
        if value != self._value:
            self._value = value
            self.valueChanged.emit(value)

    value = Property(float, lambda self: self._value, _set)
    minimum = Property(float, lambda self: self._minimum, lambda self, value: setattr(self, "_minimum", value))
    maximum = Property(float, lambda self: self._maximum, lambda self, value: setattr(self, "_maximum", value))
    singleStep = Property(float, lambda self: self._step, lambda self, value: setattr(self, "_step", value))
    decimals = Property(int, lambda self: self._decimals, lambda self, value: setattr(self, "_decimals", value))


class _PathBox(QtWidgets.QWidget):
    """A line and a button."""

    def __init__(self, parent=None):
        super().__init__(parent)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._edit = QtWidgets.QLineEdit()
        row.addWidget(self._edit)
        button = QtWidgets.QToolButton()
        QtWidgets.QToolButton.setText(button, "…")
        row.addWidget(button)
        self._edit.textChanged.connect(self._changed)

    def _path(self):
        return self._edit.text

    def _set_path(self, path):
        self._edit.text = path


class ctkPathLineEdit(_PathBox):
    currentPathChanged = Signal(str)
    Files, Dirs, Readable, Executable = 1, 2, 4, 8

    def _changed(self, text):
        self.currentPathChanged.emit(text)

    currentPath = Property(str, _PathBox._path, _PathBox._set_path)
    showHistoryButton = Property(bool, lambda self: False, lambda self, value: None)
    filters = Property(int, lambda self: 0, lambda self, value: None)


class ctkDirectoryButton(_PathBox):
    directoryChanged = Signal(str)

    def _changed(self, text):
        self.directoryChanged.emit(text)

    directory = Property(str, _PathBox._path, _PathBox._set_path)


def _with_node(observer):
    """Ask VTK to hand over the node of an event."""
    observer.CallDataType = vtk.VTK_OBJECT
    return observer


def _flag(name, kind):
    def change(self, value):
        self._flags[name] = value
        self._fill()

    return Property(kind, lambda self: self._flags.get(name), change)


class qMRMLNodeComboBox(QtWidgets.QComboBox):
    """Lists the nodes of its types in the scene; keeps itself up to date."""

    currentNodeChanged = Signal(object)
    currentNodeIDChanged = Signal(str)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene, self._tags, self._types, self._attributes, self._node = None, [], [], [], None
        self._flags = {"noneEnabled": False, "showChildNodeTypes": True, "noneDisplay": "Select a node"}
        QtWidgets.QComboBox.setSizePolicy(self, QtWidgets.QSizePolicy.Ignored, QtWidgets.QSizePolicy.Fixed)
        self.activated.connect(self._chosen)

    def _set_types(self, types):
        self._types = list(types)
        self._fill()

    nodeTypes = Property("QStringList", lambda self: self._types, _set_types)
    addEnabled = _flag("addEnabled", bool)
    removeEnabled = _flag("removeEnabled", bool)
    noneEnabled = _flag("noneEnabled", bool)
    renameEnabled = _flag("renameEnabled", bool)
    editEnabled = _flag("editEnabled", bool)
    showChildNodeTypes = _flag("showChildNodeTypes", bool)
    showHidden = _flag("showHidden", bool)
    noneDisplay = _flag("noneDisplay", str)

    def addAttribute(self, node_type, name, value=None):
        self._attributes.append((node_type, name, value))
        self._fill()

    def setMRMLScene(self, scene):
        if self._scene is not None:
            for tag in self._tags:
                self._scene.RemoveObserver(tag)
        self._scene, self._tags = scene, []
        if scene is not None:
            for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent):
                self._tags.append(scene.AddObserver(event, self._on_node))
            for event in (scene.EndCloseEvent, scene.EndImportEvent):
                self._tags.append(scene.AddObserver(event, lambda *_: self._fill()))
        self._fill()

    @_with_node
    def _on_node(self, scene, _event, node):
        """Only nodes of its types are listed; while a scene is closed or read, the end of that counts."""
        if not scene.IsBatchProcessing() and (node is None or any(node.IsA(name) for name in self._types)):
            self._fill()

    def mrmlScene(self):
        return self._scene

    def currentNode(self):
        return self._node

    @property
    def currentNodeID(self):
        return self._node.GetID() if self._node is not None else ""

    def setCurrentNode(self, node):
        if isinstance(node, str):
            node = self._scene.GetNodeByID(node)
        if node is not None and not self._accepts(node):
            node = None
        if node is not None and self.findData(node.GetID()) < 0:  # it got its attributes after it was added
            self._fill()
        self._select(node)

    def _accepts(self, node) -> bool:
        exact = not self._flags["showChildNodeTypes"]
        fits = any(node.GetClassName() == name if exact else node.IsA(name) for name in self._types)
        wanted = all(
            node.GetAttribute(name) == value for node_type, name, value in self._attributes if node.IsA(node_type)
        )
        return fits and wanted and not node.GetHideFromEditors()

    def _nodes(self):
        if self._scene is None:
            return []
        found = {}
        for name in self._types:
            nodes = self._scene.GetNodesByClass(name)
            nodes.UnRegister(None)
            for index in range(nodes.GetNumberOfItems()):
                node = nodes.GetItemAsObject(index)
                found[node.GetID()] = node
        return [node for node in found.values() if self._accepts(node)]

    def _fill(self):
        nodes = self._nodes()
        QtWidgets.QComboBox.blockSignals(self, True)
        self.clear()
        if self._flags["noneEnabled"] or not nodes:
            self.addItem(self._flags["noneDisplay"], None)
        for node in nodes:
            self.addItem(node.GetName(), node.GetID())
        QtWidgets.QComboBox.blockSignals(self, False)
        self._select(self._node if self._node in nodes else None)

    def _chosen(self, index):
        node_id = self.itemData(index)
        self._select(self._scene.GetNodeByID(node_id) if node_id else None)

    def _select(self, node):
        changed = node is not self._node
        self._node = node
        QtWidgets.QComboBox.setCurrentIndex(self, max(self.findData(node.GetID()) if node is not None else 0, 0))
        if changed:
            self.currentNodeChanged.emit(node)
            self.currentNodeIDChanged.emit(self.currentNodeID)


class _BrowserWidget(qMRMLWidget):
    def __init__(self, parent=None):
        super().__init__(parent)
        self.browser = None

    def setMRMLSequenceBrowserNode(self, browser):
        self.browser = browser


class qMRMLSequenceBrowserPlayWidget(_BrowserWidget):
    def __init__(self, parent=None):
        super().__init__(parent)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for sign in ("◀◀", "◀", "▶", "▶▶", "↻"):
            button = QtWidgets.QToolButton()
            QtWidgets.QToolButton.setText(button, sign)
            row.addWidget(button)
        row.addStretch(1)


class qMRMLSequenceBrowserSeekWidget(_BrowserWidget):
    def __init__(self, parent=None):
        super().__init__(parent)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Horizontal)
        row.addWidget(self._slider)
        self._label = QtWidgets.QLabel("")
        row.addWidget(self._label)
        self._slider.valueChanged.connect(self._seek)

    def setMRMLSequenceBrowserNode(self, browser):
        super().setMRMLSequenceBrowserNode(browser)
        count = browser.GetNumberOfItems() if browser is not None else 0
        selected = 0 if browser is None else browser.GetSelectedItemNumber()
        self._slider.setRange(0, max(count - 1, 0))
        self._slider.setValue(selected)
        self._seek(selected)

    def _seek(self, index):
        if self.browser is not None:
            self.browser.SetSelectedItemNumber(index)
            value = self.browser.GetMasterSequenceNode().GetNthIndexValue(index)
            self._label.text = f"{float(value):.0f} {self.browser.GetMasterSequenceNode().GetIndexUnit()}"
        else:
            self._label.text = ""


class qMRMLTableView(QtWidgets.QTableView):
    def __init__(self, parent=None):
        super().__init__(parent)
        self._table, self._scene = None, None
        self._model = QtGui.QStandardItemModel()
        self.setModel(self._model)

    def setMRMLScene(self, scene):
        self._scene = scene

    def setMRMLTableNode(self, table):
        self._table = table
        self._model.clear()
        if table is not None:
            titles = [table.GetColumnName(column) for column in range(table.GetNumberOfColumns())]
            self._model.setHorizontalHeaderLabels(titles)
            for row in range(table.GetNumberOfRows()):
                cells = [table.GetCellText(row, column) for column in range(len(titles))]
                self._model.appendRow([QtGui.QStandardItem(cell) for cell in cells])
            self.resizeColumnsToContents()

    def mrmlTableNode(self):
        return self._table


ctkSliderWidget = type("ctkSliderWidget", (_NumberBox,), {})
qMRMLSliderWidget = type("qMRMLSliderWidget", (_NumberBox,), {})
_UNUSED = [
    "ctkCheckBox",
    "ctkCheckablePushButton",
    "ctkDoubleSlider",
    "ctkDoubleSpinBox",
    "ctkComboBox",
    "ctkRangeWidget",
    "ctkDoubleRangeSlider",
    "ctkColorPickerButton",
    "qMRMLSpinBox",
    "qMRMLRangeWidget",
    "qMRMLSubjectHierarchyTreeView",
    "qMRMLSubjectHierarchyComboBox",
    "qSlicerWidget",
]
"""Named by Slicer's guiConnectors.py, not used by our panels."""
for _name in _UNUSED:
    globals()[_name] = type(_name, (QtWidgets.QWidget,), {})

ALL = [
    qMRMLWidget,
    ctkCollapsibleButton,
    ctkPathLineEdit,
    ctkDirectoryButton,
    ctkSliderWidget,
    qMRMLSliderWidget,
    qMRMLNodeComboBox,
    qMRMLSequenceBrowserPlayWidget,
    qMRMLSequenceBrowserSeekWidget,
    qMRMLTableView,
    *(globals()[_name] for _name in _UNUSED),
]
for _class in ALL:
    if _class.__name__.startswith("q"):
        setattr(slicer, _class.__name__, _class)
