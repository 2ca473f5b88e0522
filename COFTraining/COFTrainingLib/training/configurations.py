"""The named configurations of each training, and configurations from a JSON file of changes to a named one."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from COFGeneratorLib.anatomy.segmenter_network import NetworkConfig
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.generator.ecg_encoder import EcgEncoderConfig

from COFTrainingLib.training import stage_two, teacher
from COFTrainingLib.training.segmenter import SegmenterConfig, segmenter_loop
from COFTrainingLib.training.segmenter_cache import CacheConfig
from COFTrainingLib.training.teacher import changed

NAMES = ("cof-plus", "cof-v2", "smoke")


@dataclass(frozen=True)
class EcgTraining:
    """Settings of the ECG encoder's training.

    Args:
        steps: Optimiser steps.
        batch: Records a step.
        seed: Of cohort, weights and augmentation.
        records: Synthetic records.
        encoder: Size of the network.
    """

    steps: int = 4000
    batch: int = 128
    seed: int = 0
    records: int = 24_000
    encoder: EcgEncoderConfig = field(default_factory=EcgEncoderConfig)


_SMALL = {"filters": (8, 16, 24, 32), "size": 48}
_SEGMENTER_SMOKE = SegmenterConfig(
    cache=CacheConfig(subjects=4, part=2, fine_size=72, fine_mm=2.6, coarse_size=64, coarse_mm=6.0, slab=1),
    validation_subjects=2,
    validation_batches=1,
    fine=NetworkConfig(**_SMALL, spacing_mm=3.6),
    coarse=NetworkConfig(**_SMALL, spacing_mm=8.0),
    fine_loop=segmenter_loop(6, checkpoint_every=3, log_every=1),
    coarse_loop=segmenter_loop(6, checkpoint_every=3, log_every=1),
)

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "teacher": teacher.CONFIGURATIONS,
    "flow": stage_two.CONFIGURATIONS,
    "ecg": {
        "cof-plus": EcgTraining(),
        "cof-v2": EcgTraining(),  # the paper's encoder is frozen and others' own; ours stands in for it
        "smoke": EcgTraining(steps=12, batch=16, records=48, encoder=EcgEncoderConfig(widths=(8, 16), embedding=32)),
    },
    "segmenter": {"cof-plus": SegmenterConfig(), "cof-v2": SegmenterConfig(), "smoke": _SEGMENTER_SMOKE},
}
"""By kind of training, by name."""


def read_configuration(kind: str, name: str | Path) -> Any:
    """Return a named configuration, or one from a JSON file of changes to a named one (key ``"base"``).

    Raises:
        TrainingError: If there is no such configuration, the file does not read, or it has unknown keys.
    """
    named = CONFIGURATIONS[kind]
    if str(name) in named:
        return named[str(name)]
    try:
        changes = json.loads(Path(name).read_text(encoding="utf-8"))
        base = changes.pop("base", "cof-plus")
    except (OSError, ValueError, AttributeError) as error:
        raise TrainingError(
            f"A configuration is one of {', '.join(named)} or a JSON file; found {str(name)!r} ({error}). "
            "Give one of these."
        ) from error
    if base not in named:
        raise TrainingError(f"The base of a configuration is one of {', '.join(named)}; found {base!r}. Correct it.")
    return changed(named[base], changes)
