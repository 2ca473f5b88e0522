"""Calibration of uncertainty (ours): do intervals hold what they promise, and how wide are they?"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from COFGeneratorLib.errors import CohortError
from scipy.stats import t as student

from COFTrainingLib.evaluation.comparators.methods import bundle_of
from COFTrainingLib.evaluation.comparators.models import ModelMethod, conditioned
from COFTrainingLib.evaluation.metrics.function import NATIVE_FRAMES, densely, report_of_curve
from COFTrainingLib.evaluation.plan import Plan
from COFTrainingLib.evaluation.report import figures
from COFTrainingLib.evaluation.report.section import Cell, Figure, Section, Table, shown
from COFTrainingLib.evaluation.run import OwnWork, Workplace
from COFTrainingLib.evaluation.store import Row, Store

KIND = "calibration"
DRAWS = 8
MOST_SUBJECTS = 32
LEVELS = (0.5, 0.8, 0.9, 0.95)
GIVEN = "edv_ml"
"""Comes with the anchor: draws do not spread it, so there is nothing to be calibrated."""
READ_OUTS = (("ef_percent", "EF points"), ("edv_ml", "EDV mL"), ("esv_ml", "ESV mL"), ("es_frame", "ES frames"))


def draw_one(work: Workplace, name: str) -> Row:
    """Return the read-outs of random draws of one subject, the interval that the ECG states, and the truth."""
    case = work.case(name)
    bundle = bundle_of(work.plan)
    case = replace(case, reference=None)  # images are not needed
    shared, draws = work.shared(name), []
    for draw in range(DRAWS):
        seed = work.plan.seed + 1000 * (draw + 1)
        method = ModelMethod("draw", bundle, draws=1, keep_wall=False, seed=seed, device=work.plan.device)
        _, lv_ml, _ = method.predict(case, shared).moved()
        report = report_of_curve(densely(lv_ml), case.cycle.rr_ms)
        es = report.es_time_ms / report.rr_ms * NATIVE_FRAMES
        draws.append([report.ef_percent, report.edv_ml, report.esv_ml, es])
    with torch.inference_mode():
        stated = conditioned(bundle, case, shared, work.plan.device).ef
    truth = case.truth
    if truth is None:
        raise CohortError(f"Draws are judged against true volumes; found none of {case.id}. Add labels of its cine.")
    return {
        "draws": np.array(draws),
        "truth": [truth.ef_percent, truth.edv_ml, truth.esv_ml, truth.es_frame * NATIVE_FRAMES / len(truth.lv_ml)],
        "stated": None if stated is None else list(stated.interval_percent),
        "frames": case.frames,
    }


def own_work(plan: Plan) -> OwnWork | None:
    """Draw for the first subjects; nothing without a model."""
    if not plan.models:
        return None
    subjects = plan.subjects[:MOST_SUBJECTS]
    identity = ModelMethod("", bundle_of(plan), draws=DRAWS).identity
    return OwnWork(draw_one, KIND, subjects, identity)


def prediction_interval(draws: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return (low, high) of the interval in which a further draw lies with probability ``level``, of draws (…, K)."""
    count = draws.shape[-1]
    reach = student.ppf(0.5 + level / 2, count - 1) * np.sqrt(1 + 1 / count) * draws.std(axis=-1, ddof=1)
    mean = draws.mean(axis=-1)
    return mean - reach, mean + reach


def crps(draws: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the continuous ranked probability score of draws (N, K) for truths (N,), the fair estimator."""
    count = draws.shape[1]
    near = np.abs(draws - truth[:, None]).mean(axis=1)
    apart = np.abs(draws[:, :, None] - draws[:, None]).sum(axis=(1, 2)) / (count * (count - 1))
    return near - apart / 2


def spread_read_outs(rows: list[Row]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield (label, draws (N, K), truths (N,)) of each read-out that draws spread, where all of a subject is known."""
    draws = np.array([row["draws"] for row in rows], dtype=float)  # (N, K, read-outs)
    truth = np.array([row["truth"] for row in rows], dtype=float)
    for column, (name, label) in enumerate(READ_OUTS):
        known = np.isfinite(draws[:, :, column]).all(axis=1) & np.isfinite(truth[:, column])
        if name != GIVEN:
            yield label, draws[known, :, column], truth[known, column]


def summarise(plan: Plan, store: Store) -> Section:
    """Return the section."""
    section = Section("calibration", "Calibration of uncertainty")
    rows = list(store.rows(KIND, plan.main)) if plan.main else []
    if len(rows) < 4:
        section.not_run = "Needs a model with random draws, and at least four subjects; ask for --protocol calibration."
        return section
    table: list[tuple[Cell, ...]] = []
    curves = []
    for label, part, true in spread_read_outs(rows):
        cover, width = [], []
        for level in LEVELS:
            low, high = prediction_interval(part, level)
            cover.append(100 * float(((true >= low) & (true <= high)).mean()))
            width.append(float((high - low).mean()))
        curves.append((label, cover))
        cells = [f"{c:.0f} % ({shown(w, 1)})" for c, w in zip(cover, width, strict=True)]
        error = float(np.abs(part.mean(axis=1) - true).mean())
        table.append((label, len(true), *cells, shown(float(crps(part, true).mean())), shown(error)))
    stated = [(row["stated"], row["truth"][0]) for row in rows if row.get("stated")]
    if stated:
        inside = np.array([low <= true <= high for (low, high), true in stated])
        wide = np.array([high - low for (low, high), _ in stated])
        table.append(("EF points, interval stated from the ECG", len(stated), "–", "–",
                      f"{100 * inside.mean():.0f} % ({shown(wide.mean(), 1)})", "–", "–", "–"))  # fmt: skip
    section.text.append(
        f"{DRAWS} random draws for each of {len(rows)} subjects. Coverage: how many truths lie within the interval "
        "that should hold a further draw with that probability; in brackets its mean width. What is calibrated covers "
        "what it promises, and the narrowest of those is best. EDV comes with the anchor and is left out."
    )
    section.tables.append(Table("calibration", "Coverage of intervals", ("Read-out", "N", *(f"{100 * level:.0f} %"
                                for level in LEVELS), "CRPS", "MAE of mean"), table))  # fmt: skip
    figure, axes = figures.new_figure(4.6, 4.2)
    axis = axes[0, 0]
    axis.plot([0, 100], [0, 100], color=figures.GRID, linewidth=1.2)
    for colour, (label, cover) in zip(figures.COLOURS, curves, strict=False):
        axis.plot([100 * level for level in LEVELS], cover, "o-", color=colour, label=label, markersize=4)
    axis.set_xlabel("promised, %")
    axis.set_ylabel("covered, %")
    axis.set_xlim(40, 100)
    axis.set_ylim(0, 102)
    axis.legend(frameon=False, fontsize=8)
    section.figures.append(Figure("calibration", "Promised and real coverage", figures.svg(figure),
                                  note="Below the diagonal: too sure."))  # fmt: skip
    return section
