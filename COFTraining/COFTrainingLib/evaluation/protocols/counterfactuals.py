"""ECG counterfactuals (ours): another ECG on the same anchor must move what physiology says it moves."""

import numpy as np
import torch

from COFTrainingLib.cohort.manifest import read_cohort
from COFTrainingLib.evaluation.comparators.methods import bundle_of, loaded
from COFTrainingLib.evaluation.counterfactuals import heart_rate_shift, infarct_territories
from COFTrainingLib.evaluation.plan import Plan
from COFTrainingLib.evaluation.protocols.function_table import errors, numbers_of
from COFTrainingLib.evaluation.report import figures
from COFTrainingLib.evaluation.report.section import Figure, Section, Table, p_shown, shown, with_interval
from COFTrainingLib.evaluation.run import REFERENCE, OwnWork, Workplace
from COFTrainingLib.evaluation.statistics import as_number, bca_interval, compare_pair, correlation_interval
from COFTrainingLib.evaluation.store import Numbers, Row, Store

KIND = "counterfactuals"
MOST_SUBJECTS = 16
TERRITORIES = ("anterior", "inferior", "lateral")


def ask_one(work: Workplace, name: str) -> Row:
    """Return how one phantom's motion answers to another heart rate and to infarcts."""
    bundle, seed = loaded(work.plan.models[0][1]), int(work.subjects[name].facts["seed"])
    with torch.inference_mode():
        return {"metrics": {**heart_rate_shift(bundle, 1, seed), **infarct_territories(bundle, 1, seed)}}


def own_work(plan: Plan) -> OwnWork | None:
    """Ask the first subjects; nothing on cohorts that are not phantoms."""
    if not plan.models or read_cohort(plan.cohort).header.kind != "phantom":
        return None
    identity = bundle_of(plan).weights_sha256[:16]
    return OwnWork(ask_one, KIND, plan.subjects[:MOST_SUBJECTS], identity)


def summarise(plan: Plan, store: Store) -> Section:
    """Return the section."""
    section = Section("counterfactuals", "ECG counterfactuals")
    numbers = numbers_of(store)
    null, other = f"{plan.main} · null ECG", f"{plan.main} · shuffled ECG"
    if plan.main in numbers.methods and null in numbers.methods and numbers.known(plan.main, "valid"):
        section.tables.append(_use_of_ecg(numbers, plan.main, null, other))
        followed = _followed(plan, store, numbers, other)
        if followed is not None:
            section.tables.append(followed[0])
            section.figures.append(followed[1])
    rows = [row["metrics"] for row in store.rows(KIND, plan.main)] if plan.main else []
    if rows:
        section.tables.append(_answers(rows))
    elif not section.tables:
        section.not_run = "Needs a model, and a cohort of phantoms for questions with known answers."
    if not rows and section.tables:
        section.text.append("Heart rate and infarct questions need phantoms and --protocol counterfactuals.")
    return section


def _use_of_ecg(numbers: Numbers, main: str, null: str, other: str) -> Table:
    rows = []
    for label, metric in (
        ("EF points", "ef_error_points"),
        ("ES frames", "es_error_frames"),
        ("RMSE mL", "curve_rmse_ml"),
    ):
        own = errors(numbers, main, metric)
        for name, method in (("no ECG", null), ("another subject’s ECG", other)):
            if method in numbers.methods:
                pair = compare_pair(own, errors(numbers, method, metric))
                rows.append((f"{label}: own ECG against {name}", f"{pair.wins} / {pair.wins + pair.losses + pair.ties}",
                             with_interval(pair.difference), p_shown(pair.p_sign)))  # fmt: skip
    return Table("counterfactuals_use", "Does the model use the ECG?", ("Question", "own ECG closer", "Mean difference",
                 "Sign test p"), rows, "Negative: the own ECG errs less. The same weights.")  # fmt: skip


def _followed(plan: Plan, store: Store, numbers: Numbers, other: str) -> tuple[Table, Figure] | None:
    """Return whether a heart under another's ECG takes over the other's EF and ES."""
    if other not in numbers.methods:
        return None
    truth = Numbers(store, REFERENCE, ["ef_percent", "es_frame"], [REFERENCE])
    known = {s: place for place, s in enumerate(truth.subjects)}
    keep = [n for n, s in enumerate(numbers.subjects) if s in plan.subjects and {s, plan.partner(s)} <= known.keys()]
    own = [known[numbers.subjects[n]] for n in keep]
    partner = [known[plan.partner(numbers.subjects[n])] for n in keep]
    if len(keep) < 4:
        return None
    rows, groups = [], []
    for metric, label in (("ef_percent", "EF"), ("es_frame", "ES")):
        true, found = truth(REFERENCE, metric), numbers(other, metric)[keep]
        of_partner = true[partner]
        r_partner = correlation_interval(found, of_partner)
        r_own = correlation_interval(found, true[own])
        rows.append((label, with_interval(r_partner), with_interval(r_own)))
        groups.append((f"{label} of the ECG’s owner", of_partner, found))
    table = Table("counterfactuals_swap", "A heart under somebody else’s ECG: whose function does it show?",
                  ("Read-out", "r with the ECG’s owner", "r with the anchor’s owner"), rows)  # fmt: skip
    drawn = figures.scatter_fits(groups, "true value of the ECG’s owner", "found", "Swapped ECGs")
    return table, Figure("counterfactuals_swap", "Function found under a swapped ECG, against the ECG’s owner", drawn)


def _answers(rows: list[dict[str, float | None]]) -> Table:
    def column(name: str) -> np.ndarray:
        return np.array([as_number(row.get(name)) for row in rows])

    out = [
        ("ES from 50 to 90 bpm, frames of 50", with_interval(bca_interval(column("hr_shift_found_frames"))),
         shown(float(np.nanmean(column("hr_shift_true_frames"))))),
    ]  # fmt: skip
    for name in TERRITORIES:
        share = 100 * np.nanmean(column(f"infarct_{name}_share"))
        out.append(
            (f"{name} infarct: motion falls most in its territory, % of anchors", shown(share, 0), "100 (chance 33)")
        )
    drop = 100 * np.nanmean(column("infarct_mean_drop"))
    out.append(("inward motion lost in the infarct’s territory, %", shown(drop, 0), "–"))
    return Table("counterfactuals_answers", f"Questions with known answers ({len(rows)} anchors)",
                 ("Question", "Found", "True"), out, "ECGs that differ in one thing.")  # fmt: skip
