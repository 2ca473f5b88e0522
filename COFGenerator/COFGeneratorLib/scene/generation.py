"""One generation from nodes to nodes: inputs to files, the command for a child process, results back into the scene.

Neither Qt nor torch: the module's widget drives it by a timer, scripts by waiting.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from COFGeneratorLib.errors import SceneError
from COFGeneratorLib.jobs import JobRunner
from COFGeneratorLib.scene import export
from COFGeneratorLib.scene.child import OURS, RESULT, Child, inputs_of, label_arguments, start_child, start_cine
from COFGeneratorLib.scene.files import load_result
from COFGeneratorLib.scene.result import ResultNodes

ECG_ALONE = "ecgflowcmr"
"""Engine that takes no anchor."""


@dataclass(frozen=True)
class GenerationOptions:
    """Options of ``cof generate``; what is None is left to the model bundle.

    Attributes:
        frames: Frames over one R–R.
        samples: Draws; more than one gives intervals.
        seed: Of the noise.
        steps: Steps of the sampler.
        solver: Its name.
        device: ``"auto"``, ``"cpu"``, ``"cuda:N"`` or ``"mps"``.
        model: Folder of a model bundle.
        beat: Index of the beat whose R–R is used; the one that stands best for all where None.
        engine: Name of the engine; with ``ECG_ALONE`` there is no anchor.
        anchor_phase: When the anchor was taken, fraction of the R–R interval; the R wave where None.
        draw: Whether the cine is a random draw.
        ef_percent, hr_bpm: What is known of the heart, told to the model beside the ECG.
    """

    frames: int = 50
    samples: int = 1
    seed: int = 0
    steps: int | None = None
    solver: str | None = None
    device: str = "auto"
    model: str | os.PathLike | None = None
    beat: int | None = None
    engine: str | None = None
    anchor_phase: float | None = None
    draw: bool | None = None
    ef_percent: float | None = None
    hr_bpm: float | None = None

    def arguments(self) -> list[str]:
        """Return the options as command-line arguments."""
        pairs = {
            "--frames": self.frames,
            "--samples": self.samples,
            "--seed": self.seed,
            "--steps": self.steps,
            "--solver": self.solver,
            "--device": self.device,
            "--model": self.model,
            "--beat": self.beat,
            "--engine": self.engine,
            "--anchor-phase": self.anchor_phase,
            "--ef": self.ef_percent,
            "--hr": self.hr_bpm,
        }
        given = [text for flag, value in pairs.items() if value is not None for text in (flag, str(value))]
        return given if self.draw is None else [*given, "--draw" if self.draw else "--no-draw"]


DEFAULTS = GenerationOptions()


def start_generation(
    folder: str | os.PathLike,
    anchor: Any,
    ecg: Any,
    *,
    labels: Any = None,
    label_mapping: str = "",
    roi: Any = None,
    options: GenerationOptions = DEFAULTS,
    child: Child = OURS,
) -> JobRunner:
    """Write the inputs and start the child process.

    Args:
        folder: The job's folder, new.
        anchor: vtkMRMLScalarVolumeNode; not used, nor are labels and region, by the engine ``ECG_ALONE``.
        ecg: Path of an ECG file, or a vtkMRMLTableNode with twelve leads.
        labels: vtkMRMLSegmentationNode or vtkMRMLLabelMapVolumeNode of the anchor, or None.
        label_mapping: ``lv=…, myo=…, rv=…``; guessed from the names where empty.
        roi: vtkMRMLMarkupsROINode around the heart, or None.
        options: Of the generation.
        child: What runs it.

    Raises:
        SceneError: If an input cannot be used.
        JobError: If the process cannot be started.
    """
    alone = options.engine == ECG_ALONE
    reason = "" if alone else export.why_not_an_anchor(anchor)
    if reason:
        raise SceneError(reason)
    if alone:
        anchor = labels = roi = None
    runner = JobRunner(folder)
    inputs = inputs_of(runner)
    argv = [*child.command("generate"), "--ecg", str(_ecg_file(ecg, inputs))]
    if anchor is not None:
        export.export_volume(anchor, inputs / "anchor.nrrd")
        argv += ["--anchor", str(inputs / "anchor.nrrd")]
    argv += label_arguments(labels, label_mapping, anchor, inputs)
    if roi is not None:
        argv.append(f"--roi={export.roi_text(roi)}")
    title = f"Generate a cine from {anchor.GetName() if anchor is not None else 'an ECG'}"
    return start_cine(runner, [*argv, *options.arguments()], kind="generate", title=title, child=child)


def start_ecg(folder: str | os.PathLike, ecg: Any, child: Child = OURS) -> JobRunner:
    """Start a child that reads and measures an ECG file or table: ``ecg.json``, ``trace.json`` in ``result/ecg``.

    Raises:
        SceneError: If there is no such file or the table is no ECG.
        JobError: If the process cannot be started.
    """
    runner = JobRunner(folder)
    argv = [*child.command("ecg-trace"), str(_ecg_file(ecg, inputs_of(runner)))]
    return start_child(runner, argv, kind="ecg", out="ecg", expect=["ecg/ecg.json", "ecg/trace.json"], env=child.env)


def load_generation(runner: JobRunner, scene: Any = None, name: str = "Heart") -> ResultNodes:
    """Load the result of a job that succeeded; its nodes do not depend on the job's folder."""
    return load_result(runner.folder.result / RESULT, scene, name, temporary=True)


def _ecg_file(ecg: Any, inputs: Path) -> Path:
    if hasattr(ecg, "GetTable"):
        export.export_ecg_table(ecg, inputs / "ecg.csv")
        return inputs / "ecg.csv"
    path = Path(ecg or "")
    if not str(ecg or "") or not path.is_file():
        raise SceneError(f"An ECG file is needed; found {str(ecg or 'none')!r}. Choose the patient's 12-lead record.")
    return path.absolute()
