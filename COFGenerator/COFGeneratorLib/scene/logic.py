"""What the module's logic can do, from nodes to nodes; Slicer's naming, because scripts call it."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from COFGeneratorLib.jobs import JobRunner, JobUpdate, run_to_end
from COFGeneratorLib.resources import sample_patient
from COFGeneratorLib.scene.child import Child
from COFGeneratorLib.scene.generation import DEFAULTS, GenerationOptions, load_generation, start_ecg, start_generation
from COFGeneratorLib.scene.registration import start_registration
from COFGeneratorLib.scene.result import ResultNodes, find_results
from COFGeneratorLib.scene.saving import save_result
from COFGeneratorLib.scene.study import load_acquisition, start_study
from COFGeneratorLib.scene.volumes import load_volume

if TYPE_CHECKING:  # it brings scipy
    from COFGeneratorLib.scene.comparison import ComparisonNodes


class GenerationLogic:
    """Generates, registers, saves and compares in the application's scene; the work is done by child processes."""

    def __init__(self) -> None:
        self.command: Sequence[str] | None = None
        """Program and first arguments that replace ``python -m COFGeneratorLib generate`` (and ``register``)."""

    def generate(
        self,
        anchorVolumeNode: Any,
        ecgFilePath: Any,
        *,
        frames: int = 50,
        segmentationNode: Any = None,
        labelMapping: str = "",
        roiNode: Any = None,
        beat: int | None = None,
        samples: int = 1,
        seed: int = 0,
        steps: int | None = None,
        solver: str | None = None,
        device: str = "auto",
        model: str | os.PathLike | None = None,
        progressCallback: Callable[[dict[str, Any]], None] | None = None,
        anchorPhase: float | None = None,
        draw: bool | None = None,
        efPercent: float | None = None,
        hrBpm: float | None = None,
    ) -> Any:
        """Generate a cine and add it to the scene; returns when it is there.

        Args:
            anchorVolumeNode: Short-axis stack, vtkMRMLScalarVolumeNode.
            ecgFilePath: 12-lead ECG file, or a table node with twelve leads.
            frames: Frames over one R-R interval.
            segmentationNode: Segmentation or label map of the anchor; the model finds the heart where there is none.
            labelMapping: Which segment or code is what, ``"lv=1, myo=2, rv=3"``; guessed from names where empty.
            roiNode: Markups ROI around the heart, for where the model does not find it.
            beat: Index of the beat whose R–R is used; the one that stands best for all where None.
            samples: Draws; more than one gives intervals.
            seed: Seed of the draws.
            steps, solver: Of the sampler; the model's own where None.
            device: ``"auto"``, ``"cpu"``, ``"cuda:N"`` or ``"mps"``.
            model: Folder of a model bundle; the default one where None.
            progressCallback: Called with each event of the job, a dict with ``event``, ``stage``, ``done``, ``total``.
            anchorPhase: When the anchor was taken, fraction of the R-R interval; the R wave where None.
            draw: Whether the cine is a random draw, that of ``seed``; as the model says where None.
            efPercent, hrBpm: What is known of the heart, told to the model beside the ECG.

        Returns:
            The sequence browser of the generated cine, vtkMRMLSequenceBrowserNode.

        Raises:
            SceneError, JobError: If an input cannot be used or the generation fails; the message says why.
        """
        import slicer

        def tell(update: JobUpdate) -> None:
            if progressCallback is not None:
                for event in update.events:
                    progressCallback(event)

        options = GenerationOptions(
            frames=frames,
            samples=samples,
            seed=seed,
            steps=steps,
            solver=solver,
            device=device,
            model=model,
            beat=beat,
            anchor_phase=anchorPhase,
            draw=draw,
            ef_percent=efPercent,
            hr_bpm=hrBpm,
        )
        runner = self.start(
            anchorVolumeNode,
            ecgFilePath,
            segmentationNode=segmentationNode,
            labelMapping=labelMapping,
            roiNode=roiNode,
            options=options,
        )
        run_to_end(runner, on_update=tell, pump=slicer.app.processEvents)
        browser = self.load(runner, anchorVolumeNode.GetName())
        shutil.rmtree(runner.folder.root, ignore_errors=True)
        return browser

    def start(
        self,
        anchorVolumeNode: Any,
        ecg: Any,
        *,
        segmentationNode: Any = None,
        labelMapping: str = "",
        roiNode: Any = None,
        options: GenerationOptions | None = None,
        python: str = "",
        env: Mapping[str, str] | None = None,
    ) -> JobRunner:
        """Start a generation and return its ``JobRunner`` at once; ``load`` takes it when it has succeeded."""
        return start_generation(
            self.newJobFolder("generate"),
            anchorVolumeNode,
            ecg,
            labels=segmentationNode,
            label_mapping=labelMapping,
            roi=roiNode,
            options=options or DEFAULTS,
            child=self._child(python, env),
        )

    def startRegistration(
        self,
        anchorVolumeNode: Any,
        *,
        segmentationNode: Any = None,
        labelMapping: str = "",
        cycleMs: float | None = None,
        options: GenerationOptions | None = None,
        python: str = "",
        env: Mapping[str, str] | None = None,
    ) -> JobRunner:
        """Start to measure the motion of the real cine that a volume is a frame of; ``load`` takes the result.

        ``cycleMs`` is the length of the cycle, where the sequence does not say it; ``options``, ``python`` and ``env``
        are those of ``start``.
        """
        return start_registration(
            self.newJobFolder("register"),
            anchorVolumeNode,
            labels=segmentationNode,
            label_mapping=labelMapping,
            cycle_ms=cycleMs,
            options=options or DEFAULTS,
            child=self._child(python, env),
        )

    def _child(self, python: str, env: Mapping[str, str] | None) -> Child:
        return Child(python=python, program=self.command, env=env)

    def load(self, runner: JobRunner, name: str) -> Any:
        """Add the result of a job to the scene and return its sequence browser."""
        import slicer

        return load_generation(runner, slicer.mrmlScene, name).browser

    def startEcg(self, ecg: Any, python: str = "", env: Mapping[str, str] | None = None) -> JobRunner:
        """Start reading an ECG file or table node; ``ecg.json`` and ``trace.json`` will be in ``result/ecg``."""
        return start_ecg(self.newJobFolder("ecg"), ecg, Child(python=python, env=env))

    def startStudy(
        self, study: str, series: str | None = None, python: str = "", env: Mapping[str, str] | None = None
    ) -> JobRunner:
        """Start listing the acquisitions of a DICOM study, or reading one; see ``scene.study``."""
        return start_study(self.newJobFolder("study"), study, series, Child(python=python, env=env))

    def loadAcquisition(self, runner: JobRunner, name: str) -> Any:
        """Add what ``startStudy`` read to the scene, show it, and return the volume node for the anchor."""
        import slicer

        volume = load_acquisition(runner, slicer.mrmlScene, name)
        slicer.util.setSliceViewerLayers(background=volume, fit=True, rotateToVolumePlane=True)
        return volume

    def save(self, browserNode: Any, path: str | os.PathLike) -> list[Path]:
        """Save a result as ``.seq.nrrd``, ``.nii.gz``, ``.mrb``, ``.gif`` or ``.mp4`` and return the files written."""
        return save_result(self._result(browserNode), path)

    def compare(self, browserNode: Any, realBrowserNode: Any) -> "ComparisonNodes":
        """Compare a result with a real cine; returns the ``ComparisonNodes`` that were added to the scene."""
        import slicer

        from COFGeneratorLib.scene.comparison import compare_with_real

        return compare_with_real(slicer.mrmlScene, self._result(browserNode), realBrowserNode)

    @staticmethod
    def _result(browserNode: Any) -> ResultNodes | None:
        import slicer

        return next((nodes for nodes in find_results(slicer.mrmlScene) if nodes.browser is browserNode), None)

    def loadSamplePatient(self) -> tuple[Any, Any, Path]:
        """Load the synthetic patient that comes with the extension.

        Returns:
            Anchor volume node, label map node, path of the ECG file.
        """
        import slicer

        patient = sample_patient()
        anchor = load_volume(slicer.mrmlScene, patient.anchor, "Synthetic patient anchor")
        labels = load_volume(slicer.mrmlScene, patient.labels, "Synthetic patient labels", labels=True)
        slicer.util.setSliceViewerLayers(background=anchor, fit=True, rotateToVolumePlane=True)
        return anchor, labels, patient.ecg

    @staticmethod
    def newJobFolder(kind: str) -> Path:
        """Return a new path for a job's folder; short, because Windows limits the length of paths."""
        import slicer

        root = Path(getattr(slicer.app, "temporaryPath", "") or tempfile.gettempdir()) / "cof"
        root.mkdir(parents=True, exist_ok=True)
        stamp = f"{kind}-{os.getpid()}-{time.strftime('%H%M%S')}"
        return next(path for path in (root / f"{stamp}-{n}" for n in range(1000)) if not path.exists())
