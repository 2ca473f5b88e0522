"""Anatomy over the whole beat, regional function, and motion against motion that is known."""

from collections.abc import Sequence

import numpy as np

from COFTrainingLib.evaluation.plan import Plan
from COFTrainingLib.evaluation.report.section import Section, Table, shown
from COFTrainingLib.evaluation.run import CINE
from COFTrainingLib.evaluation.store import Numbers, Store

Columns = Sequence[tuple[str, str, int]]
"""(metric, heading, digits)."""
OVERLAP = (
    ("dice_lv", "Dice LV", 3), ("dice_myo", "Dice myo", 3), ("dice_rv", "Dice RV", 3), ("dice_macro", "macro", 3),
    ("iou_lv", "IoU LV", 3), ("iou_myo", "IoU myo", 3), ("iou_rv", "IoU RV", 3),
    ("dice_lv_es", "Dice LV at ES", 3), ("dice_macro_es", "macro at ES", 3),
)  # fmt: skip
DISTANCE = (
    ("hd95_lv_mm", "LV 3-D mm", 2), ("hd95_myo_mm", "myo 3-D mm", 2), ("hd95_rv_mm", "RV 3-D mm", 2),
    ("hd95_lv_plane_mm", "LV in plane mm", 2), ("hd95_myo_plane_mm", "myo in plane mm", 2),
    ("hd95_rv_plane_mm", "RV in plane mm", 2), ("empty_lv", "empty LV", 0), ("empty_myo", "empty myo", 0),
    ("empty_rv", "empty RV", 0),
)  # fmt: skip
REGIONAL = (
    ("thickening_mae_percent", "thickening MAE %", 1), ("excursion_mae_mm", "excursion MAE mm", 2),
    ("excursion_correlation", "excursion r over segments", 2), ("worst_territory_right", "weakest territory right", 2),
    ("timing_mae_frames", "timing MAE frames", 2), ("dyssynchrony_error_frames", "dyssynchrony error frames", 2),
)  # fmt: skip
MOTION = (
    ("epe_wall_mm", "error in wall mm", 2), ("epe_wall_p95_mm", "95th percentile mm", 2),
    ("epe_heart_mm", "error in heart mm", 2), ("true_wall_motion_mm", "true motion of wall mm", 2),
    ("wall_volume_change_percent", "wall volume change %", 2),
)  # fmt: skip


def means(numbers: Numbers, columns: Columns, sums: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return one row a method of means over subjects (sums of those named); methods with nothing known are left out."""
    rows = []
    for method in numbers.methods:
        if not any(numbers.known(method, name) for name, *_ in columns):
            continue
        cells = []
        for name, _, digits in columns:
            values = numbers(method, name)
            if not np.isfinite(values).any():
                cells.append("–")
            elif name in sums:
                cells.append(f"{int(np.nansum(values))}")
            else:
                cells.append(shown(float(np.nanmean(values)), digits))
        rows.append((method, *cells))
    return rows


def summarise(plan: Plan, store: Store) -> Section:
    """Return the section."""
    section = Section("anatomy", "Anatomy, regions and motion")
    every = (*OVERLAP, *DISTANCE, *REGIONAL, *MOTION)
    numbers = Numbers(store, CINE, [name for name, *_ in every])

    def table(name: str, title: str, columns: Columns, note: str, sums: tuple[str, ...] = ()) -> None:
        rows = means(numbers, columns, sums)
        if rows:
            section.tables.append(Table(name, title, ("Method", *(label for _, label, _ in columns)), rows, note))

    table("anatomy_overlap", "Overlap with the recorded labels", OVERLAP,
          "Means over all frames and subjects, in 3-D. Frame 0 is the anchor itself, so its overlap is 1 for methods "
          "that move the anchor.")  # fmt: skip
    table("anatomy_distance", "Borders: 95th-percentile Hausdorff distance", DISTANCE,
          "3-D with the real slice pitch, in about five frames and ES; in plane at ED and ES, slice by slice. The "
          "larger of the two directed 95th percentiles (MONAI’s). Where one side is empty the diagonal of the field of "
          "view is charged, and counted in the last columns. One missing basal slice costs the slice pitch.",
          sums=("empty_lv", "empty_myo", "empty_rv"))  # fmt: skip
    table("anatomy_regional", "AHA-17 segments", REGIONAL,
          "Between ED and ES; timing: when a segment has made half of its inward motion. Dyssynchrony error: SD of "
          "that time over segments, found − true. A random weakest territory is right in a third.")  # fmt: skip
    table("motion", "Motion against known motion", MOTION,
          "Length of the difference of displacement vectors where the heart is at that time; phantoms know theirs. The "
          "true motion’s length is the error of a heart that stands still.")  # fmt: skip
    if not section.tables:
        section.not_run = "Neither labels nor motion could be compared."
    section.numbers = {
        m: {name: float(np.nanmean(numbers(m, name))) for name, *_ in every if numbers.known(m, name)}
        for m in numbers.methods
    }
    return section
