"""Anchor phase: every canonical frame as the anchor, image and cycle shifted together (COF Table 4)."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
from COFGeneratorLib.anatomy.stack import SaxStack

from COFTrainingLib.evaluation.cases import EvaluationCase
from COFTrainingLib.evaluation.comparators.base import Prediction
from COFTrainingLib.evaluation.comparators.methods import bundle_of
from COFTrainingLib.evaluation.comparators.models import ModelMethod
from COFTrainingLib.evaluation.measure import measure
from COFTrainingLib.evaluation.protocols.section import Protocol, Section, Table, shown
from COFTrainingLib.evaluation.report import published
from COFTrainingLib.evaluation.run import Plan, collect
from COFTrainingLib.evaluation.store import Store

KIND = "anchor-phase"
MOST_SUBJECTS = 16
KEPT = ("motion_correlation", "motion_ssim_heart", "dice_macro", "dice_lv", "ef_error_points", "curve_rmse_ml")


def shift_case(case: EvaluationCase, frame: int) -> EvaluationCase:
    """Return the case whose anchor is another frame of its recorded cycle."""
    return replace(
        case,
        anchor=SaxStack(case.reference[frame], case.anchor.ijk_to_ras),
        labels=case.reference_labels[frame],
        reference=np.roll(case.reference, -frame, axis=0),
        reference_labels=np.roll(case.reference_labels, -frame, axis=0),
        displacement=None,
        closed_form=None,
    )


def shift_back(prediction: Prediction, frame: int, image_step: int) -> Prediction:
    """Return a prediction whose first frame is again the R wave's."""
    return replace(
        prediction,
        labels=np.roll(prediction.labels, frame, axis=0),
        lv_ml=np.roll(prediction.lv_ml, frame),
        myocardium_ml=np.roll(prediction.myocardium_ml, frame),
        images=None if prediction.images is None else np.roll(prediction.images, frame // image_step, axis=0),
        displacement_voxels=None,
    )


def every_anchor(work, name: str) -> dict:
    """Return the metrics of one subject for every canonical frame as the anchor."""
    case = work.case(name)
    if case.reference is None or case.reference_labels is None:
        return {"anchors": []}
    case = replace(case, displacement=None, closed_form=None)
    method = ModelMethod("", bundle_of(work.plan), seed=work.plan.seed, every_frame=True)
    rows = []
    for frame in case.image_frames:
        shifted = shift_case(case, frame)
        shifted.__dict__["crop"] = case.crop  # the same box, so that labels can be compared
        prediction = shift_back(method.predict(shifted, {}), frame, case.image_step)
        metrics = measure(case, prediction)["metrics"]
        rows.append({"frame": frame, **{metric: metrics.get(metric) for metric in KEPT}})
    return {"anchors": rows}


def gather(plan: Plan, store: Store, workers: int, progress) -> None:
    """Shift the first subjects."""
    if plan.models:
        identity = ModelMethod("", bundle_of(plan)).identity
        subjects = plan.subjects[:MOST_SUBJECTS]
        collect(plan, store, (__name__, "every_anchor"), KIND, subjects, identity, workers, progress)


def summarise(plan: Plan, store: Store) -> Section:
    """Return the section."""
    section = Section("anchor-phase", "Phase of the anchor")
    found: dict[int, list[dict]] = defaultdict(list)
    subjects = 0
    for row in store.rows(KIND, plan.main) if plan.main else ():
        subjects += bool(row.get("anchors"))
        for part in row.get("anchors", ()):
            found[part["frame"]].append(part)
    section.tables.append(published.ANCHOR_PHASE)
    if not found:
        section.not_run = (
            "Needs cines with labels and --protocol anchor-phase (or all): about ten generations a subject."
        )
        return section
    rows = []
    for frame, parts in sorted(found.items()):
        values = {m: np.array([np.nan if p[m] is None else p[m] for p in parts], dtype=float) for m in KEPT}
        cells = [
            shown(float(np.nanmean(np.abs(values[m]))), 3 if m.startswith(("dice", "motion")) else 2) for m in KEPT
        ]
        rows.append((frame, len(parts), *cells))
    section.text.append(
        f"{subjects} subjects; every canonical frame in turn is the anchor, with its labels, and the cycle begins "
        "there. "
        "The model takes its anchor for the frame at the R wave, so later frames ask of it what it was not made for: "
        "this table says how much an anchor of another phase costs. Compared against the labels of the recorded cine."
    )
    section.tables.insert(0, Table(
        "anchor_phase", "Every canonical frame as the anchor",
        ("Frame", "N", "M-Corr", "M-SSIM heart", "Macro Dice", "LV Dice", "EF MAE points", "Curve RMSE mL"), rows,
    ))  # fmt: skip
    return section


PROTOCOL = Protocol(
    KIND, "Phase of the anchor", "every canonical frame as the anchor (COF Table 4)", summarise, gather, cheap=False
)
