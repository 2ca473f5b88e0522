"""The named configurations of every training: small TOML files, and a user's own file of what differs from one of them.

A file has one table for each kind of training (``[teacher]``, ``[segmenter]``, ``[assessor]``, ``[ecg]``, ``[flow]``)
and may name the configuration it changes (``base = "cof-plus"``). What differs between two configurations is what their
files say.
"""

from pathlib import Path
from typing import Any

from COFGeneratorLib.errors import TrainingError

from COFTrainingLib.training.ecg.ecg_training import EcgTraining
from COFTrainingLib.training.loop.settings import applied, merged, read_table
from COFTrainingLib.training.motion.stage_two import StageTwoTraining
from COFTrainingLib.training.segmenter.assessor import AssessorTraining
from COFTrainingLib.training.segmenter.segmenter import SegmenterConfig
from COFTrainingLib.training.teacher.teacher import TeacherTraining

FOLDER = Path(__file__).resolve().parents[1] / "configurations"
DEFAULT = "cof-plus"
KINDS = {
    "teacher": TeacherTraining,
    "segmenter": SegmenterConfig,
    "assessor": AssessorTraining,
    "ecg": EcgTraining,
    "flow": StageTwoTraining,
}
LARGEST_CHAIN = 8


def names() -> list[str]:
    """Return the names of the configurations that ship, the default first."""
    return sorted((path.stem for path in FOLDER.glob("*.toml")), key=lambda name: (name != DEFAULT, name))


def ablations() -> list[str]:
    """Return the names of the paper's ablations: files that differ from ``cof-v2`` by a line."""
    return sorted(f"{path.parent.name}/{path.stem}" for path in (FOLDER / "ablations").glob("*.toml"))


def read_configuration(kind: str, name: str | Path = DEFAULT) -> Any:
    """Return the settings of one kind of training.

    Args:
        kind: One of ``KINDS``.
        name: A named configuration, or a TOML or JSON file.

    Raises:
        TrainingError: If there is no such configuration, or a key or value of it cannot be.
    """
    table = _read(str(name), LARGEST_CHAIN)
    unknown = set(table) - set(KINDS)
    if unknown:
        raise TrainingError(
            f"A configuration has the tables {', '.join(KINDS)} and a base; found {', '.join(sorted(unknown))} in "
            f"{name}. Put settings into the table of their training."
        )
    return applied(KINDS[kind](), table.get(kind, {}), kind)


def _read(name: str, left: int) -> dict[str, Any]:
    """Return the tables of a configuration, laid over those of its base."""
    if left == 0:
        raise TrainingError(
            f"A configuration rests on another (base), and that at last on none; found more than {LARGEST_CHAIN} in a "
            f"row at {name!r}, most likely a circle. Correct the bases."
        )
    path = FOLDER / f"{name}.toml" if name in (*names(), *ablations()) else Path(name)
    if not path.is_file():
        raise TrainingError(
            f"A configuration is one of {', '.join((*names(), *ablations()))}, or a TOML or JSON file; found {name!r}. "
            "Give one."
        )
    table = read_table(path)
    base = table.pop("base", None)
    if base is None:
        return table if FOLDER in path.parents else merged(_read(DEFAULT, left - 1), table)
    if not isinstance(base, str):
        raise TrainingError(f"The base of a configuration is the name of another; found {base!r} in {path.name}.")
    below = base if base in (*names(), *ablations()) else str(path.parent / base)
    return merged(_read(below, left - 1), table)
