"""Slicer module: trains ChainOfFlow's networks, watches the runs, evaluates and exports them (research use only)."""

import os
from pathlib import Path
from typing import Annotated

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class COFTraining(ScriptedLoadableModule):
    """Metadata of the module."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("ChainOfFlow Training")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Cardiac")]
        self.parent.dependencies = ["COFGenerator", "Plots", "Tables"]
        self.parent.contributors = ["The ChainOfFlow developers"]
        self.parent.helpText = _(
            "Trains the networks of the ChainOfFlow Generator on a cohort: make or choose a cohort, choose a "
            "configuration, start. Runs go on when Slicer is closed and can be watched again. For research only."
        )
        self.parent.acknowledgementText = _(
            "After Chain of Flow (arXiv:2602.22919). Built on 3D Slicer, PyTorch, MONAI and NeuroKit2."
        )


@parameterNodeWrapper
class COFTrainingParameterNode:
    """Choices that belong to the scene; folders and Python belong to the machine and are in the settings.

    stage - Which network is trained.
    configuration - Named configuration.
    steps - Steps of the training; 0 as the configuration says.
    learningRate - Peak learning rate; 0 as the configuration says.
    runName - Folder of the run under the runs folder.
    subjects - Number of subjects of a synthetic cohort.
    """

    stage: Annotated[str, Choice(["teacher", "segmenter", "assessor", "ecg", "flow"])] = "teacher"
    configuration: Annotated[str, Choice(["cof-plus", "cof-plus-cpu", "cof-v1", "cof-v2", "smoke"])] = "cof-plus"
    steps: Annotated[int, WithinRange(0, 10000000)] = 0
    learningRate: Annotated[float, WithinRange(0.0, 1.0)] = 0.0
    runName: str = "run-1"
    subjects: Annotated[int, WithinRange(4, 100000)] = 64


class COFTrainingWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Lifecycle of the panel; its behaviour is in ``COFTrainingLib.ui.training_view``."""

    def __init__(self, parent=None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.view = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None

    def setup(self) -> None:
        """Build the panel when the module is opened for the first time."""
        from COFTrainingLib.ui.training_view import TrainingView

        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/COFTraining.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = COFTrainingLogic()
        self.view = TrainingView(self.ui, self.logic)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.initializeParameterNode()

    def cleanup(self) -> None:
        """Stop watching; jobs go on."""
        self.setParameterNode(None)
        self.removeObservers()
        if self.view is not None:
            self.view.close()

    def enter(self) -> None:
        """The user opens the module."""
        self.initializeParameterNode()
        self.view.list_jobs()

    def exit(self) -> None:
        """The user opens another module."""
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self._parameterNodeGuiTag = None

    def onReload(self) -> None:
        """Reload the libraries too, so that edits of them take effect."""
        import sys

        for name in [name for name in sys.modules if name.split(".")[0] in ("COFTrainingLib", "COFGeneratorLib")]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def onSceneStartClose(self, caller, event) -> None:
        """The scene is about to be emptied."""
        self.setParameterNode(None)

    def onSceneEndClose(self, caller, event) -> None:
        """The scene is empty."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self) -> None:
        """Make sure that a parameter node exists and is observed."""
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, parameterNode: COFTrainingParameterNode | None) -> None:
        """Connect the panel to a parameter node, or to none."""
        if self._parameterNode is not None:
            if self._parameterNodeGuiTag is not None:
                self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
                self._parameterNodeGuiTag = None
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParameters)
        self._parameterNode = parameterNode
        if parameterNode is not None:
            self._parameterNodeGuiTag = parameterNode.connectGui(self.ui)
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParameters)
        if self.view is not None:
            self.view.set_parameter_node(parameterNode)

    def _onParameters(self, caller=None, event=None) -> None:
        self.view.refresh()


class COFTrainingLogic(ScriptedLoadableModuleLogic):
    """Starts training jobs as processes of their own."""

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)

    def getParameterNode(self):
        """Return the module's parameters in the scene."""
        return COFTrainingParameterNode(super().getParameterNode())

    def start(self, runsFolder, kind: str, title: str, arguments: list[str], python=None, template=""):
        """Start ``cof ARGUMENTS`` as a job under a runs folder.

        Args:
            runsFolder: Where runs and their jobs are kept.
            kind: ``"train"``, ``"cohort"``, ``"check"``, ``"export"`` or ``"evaluate"``.
            title: Words for the list of jobs.
            arguments: Sub-command and arguments.
            python: Interpreter; Slicer's own where None.
            template: Command that runs the job elsewhere, with ``{command}`` or ``{shell}`` in the job's place.

        Returns:
            ``COFGeneratorLib.jobs.JobRunner``.
        """
        from COFTrainingLib.ui import commands

        base = slicer.util.startupEnvironment() if python else os.environ
        env = commands.training_environment(base)
        return commands.start_job(Path(runsFolder), kind, title, arguments, str(python or ""), env, template)


class COFTrainingTest(ScriptedLoadableModuleTest):
    """Self test: makes a tiny synthetic cohort in a real child process."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.test_synthetic_cohort()

    def test_synthetic_cohort(self):
        """Fails, rather than passes, where packages are missing."""
        import tempfile

        from COFGeneratorLib.jobs import run_to_end

        with tempfile.TemporaryDirectory() as folder:
            arguments = ["cohort", "synthesize", "--subjects", "4", "--seed", "0", "--out", str(Path(folder, "cohort"))]
            run_to_end(COFTrainingLogic().start(folder, "cohort", "Self test", arguments))
            assert any(Path(folder, "cohort").iterdir())
        self.delayDisplay("A synthetic cohort was made")
