"""Failure boundary: the worst deciles, what dominates each, and whether abnormal ECGs are more often among them."""

from collections import Counter
from dataclasses import replace

import numpy as np

from COFTrainingLib.evaluation.diagnosis_groups import group_of_row
from COFTrainingLib.evaluation.plan import Plan
from COFTrainingLib.evaluation.protocols.cases import case_figure
from COFTrainingLib.evaluation.protocols.review import MODES, PAGE, REVIEW, HardCase, read_review, review_page
from COFTrainingLib.evaluation.report.papers import published
from COFTrainingLib.evaluation.report.section import Section, Table, p_shown, shown
from COFTrainingLib.evaluation.run import CINE, REFERENCE
from COFTrainingLib.evaluation.statistics import fisher_exact
from COFTrainingLib.evaluation.store import Numbers, Row, Store

DECILE = 0.10
COLLAPSED_DICE = 0.70
UNDER_POINTS = -5.0
MISMATCH_DICE = 0.85
"""At ED the anchor's own labels are compared with the reference's first frame: below this they differ."""
GALLERY = 3
OPEN = "not reviewed"


def hard_cases(ef_error: np.ndarray, dice: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return which subjects are hard, (N,) bool: invalid, or in the worst decile of EF error or of macro Dice."""
    hard = valid == 0
    for badness in (np.abs(ef_error), -dice):
        known = np.isfinite(badness)
        count = int(np.ceil(DECILE * known.sum()))
        if count:
            order = np.argsort(np.where(known, badness, -np.inf))[::-1]
            hard = hard | np.isin(np.arange(len(badness)), order[:count])
    return hard


def dominant_mode(ef_error: float, dice: float, dice_ed: float, valid: float) -> str:
    """Return what dominates a hard case."""
    if valid == 0 or dice < COLLAPSED_DICE:
        return "anatomy collapse"
    if dice_ed < MISMATCH_DICE:
        return "anchor mismatch"
    if ef_error <= UNDER_POINTS:
        return "under-contraction"
    return "over-contraction" if ef_error >= -UNDER_POINTS else "other"


def summarise(plan: Plan, store: Store) -> Section:
    """Return the section, of the main method."""
    section = Section("failures", "Failure boundary")
    numbers = Numbers(store, CINE, ["ef_error_points", "dice_macro", "valid", "es_error_frames"])
    method = plan.about(numbers.methods)
    if not method or not numbers.known(method, "dice_macro") or len(numbers.subjects) < 10:
        section.not_run = "Deciles need at least ten subjects with labels."
        return section
    ef, dice = numbers(method, "ef_error_points"), numbers(method, "dice_macro")
    valid, es = numbers(method, "valid"), numbers(method, "es_error_frames")
    hard = hard_cases(ef, dice, valid)
    reference = {row["subject"]: row for row in store.rows(REFERENCE)}
    at_ed = {row["subject"]: _dice_ed(row) for row in store.rows(CINE, method)}
    reviewed = {} if plan.review is None else read_review(plan.review)
    rows, unusual, asked = [], [], []
    by_rule, by_reader = Counter[str](), Counter[str]()
    for place, subject in enumerate(numbers.subjects):
        known = reference.get(subject, {"ecg": {}, "facts": {}})
        group, _ = group_of_row(known)
        unusual.append(group != "normal")
        if not hard[place]:
            continue
        mode = dominant_mode(ef[place], dice[place], at_ed.get(subject, 1.0), valid[place])
        by_rule[mode] += 1
        by_reader[reviewed.get(subject, OPEN)] += 1
        truth = known.get("metrics", {}).get("ef_percent")
        rows.append((subject, mode, reviewed.get(subject, "–"), group, shown(truth, 1) if truth is not None else "–",
                     shown(ef[place], 1), shown(dice[place], 3), shown(es[place])))  # fmt: skip
        figure = case_figure(plan, store, subject, method, f"Hard case {subject}, EF error {ef[place]:+.1f} points")
        facts = f"ECG {group}; EF error {shown(ef[place], 1)} points, macro Dice {shown(dice[place], 3)}."
        asked.append((-abs(ef[place]), HardCase(subject, mode, facts, figure)))
    abnormal = np.array(unusual)
    counts = [[int((hard & abnormal).sum()), int((hard & ~abnormal).sum())],
              [int((~hard & abnormal).sum()), int((~hard & ~abnormal).sum())]]  # fmt: skip
    p = fisher_exact(counts)
    total = int(hard.sum())
    section.text.append(
        f"{method}. Hard: invalid, or in the worst tenth of EF error or of macro Dice: {total} of {len(hard)} "
        f"subjects. ECG abnormal in {counts[0][0]} of {total} hard and {counts[1][0]} of {sum(counts[1])} other "
        f"subjects; Fisher’s exact test between these two disjoint groups gives p = {p_shown(p)}."
    )
    named = total - by_reader[OPEN]
    section.text.append(
        f"A reader named the mode of {named} of {total}; the rule says the same in "
        f"{sum(row[1] == row[2] for row in rows)}." if named else
        f"Modes are by rule. {PAGE} beside this report asks a reader for them; saved as {REVIEW} beside it, they are "
        "counted here by the next run of the same command."
    )  # fmt: skip
    section.tables.append(Table(
        "failures_modes", "What dominates hard cases", ("Mode", "By rule", "Percent", "By a reader", "Percent"), [
            (mode, by_rule[mode], shown(100 * by_rule[mode] / total, 1), by_reader[mode] if named else "–",
             shown(100 * by_reader[mode] / named, 1) if named and mode != OPEN else "–")
            for mode in (*MODES, *((OPEN,) if named and by_reader[OPEN] else ()))],
        "By rule, anatomy collapse: invalid or macro Dice below 0.70; anchor mismatch: Dice at ED below 0.85; under- "
        "and over-contraction: EF off by 5 points or more."))  # fmt: skip
    section.tables.append(Table(
        "failures_cases", "Hard cases", ("Subject", "Mode by rule", "By a reader", "ECG group", "True EF", "EF error",
                                         "Macro Dice", "ES error"), sorted(rows)))  # fmt: skip
    cases = [case for _, case in sorted(asked, key=lambda pair: pair[0])]
    for case in cases[:GALLERY]:
        if case.figure is not None:
            section.figures.append(replace(case.figure, name=f"failure_{case.subject}"))
    section.pages[PAGE] = review_page(f"Hard cases of {method}", cases, reviewed)
    section.tables.append(published("published_failures"))
    section.numbers = {
        "hard": total, "fisher_p": p, "modes": dict(by_rule),
        "modes_by_reader": {mode: n for mode, n in by_reader.items() if mode != OPEN},
    }  # fmt: skip
    return section


def _dice_ed(row: Row) -> float:
    """Return the mean Dice of a subject's slices at ED."""
    values = [part["dice"] for part in row.get("slices", ()) if part["phase"] == "ED" and part["dice"] is not None]
    return float(np.mean(values)) if values else 1.0
