"""Function table: volumes, EF, curve and timing of every method, with paired tests against each."""

import numpy as np

from COFTrainingLib.evaluation.metrics.function import NATIVE_FRAMES
from COFTrainingLib.evaluation.plan import Plan
from COFTrainingLib.evaluation.report import figures
from COFTrainingLib.evaluation.report.papers import published
from COFTrainingLib.evaluation.report.section import Cell, Figure, Section, Table, p_shown, shown, with_interval
from COFTrainingLib.evaluation.run import CINE, REFERENCE
from COFTrainingLib.evaluation.statistics import bca_interval, compare_family, correlation_interval, known_mean
from COFTrainingLib.evaluation.store import Numbers, Store

FAMILY = (
    ("esv_error_ml", "ESV MAE mL"), ("ef_error_points", "EF MAE points"), ("sv_error_ml", "SV MAE mL"),
    ("curve_rmse_ml", "Curve RMSE mL"), ("es_error_frames", "ES error, frames of 50"),
)  # fmt: skip
"""The five metrics of the papers' bundle, over which Holm's correction runs within each comparator."""
FURTHER = (
    ("edv_error_ml", "EDV MAE mL"), ("co_error_l_min", "CO MAE L/min"),
    ("es_argmin_error_frames", "ES (argmin), frames of 50"),
    ("curve_correlation", "Curve r"), ("labels_ef_error_points", "EF MAE against labels"),
    ("labels_curve_rmse_ml", "RMSE against labels"),
)  # fmt: skip
AGREEMENT = (("edv_ml", "EDV"), ("esv_ml", "ESV"), ("sv_ml", "SV"), ("ef_percent", "EF"), ("co_l_min", "CO"))
STILL_ES_SHARE = 0.25
"""A heart that stands still has no ES; it is charged what a random one would err by, a quarter of the cycle."""


def numbers_of(store: Store) -> Numbers:
    """Return the numbers that function tables are made of."""
    names = [*FAMILY, *FURTHER, *AGREEMENT, ("valid", ""), ("es_frame", "")]
    return Numbers(store, CINE, [name for name, _ in names])


def errors(numbers: Numbers, method: str, metric: str) -> np.ndarray:
    """Return absolute errors, (N,); ES of a heart that stands still is charged as a random one."""
    values = np.abs(numbers(method, metric))
    if metric.startswith("es_"):
        values = np.where(
            np.isnan(values) & np.isfinite(numbers(method, "valid")), STILL_ES_SHARE * NATIVE_FRAMES, values
        )
    return values


def summarise(plan: Plan, store: Store) -> Section:
    """Return the section."""
    section = Section("function", "Function table")
    numbers = numbers_of(store)
    methods = [m for m in numbers.methods if numbers.known(m, "valid")]
    if not methods:
        section.not_run = "No volumes were measured: neither the cohort nor the predictions have labels."
        return section
    source = _truth(store)
    main = plan.about(methods)
    rows: list[tuple[Cell, ...]] = []
    further = []
    for method in methods:
        values = [bca_interval(errors(numbers, method, name)) for name, _ in FAMILY]
        bias = float(np.nanmean(numbers(method, "ef_error_points")))
        invalid = int((numbers(method, "valid") == 0).sum())
        rows.append((method, *(with_interval(value) for value in values), shown(bias), invalid))
        further.append((method, *(shown(_mean(numbers, method, name)) for name, _ in FURTHER)))
        section.numbers[method] = {
            **{name: value.value for (name, _), value in zip(FAMILY, values, strict=True)}, "ef_bias_points": bias,
            "invalid": invalid, "subjects": values[0].n,
        }  # fmt: skip
    section.text.append(
        f"Truth: {source}. Mean absolute error over subjects with its 95 % interval (BCa bootstrap of subjects, 5,000 "
        f"resamples); ES at the centre of the plateau, in frames of 50 (2 % of the cycle each). Invalid hearts (EDV "
        "below 10 mL) are counted and charged their whole true volumes, 100 points of EF and half a cycle. A heart "
        "that stands still has no ES and is charged a quarter of the cycle, what a random ES errs by."
    )
    head = ("Method", *(label for _, label in FAMILY), "EF bias", "Invalid")
    section.tables.append(Table("function", "Errors of function", head, rows))
    section.tables.append(Table(
        "function_further", "Further errors of function", ("Method", *(label for _, label in FURTHER)), further,
        "“Against labels”: against volumes measured in the labels of the recorded cine, as the papers do; on phantoms "
        "those labels carry the partial volume of thick slices, which the closed form does not.",
    ))  # fmt: skip
    section.tables.append(_paired(numbers, main, methods))
    section.tables.append(_agreement(numbers, store, methods))
    section.figures += _figures(numbers, methods, main)
    section.tables.append(published("published_function"))
    return section


def _truth(store: Store) -> str:
    """Return where the truth is from."""
    rows = list(store.rows(REFERENCE))
    sources = sorted({row["truth_source"] for row in rows if "truth_source" in row})
    said = {"closed form": "the phantom's closed form, scaled to the labelled anchor",
            "reference labels": "volumes in the labels of the recorded cine"}  # fmt: skip
    return "; ".join(said[source] for source in sources)


def _mean(numbers: Numbers, method: str, metric: str) -> float:
    values = numbers(method, metric) if "correlation" in metric else errors(numbers, method, metric)
    return known_mean(values)


def _paired(numbers: Numbers, main: str, methods: list[str]) -> Table:
    """Return the main method against each other one."""
    rows = []
    for method in methods:
        if method == main:
            continue
        first, second = ({name: errors(numbers, m, name) for name, _ in FAMILY} for m in (main, method))
        for (_, label), pair in zip(FAMILY, compare_family(first, second).values(), strict=True):
            total = pair.wins + pair.losses + pair.ties
            rows.append((method, label, f"{pair.wins} / {total}", pair.ties, with_interval(pair.difference),
                         p_shown(pair.p_sign), p_shown(pair.p_holm), p_shown(pair.p_wilcoxon)))  # fmt: skip
    return Table(
        "function_paired", f"{main} against each comparator, paired by subject",
        ("Comparator", "Metric", f"{main} closer", "Ties", "Mean difference", "Sign test p", "after Holm",
         "Wilcoxon p"),
        rows, "Exact two-sided sign test, Holm over the five metrics of a comparator; the difference of mean errors "
        "has a BCa interval (negative: the model errs less).",
    )  # fmt: skip


def _agreement(numbers: Numbers, store: Store, methods: list[str]) -> Table:
    """Return Pearson's r of found against true read-outs over subjects."""
    truth = Numbers(store, REFERENCE, [name for name, _ in AGREEMENT])
    order = {subject: place for place, subject in enumerate(truth.subjects)}
    where = [order[s] for s in numbers.subjects if s in order]
    keep = [place for place, s in enumerate(numbers.subjects) if s in order]
    rows = []
    for method in methods:
        cells = [
            with_interval(correlation_interval(numbers(method, name)[keep], truth(REFERENCE, name)[where]))
            for name, _ in AGREEMENT
        ]
        rows.append((method, *cells))
    return Table(
        "function_agreement", "Correlation of found and true function over subjects",
        ("Method", *(label for _, label in AGREEMENT)), rows,
        "Pearson's r with a percentile bootstrap interval. EDV comes with the anchor, whatever the method.",
    )  # fmt: skip


def _figures(numbers: Numbers, methods: list[str], main: str) -> list[Figure]:
    rows = []
    for method in [main, *(m for m in methods if m != main)]:
        value = bca_interval(errors(numbers, method, "ef_error_points"))
        rows.append((method, value.value, value.low, value.high))
    near = [row for row in rows if row[1] < 30]
    note = "" if len(near) == len(rows) else "Not shown, because off the scale: " + ", ".join(
        f"{name} ({value:.0f})" for name, value, *_ in rows if value >= 30) + "."  # fmt: skip
    chosen = [m for m in methods if not m.startswith(f"{main} ·") or m.endswith(("null ECG", "shuffled ECG"))]
    values = {m: [_mean(numbers, m, name) for name, _ in FAMILY] for m in chosen if m != "copy anchor"}
    labels = [label.split(" MAE")[0].split(",")[0] for _, label in FAMILY]
    return [
        Figure("function_forest", "EF error of every method",
               figures.forest(near, "EF, mean absolute error (points)", "EF error with 95 % interval"), note=note),
        Figure("function_radar", "Function bundle at a glance",
               figures.radar(labels, values, [True] * len(labels), "Function metrics, min–max (outside: best)"),
               note="The anchor copied is left out: it would squeeze all others together."),
    ]  # fmt: skip
