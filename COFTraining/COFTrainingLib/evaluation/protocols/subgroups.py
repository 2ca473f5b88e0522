"""Function by ECG group, heart rate, sex, age and ECG status, with bootstrap distributions (COF Figure 9)."""

from collections.abc import Callable

import numpy as np

from COFTrainingLib.evaluation.diagnosis_groups import STATED, group_of_row
from COFTrainingLib.evaluation.groups import GROUPS
from COFTrainingLib.evaluation.plan import Plan
from COFTrainingLib.evaluation.protocols.function_table import errors, numbers_of
from COFTrainingLib.evaluation.report import figures
from COFTrainingLib.evaluation.report.section import Cell, Figure, Section, Table, shown, with_interval
from COFTrainingLib.evaluation.run import REFERENCE
from COFTrainingLib.evaluation.statistics import bca_interval, bootstrap_means, correlation_interval
from COFTrainingLib.evaluation.store import Numbers, Row, Store

METRICS = (
    ("esv_error_ml", "ESV MAE mL"), ("ef_error_points", "EF MAE points"), ("sv_error_ml", "SV MAE mL"),
    ("curve_rmse_ml", "Curve RMSE mL"), ("es_error_frames", "ES error frames"),
)  # fmt: skip
FEWEST = 3
AGES = (55.0, 65.0, 75.0)


def groupings(rows: dict[str, Row]) -> dict[str, dict[str, str]]:
    """Return grouping → subject → group, of reference rows with ``ecg`` and ``facts``."""
    rates = np.array([row["ecg"]["hr_bpm"] for row in rows.values()], dtype=float)
    low, high = np.percentile(rates, [100 / 3, 200 / 3])

    def tertile(row: Row) -> str:
        rate = row["ecg"]["hr_bpm"]
        return f"HR ≤ {low:.0f}" if rate <= low else f"HR {low:.0f}–{high:.0f}" if rate <= high else f"HR > {high:.0f}"

    def age(row: Row) -> str:
        years = row["facts"].get("age_years")
        if years is None:
            return ""
        edges = [bound for bound in AGES if float(years) >= bound]
        return f"age < {AGES[0]:.0f}" if not edges else f"age ≥ {edges[-1]:.0f}"

    def sex(row: Row) -> str:
        return {"m": "male", "f": "female"}.get(str(row["facts"].get("sex", "")).lower()[:1], "")

    def group(row: Row) -> str:
        return group_of_row(row)[0]

    def status(row: Row) -> str:
        return "ECG normal" if group(row) == "normal" else "ECG abnormal"

    makers: dict[str, Callable[[Row], str]] = {
        "ECG group": group, "ECG status": status, "heart rate": tertile, "sex": sex, "age": age,
    }  # fmt: skip
    return {
        name: {subject: label for subject, row in rows.items() if (label := make(row))} for name, make in makers.items()
    }


def _place(label: str) -> tuple[int | bool | str, ...]:
    """Return where a group stands among its own kind: as listed, or from low to high."""
    return (GROUPS.index(label),) if label in GROUPS else ("≤" not in label, ">" in label, label)


def summarise(plan: Plan, store: Store) -> Section:
    """Return the section, of the main method."""
    section = Section("subgroups", "Subgroups")
    numbers = numbers_of(store)
    reference = {row["subject"]: row for row in store.rows(REFERENCE)}
    method = plan.about(numbers.methods)
    if not method or not numbers.known(method, "valid"):
        section.not_run = "No function was measured."
        return section
    truth = Numbers(store, REFERENCE, ["ef_percent", "esv_ml"], [REFERENCE])
    true_ef = dict(zip(truth.subjects, truth(REFERENCE, "ef_percent"), strict=True))
    measured = {name: errors(numbers, method, name) for name, _ in METRICS}
    signed, found = numbers(method, "ef_error_points"), numbers(method, "ef_percent")
    rows: list[tuple[Cell, ...]] = []
    ridge = [("all", bootstrap_means(measured["ef_error_points"]))]
    sets = groupings({s: reference[s] for s in numbers.subjects if s in reference})
    for grouping, members in sets.items():
        labels = sorted(set(members.values()), key=_place)
        for label in labels:
            where = np.array([members.get(subject) == label for subject in numbers.subjects])
            n = int(where.sum())
            if n < FEWEST:
                rows.append((f"{grouping}: {label}", n, *("–",) * (len(METRICS) + 2)))
                continue
            cells = [with_interval(bca_interval(measured[name][where], resamples=2000)) for name, _ in METRICS]
            ef = np.array([true_ef.get(s, np.nan) for s in numbers.subjects])
            r = correlation_interval(found[where], ef[where], resamples=1000)
            rows.append((f"{grouping}: {label}", n, *cells, shown(float(np.nanmean(signed[where]))), shown(r.value)))
            ridge.append((f"{label} ({n})", bootstrap_means(measured["ef_error_points"][where])))
    stated = sum(group_of_row(row)[1] == STATED for row in reference.values())
    section.text.append(
        f"{method}. ECG groups come from diagnosis statements in {stated} of {len(reference)} subjects (SNOMED CT, "
        "SCP, or "
        "the device’s words: the table of mappings is on the documentation’s page), else from measurements (QRS ≥ 120 "
        "ms: "
        "bundle branch block, PR > 200 ms: AV block, and so on; an infarct is taken from the manifest). Groups of "
        "fewer than three subjects are counted, not judged; "
        "in small groups intervals are wide, and that is what they say."
    )
    section.tables.append(Table("subgroups", "Function by subgroup", ("Group", "N", *(label for _, label in METRICS),
                                "EF bias", "r of EF"), rows))  # fmt: skip
    mean = float(np.nanmean(measured["ef_error_points"]))
    section.figures.append(Figure(
        "subgroups_ridges", "Bootstrap distributions of the mean EF error by subgroup",
        figures.ridges(ridge, "EF, mean absolute error (points)", "EF error by subgroup", mean),
        note="500 bootstrap means each; dashed: all subjects.",
    ))  # fmt: skip
    return section
