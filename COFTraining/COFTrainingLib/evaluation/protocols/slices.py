"""Slice-wise agreement from base to apex at ED and ES, as heat-maps (COF Figure 5)."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from COFTrainingLib.evaluation.plan import Plan
from COFTrainingLib.evaluation.report import figures
from COFTrainingLib.evaluation.report.section import Cell, Figure, Section, Table, shown
from COFTrainingLib.evaluation.run import CINE
from COFTrainingLib.evaluation.statistics import known_mean
from COFTrainingLib.evaluation.store import Store

STRUCTURES = (("lv", "LV"), ("rv", "RV"), ("myo", "Myo"))
METRICS = (("dice", "Dice", True), ("iou", "IoU", True), ("hd95_mm", "HD95 mm", False))
FEWEST = 3
FAR_MM = 15.0
"""Colours of distances end here: an empty side is charged the diagonal of the field of view."""


def summarise(plan: Plan, store: Store) -> Section:
    """Return the section, of the main method."""
    section = Section("slices", "Slice by slice, base to apex")
    methods = store.methods(CINE)
    method = plan.about(methods)
    cells: dict[tuple[str, str, str, int], list[float]] = defaultdict(list)
    for row in store.rows(CINE, method):
        for part in row.get("slices", ()):
            for metric, *_ in METRICS:
                if part[metric] is not None:
                    cells[part["phase"], part["structure"], metric, part["rank"]].append(part[metric])
    ranks = sorted({key[3] for key, values in cells.items() if len(values) >= FEWEST})
    if not ranks:
        section.not_run = f"Fewer than {FEWEST} subjects have labels."
        return section
    section.text.append(
        f"{method}. Slices whose wall is at least a quarter of the largest in area, ranked from the base; each cell is "
        f"the mean over the subjects that have this rank (at least {FEWEST}). Slices in 2-D, with their own pixel size."
    )
    rows: list[tuple[Cell, ...]] = []
    for metric, label, high in METRICS:
        panels = []
        for phase in ("ED", "ES"):
            values = np.array(
                [[_mean(cells.get((phase, code, metric, rank), ())) for rank in ranks] for code, _ in STRUCTURES]
            )
            panels.append((phase, values))
            rows += [(label, phase, name, *(shown(v, 3 if high else 1) for v in line))
                     for (_, name), line in zip(STRUCTURES, values, strict=True)]  # fmt: skip
        figure = figures.heat_maps(
            panels,
            [str(rank) for rank in ranks],
            [name for _, name in STRUCTURES],
            label,
            high,
            None if high else FAR_MM,
        )
        section.figures.append(Figure(f"slices_{metric}", f"{label} by slice rank (1: base)", figure))
    counts = [len(cells.get(("ED", "myo", "dice", rank), ())) for rank in ranks]
    rows.append(("Subjects", "ED", "–", *counts))
    section.tables.append(Table("slices", "Agreement by slice rank", ("Metric", "Phase", "Structure",
                          *(f"rank {rank}" for rank in ranks)), rows,
                          "At ED the anchor itself is compared: 1 for methods that move it."))  # fmt: skip
    return section


def _mean(values: Sequence[float]) -> float:
    return known_mean(values) if len(values) >= FEWEST else float("nan")
