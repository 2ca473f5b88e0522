"""The named configurations of every training: small TOML files, and a user's own file of what differs from one of them.

A file has one table for each kind of training (``[teacher]``, ``[segmenter]``, ``[assessor]``, ``[ecg]``, ``[flow]``)
and may name the configuration it changes (``base = "cof-plus"``). What differs between two configurations is what their
files say.
"""

from pathlib import Path
from typing import Any

from COFGeneratorLib.errors import TrainingError

from COFTrainingLib.training.ecg.ecg_training import EcgTraining
from COFTrainingLib.training.loop.settings import Shelf, applied
from COFTrainingLib.training.motion.stage_two import StageTwoTraining
from COFTrainingLib.training.segmenter.assessor import AssessorTraining
from COFTrainingLib.training.segmenter.segmenter import SegmenterConfig
from COFTrainingLib.training.teacher.teacher import TeacherTraining

FOLDER = Path(__file__).resolve().parents[1] / "configurations"
DEFAULT = "cof-plus"
SHELF = Shelf(FOLDER, DEFAULT, group="ablations")
KINDS = {
    "teacher": TeacherTraining,
    "segmenter": SegmenterConfig,
    "assessor": AssessorTraining,
    "ecg": EcgTraining,
    "flow": StageTwoTraining,
}


def configuration_names() -> list[str]:
    """Return the names of the configurations that ship, the default first."""
    return SHELF.names()


def ablations() -> list[str]:
    """Return the names of the paper's ablations: files that differ from ``cof-v2`` by a line."""
    return SHELF.grouped()


def read_configuration(kind: str, name: str | Path = DEFAULT) -> Any:
    """Return the settings of one kind of training, by the name of a configuration or from a TOML or JSON file.

    Raises:
        TrainingError: If there is no such configuration, or a key or value of it cannot be.
    """
    table = SHELF.read(str(name))
    unknown = set(table) - set(KINDS)
    if unknown:
        raise TrainingError(
            f"A configuration has the tables {', '.join(KINDS)} and a base; found {', '.join(sorted(unknown))} in "
            f"{name}. Put settings into the table of their training."
        )
    return applied(KINDS[kind](), table.get(kind, {}), kind)
