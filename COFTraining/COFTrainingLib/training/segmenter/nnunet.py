"""nnU-Net v2 on a labelled cohort: its raw data set, and its own commands one after the other (extra ``nnunet``).

    RUN/nnUNet_raw/Dataset501_CINE/      imagesTr/CASE_0000.nii.gz  labelsTr/CASE.nii.gz  dataset.json
    RUN/nnUNet_preprocessed/…            splits_final.json: our training and validation split, subject-disjoint
    RUN/nnUNet_results/…/fold_0          what --segmenter takes: the trainer's folder

Labelled frames are cases of their own. Isensee et al., Nature Methods 2021; the package is the user's.
"""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from COFGeneratorLib.anatomy.geometry import LPS_TO_RAS
from COFGeneratorLib.errors import ChainOfFlowError, TrainingError
from COFGeneratorLib.files import write_json

from COFTrainingLib.cohort.labelled_frames import has_labels, labelled_frames
from COFTrainingLib.cohort.manifest import Cohort
from COFTrainingLib.cohort.people import PEOPLE, write_people

NUMBER, NAME = 501, "CINE"
DATASET = f"Dataset{NUMBER}_{NAME}"
RAW, PREPROCESSED, RESULTS = "nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"
FRAMES = 2
"""Of a labelled cine: ED and ES, as readers label them."""
EPOCHS = (1, 5, 10, 20, 50, 100, 250, 500, 1000, 2000, 4000, 8000)
"""For which nnU-Net has trainers; 1,000 is its own default."""
DEFAULT_EPOCHS = 1000
CODES = {"background": 0, "lv": 1, "myo": 2, "rv": 3}
SPLITS = {"train": "train", "valid": "val"}
Run = Callable[[Sequence[str], dict[str, str]], int]
"""Runs a command with an environment; returns its exit code."""


@dataclass(frozen=True)
class NnUnetPlan:
    """How nnU-Net is trained.

    Args:
        configuration: ``"3d_fullres"`` or ``"2d"``.
        epochs: One of ``EPOCHS``.
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Raises:
        TrainingError: If nnU-Net has no trainer of that many epochs, or no such configuration.
    """

    configuration: str = "3d_fullres"
    epochs: int = DEFAULT_EPOCHS
    device: str = "cuda"

    def __post_init__(self) -> None:
        if self.epochs not in EPOCHS or self.configuration not in ("3d_fullres", "2d"):
            raise TrainingError(
                f"nnU-Net trains 2d or 3d_fullres for {', '.join(map(str, EPOCHS))} epochs; found "
                f"{self.configuration} for {self.epochs}. Choose one of these."
            )

    @property
    def trainer(self) -> str:
        """Name of nnU-Net's trainer."""
        if self.epochs == DEFAULT_EPOCHS:
            return "nnUNetTrainer"
        return f"nnUNetTrainer_{self.epochs}epoch{'s' if self.epochs > 1 else ''}"

    def folder(self, run: Path) -> Path:
        """Return where the trained model lies."""
        return run / RESULTS / DATASET / f"{self.trainer}__nnUNetPlans__{self.configuration}"


def write_dataset(cohort: Cohort, run: Path | str) -> dict[str, list[str]]:
    """Write the raw data set of a cohort's training and validation split, and the split.

    Returns:
        Names of the cases under ``train`` and ``val``.

    Raises:
        TrainingError: If either has no labelled frame.
    """
    run = Path(run)
    raw = run / RAW / DATASET
    for folder in ("imagesTr", "labelsTr"):
        (raw / folder).mkdir(parents=True, exist_ok=True)
    cases: dict[str, list[str]] = {name: [] for name in SPLITS.values()}
    why = "no subject has labels"
    for split, name in SPLITS.items():
        for number, subject in enumerate(s for s in cohort.used(split) if has_labels(s)):
            try:
                for frame, (stack, labels) in enumerate(labelled_frames(cohort, subject, FRAMES)):
                    case = f"{split}{number:05d}_{frame}"  # identifiers of persons are in no file's name
                    _write(raw / "imagesTr" / f"{case}_0000.nii.gz", stack.voxels.astype(np.float32), stack.ijk_to_ras)
                    _write(raw / "labelsTr" / f"{case}.nii.gz", labels.astype(np.uint8), stack.ijk_to_ras)
                    cases[name].append(case)
            except ChainOfFlowError as error:
                why = str(error)
        if not cases[name]:
            raise TrainingError(
                f"nnU-Net needs labelled frames in the split {split}; found none in {cohort.header.name} ({why}). "
                "Label "
                "its cines, or import it with other splits."
            )
    write_json(raw / "dataset.json", {
        "channel_names": {"0": "cine MRI"}, "labels": CODES, "numTraining": sum(map(len, cases.values())),
        "file_ending": ".nii.gz", "name": NAME, "licence": cohort.header.licence,
    })  # fmt: skip
    return cases


def _write(path: Path, voxels: np.ndarray, ijk_to_ras: np.ndarray) -> None:
    """Write one volume (D, H, W) as NIfTI."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels))
    matrix = LPS_TO_RAS @ ijk_to_ras
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(matrix[:3, 3].tolist())
    image.SetDirection((matrix[:3, :3] / spacing).ravel().tolist())
    sitk.WriteImage(image, str(path), useCompression=True)


def commands(plan: NnUnetPlan, resume: bool = False) -> list[list[str]]:
    """Return nnU-Net's own commands: plan and preprocess, then train fold 0, our split."""
    scripts = {
        name: [sys.executable, "-c", f"from nnunetv2.{module} import {function} as run; run()"]
        for name, module, function in (
            ("plan", "experiment_planning.plan_and_preprocess_entrypoints", "plan_and_preprocess_entry"),
            ("train", "run.run_training", "run_training_entry"),
        )
    }
    train = [*scripts["train"], str(NUMBER), plan.configuration, "0", "-tr", plan.trainer, "-device", plan.device]
    return [
        [*scripts["plan"], "-d", str(NUMBER), "-c", plan.configuration, "--verify_dataset_integrity"],
        [*train, *(["--c"] if resume else [])],
    ]


def train_nnunet(
    cohort: Cohort, run: Path | str, plan: NnUnetPlan, *, resume: bool = False, execute: Run | None = None
) -> Path:
    """Train nnU-Net on a cohort's labelled frames; returns the folder that ``--segmenter`` takes.

    Args:
        cohort: Labelled recordings; the training split trains, the validation split is nnU-Net's.
        run: Run folder.
        plan: How.
        resume: Go on from nnU-Net's last checkpoint; the data set is there then.
        execute: Runs its commands; the user's ``nnunetv2`` where None.

    Raises:
        TrainingError: If nnunetv2 is not installed, the folder holds a run, there are no labels, or a command fails.
    """
    run = Path(run).resolve()
    if execute is None:
        if importlib.util.find_spec("nnunetv2") is None:
            raise TrainingError(
                "Training nnU-Net needs its package nnunetv2; it is not installed. Install it: pip install "
                '"chainofflow[nnunet]"'
            )
        execute = _execute
    ready = (run / RAW / DATASET / "dataset.json").is_file()
    if ready and not resume:
        raise TrainingError(f"A new training needs a folder of its own; {run} holds one. Choose another, or --resume.")
    if not ready:
        cases = write_dataset(cohort, run)
        split = run / PREPROCESSED / DATASET / "splits_final.json"
        split.parent.mkdir(parents=True, exist_ok=True)
        split.write_text(json.dumps([cases], indent=1), encoding="utf-8")  # nnU-Net takes the split that is there
    environment = {**os.environ, **{name: str(run / name) for name in (RAW, PREPROCESSED, RESULTS)}}
    for command in commands(plan, resume and ready):
        code = execute(command, environment)
        if code != 0:
            raise TrainingError(
                f"A command of nnU-Net ended with exit code {code}: {' '.join(command[3:])}. Its own words above say "
                "why; "
                "mend it, and go on with --resume."
            )
    folder = plan.folder(run)
    if not (folder / "fold_0" / "checkpoint_final.pth").is_file():
        raise TrainingError(
            f"A trained nnU-Net has fold_0/checkpoint_final.pth; found none in {folder}. Run the command with --resume."
        )
    write_people(folder / PEOPLE, cohort)  # whoever is handed this folder alone can tell whom it has seen
    return folder


def _execute(command: Sequence[str], environment: dict[str, str]) -> int:
    return subprocess.run(command, env=environment, check=False).returncode
