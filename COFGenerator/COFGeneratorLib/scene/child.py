"""Child processes that run our commands: program, environment, inputs, and where the result will lie."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import COFGeneratorLib
from COFGeneratorLib.jobs import JobRunner
from COFGeneratorLib.scene import export
from COFGeneratorLib.scene.files import CINE_FILE

RESULT = "cine"
"""Folder under the job's ``result/`` that holds the cine of a generation or a registration."""


@dataclass(frozen=True)
class Child:
    """What runs a command.

    Attributes:
        python: The interpreter; the one that runs us where empty. Inside Slicer ``sys.executable`` is its
            ``PythonSlicer``.
        program: Program and first arguments instead of ``PYTHON -m COFGeneratorLib COMMAND``.
        env: Environment of the child, from ``child_environment``; ours where None.
    """

    python: str = ""
    program: Sequence[str] | None = None
    env: Mapping[str, str] | None = None

    def command(self, name: str, library: str = "COFGeneratorLib") -> list[str]:
        """Return program and first arguments of a command of ours."""
        return [*(self.program or (self.python or sys.executable, "-m", library, name))]


OURS = Child()
"""The interpreter that runs us, with what it needs of our libraries."""


def child_environment(
    base: Mapping[str, str], device: str = "auto", packages: Sequence[ModuleType] = (COFGeneratorLib,)
) -> dict[str, str]:
    """Return an environment in which a child finds our libraries; with the device ``"cpu"`` it sees no GPU at all."""
    paths = [str(Path(str(package.__file__)).resolve().parents[1]) for package in packages]
    paths += filter(None, base.get("PYTHONPATH", "").split(os.pathsep))
    environment = {**base, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
    if device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = "-1"
    return environment


def start_child(
    runner: JobRunner,
    command: Sequence[str],
    *,
    kind: str,
    title: str = "",
    out: str = "",
    expect: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    through: Callable[[list[str]], list[str]] = list,
) -> JobRunner:
    """Start a command of ours, which tells its events, and return its runner.

    Args:
        runner: Of a new folder.
        command: Program, name of the command, its arguments.
        kind: For finding jobs of one sort again.
        title: Words for the user.
        out: File or folder under ``result/`` that the command makes by ``--out``, if it does.
        expect: Files under ``result/`` without which success is not believed.
        env: Environment of the child; ours where None.
        through: Makes of the whole command the one that is really started.

    Raises:
        JobError: If the folder is taken or the process cannot be started.
    """
    argv = [*command, *(["--out", str(runner.folder.result / out)] if out else [])]
    argv += ["--events", str(runner.folder.events)]
    env = child_environment(os.environ) if env is None else env
    runner.start(through(argv), kind=kind, title=title, env=env, expect=expect)
    return runner


def start_cine(runner: JobRunner, command: Sequence[str], *, kind: str, title: str, child: Child) -> JobRunner:
    """Start a command that makes a cine, see ``start_child``."""
    return start_child(
        runner, command, kind=kind, title=title, out=RESULT, expect=[f"{RESULT}/{CINE_FILE}"], env=child.env
    )


def inputs_of(runner: JobRunner) -> Path:
    """Return the folder for what a job reads; made by this call."""
    inputs = runner.folder.root / "inputs"
    inputs.mkdir(parents=True, exist_ok=True)
    return inputs


def label_arguments(labels: Any, label_mapping: str, anchor: Any, inputs: Path) -> list[str]:
    """Write labels (a node or None) for a command and return its arguments about them; see ``parse_label_mapping``.

    Raises:
        SceneError: If they cannot be used.
    """
    if labels is None:
        return []
    names = export.label_names(labels)
    mapping = export.parse_label_mapping(label_mapping or export.guess_label_mapping(names), names)
    codes = export.export_labels(labels, mapping, anchor, inputs / "labels.nrrd")
    return ["--labels", str(inputs / "labels.nrrd"), "--label-map", codes]
