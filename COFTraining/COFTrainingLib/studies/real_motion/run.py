"""The comparison over a list of hearts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from COFGeneratorLib.errors import CohortError
from COFGeneratorLib.generator import load_bundle
from COFGeneratorLib.jobs.workers import spread

from COFTrainingLib.cohort.case_list import ListedCine
from COFTrainingLib.evaluation.metrics.anatomy import STRUCTURES, confusion, overlap
from COFTrainingLib.studies.real_motion.arms import NORMAL, ORACLE, OWN, RECORDED, Models, arms_of, ef_of_fewer_slices
from COFTrainingLib.studies.real_motion.figures import figures_of
from COFTrainingLib.studies.real_motion.hearts import RealHeart, described, read_heart
from COFTrainingLib.studies.real_motion.sheets import Sheets


@dataclass(frozen=True)
class Setting:
    """What hearts are moved with; folders, so that processes can be told.

    Attributes:
        bundle: Of the model.
        segmenter: Folder of the segmenter's own files, which labels what no reader has.
        v2: Of ``cof-v2``, or None.
        teacher: Folder, or None.
        work: Kept labels and registrations, or None.
        sheets: Where contact sheets are written, or None.
        skip: Arms that are left out.
    """

    bundle: Path
    segmenter: Path
    v2: Path | None = None
    teacher: Path | None = None
    work: Path | None = None
    sheets: Path | None = None
    skip: tuple[str, ...] = ()


@dataclass(frozen=True)
class HeartResult:
    """What was found on one heart.

    Attributes:
        heart: Name, group, volumes and what else tells hearts apart.
        arms: Figures by arm.
        notes: What the product said under the heart's own ECG and under the normal one.
        extra: ``ef_change_fewer_slices_points``, and of hearts with a reader's labels the segmenter's agreement.
    """

    heart: dict[str, Any]
    arms: dict[str, dict[str, float]]
    notes: dict[str, tuple[str, ...]]
    extra: dict[str, float] = field(default_factory=dict)


def run_hearts(
    cases: Sequence[ListedCine],
    setting: Setting,
    *,
    workers: int = 1,
    progress: Callable[[str], None] = lambda text: None,
) -> list[HeartResult]:
    """Return what was found on every heart, in the order of the list.

    Raises:
        ChainOfFlowError: If a heart or a model cannot be used.
    """
    if not cases:
        raise CohortError("A comparison needs hearts; the list has none. Name another.")
    results = []
    for result in spread(partial(_one, setting), list(cases), workers=workers, ordered=True):
        results.append(result)
        progress(f"{len(results)}/{len(cases)} {result.heart['name']}")
    return results


def _one(setting: Setting, case: ListedCine) -> HeartResult:
    heart = read_heart(case, setting.segmenter, setting.teacher, setting.work)
    models = Models(
        load_bundle(setting.bundle), None if setting.v2 is None else load_bundle(setting.v2), setting.teacher,
        setting.work, setting.skip,
    )  # fmt: skip
    arms, notes, sheets = {}, {}, Sheets(heart)
    for name, moved in arms_of(models, heart):
        arms[name] = figures_of(heart, moved)
        if name in (OWN, NORMAL):
            notes[name] = moved.notes
        if setting.sheets is not None:
            sheets.add(name, moved)
    extra = _segmenter_figures(heart)
    if OWN in arms:
        extra["ef_change_fewer_slices_points"] = ef_of_fewer_slices(models, heart) - arms[OWN]["ef_percent"]
    if setting.sheets is not None:
        sheets.write(setting.sheets / f"{case.name}.png", (RECORDED, ORACLE, OWN))
    return HeartResult(described(heart), arms, notes, extra)


def _segmenter_figures(heart: RealHeart) -> dict[str, float]:
    """Return how the segmenter agrees with a reader at end-diastole and end-systole; nothing where no reader was."""
    if heart.case.ed_labels is None or heart.case.es_labels is None:
        return {}
    known, found = heart.labels[[0, heart.es_frame]], heart.segmenter_labels
    table, figures = confusion(known, found), {}
    for name, code in STRUCTURES.items():
        for phase, value in zip(("ed", "es"), overlap(table, code)[0], strict=True):
            figures[f"segmenter_{name}_{phase}"] = float(value)
    volume = {name: ((known == code).sum(axis=(1, 2, 3)), (found == code).sum(axis=(1, 2, 3)))
              for name, code in STRUCTURES.items()}  # fmt: skip
    for name, key in (("ef", "lv"), ("rvef", "rv")):
        true, seen = (100.0 * (1.0 - counts[1] / max(counts[0], 1)) for counts in volume[key])
        figures[f"segmenter_{name}_error_points"] = float(seen - true)
    figures["segmenter_wall_percent"] = 100.0 * float(np.divide(volume["myo"][1][0], volume["myo"][0][0]) - 1.0)
    return figures
