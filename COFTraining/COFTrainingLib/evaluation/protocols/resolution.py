"""Does agreement depend on the acquired resolution? (COF Figure 6)"""

from itertools import pairwise

import numpy as np

from COFTrainingLib.evaluation.plan import Plan
from COFTrainingLib.evaluation.report import figures
from COFTrainingLib.evaluation.report.section import Figure, Section, Table, shown
from COFTrainingLib.evaluation.run import CINE, REFERENCE
from COFTrainingLib.evaluation.statistics import correlation_interval
from COFTrainingLib.evaluation.store import Numbers, Store

STRUCTURES = (("lv", "LV"), ("myo", "Myo"), ("rv", "RV"))
METRICS = (("dice_{}", "Dice"), ("iou_{}", "IoU"), ("hd95_{}_mm", "HD95 mm"))
BINS = 4


def summarise(plan: Plan, store: Store) -> Section:
    """Return the section, of the main method."""
    section = Section("resolution", "Acquired resolution")
    names = [pattern.format(code) for pattern, _ in METRICS for code, _ in STRUCTURES]
    numbers = Numbers(store, CINE, names)
    method = plan.about(numbers.methods)
    spacing = Numbers(store, REFERENCE, ["spacing_plane_mm", "spacing_slice_mm"], [REFERENCE])
    size = dict(zip(spacing.subjects, spacing(REFERENCE, "spacing_plane_mm"), strict=True))
    x = np.array([size.get(subject, np.nan) for subject in numbers.subjects])
    known = x[np.isfinite(x)]
    if not method or not numbers.known(method, "dice_lv") or len(known) < 4 or np.ptp(known) < 0.05:
        section.not_run = "Needs labels of at least four subjects with pixels of different size."
        return section
    edges = np.linspace(known.min(), known.max(), BINS + 1)
    rows = []
    for pattern, label in METRICS:
        groups = []
        for code, name in STRUCTURES:
            y = numbers(method, pattern.format(code))
            groups.append((f"{name}", x, y))
            r = correlation_interval(x, y)
            digits = 1 if "HD" in label else 3
            cells = []
            for low, high in pairwise(edges):
                inside = y[(x >= low) & ((x < high) | (high == edges[-1])) & np.isfinite(y)]
                cells.append(f"{shown(inside.mean(), digits)} ± {shown(inside.std(), digits)} ({len(inside)})"
                             if len(inside) else "–")  # fmt: skip
            rows.append((f"{label} {name}", *cells, f"{shown(r.value)} [{shown(r.low)}, {shown(r.high)}]"))
        drawn = figures.scatter_fits(groups, "pixel mm", label, f"{label}, mean over frames, by pixel size")
        section.figures.append(
            Figure(f"resolution_{label.split()[0].lower()}", f"{label} by acquired pixel size", drawn)
        )
    heads = [f"{low:.2f}–{high:.2f} mm" for low, high in pairwise(edges)]
    section.text.append(
        f"{method}. Each point is a subject: mean over frames of the 3-D metric, against its pixel size."
    )
    section.tables.append(Table("resolution", "Agreement by pixel size", ("Metric", *heads, "r with pixel size"), rows,
                                "Mean ± SD (subjects) in bins of equal width; r with its interval."))  # fmt: skip
    return section
