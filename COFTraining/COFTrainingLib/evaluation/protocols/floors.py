"""What can be known of EF at all: errors of predictors without a network, beside which a model's error is read.

Where ECGs were synthesised (and in phantoms) it is known what the ECG shows of EF: no reader of it can do better than
the EF it was drawn to show. Predictors that are fitted leave out the subject that they are tried on.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from COFTrainingLib.evaluation.plan import Plan
from COFTrainingLib.evaluation.protocols.function_table import errors, numbers_of
from COFTrainingLib.evaluation.report.section import Section, Table, shown, with_interval
from COFTrainingLib.evaluation.run import REFERENCE
from COFTrainingLib.evaluation.statistics import as_number, bca_interval
from COFTrainingLib.evaluation.store import Numbers, Row, Store

ECG_NAMES = ("rr_ms", "qrsd_ms", "qt_ms", "sokolow_mv", "cornell_mv")
RIDGE = 1.0
"""Of standardised inputs, at any number of subjects: with few of them a fit must not run away."""
FEWEST = 8


def leave_one_out_means(values: np.ndarray, groups: Sequence[str] | None = None) -> np.ndarray:
    """Return for each of N values the mean of the others, of its own group where there is another in it, (N,)."""
    found = np.full(len(values), np.nan)
    for n in range(len(values)):
        others = np.isfinite(values) & (np.arange(len(values)) != n)
        alike = others & (np.array(groups) == groups[n]) if groups is not None else others
        chosen = alike if alike.any() else others
        if chosen.any():
            found[n] = values[chosen].mean()
    return found


def leave_one_out_ridge(inputs: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return for each of N values what a ridge regression on inputs (N, F), fitted to the others, says, (N,).

    NaN where too few are known; an input that is not known is its mean.
    """
    found = np.full(len(values), np.nan)
    known = np.isfinite(values)
    if known.sum() < FEWEST:
        return found
    for n in range(len(values)):
        fit = known & (np.arange(len(values)) != n)
        seen = np.isfinite(inputs[fit]).sum(axis=0)
        usable = seen > 1
        columns = inputs[:, usable]
        centre, spread = np.nanmean(columns[fit], axis=0), np.nanstd(columns[fit], axis=0)
        z = np.nan_to_num((columns - centre) / np.where(spread > 0, spread, 1.0))
        mean = values[fit].mean()
        penalty = RIDGE * np.eye(z.shape[1])
        weights = np.linalg.solve(z[fit].T @ z[fit] + penalty, z[fit].T @ (values[fit] - mean))
        found[n] = mean + z[n] @ weights
    return found


def predictors(rows: Sequence[Row]) -> dict[str, np.ndarray]:
    """Return EF in percent as each predictor says it, (N,), of reference rows; those that know nothing are left out."""

    def column(part: str, name: str) -> np.ndarray:
        return np.array([as_number(_numeric(row.get(part, {}), name)) for row in rows])

    ef = column("metrics", "ef_percent")
    groups = [str(row.get("facts", {}).get("group", "")) for row in rows]
    ecg = np.stack([column("ecg", name) for name in ECG_NAMES], axis=1)
    volume = np.log(np.maximum(column("metrics", "edv_ml"), 1.0))[:, None]
    made = {
        "constant: mean EF of the others": leave_one_out_means(ef),
        "diagnosis: mean EF of the others of the group": leave_one_out_means(ef, groups) if any(groups) else None,
        "the heart’s size: ridge on EDV": leave_one_out_ridge(volume, ef),
        "intervals and voltages of the ECG: ridge": leave_one_out_ridge(ecg, ef),
        "size and ECG: ridge": leave_one_out_ridge(np.concatenate([volume, ecg], axis=1), ef),
        "all that the ECG was drawn to show": column("metrics", "ecg_oracle_ef_percent"),
        "the EF that was measured for the ECG": column("facts", "ef_percent"),
    }
    return {name: values for name, values in made.items() if values is not None and np.isfinite(values).any()}


def _numeric(values: Mapping[str, object], name: str) -> float | None:
    value = values.get(name)
    return float(value) if isinstance(value, int | float) else None


def summarise(plan: Plan, store: Store) -> Section:
    """Return the section."""
    section = Section("floors", "What can be known")
    rows = [row for row in store.rows(REFERENCE) if as_number(row.get("metrics", {}).get("ef_percent")) > 0]
    if len(rows) < 3:
        section.not_run = "Needs at least three subjects whose EF is measured."
        return section
    ef = np.array([as_number(row["metrics"]["ef_percent"]) for row in rows])
    table = []
    for name, said in predictors(rows).items():
        error = said - ef
        table.append((name, with_interval(bca_interval(np.abs(error))), shown(float(np.nanmean(error))),
                      shown(_correlation(said, ef)), int(np.isfinite(error).sum())))  # fmt: skip
        section.numbers[name] = float(np.nanmean(np.abs(error)))
    numbers = numbers_of(store)
    for method in _methods(plan, numbers):
        error, signed = errors(numbers, method, "ef_error_points"), numbers(method, "ef_error_points")
        table.append((method, with_interval(bca_interval(error)), shown(float(np.nanmean(signed))),
                      shown(_correlation(numbers(method, "ef_percent"), _true(store, numbers.subjects))),
                      int(np.isfinite(error).sum())))  # fmt: skip
    section.text.append(
        f"{len(rows)} subjects. The lower rows are methods, the upper ones need no network: each says EF from one "
        "thing "
        "alone, fitted to the other subjects. “All that the ECG was drawn to show” is the EF that contractility, "
        "infarct "
        "and conduction, from which a synthetic ECG is drawn, stand for: the rest of a heart’s EF is in no lead, and "
        "no "
        "reader of the ECG can err less. “The EF that was measured for the ECG” says how far two readings of the same "
        "heart’s EF lie apart: below it nothing is told by this cohort."
    )
    section.tables.append(Table(
        "floors", "Errors of EF that need no network, and of methods", ("Known", "EF MAE points", "Bias", "r", "N"),
        table,
        "Mean absolute error [95 % BCa interval over subjects].",
    ))  # fmt: skip
    return section


def _methods(plan: Plan, numbers: Numbers) -> list[str]:
    named = [name for name, _ in (*plan.models, *plan.comparators, *plan.predictions)]
    known = [name for name in numbers.methods if numbers.known(name, "ef_error_points")]
    return [name for name in known if name in named or name == "copy anchor"]


def _true(store: Store, subjects: Sequence[str]) -> np.ndarray:
    ef = {row["subject"]: as_number(row.get("metrics", {}).get("ef_percent")) for row in store.rows(REFERENCE)}
    return np.array([ef.get(subject, np.nan) for subject in subjects])


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return Pearson's r of two series; NaN where one does not vary."""
    known = np.isfinite(one) & np.isfinite(other)
    if known.sum() < 3 or np.ptp(one[known]) < 1e-9 or np.ptp(other[known]) < 1e-9:
        return float("nan")
    return float(np.corrcoef(one[known], other[known])[0, 1])
