"""This engine's figures as the page, tables and numbers that every evaluation of the product writes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from COFGeneratorLib import __version__
from COFGeneratorLib.errors import CohortError
from COFGeneratorLib.files import write_json

from COFTrainingLib.evaluation.report.figures import forest, scatter_fits
from COFTrainingLib.evaluation.report.page import Page, write_page
from COFTrainingLib.evaluation.report.papers import published
from COFTrainingLib.evaluation.report.section import Cell, Figure, Section, Table, p_shown
from COFTrainingLib.evaluation.store import jsonable
from COFTrainingLib.studies.ecgflowcmr.downstream_section import downstream_section
from COFTrainingLib.studies.ecgflowcmr.heldout import r_words

NOTICE = "Synthetic cines of synthetic hearts, for research use only. The anatomy is NOT the patient's."
LEAD = (
    "Cines of one plane from the ECG alone, on phantoms that no training saw. A cine can follow an ECG in timing and "
    "in degree of contraction; it cannot follow it in anatomy."
)
OWN = "own ECG"
ARM_COLUMNS = (
    "Arm", "FAC error, points", "r(FAC, true)", "ES error, frames of 50", "r(ES, true)", "AUC of EF < 50 %",
    "Not measurable",
)  # fmt: skip


def write_ecgflow_report(
    out: Path,
    figures: dict[str, Any],
    *,
    curve: dict[str, Any] | None = None,
    ablations: dict[str, list[dict[str, Any]]] | None = None,
    downstream: dict[str, Any] | None = None,
    sheet: bytes | None = None,
) -> Path:
    """Write ``report.html``, ``metrics.json`` and ``tables/*.csv``; returns the page's path.

    Args:
        out: Folder.
        figures: JSON of ``Testing/Benchmarks/ecgflowcmr_heldout.py``.
        curve: JSON of its part ``curve``, where that was run apart.
        ablations: Content of ``ablations.json``.
        downstream: Content of ``downstream.json``.
        sheet: PNG of real clips beside generated ones.

    Raises:
        CohortError: If the figures hold nothing that a report shows.
    """
    makers: tuple[tuple[Callable[[Any], Section], Any], ...] = (
        (_arms, figures.get("arms") and figures),
        (_curve, (curve or figures).get("curve")),
        (_ablations, ablations),
        (_boundaries, figures.get("boundaries")),
        (_speed, figures.get("speed") and figures),
        (downstream_section, downstream),
    )
    sections = [maker(content) for maker, content in makers if content]
    if not sections:
        raise CohortError(
            "Figures of Testing/Benchmarks/ecgflowcmr_heldout.py (--json) were expected; found none of their parts. "
            "Name that file."
        )
    if sheet is not None:
        words = "Real above, generated from the same subject's ECG below. Anatomy is drawn: it need not agree."
        sections[0].figures.append(Figure("sheet", "Held-out subjects", sheet, "png", words))
    sections.append(_provenance(figures))
    numbers = {
        "notice": NOTICE, "engine": "ecgflowcmr", "weights_sha256": figures.get("weights_sha256"),
        "protocols": {section.name: section.numbers for section in sections if section.numbers},
    }  # fmt: skip
    write_json(out / "metrics.json", jsonable(numbers))
    return write_page(out, Page("ECGFlowCMR: does the cine follow the ECG?", NOTICE, LEAD, sections, OWN))


def _arms(figures: dict[str, Any]) -> Section:
    rows: list[tuple[Cell, ...]] = [
        (arm, row["fac_mae_points"], r_words(row["fac_r"]), row["es_mae_frames"], r_words(row["es_r"]),
         row["weak_auc"], row["unmeasurable"])
        for arm, row in figures["arms"].items()
    ]  # fmt: skip
    values = figures["subject_values"]
    section = Section("arms", "The ECG against what knows none", numbers={"arms": figures["arms"]})
    section.text.append(
        "Fractional area change (FAC) and end-systole (ES) of the LV by the plane segmenter on generated frames, by "
        "the true labels for the phantom. Shuffled: another phantom's ECG with the same noise."
    )
    note = f"{len(values['ef'])} phantoms; correlations with their 95 % bootstrap interval over subjects."
    section.tables.append(Table("arms", "Arms", ARM_COLUMNS, rows, note))
    pairs = [
        (name.upper(), pair["wins"], pair["losses"], p_shown(pair["p_sign"]))
        for name, pair in figures["own_against_shuffled"].items()
    ]
    columns: tuple[str, ...] = ("Own against shuffled ECG", "Own nearer", "Shuffled nearer", "p (sign test)")
    section.tables.append(Table("own_against_shuffled", "Own against shuffled ECG, subject by subject", columns, pairs))
    if figures.get("reading"):
        told = figures["reading"]
        columns = ("Phenotype", "Error, points", "Error of the median", "r", "AUC of EF < 50 %")
        row = ("EF", told["ef_mae_points"], told["constant_mae_points"], r_words(told["ef_r"]), told["weak_auc"])
        words = "Read by the phenotype head from the ECG, before any image is made."
        section.tables.append(Table("reading", "What the ECG tells before any image", columns, [row], words))
        section.numbers["reading"] = told
    true = np.array(values["true"], dtype=float)
    for column, (name, scale, label, title, caption) in enumerate((
        ("fac", 1, "FAC, %", "Contraction", "FAC, one draw each"),
        ("es", 50, "ES, frames of 50", "Timing", "End-systole, one draw each"),
    )):  # fmt: skip
        groups = [(f"{key} ECG", scale * true[:, column], scale * np.array(values[key], dtype=float)[:, column])
                  for key in ("own", "shuffled")]  # fmt: skip
        picture = scatter_fits(groups, f"true {label}", f"generated {label}", title)
        section.figures.append(Figure(name, caption, picture))
    if "counterfactual_rate" in figures:
        rate = figures["counterfactual_rate"]
        row = (f"{rate['slow_bpm']:.0f} → {rate['fast_bpm']:.0f}/min", rate["subjects"], rate["shift_frames"],
               rate["true_shift_frames"], rate["right_direction"])  # fmt: skip
        columns = ("Heart rate", "Subjects", "ES moves by, frames of 50", "True", "Right direction")
        section.tables.append(Table("counterfactual_rate", "Counterfactual heart rate", columns, [row]))
        section.numbers["counterfactual_rate"] = rate
    if "frechet" in figures:
        rows = [(name, f"{value:.2g}") for name, value in figures["frechet"].items() if name not in ("n", "d")]
        words = f"On {figures['frechet']['d']} features of the plane segmenter, n = {figures['frechet']['n']}: not FID."
        section.tables.append(Table("frechet", "Fréchet distance to real clips", ("Clips", "Distance"), rows, words))
        section.numbers["frechet"] = figures["frechet"]
    return section


def _curve(rows: list[dict[str, Any]]) -> Section:
    cells = [
        (f"{row['guidance']:g}", f"{row['alpha']:g}", row["fac_mae_points"], r_words(row["fac_r"]),
         row["es_mae_frames"], r_words(row["es_r"]))
        for row in rows
    ]  # fmt: skip
    section = Section("curve", "Guidance and noise", numbers={"curve": rows})
    columns = ("Guidance", "α", *ARM_COLUMNS[1:5])
    section.tables.append(Table("curve", "Guidance and noise on the template", columns, cells, "One draw each."))
    lines = [(f"guidance {row['guidance']:g}, α {row['alpha']:g}", *row["fac_r"]) for row in rows]
    lines = [line for line in lines if None not in line and not np.isnan(line[1])]
    if lines:
        section.figures.append(Figure("curve", "r(FAC, true)", forest(lines, "r(FAC, true)", "Guidance and noise")))
    return section


def _ablations(found: dict[str, list[dict[str, Any]]]) -> Section:
    section = Section("ablations", "Components", numbers={"ablations": found})
    titles = {
        "knock_outs": ("One thing taken away from the finished model", "Nothing is trained: what the model uses."),
        "trained": (
            "One component taken out before training",
            "Small flows on the same latents, with the same steps: rows compare with each other, not with the model.",
        ),
    }
    columns = ("Flow", "FAC error, points", "r(FAC, true)", "Own nearer than shuffled, FAC", "ES error, frames of 50",
               "r(ES, true)", "Own nearer than shuffled, ES")  # fmt: skip
    for kind, rows in found.items():
        cells = []
        for row in rows:
            pairs = row["own_against_shuffled"]
            told = [f"{pairs[name]['wins']} of {pairs[name]['wins'] + pairs[name]['losses']}" for name in ("fac", "es")]
            cells.append((row["name"], row["fac_mae_points"], r_words(row["fac_r"]), told[0], row["es_mae_frames"],
                          r_words(row["es_r"]), told[1]))  # fmt: skip
        if cells:
            section.tables.append(Table(f"ablations_{kind}", titles[kind][0], columns, cells, titles[kind][1]))
    return section


def _boundaries(found: dict[str, Any]) -> Section:
    rows = [
        (f"{encoder}, {group}, {name}", row["beats"], row["median_ms"], row["p95_ms"], row["within_20_ms"],
         row["missed"], row["extra"])
        for encoder, groups in found.items()
        for group, records in groups.items()
        for name, row in records.items()
    ]  # fmt: skip
    section = Section("boundaries", "Cycle boundaries against R", numbers={"boundaries": found})
    columns = ("Encoder and records", "Beats", "Median, ms", "95 %, ms", "Within 20 ms", "Missed", "Extra")
    section.tables.append(Table("boundaries", "Boundaries told by the phase head", columns, rows))
    return section


def _speed(figures: dict[str, Any]) -> Section:
    section = Section("speed", "Time", numbers={"speed": figures["speed"]})
    rows = list(figures["speed"].items())
    section.tables.append(Table("speed", "Seconds on this machine's CPU", ("What", "Value"), rows))
    section.tables.append(published("speed_published"))
    return section


def _provenance(figures: dict[str, Any]) -> Section:
    rows = [("chainofflow", __version__), ("weights", figures.get("weights_sha256", "–")),
            ("subjects", figures.get("subjects")), ("first seed", figures.get("seed"))]  # fmt: skip
    section = Section("provenance", "How this was made")
    section.tables.append(Table("provenance", "Provenance", ("What", "Value"), rows))
    return section
