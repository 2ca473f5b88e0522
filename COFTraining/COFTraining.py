"""Slicer module: trains ChainOfFlow's networks, watches the runs, evaluates and exports them (research use only)."""

import os
from pathlib import Path
from typing import Annotated, Any

import slicer
from COFGeneratorLib.jobs import JobRunner
from COFGeneratorLib.scene.child import Child
from COFGeneratorLib.ui.module_widget import ModuleWidget
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
)


class COFTraining(ScriptedLoadableModule):
    """Metadata of the module."""

    def __init__(self, parent: Any) -> None:
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
    planeStage - Which stage of ECGFlowCMR is trained.
    planeConfiguration - Named configuration of ECGFlowCMR.
    steps - Steps of the training; 0 as the configuration says.
    learningRate - Peak learning rate; 0 as the configuration says.
    runName - Folder of the run under the runs folder.
    subjects - Number of subjects of a synthetic cohort.
    split - Subjects of the cohort that an evaluation judges.
    """

    stage: Annotated[str, Choice(["flow", "ecg", "teacher", "segmenter", "assessor", "ecgflowcmr"])] = "flow"
    configuration: Annotated[
        str, Choice(["cof-plus", "cof-plus-cpu", "cof-v1", "cof-v2", "cof-v2-cpu", "cof-v2-large", "smoke"])
    ] = "cof-plus"
    planeStage: Annotated[str, Choice(["all", "pa-mae", "vae", "segmenter", "amdf"])] = "all"
    planeConfiguration: Annotated[str, Choice(["ecgflowcmr-small", "ecgflowcmr", "ecgflowcmr-smoke"])] = (
        "ecgflowcmr-small"
    )
    steps: Annotated[int, WithinRange(0, 10000000)] = 0
    learningRate: Annotated[float, WithinRange(0.0, 1.0)] = 0.0
    runName: str = "run-1"
    subjects: Annotated[int, WithinRange(4, 100000)] = 64
    split: Annotated[str, Choice(["test", "valid", "train", "all"])] = "test"


class COFTrainingWidget(ModuleWidget):
    """The panel; its behaviour is in ``COFTrainingLib.ui.training_view``."""

    LIBRARIES = ("COFTrainingLib", "COFGeneratorLib")

    def makeLogic(self) -> "COFTrainingLogic":
        """Return the module's logic."""
        return COFTrainingLogic()

    def makeView(self) -> Any:
        """Return the ``TrainingView``."""
        from COFTrainingLib.ui.training_view import TrainingView

        return TrainingView(self.ui, self.logic)

    def enter(self) -> None:
        """The user opens the module: there may be other jobs to watch now."""
        super().enter()
        self.view.list_jobs()


class COFTrainingLogic(ScriptedLoadableModuleLogic):
    """Starts training jobs as processes of their own."""

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)

    def getParameterNode(self) -> COFTrainingParameterNode:
        """Return the module's parameters in the scene."""
        return COFTrainingParameterNode(super().getParameterNode())

    def start(
        self,
        runsFolder: str | os.PathLike,
        kind: str,
        title: str,
        arguments: list[str],
        python: str | os.PathLike | None = None,
        template: str = "",
        device: str = "auto",
    ) -> JobRunner:
        """Start ``cof ARGUMENTS`` as a job under a runs folder.

        Args:
            runsFolder: Where runs and their jobs are kept.
            kind: ``"train"``, ``"cohort"``, ``"check"``, ``"export"`` or ``"evaluate"``.
            title: Words for the list of jobs.
            arguments: Sub-command and arguments.
            python: Interpreter; Slicer's own where None.
            template: Command that runs the job elsewhere, with ``{command}`` or ``{shell}`` in the job's place.
            device: What the job sees of the computer: ``"auto"`` (all), ``"cpu"`` or ``"cuda:N"``.
        """
        from COFTrainingLib.ui import commands

        env = commands.training_environment(slicer.util.startupEnvironment() if python else os.environ, device)
        return commands.start_job(
            Path(runsFolder),
            arguments,
            kind=kind,
            title=title,
            child=Child(python=str(python or ""), env=env),
            template=template,
        )


class COFTrainingTest(ScriptedLoadableModuleTest):
    """Self test: makes a tiny synthetic cohort in a real child process."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        self.setUp()
        self.test_synthetic_cohort()

    def test_synthetic_cohort(self) -> None:
        """Fails, rather than passes, where packages are missing."""
        import tempfile

        from COFGeneratorLib.jobs import run_to_end

        with tempfile.TemporaryDirectory() as folder:
            arguments = ["cohort", "synthesize", "--subjects", "4", "--seed", "0", "--out", str(Path(folder, "cohort"))]
            run_to_end(COFTrainingLogic().start(folder, kind="cohort", title="Self test", arguments=arguments))
            assert any(Path(folder, "cohort").iterdir())
        self.delayDisplay("A synthetic cohort was made")
