"""Puts a stand-in of the Slicer desktop together in this process and loads module files into it."""

import contextlib
import importlib.util
import os
import sys
import tempfile
import time
import types
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MODULES = {"COFGenerator": ROOT / "COFGenerator", "COFTraining": ROOT / "COFTraining"}
"""Folder of each module file; an installed extension has both in one."""

_LOGICS = ("Units", "Volumes", "Segmentations", "SubjectHierarchy", "Tables", "Texts", "Markups", "Cameras")

_started = None


def start(modules: dict[str, Path] | None = None):
    """Start the one host of this process, or return the running one."""
    global _started
    if _started is None:
        _started = Host(modules or MODULES)
    return _started


class Host:
    """An application with a scene, module logics, settings of its own, and module panels.

    Args:
        modules: Folder of each module file.
    """

    def __init__(self, modules: dict[str, Path]):
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
        self.modules = modules
        for folder in (HERE / "stand_in", *dict.fromkeys(modules.values())):
            if str(folder) not in sys.path:
                sys.path.insert(0, str(folder))
        import slicer

        self.slicer = slicer
        self.slicer_source = os.environ.get("SLICER_SOURCE", "")
        layer = Path(self.slicer_source, "Base", "Python", "slicer") if self.slicer_source else HERE / "slicer_layer"
        if not (layer / "ScriptedLoadableModule.py").is_file():
            raise RuntimeError(f"SLICER_SOURCE must be a source tree of Slicer; found none at {self.slicer_source}.")
        slicer.__path__.append(str(layer))

        from PySide6 import QtCore, QtWidgets

        QtCore.QCoreApplication.setOrganizationName("ChainOfFlowTest")
        QtCore.QSettings.setDefaultFormat(QtCore.QSettings.IniFormat)
        settings = tempfile.mkdtemp(prefix="cof-settings-")
        QtCore.QSettings.setPath(QtCore.QSettings.IniFormat, QtCore.QSettings.UserScope, settings)
        self.application = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["host"])
        import qt
        import widgets  # noqa: F401 - puts the qMRML stand-ins into slicer

        self.qt = qt
        self._make_scene()
        self._make_app()
        self._give_util()
        self.shown: dict[str, object] = {}

    def process_events(self, milliseconds: int = 20) -> None:
        """Let timers and signals run for a while."""
        deadline = time.monotonic() + milliseconds / 1000.0
        while time.monotonic() < deadline:
            self.application.processEvents()
            time.sleep(0.005)

    def wait_for(self, condition, timeout_s: float = 300.0) -> None:
        """Run the event loop until a condition holds."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError("waited too long")
            self.process_events()

    def load(self, name: str):
        """Import a module file and return its metadata object, as the module factory does."""
        path = self.modules[name] / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        parent = types.SimpleNamespace(path=str(path))
        return getattr(module, name)(parent)

    def open(self, name: str):
        """Make the panel of a loaded module, enter it, and return its widget object."""
        panel = self.slicer.qMRMLWidget()
        self.qt.QVBoxLayout(panel)
        panel.isEntered = True
        widget = getattr(sys.modules[name], f"{name}Widget")(panel)
        widget.setup()
        widget.enter()
        self.shown[name] = widget
        return widget

    def close(self, name: str) -> None:
        """Destroy the panel of a module."""
        widget = self.shown.pop(name)
        widget.cleanup()
        widget.parent.close()
        widget.parent.setMRMLScene(None)
        widget.parent.deleteLater()
        self.process_events()

    def _make_scene(self) -> None:
        from COFGeneratorLib.scene import standalone_scene

        self._stack = contextlib.ExitStack()
        scene = self._stack.enter_context(standalone_scene())
        self.scene = self.slicer.mrmlScene = scene
        self.slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
        self.layout_logic = self.slicer.vtkMRMLLayoutLogic()
        self.layout_logic.SetMRMLScene(scene)
        self.layout_node = self.layout_logic.GetLayoutNode()
        self.layout_node.SetViewArrangement(self.slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        self.slice_logics: dict[str, object] = {}
        self.layout_node.AddObserver("ModifiedEvent", self._give_slice_logics)
        share = tempfile.mkdtemp(prefix="cof-share-")
        logics = {}
        for name in _LOGICS:
            found = [getattr(self.slicer, f"vtkSlicer{name}{end}", None) for end in ("ModuleLogic", "Logic")]
            logic = next(logic_class for logic_class in found if isinstance(logic_class, type))()
            if hasattr(logic, "SetModuleShareDirectory"):
                logic.SetModuleShareDirectory(share)
            logic.SetMRMLScene(scene)
            logics[name.lower()] = logic
        self.calls: list[tuple[str, object]] = []
        modules = {name: types.SimpleNamespace(logic=lambda logic=logic: logic) for name, logic in logics.items()}
        note = self.calls.append
        modules["sequences"] = types.SimpleNamespace(
            showSequenceBrowser=lambda browser: note(("showSequenceBrowser", browser)), logic=lambda: None
        )
        modules["plots"] = types.SimpleNamespace(
            logic=lambda: types.SimpleNamespace(ShowChartInLayout=lambda chart: note(("ShowChartInLayout", chart)))
        )
        editor = types.SimpleNamespace(
            setSegmentationNode=lambda node: note(("setSegmentationNode", node)),
            setSourceVolumeNode=lambda node: note(("setSourceVolumeNode", node)),
        )
        panel = types.SimpleNamespace(self=lambda: types.SimpleNamespace(editor=editor))
        modules["segmenteditor"] = types.SimpleNamespace(widgetRepresentation=lambda: panel)
        self.slicer.modules = types.SimpleNamespace(**modules)

    def _give_slice_logics(self, *_args) -> None:
        """The widgets of slice views make these, and with them the nodes that say which volumes are shown."""
        for tag in ("COFShortAxis", "COFHorizontalLongAxis", "COFVerticalLongAxis"):
            if tag not in self.slice_logics and self.scene.GetSingletonNode(tag, "vtkMRMLSliceNode") is not None:
                logic = self.slice_logics[tag] = self.slicer.vtkMRMLSliceLogic()
                logic.SetMRMLScene(self.scene)
                logic.AddSliceNode(tag)

    def _make_app(self) -> None:
        qt, host = self.qt, self

        class ModuleManager(qt.QObject):
            moduleAboutToBeUnloaded = qt.Signal(str)

        class App(qt.QObject):
            startupCompleted = qt.Signal()
            aboutToQuit = qt.Signal()
            temporaryPath = tempfile.mkdtemp(prefix="cof-app-")
            manager = ModuleManager()

            def moduleManager(self):
                return self.manager

            def layoutManager(self):
                return host.layout

            def processEvents(self):
                host.application.processEvents()

            def testingEnabled(self):
                return False

            def translate(self, context, text):
                return text

            def setOverrideCursor(self, cursor):
                pass

            def restoreOverrideCursor(self):
                pass

            def clipboard(self):
                return host.application.clipboard()

        class PlotView(qt.QObject):
            dataSelected = qt.Signal(object, object)

        view = self.plot_view = PlotView()
        self.layout = types.SimpleNamespace(
            plotViewCount=1, plotWidget=lambda index: types.SimpleNamespace(plotView=lambda: view)
        )
        self.slicer.app = App()

    def _give_util(self) -> None:
        """What of ``slicer.util`` needs the application: message boxes, views, the start-up environment."""
        util, note = self.slicer.util, self.calls.append
        self.answer = True
        self.messages: list[str] = []
        util.settingsValue = lambda key, default, converter=lambda value: value, settings=None: default
        util.modulePath = lambda name: str(self.modules[name] / f"{name}.py")
        util.startupEnvironment = lambda: dict(os.environ)
        util.setSliceViewerLayers = lambda **layers: note(("setSliceViewerLayers", layers))
        util.selectModule = lambda name: note(("selectModule", name))
        util.errorDisplay = lambda text, *args, **options: self.messages.append(text)
        util.infoDisplay = lambda text, *args, **options: self.messages.append(text)

        def confirm(text, *args, **options):
            self.messages.append(text)
            return self.answer

        util.confirmOkCancelDisplay = util.confirmYesNoDisplay = confirm
        util.reloadScriptedModule = self._reload

    def _reload(self, name: str) -> None:
        self.close(name)
        self.load(name)
        self.open(name)
