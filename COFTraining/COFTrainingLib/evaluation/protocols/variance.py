"""Where numbers vary: between random draws of one subject, between subjects, and between trainings (ours).

Draws are those of the protocol ``calibration``; trainings are bundles of one design and one set of subjects that were
begun from other seeds. A single number mixes all three.
"""

import json
from pathlib import Path

import numpy as np
from COFGeneratorLib.generator.bundle import read_metadata

from COFTrainingLib.evaluation.plan import Plan
from COFTrainingLib.evaluation.protocols import calibration
from COFTrainingLib.evaluation.protocols.function_table import FAMILY, errors, numbers_of
from COFTrainingLib.evaluation.report.section import Section, Table, shown, with_interval
from COFTrainingLib.evaluation.statistics import bca_interval
from COFTrainingLib.evaluation.store import Row, Store

FEWEST_DRAWS = 4
DESIGN = ("grid", "flow", "sampler")
"""What two bundles have in common that differ by the seed of their training alone, beside what they were trained on."""
SUBJECTS = ("cohort", "manifest_sha256", "first_seed", "last_seed", "steps")


def components(draws: np.ndarray) -> tuple[float, float]:
    """Return (SD within a subject, SD between subjects) of draws (N, K), one-way analysis of variance.

    The variance between subjects is that of their means less what K draws leave of the variance within, at least 0.
    """
    within = draws.var(axis=1, ddof=1).mean()
    between = draws.mean(axis=1).var(ddof=1) - within / draws.shape[1]
    return float(np.sqrt(within)), float(np.sqrt(max(between, 0.0)))


def trainings(models: tuple[tuple[str, Path], ...]) -> list[list[str]]:
    """Return the names of the bundles that differ by the seed of their training alone, group by group."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, folder in models:
        metadata = read_metadata(folder)
        facts = metadata.get("training", {})
        design = {key: metadata["cof"].get(key) for key in DESIGN} | {key: facts.get(key) for key in SUBJECTS}
        seeds = json.dumps(facts.get("seeds"), sort_keys=True)
        groups.setdefault(json.dumps(design, sort_keys=True), []).append((name, seeds))
    return [
        [name for name, _ in members]
        for members in groups.values()
        if len(members) > 1 and len({seeds for _, seeds in members}) == len(members)
    ]


def summarise(plan: Plan, store: Store) -> Section:
    """Return the section."""
    section = Section("variance", "Draws, subjects, trainings")
    rows = list(store.rows(calibration.KIND, plan.main)) if plan.main else []
    if len(rows) > 3 and len(rows[0]["draws"]) >= FEWEST_DRAWS:
        section.tables.append(_sampling(rows))
    groups = trainings(plan.models)
    if groups:
        section.tables.append(_between_trainings(groups, store))
    missing = []
    if not section.tables or section.tables[0].name != "variance_draws":
        missing.append("draws need a model with a flow and --protocol calibration")
    if not groups:
        missing.append(
            "trainings need several bundles of one configuration from other seeds, --model a=BUNDLE --model b=BUNDLE"
        )
    if section.tables:
        section.text += [f"Not shown: {words}." for words in missing]
    else:
        section.not_run = f"Nothing to separate: {'; '.join(missing)}."
    return section


def _sampling(found: list[Row]) -> Table:
    rows = []
    for label, part, true in calibration.spread_read_outs(found):
        if len(true) < 4:
            continue
        within, between = components(part)
        single = np.abs(part - true[:, None]).mean(axis=0)  # one number a draw: an evaluation of its own
        rows.append((label, len(true), shown(within), shown(between), shown(float(true.std(ddof=1))),
                     f"{shown(float(single.mean()))} ± {shown(float(single.std(ddof=1)))}",
                     shown(float(np.abs(part.mean(axis=1) - true).mean()))))  # fmt: skip
    return Table(
        "variance_draws", f"{len(found[0]['draws'])} random draws a subject",
        ("Read-out", "N", "SD between draws of a subject", "SD between subjects", "SD of the truth",
         "MAE of one draw ± SD over draws", "MAE of the mean of all"),
        rows, "One-way analysis of variance. The SD over draws in the last column but one is what repeating the "
        "evaluation with another seed would change of a mean over these subjects.",
    )  # fmt: skip


def _between_trainings(groups: list[list[str]], store: Store) -> Table:
    numbers = numbers_of(store)
    rows = []
    for names in groups:
        names = [name for name in names if name in numbers.methods]
        for metric, label in FAMILY:
            means = np.array([np.nanmean(errors(numbers, name, metric)) for name in names])
            subjects = bca_interval(np.mean([errors(numbers, name, metric) for name in names], axis=0))
            rows.append((", ".join(names), label, with_interval(subjects), shown(float(means.std(ddof=1))),
                         f"{shown(float(means.min()))}–{shown(float(means.max()))}"))  # fmt: skip
    return Table(
        "variance_trainings", "Trainings of one configuration from other seeds",
        ("Bundles", "Metric", "Mean [interval over subjects]", "SD between trainings", "Range"), rows,
        "The SD between trainings is of means over the same subjects; fewer than three trainings tell little of it.",
    )  # fmt: skip
