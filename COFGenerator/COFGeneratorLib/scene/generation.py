"""One generation from nodes to nodes: inputs to files, the command for a child process, results back into the scene.

Neither Qt nor torch: the module's widget drives it by a timer, scripts by waiting.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import COFGeneratorLib
from COFGeneratorLib.errors import SceneError
from COFGeneratorLib.jobs import JobRunner
from COFGeneratorLib.scene import export
from COFGeneratorLib.scene.files import CINE_FILE, load_result
from COFGeneratorLib.scene.result import ResultNodes

RESULT = "cine"
"""Folder under the job's ``result/`` that the command makes."""

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
        }
        return [text for flag, value in pairs.items() if value is not None for text in (flag, str(value))]


def generation_command(python: str = "") -> list[str]:
    """Return program and first arguments of a generation; the interpreter that runs us where none is given.

    Inside Slicer ``sys.executable`` is its ``PythonSlicer``.
    """
    return [python or sys.executable, "-m", "COFGeneratorLib", "generate"]


def child_environment(base: Mapping[str, str], device: str = "auto") -> dict[str, str]:
    """Return an environment in which a child finds this library; ``base`` is not changed.

    Args:
        base: ``os.environ``, or Slicer's start-up environment for an interpreter that is not Slicer's own.
        device: With ``"cpu"`` the child sees no GPU at all.
    """
    library = str(Path(COFGeneratorLib.__file__).resolve().parents[1])
    paths = [library, *filter(None, base.get("PYTHONPATH", "").split(os.pathsep))]
    environment = {**base, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
    if device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = "-1"
    return environment


def start_generation(
    folder: str | os.PathLike,
    anchor,
    ecg,
    *,
    labels=None,
    label_mapping: str = "",
    roi=None,
    options: GenerationOptions = GenerationOptions(),
    command: Sequence[str] | None = None,
    env: Mapping[str, str] | None = None,
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
        command: Program and first arguments, from ``generation_command``.
        env: Environment of the child, from ``child_environment``.

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
    inputs = runner.folder.root / "inputs"
    inputs.mkdir(parents=True, exist_ok=True)
    argv = [*(command or generation_command()), "--ecg", str(_ecg_file(ecg, inputs))]
    if anchor is not None:
        export.export_volume(anchor, inputs / "anchor.nrrd")
        argv += ["--anchor", str(inputs / "anchor.nrrd")]
    if labels is not None:
        names = export.label_names(labels)
        mapping = export.parse_label_mapping(label_mapping or export.guess_label_mapping(names), names)
        code_text = export.export_labels(labels, mapping, anchor, inputs / "labels.nrrd")
        argv += ["--labels", str(inputs / "labels.nrrd"), "--label-map", code_text]
    if roi is not None:
        argv.append(f"--roi={export.roi_text(roi)}")
    argv += ["--out", str(runner.folder.result / RESULT), "--events", str(runner.folder.events), *options.arguments()]
    runner.start(
        argv,
        kind="generate",
        title=f"Generate a cine from {anchor.GetName() if anchor is not None else 'an ECG'}",
        env=child_environment(os.environ, options.device) if env is None else env,
        expect=[f"{RESULT}/{CINE_FILE}"],
    )
    return runner


def start_ecg(folder: str | os.PathLike, ecg, python: str = "", env: Mapping[str, str] | None = None) -> JobRunner:
    """Start a child process that reads and measures an ECG: ``ecg.json`` and ``trace.json`` in ``result/ecg``.

    Args:
        folder: The job's folder, new.
        ecg: Path of an ECG file, or a vtkMRMLTableNode with twelve leads.
        python: The interpreter; the one that runs us where empty.
        env: Environment of the child.

    Raises:
        SceneError: If there is no such file or the table is no ECG.
        JobError: If the process cannot be started.
    """
    runner = JobRunner(folder)
    inputs = runner.folder.root / "inputs"
    inputs.mkdir(parents=True, exist_ok=True)
    argv = [python or sys.executable, "-m", "COFGeneratorLib", "ecg-trace", str(_ecg_file(ecg, inputs))]
    argv += ["--out", str(runner.folder.result / "ecg"), "--events", str(runner.folder.events)]
    env = child_environment(os.environ) if env is None else env
    runner.start(argv, kind="ecg", env=env, expect=["ecg/ecg.json", "ecg/trace.json"])
    return runner


def load_generation(runner: JobRunner, scene=None, name: str = "Heart") -> ResultNodes:
    """Load the result of a job that succeeded; its nodes do not depend on the job's folder."""
    return load_result(runner.folder.result / RESULT, scene, name, temporary=True)


def _ecg_file(ecg, inputs: Path) -> Path:
    if hasattr(ecg, "GetTable"):
        export.export_ecg_table(ecg, inputs / "ecg.csv")
        return inputs / "ecg.csv"
    path = Path(ecg or "")
    if not str(ecg or "") or not path.is_file():
        raise SceneError(f"An ECG file is needed; found {str(ecg or 'none')!r}. Choose the patient's 12-lead record.")
    return path.absolute()
