"""Lifecycle that the panels of both modules have in common: parameter node, scenes that close and open, reloads."""

import sys
from typing import Any

import slicer
import vtk
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin


class ModuleWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Connects the widgets of a ``.ui`` file, a parameter node and a view.

    A module's own widget has ``makeLogic`` and ``makeView`` (``ui`` and ``logic`` are there), and adds what only it
    does on entering or on closing a scene. The view has ``set_parameter_node``, ``on_parameters`` and ``close``.
    """

    LIBRARIES: tuple[str, ...] = ("COFGeneratorLib",)
    """Packages that a reload of the module loads again."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: Any = None
        self.view: Any = None
        self._parameterNode: Any = None
        self._parameterNodeGuiTag: Any = None

    def setup(self) -> None:
        """Build the panel when the module is opened for the first time."""
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath(f"UI/{self.moduleName}.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = self.makeLogic()
        self.view = self.makeView()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneReady)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneReady)
        self.initializeParameterNode()

    def cleanup(self) -> None:
        """The application closes or the module is reloaded: let go of scene and view."""
        self.setParameterNode(None)
        self.removeObservers()
        if self.view is not None:
            self.view.close()

    def enter(self) -> None:
        """The user opens the module."""
        self.initializeParameterNode()

    def exit(self) -> None:
        """The user opens another module; what runs goes on."""
        if self._parameterNode is not None:
            self._disconnectGui()

    def onReload(self) -> None:
        """Reload the libraries too, so that edits of them take effect."""
        for name in [name for name in sys.modules if name.split(".")[0] in self.LIBRARIES]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def onSceneStartClose(self, caller: Any, event: Any) -> None:
        """The scene is about to be emptied."""
        self.setParameterNode(None)

    def onSceneReady(self, caller: Any, event: Any) -> None:
        """The scene is empty, or a saved one has been loaded: show what it holds."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self) -> None:
        """Make sure that a parameter node exists and is observed."""
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, parameterNode: Any) -> None:
        """Connect the panel to a parameter node, or to none."""
        if self._parameterNode is not None:
            self._disconnectGui()
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParameters)
        self._parameterNode = parameterNode
        if parameterNode is not None:
            self._parameterNodeGuiTag = parameterNode.connectGui(self.ui)
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParameters)
        if self.view is not None:
            self.view.set_parameter_node(parameterNode)

    def _disconnectGui(self) -> None:
        if self._parameterNodeGuiTag is not None:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self._parameterNodeGuiTag = None

    def _onParameters(self, caller: Any = None, event: Any = None) -> None:
        self.view.on_parameters()
