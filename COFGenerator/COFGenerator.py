"""Slicer module: from one short-axis MRI volume and a 12-lead ECG to a beating heart (research use only)."""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import slicer
from COFGeneratorLib.scene.logic import GenerationLogic
from COFGeneratorLib.ui.module_widget import ModuleWidget
from slicer import (
    vtkMRMLLabelMapVolumeNode,
    vtkMRMLMarkupsROINode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
    vtkMRMLSequenceBrowserNode,
    vtkMRMLTableNode,
)
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
)

SAMPLE_CATEGORY = "ChainOfFlow"
SAMPLE_NAME = "COFSyntheticPatient"


class COFGenerator(ScriptedLoadableModule):
    """Metadata of the module."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("ChainOfFlow Generator")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Cardiac")]
        self.parent.dependencies = ["Sequences", "Plots", "Tables", "Segmentations", "Markups"]
        self.parent.contributors = ["The ChainOfFlow developers"]
        self.parent.helpText = _(
            "Generates a cine of a beating heart from one short-axis cardiac MRI volume and a 12-lead ECG: "
            "choose both, press <b>Generate</b>, watch the heart beat in the slice views, read volumes and ejection "
            "fraction. Everything generated is marked as synthetic. For research only, not for diagnosis or treatment."
        )
        self.parent.acknowledgementText = _(
            "After Chain of Flow (arXiv:2602.22919): ECG-conditioned generation of cardiac motion by flow matching. "
            "Built on 3D Slicer, PyTorch, MONAI and NeuroKit2."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData() -> None:
    """Offer the synthetic patient in the Sample Data module; it comes with the extension, nothing is downloaded."""
    import SampleData

    icons = Path(__file__).resolve().parent / "Resources" / "Icons"
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category=SAMPLE_CATEGORY,
        sampleName=SAMPLE_NAME,
        thumbnailFileName=str(icons / "COFGenerator.png"),
        customDownloader=lambda source: COFGeneratorLogic().loadSamplePatient()[0],
    )


@parameterNodeWrapper
class COFGeneratorParameterNode:
    """Choices that belong to the scene; those of the machine (model, device, Python) are in the settings.

    engine - Chain of Flow sets an anchor in motion; ECG alone draws a heart that is not the patient's.
    anchorVolume - The short-axis stack that is set in motion.
    registerReal - Measure the motion of the real cine that the anchor belongs to, instead of generating one.
    ecgTable - ECG as a table, instead of a file.
    beat - Beat of the ECG that sets the length of the cycle; -1 leaves it to the analysis.
    anchorLabels - Segmentation of the anchor; the model finds the heart where there is none.
    labelMapping - Which segment or code is lv, myo, rv.
    heartRegion - Box in which the heart is looked for.
    frames - Frames over one R-R interval.
    samples - Draws; more than one gives intervals.
    steps - Steps of the sampler; 0 leaves it to the model.
    seed - Seed of the draws.
    draw - Show a random draw in place of the expected cine.
    efPercent - Ejection fraction that the user states; 4 leaves it to the ECG.
    hrBpm - Heart rate that the user states; 24 leaves it to the ECG.
    anchorPhase - When the anchor was taken, percent of the R-R interval; 0 is the R wave.
    resultBrowser - The generated cine that is shown.
    showLabels - Whether the labels are drawn over the cine.
    realBrowser - Real cine that the generated one is compared with.
    """

    engine: Annotated[str, Choice(["Chain of Flow", "ECG alone"])] = "Chain of Flow"
    anchorVolume: vtkMRMLScalarVolumeNode
    registerReal: bool = False
    ecgTable: vtkMRMLTableNode
    beat: Annotated[int, WithinRange(-1, 9999)] = -1
    anchorLabels: vtkMRMLSegmentationNode | vtkMRMLLabelMapVolumeNode | None
    labelMapping: str = ""
    heartRegion: vtkMRMLMarkupsROINode
    frames: Annotated[int, WithinRange(4, 200)] = 50
    samples: Annotated[int, WithinRange(1, 32)] = 1
    steps: Annotated[int, WithinRange(0, 500)] = 0
    seed: Annotated[int, WithinRange(0, 999999)] = 0
    draw: bool = False
    efPercent: Annotated[int, WithinRange(4, 85)] = 4
    hrBpm: Annotated[int, WithinRange(24, 250)] = 24
    anchorPhase: Annotated[int, WithinRange(0, 99)] = 0
    resultBrowser: vtkMRMLSequenceBrowserNode
    showLabels: bool = True
    realBrowser: vtkMRMLSequenceBrowserNode


class COFGeneratorWidget(ModuleWidget):
    """The panel; its behaviour is in ``COFGeneratorLib.ui.generator_view``."""

    def makeLogic(self) -> "COFGeneratorLogic":
        """Return the module's logic."""
        return COFGeneratorLogic()

    def makeView(self) -> Any:
        """Return the ``GeneratorView``."""
        from COFGeneratorLib.ui.generator_view import GeneratorView

        return GeneratorView(self.ui, self.logic, Path(self.resourcePath("COFGenerator-requirements.txt")))

    def onSceneStartClose(self, caller: Any, event: Any) -> None:
        """The scene is about to be emptied: the result of a running job would have no place."""
        self.view.scene_closing()
        super().onSceneStartClose(caller, event)

    def initializeParameterNode(self) -> None:
        """Make sure that a parameter node exists and is observed; propose an anchor where there is only one."""
        super().initializeParameterNode()
        if self._parameterNode.anchorVolume is None:
            volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
            plain = [node for node in volumes if node.GetClassName() == "vtkMRMLScalarVolumeNode"]
            if len(plain) == 1:
                self._parameterNode.anchorVolume = plain[0]


class COFGeneratorLogic(ScriptedLoadableModuleLogic, GenerationLogic):
    """Generates from nodes to nodes, with or without windows. The work is done by a child process.

    What it can do (``generate``, ``save``, ``compare`` and more) is in ``COFGeneratorLib.scene.logic``.

    Example::

        from COFGenerator import COFGeneratorLogic
        browser = COFGeneratorLogic().generate(anchorVolumeNode, "ecg.xml", frames=50)
    """

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        GenerationLogic.__init__(self)

    def getParameterNode(self) -> COFGeneratorParameterNode:
        """Return the module's parameters in the scene."""
        return COFGeneratorParameterNode(super().getParameterNode())


class COFGeneratorTest(ScriptedLoadableModuleTest):
    """Self test: generates a cine of the sample patient in a real child process."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        self.setUp()
        self.test_sample_patient_beats()
        self.setUp()
        self.test_results_can_be_saved_and_compared()

    def test_sample_patient_beats(self) -> None:
        """Fails, rather than passes, where packages or the model are missing."""
        logic = COFGeneratorLogic()
        anchor, labels, ecgPath = logic.loadSamplePatient()
        browser = logic.generate(anchor, ecgPath, frames=8, segmentationNode=labels)
        assert browser.GetMasterSequenceNode().GetNumberOfDataNodes() == 8
        assert "synthetic" in browser.GetName()
        assert browser.GetNodeReference("COF.Function") is not None
        self.delayDisplay("A synthetic heart is beating")

    def test_results_can_be_saved_and_compared(self) -> None:
        """Uses the sample patient's own cine as the real one: it must agree with itself."""
        logic = COFGeneratorLogic()
        anchor, labels, ecgPath = logic.loadSamplePatient()
        first = logic.generate(anchor, ecgPath, frames=8, segmentationNode=labels)
        second = logic.generate(anchor, ecgPath, frames=8, segmentationNode=labels)
        assert logic.compare(first, second).agreement.error.max() < 1e-3
        with tempfile.TemporaryDirectory() as folder:
            for ending in (".seq.nrrd", ".nii.gz", ".mrb", ".gif"):
                assert all(path.is_file() for path in logic.save(first, Path(folder, f"heart{ending}")))
        self.delayDisplay("Results were saved and compared")
