"""Ablations that need no other training: what each part of the product adds; others enter as bundles."""

import numpy as np

from COFTrainingLib.evaluation.plan import Plan
from COFTrainingLib.evaluation.protocols.anatomy_table import means
from COFTrainingLib.evaluation.protocols.function_table import FAMILY, errors, numbers_of
from COFTrainingLib.evaluation.report.papers import published
from COFTrainingLib.evaluation.report.section import Section, Table, shown
from COFTrainingLib.evaluation.run import CINE
from COFTrainingLib.evaluation.store import Numbers, Store

COLUMNS = (
    ("ssim", "SSIM", 3), ("psnr_db", "PSNR dB", 2), ("motion_correlation", "M-Corr", 3),
    ("motion_ssim_heart", "M-SSIM", 3), ("dice_lv", "LV Dice", 3), ("dice_rv", "RV Dice", 3),
    ("dice_myo", "Myo Dice", 3), ("iou_lv", "LV IoU", 3), ("epe_wall_mm", "wall error mm", 2),
)  # fmt: skip


def summarise(plan: Plan, store: Store) -> Section:
    """Return the section."""
    section = Section("ablations", "Ablations")
    further = [name for name, _ in plan.models[1:]]
    numbers = numbers_of(store)
    wanted = [m for m in numbers.methods if m == plan.main or m.startswith(f"{plan.main} · ")
              or m in further or any(m.startswith(f"{name} · ") for name in further)]  # fmt: skip
    if not plan.main or len(wanted) < 2:
        section.not_run = "No model was evaluated."
        section.tables.append(published("published_ablation"))
        return section
    rest = {row[0]: row[1:] for row in means(Numbers(store, CINE, [n for n, *_ in COLUMNS], wanted), COLUMNS)}
    rows = [
        (m, *(shown(float(np.nanmean(errors(numbers, m, name)))) for name, _ in FAMILY),
         *rest.get(m, ("–",) * len(COLUMNS)))
        for m in wanted
    ]  # fmt: skip
    section.text.append(
        "Variants of one set of weights, at equal capacity: no ECG is the learned “none”, not a smaller network. "
        "Variants that need a training of their own (the paper’s w/o REA, w/o TOPPR, λ sweep, diffusion in place of "
        "flow matching) enter as further bundles with --model NAME=BUNDLE"
        + (f"; given here: {', '.join(further)}." if further else "; none was given.")
    )
    section.tables.append(Table("ablations", "What each part adds", ("Variant", *(label for _, label in FAMILY),
                                *(label for _, label, _ in COLUMNS)), rows))  # fmt: skip
    section.tables.append(published("published_ablation"))
    return section
