"""What the module's logic can do, from nodes to nodes; Slicer's naming, because scripts call it."""

import os
import shutil
import tempfile
import time
from pathlib import Path


class GenerationLogic:
    """Generates, registers, saves and compares in the application's scene; the work is done by child processes."""

    def __init__(self) -> None:
        self.command = None
        """Program and first arguments that replace ``python -m COFGeneratorLib generate``."""

    def generate(
        self,
        anchorVolumeNode,
        ecgFilePath,
        frames: int = 50,
        segmentationNode=None,
        labelMapping: str = "",
        roiNode=None,
        beat: int | None = None,
        samples: int = 1,
        seed: int = 0,
        steps: int | None = None,
        solver: str | None = None,
        device: str = "auto",
        model: str | os.PathLike | None = None,
        progressCallback=None,
        anchorPhase: float | None = None,
    ):
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

        Returns:
            The sequence browser of the generated cine, vtkMRMLSequenceBrowserNode.

        Raises:
            SceneError, JobError: If an input cannot be used or the generation fails; the message says why.
        """
        import slicer

        from COFGeneratorLib.jobs import run_to_end
        from COFGeneratorLib.scene.generation import GenerationOptions

        def tell(update):
            for event in update.events if progressCallback is not None else ():
                progressCallback(event)

        options = GenerationOptions(frames, samples, seed, steps, solver, device, model, beat, anchor_phase=anchorPhase)
        runner = self.start(anchorVolumeNode, ecgFilePath, segmentationNode, labelMapping, roiNode, options)
        run_to_end(runner, on_update=tell, pump=slicer.app.processEvents)
        browser = self.load(runner, anchorVolumeNode.GetName())
        shutil.rmtree(runner.folder.root, ignore_errors=True)
        return browser

    def start(
        self,
        anchorVolumeNode,
        ecg,
        segmentationNode=None,
        labelMapping="",
        roiNode=None,
        options=None,
        python="",
        env=None,
    ):
        """Start a generation and return its ``JobRunner`` at once; ``load`` takes it when it has succeeded."""
        from COFGeneratorLib.scene.generation import GenerationOptions, generation_command, start_generation

        return start_generation(
            self.newJobFolder("generate"),
            anchorVolumeNode,
            ecg,
            labels=segmentationNode,
            label_mapping=labelMapping,
            roi=roiNode,
            options=options or GenerationOptions(),
            command=self.command or generation_command(python),
            env=env,
        )

    def startRegistration(self, anchorVolumeNode, segmentationNode=None, labelMapping="", cycleMs=None, **job):
        """Start to measure the motion of the real cine that a volume is a frame of; ``load`` takes the result.

        ``cycleMs`` is the length of the cycle, where the sequence does not say it; ``options``, ``python`` and ``env``
        are those of ``start``.
        """
        from COFGeneratorLib.scene.registration import start_registration

        return start_registration(
            self.newJobFolder("register"),
            anchorVolumeNode,
            labels=segmentationNode,
            label_mapping=labelMapping,
            cycle_ms=cycleMs,
            command=self.command,
            **job,
        )

    def load(self, runner, name: str):
        """Add the result of a job to the scene and return its sequence browser."""
        import slicer

        from COFGeneratorLib.scene.generation import load_generation

        return load_generation(runner, slicer.mrmlScene, name).browser

    def startEcg(self, ecg, python: str = "", env=None):
        """Start reading an ECG file or table node; ``ecg.json`` and ``trace.json`` will be in ``result/ecg``."""
        from COFGeneratorLib.scene.generation import start_ecg

        return start_ecg(self.newJobFolder("ecg"), ecg, python, env)

    def save(self, browserNode, path) -> list[Path]:
        """Save a result as ``.seq.nrrd``, ``.nii.gz``, ``.mrb``, ``.gif`` or ``.mp4`` and return the files written."""
        from COFGeneratorLib.scene.saving import save_result

        return save_result(self._result(browserNode), path)

    def compare(self, browserNode, realBrowserNode):
        """Compare a result with a real cine; returns the ``ComparisonNodes`` that were added to the scene."""
        import slicer

        from COFGeneratorLib.scene.comparison import compare_with_real

        return compare_with_real(slicer.mrmlScene, self._result(browserNode), realBrowserNode)

    @staticmethod
    def _result(browserNode):
        import slicer

        from COFGeneratorLib.scene import find_results

        return next((nodes for nodes in find_results(slicer.mrmlScene) if nodes.browser is browserNode), None)

    def loadSamplePatient(self):
        """Load the synthetic patient that comes with the extension.

        Returns:
            Anchor volume node, label map node, path of the ECG file.
        """
        import slicer

        from COFGeneratorLib.resources import sample_patient
        from COFGeneratorLib.scene.volumes import load_volume

        patient = sample_patient()
        anchor = load_volume(slicer.mrmlScene, patient.anchor, "Synthetic patient anchor")
        labels = load_volume(slicer.mrmlScene, patient.labels, "Synthetic patient labels", labels=True)
        slicer.util.setSliceViewerLayers(background=anchor, fit=True)
        return anchor, labels, patient.ecg

    @staticmethod
    def newJobFolder(kind: str) -> Path:
        """Return a new path for a job's folder; short, because Windows limits the length of paths."""
        import slicer

        root = Path(getattr(slicer.app, "temporaryPath", "") or tempfile.gettempdir()) / "cof"
        root.mkdir(parents=True, exist_ok=True)
        stamp = f"{kind}-{os.getpid()}-{time.strftime('%H%M%S')}"
        return next(path for path in (root / f"{stamp}-{n}" for n in range(1000)) if not path.exists())
