"""Representative cases: contours at ED and ES and the volume curve, chosen by rule and not by eye (COF Figure 10)."""

import numpy as np
from COFGeneratorLib.figures.palette import EPICARDIUM, LV, MARK, RV

from COFTrainingLib.evaluation.groups import ecg_group
from COFTrainingLib.evaluation.pictures import picture_path
from COFTrainingLib.evaluation.plan import Plan
from COFTrainingLib.evaluation.report import figures
from COFTrainingLib.evaluation.report.section import Figure, Section
from COFTrainingLib.evaluation.run import CINE, REFERENCE
from COFTrainingLib.evaluation.store import Numbers, Store

COLOURS = {1: LV, 2: EPICARDIUM, 3: RV}
MOST_PAGES = 5


def case_figure(plan: Plan, store: Store, subject: str, method: str, title: str) -> Figure | None:
    """Return recorded and generated middle slices at ED and ES with contours and curves; None without pictures."""
    path = None if plan.store is None else picture_path(plan.store, subject, method)
    if path is None or not path.is_file():
        return None
    with np.load(path) as file:
        kept = {name: file[name] for name in file.files}
    figure, axes = figures.new_figure(9.6, 2.5, columns=5, width_ratios=[1, 1, 1, 1, 1.9])
    for axis, (phase, which) in zip(axes[0], [(p, w) for p in ("ed", "es") for w in ("true", "made")], strict=False):
        image = kept[f"{phase}_{which}"]
        rows, columns = kept["pixel_mm"]
        axis.imshow(image, cmap="gray", vmin=0, vmax=255, aspect=rows / columns, interpolation="bilinear")
        labels = kept.get(f"{phase}_{which}_labels")
        if labels is not None:
            for code, colour in COLOURS.items():
                mask = np.isin(labels, (1, 2)) if code == 2 else labels == code
                if mask.any():
                    axis.contour(mask, levels=[0.5], colors=[colour], linewidths=0.9)
        axis.set_title(f"{phase.upper()} {'recorded' if which == 'true' else 'generated'}", fontsize=8)
        axis.set_xticks([])
        axis.set_yticks([])
        axis.grid(visible=False)
    true = next(store.rows(REFERENCE, subject=subject), {})
    made = next(store.rows(CINE, method, subject), {})
    for row, name, colour in ((true, "true", figures.INK), (made, "generated", figures.COLOURS[1])):
        if row.get("curve_ml"):
            values = np.append(row["curve_ml"], row["curve_ml"][:1])
            axes[0, 4].plot(np.linspace(0, 100, len(values)), values, color=colour, linewidth=1.6, label=name)
    axes[0, 4].set_xlabel("percent of R–R", fontsize=8)
    axes[0, 4].set_title("LV volume, mL", fontsize=8)
    axes[0, 4].tick_params(labelsize=7)
    axes[0, 4].legend(frameon=False, fontsize=7)
    figure.text(0.01, 0.0, MARK, fontsize=6, color=figures.MUTED)
    return Figure(f"case_{subject}", title, figures.webp(figure), "webp")


def chosen_cases(store: Store, method: str) -> list[tuple[str, str]]:
    """Return (subject, why): the case of median EF error in all and in each of the largest ECG groups."""
    numbers = Numbers(store, CINE, ["ef_error_points"], [method])
    error = dict(zip(numbers.subjects, np.abs(numbers(method, "ef_error_points")), strict=True))
    error = {subject: value for subject, value in error.items() if np.isfinite(value)}
    groups: dict[str, list[str]] = {"all subjects": sorted(error)}
    for row in store.rows(REFERENCE):
        if row["subject"] in error:
            groups.setdefault(ecg_group(row["ecg"], row["facts"]), []).append(row["subject"])
    largest = sorted(groups, key=lambda name: -len(groups[name]))[:MOST_PAGES]
    picked: dict[str, str] = {}
    for name in largest:
        for subject in sorted(groups[name], key=lambda s: abs(error[s] - np.median([error[m] for m in groups[name]]))):
            if subject not in picked:
                picked[subject] = f"{name}, median EF error {error[subject]:.1f} points"
                break
    return list(picked.items())


def summarise(plan: Plan, store: Store) -> Section:
    """Return the section, of the main method."""
    section = Section("cases", "Representative cases")
    methods = store.methods(CINE)
    method = plan.about(methods)
    drawn = [
        case_figure(plan, store, subject, method, f"{subject}: {why}")
        for subject, why in (chosen_cases(store, method) if method else ())
    ]
    section.figures = [figure for figure in drawn if figure is not None]
    if not section.figures:
        section.not_run = "No pictures were kept: the cohort has no cine images."
        return section
    section.text.append(
        f"{method}. Chosen by rule: the subject whose EF error is the median of its group. Contours: LV cavity red, "
        "epicardium yellow, RV cavity blue; middle slice. What is generated is synthetic."
    )
    return section
