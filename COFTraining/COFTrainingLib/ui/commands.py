"""Commands of the training jobs and where their folders lie."""

import os
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import COFGeneratorLib
from COFGeneratorLib.errors import JobError
from COFGeneratorLib.jobs import JobRunner
from COFGeneratorLib.scene.child import OURS, Child, child_environment, start_child

import COFTrainingLib
from COFTrainingLib.ui.stages import PLANE

JOBS = "jobs"
"""Folder under the runs folder that holds the folders of jobs; a run's own folder lies beside it."""


LOOPS = {
    "teacher": ("loop",),
    "segmenter": ("fine_loop", "coarse_loop"),
    "assessor": ("loop",),
    "ecg": ("loop",),
    "flow": ("expected_loop", "flow_loop"),
}
"""Network → tables of its configuration that hold a training loop's settings."""


GPUS = "CUDA_VISIBLE_DEVICES"


def training_environment(base: Mapping[str, str], device: str = "auto") -> dict[str, str]:
    """Return an environment in which a child finds both libraries, and of the GPUs those of a device alone."""
    environment = child_environment(base, device, packages=(COFTrainingLib, COFGeneratorLib))
    if device.startswith("cuda:"):
        environment[GPUS] = device.removeprefix("cuda:")
    return environment


def start_job(
    runs: Path, arguments: list[str], *, kind: str, title: str, child: Child = OURS, template: str = ""
) -> JobRunner:
    """Start ``cof ARGUMENTS`` as a job under a runs folder.

    Args:
        runs: The runs folder.
        arguments: Sub-command and its arguments.
        kind: For finding it again: ``"train"``, ``"cohort"``, ``"evaluate"``, ``"export"``.
        title: Words for the list of jobs.
        child: What runs it.
        template: Command that runs the job elsewhere, see ``through_template``.

    Raises:
        JobError: If the folder cannot be used or the process cannot be started.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder = next(path for path in (runs / JOBS / f"{stamp}-{kind}-{n}" for n in range(1000)) if not path.exists())
    env = child.env or training_environment(os.environ)

    def through(argv: list[str]) -> list[str]:
        if not template.strip():
            return argv
        said = {name: env[name] for name in ("PYTHONPATH", GPUS) if env.get(name) != os.environ.get(name)}
        said = {"PYTHONPATH": env["PYTHONPATH"], **said}
        return through_template(template, ["env", *(f"{name}={value}" for name, value in said.items()), *argv])

    command, *rest = arguments
    argv = [*child.command(command, library="COFTrainingLib"), *rest]
    return start_child(JobRunner(folder), argv, kind=kind, title=title, env=env, through=through)


def out_of(argv: Sequence[str]) -> Path:
    """Return the folder that a job's command writes to, also where a template has made it one word; else none's."""
    words = list(argv)
    for word in argv:
        if " --out " in word:
            words = shlex.split(word)
    return Path(words[words.index("--out") + 1]) if "--out" in words[:-1] else Path()


def through_template(template: str, argv: list[str]) -> list[str]:
    """Return the program and arguments that run a job through a user's command, for example on another machine.

    ``{command}`` stands for the job's own words (``srun --gres=gpu:1 {command}``), ``{shell}`` for all of them as one
    word that another shell reads (``ssh gpu1 {shell}``, ``sbatch --wait --wrap {shell}``).

    Raises:
        JobError: If the template cannot be read or has no place for the job.
    """
    try:
        words = shlex.split(template)
    except ValueError as error:
        raise JobError(f"The command must be readable as a shell reads it; found {template!r} ({error}).") from error
    if not {"{command}", "{shell}"} & set(words):
        raise JobError(
            f"The command needs {{command}} or {{shell}} as a word of its own, where the job goes; found {template!r}. "
            "Write for example: ssh gpu1 {shell}"
        )
    filled: list[str] = []
    for word in words:
        filled += argv if word == "{command}" else [shlex.join(argv)] if word == "{shell}" else [word]
    return filled


def with_knobs(stage: str, configuration: str, file: Path, *, steps: int, learning_rate: float) -> str:
    """Return the configuration to train with: the named one, or a file of what the user changed in it.

    With 0 steps (of each loop) or a learning rate of 0 that of the configuration stays.
    """
    changed = [f"steps = {steps}"] if steps else []
    changed += [f"learning_rate = {learning_rate:g}"] if learning_rate else []
    if not changed:
        return configuration
    base = str(Path(configuration).resolve()) if Path(configuration).is_file() else configuration
    lines = [f"base = {_toml_text(base)}"]
    for loop in LOOPS[stage]:
        lines += ["", f"[{stage}.{loop}]", *changed]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(file)


def _toml_text(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def train_arguments(
    stage: str,
    run: Path,
    configuration: str,
    *,
    cohort: Path | None,
    ecg_run: Path | None,
    resume: bool,
    device: str = "auto",
    plane_stage: str = "all",
) -> list[str]:
    """Return the arguments of ``cof train``.

    Args:
        stage: Kind of training, a key of ``stages.STAGES``.
        run: Folder of the run.
        configuration: Name or file.
        cohort: Folder of a cohort, or None for the phantoms of the configuration.
        ecg_run: Finished run of the ECG encoder; only the flow model takes it, and trains one where None.
        resume: Go on with the run.
        device: ``"auto"`` leaves it to the configuration.
        plane_stage: Stage of ECGFlowCMR, where that is trained.
    """
    arguments = ["train", stage, "--out", str(run), "--config", configuration]
    if device != "auto":
        arguments += ["--device", device]
    if cohort is not None:
        arguments += ["--cohort", str(cohort)]
    if stage == "flow" and ecg_run is not None:
        arguments += ["--ecg", str(ecg_run)]
    if stage == PLANE and plane_stage != "all":
        arguments += ["--stage", plane_stage]
    return [*arguments, "--resume"] if resume else arguments


def evaluate_arguments(cohort: Path, out: Path, bundle: Path, split: str, protocol: str) -> list[str]:
    """Return the arguments of ``cof evaluate``; ``protocol`` is ``"cheap"``, ``"all"`` or a protocol's name."""
    arguments = ["evaluate", "--cohort", str(cohort), "--out", str(out), "--model", str(bundle)]
    return [*arguments, "--split", split, "--protocol", protocol]


def export_arguments(stage: str, run: Path, bundle: Path) -> list[str]:
    """Return the arguments that make a bundle of a run of some kind of training."""
    verb = ["ecgflowcmr", "export"] if stage == PLANE else ["bundle", "export"]
    return [*verb, "--run", str(run), "--out", str(bundle)]


def run_folder(runs: Path, name: str) -> Path:
    """Return the folder of a run.

    Raises:
        JobError: If the name is not a plain folder name.
    """
    if not name.strip() or name != Path(name).name or name in (JOBS, ".", ".."):
        raise JobError(f"A run needs a plain name for its folder; found {name!r}. Use letters, digits and dashes.")
    return runs / name
