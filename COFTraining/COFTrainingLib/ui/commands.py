"""Commands of the training jobs and where their folders lie."""

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from COFGeneratorLib.errors import JobError
from COFGeneratorLib.jobs import JobRunner
from COFGeneratorLib.scene.generation import child_environment

import COFTrainingLib

JOBS = "jobs"
"""Folder under the runs folder that holds the folders of jobs; a run's own folder lies beside it."""


def training_environment(base: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which a child finds both libraries."""
    environment = child_environment(base)
    own = str(Path(COFTrainingLib.__file__).resolve().parents[1])
    paths = [own, *environment["PYTHONPATH"].split(os.pathsep)]
    return {**environment, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def start_job(
    runs: Path, kind: str, title: str, arguments: list[str], python: str = "", env: Mapping[str, str] | None = None
) -> JobRunner:
    """Start ``cof ARGUMENTS`` as a job under a runs folder.

    Args:
        runs: The runs folder.
        kind: For finding it again: ``"train"``, ``"cohort"``, ``"evaluate"``, ``"export"``.
        title: Words for the list of jobs.
        arguments: Sub-command and its arguments.
        python: The interpreter; the one that runs us where empty.
        env: The child's environment.

    Raises:
        JobError: If the folder cannot be used or the process cannot be started.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder = next(path for path in (runs / JOBS / f"{stamp}-{kind}-{n}" for n in range(1000)) if not path.exists())
    runner = JobRunner(folder)
    argv = [python or sys.executable, "-m", "COFGeneratorLib", *arguments, "--events", str(runner.folder.events)]
    runner.start(argv, kind=kind, title=title, env=training_environment(os.environ) if env is None else env)
    return runner


def train_arguments(
    stage: str, run: Path, configuration: str, cohort: Path | None, ecg_run: Path | None, resume: bool
) -> list[str]:
    """Return the arguments of ``cof train``.

    Args:
        stage: Kind of network: teacher, segmenter, ecg or flow.
        run: Folder of the run.
        configuration: Name or file.
        cohort: Folder of a cohort, or None for the phantoms of the configuration.
        ecg_run: Finished run of the ECG encoder; only the flow model takes it.
        resume: Go on with the run.
    """
    arguments = ["train", stage, "--out", str(run), "--config", configuration]
    if cohort is not None:
        arguments += ["--cohort", str(cohort)]
    if stage == "flow":
        arguments += ["--ecg", str(ecg_run)]
    return [*arguments, "--resume"] if resume else arguments


def run_folder(runs: Path, name: str) -> Path:
    """Return the folder of a run.

    Raises:
        JobError: If the name is not a plain folder name.
    """
    if not name.strip() or name != Path(name).name or name in (JOBS, ".", ".."):
        raise JobError(f"A run needs a plain name for its folder; found {name!r}. Use letters, digits and dashes.")
    return runs / name
