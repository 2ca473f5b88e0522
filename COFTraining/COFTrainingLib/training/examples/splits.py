"""Which examples of Stage 2 train and which validate, and the scale of motion that a run began with."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.files import write_json
from COFGeneratorLib.generator.networks.pack import PackScale

from COFTrainingLib.cohort.manifest import Cohort
from COFTrainingLib.training.examples.cine_data import CineCache
from COFTrainingLib.training.examples.flow_data import FlowData

DATA = "data.json"
"""The scale and how many subjects there are, in the run folder."""
MIN_TRAIN, MIN_VALID = 4, 2


def in_splits(run: Path, data: FlowData, cohort: Cohort | None) -> FlowData:
    """Return the data in the cohort's splits, with the scale that the run began with.

    Raises:
        TrainingError: If there are too few subjects.
    """
    train, valid = data.train, data.valid
    if cohort is not None:
        train, valid = (data.cache.of_split(cohort, split) for split in ("train", "valid"))
        if len(valid) < MIN_VALID:  # a small cohort: hold some of the training subjects back
            train, valid = _held_back(data, train)
    check_size(len(train), len(valid))
    kept = run / DATA
    if kept.is_file():  # the sums behind the scale may round differently with other threads
        scale = PackScale(tuple(json.loads(kept.read_text(encoding="utf-8"))["rms"]))
    else:
        scale = data.scale
        write_json(kept, {"rms": list(scale.rms), "train": len(train), "valid": len(valid)})
    return replace(data, train=train, valid=valid, scale=scale)


def check_size(train: int, valid: int) -> None:
    """Check that there are enough subjects; a few of those to train on may be held back to validate.

    Raises:
        TrainingError: If there are too few.
    """
    if train + min(valid, MIN_VALID) < MIN_TRAIN + MIN_VALID:
        raise TrainingError(
            f"Stage 2 needs at least {MIN_TRAIN} subjects to train on and {MIN_VALID} to validate; found {train} and "
            f"{valid}. Make a larger cohort."
        )


def _held_back(data: FlowData, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return training indices less those of its last subjects, and these."""
    if not isinstance(data.cache, CineCache):
        return train[:-MIN_VALID], train[-MIN_VALID:]
    held = [subject.id for subject, _ in data.cache.first_of(train)][-MIN_VALID:]
    kept = [int(n) for n in train if data.cache.rows[n][0].id not in held]
    return np.array(kept, dtype=int), np.array([n for s, n in data.cache.first_of(train) if s.id in held], dtype=int)
