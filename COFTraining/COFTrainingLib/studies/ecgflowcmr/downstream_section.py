"""The report's section on what synthetic cines are worth: tables, mixing curves, and the paper's numbers apart."""

from typing import Any

import numpy as np

from COFTrainingLib.evaluation.report.figures import COLOURS, INK, MAIN, new_figure, svg
from COFTrainingLib.evaluation.report.papers import published
from COFTrainingLib.evaluation.report.section import Figure, Section, Table
from COFTrainingLib.studies.ecgflowcmr.downstream import CEILING, MEAN, SCRATCH, metrics_of, part_metrics_of, row_words

METRIC_WORDS = {"acc": "Accuracy", "auc": "AUC", "mae": "MAE", "r2": "R²"}


def downstream_section(studies: dict[str, Any]) -> Section:
    """Return the section of the content of ``downstream.json``."""
    section = Section("downstream", "What synthetic cines are worth", numbers=studies)
    section.text.append(
        "A masked autoencoder of cines pre-trained on real and synthetic ones, then fine-tuned on the real ones in "
        "five folds. Mean over folds and seeds with its 95 % interval; gains are paired by fold and seed. Folds share "
        "training subjects, so that these intervals are narrower than those of new cohorts would be."
    )
    for name, study in studies.items():
        metrics = metrics_of(study["rows"])
        rows = []
        for row in study["rows"]:
            cells = [f"{row[m][0]:.3f} [{row[m][2]:.3f}, {row[m][3]:.3f}]" for m in metrics]
            gain = row.get("gain") or {}
            cells += [
                f"{gain[m][0]:+.3f} [{gain[m][1]:+.3f}, {gain[m][2]:+.3f}]" if m in gain else "–" for m in metrics
            ]
            rows.append((row_words(row["mix"]), row["synthetic"], *cells))
        columns = ("Pre-training", "Added cines", *(m.upper() for m in metrics),
                   *(f"{m.upper()} over real alone" for m in metrics))  # fmt: skip
        title = f"{name}, n = {study['subjects']}"
        section.tables.append(Table(f"downstream_{name}", title, columns, rows))
        if part_metrics_of(study["rows"]):
            section.tables.append(_phenotypes(name, study["rows"]))
        if any(isinstance(row["mix"], int) for row in study["rows"]):
            section.figures.append(Figure(f"downstream_{name}", title, mixing_curve(study["rows"], title)))
    section.tables.append(published("downstream_published"))
    return section


def _phenotypes(name: str, rows: list[dict[str, Any]]) -> Table:
    """Return the table of single phenotypes: R² and MAE of each, one column a row of the study."""
    columns = ("Phenotype", *(row_words(row["mix"]) for row in rows))
    cells = []
    for part in [key.removeprefix("r2 ") for key in part_metrics_of(rows) if key.startswith("r2 ")]:
        found = [(row[f"r2 {part}"][0], row.get(f"mae {part}", [float("nan")])[0]) for row in rows]
        cells.append((part, *(f"{r2:.3f} ({mae:.3g})" for r2, mae in found)))
    return Table(f"downstream_{name}_each", f"{name}: R² (MAE) of each", columns, cells)


def mixing_curve(rows: list[dict[str, Any]], title: str) -> bytes:
    """Draw each metric over the share of synthetic cines, with 95 % intervals, and the rows beside as levels (SVG)."""
    metrics = metrics_of(rows)
    mixes = [row for row in rows if isinstance(row["mix"], int)]
    figure, axes = new_figure(3.4 * len(metrics), 3.0, columns=len(metrics))
    for axis, metric in zip(axes[0], metrics, strict=True):
        x, y = [row["mix"] for row in mixes], np.array([row[metric] for row in mixes], dtype=float)
        axis.fill_between(x, y[:, 2], y[:, 3], color=MAIN, alpha=0.2, linewidth=0)
        axis.plot(x, y[:, 0], "o-", color=MAIN, markersize=4, label="real + synthetic")
        levels = zip((SCRATCH, CEILING, MEAN), (INK, COLOURS[1], COLOURS[2]), (":", "--", "-."), strict=True)
        for name, colour, style in levels:
            level = next((row[metric][0] for row in rows if row["mix"] == name), None)
            if level is not None and (name != MEAN or metric == "mae"):
                axis.axhline(level, color=colour, linestyle=style, linewidth=1.0, label=name)
        axis.set_xlabel("synthetic cines, % of the real ones", fontsize=8)
        axis.set_ylabel(METRIC_WORDS.get(metric, metric), fontsize=8)
    axes[0, 0].legend(fontsize=6)
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    return svg(figure)
