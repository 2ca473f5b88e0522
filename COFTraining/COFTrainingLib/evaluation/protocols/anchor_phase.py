"""Anchor phase: every canonical frame as the anchor (COF Table 4), its phase said to the model or not.

Not said, image and cycle are shifted together: the model takes the anchor for the frame at the R wave.
"""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import torch
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.function import volume_curves
from COFGeneratorLib.generator.bundle import Bundle
from COFGeneratorLib.generator.conditioned import prepare_anchor
from COFGeneratorLib.generator.native import native_motion
from COFGeneratorLib.generator.networks.grid import label_fractions, moved_labels
from COFGeneratorLib.generator.r_wave import at_the_r_wave

from COFTrainingLib.evaluation.cases import EvaluationCase
from COFTrainingLib.evaluation.comparators.base import Prediction, Shared
from COFTrainingLib.evaluation.comparators.methods import bundle_of
from COFTrainingLib.evaluation.comparators.models import ModelMethod
from COFTrainingLib.evaluation.measure import prediction_row
from COFTrainingLib.evaluation.plan import Plan
from COFTrainingLib.evaluation.report.papers import published
from COFTrainingLib.evaluation.report.section import Section, Table, shown
from COFTrainingLib.evaluation.run import OwnWork, Workplace
from COFTrainingLib.evaluation.statistics import as_number, known_mean
from COFTrainingLib.evaluation.store import Row, Store

KIND = "anchor-phase"
MOST_SUBJECTS = 16
KEPT = ("motion_correlation", "motion_ssim_heart", "dice_macro", "dice_lv", "ef_error_points", "curve_rmse_ml")


def shift_case(case: EvaluationCase, frame: int) -> EvaluationCase:
    """Return the case whose anchor is another frame of its recorded cycle."""
    assert case.reference is not None  # anchors are taken from it,
    assert case.reference_labels is not None  # and their labels
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
    labels, lv_ml, myocardium_ml = prediction.moved()
    return replace(
        prediction,
        labels=np.roll(labels, frame, axis=0),
        lv_ml=np.roll(lv_ml, frame),
        myocardium_ml=np.roll(myocardium_ml, frame),
        images=None if prediction.images is None else np.roll(prediction.images, frame // image_step, axis=0),
        displacement_voxels=None,
    )


def predict_told(bundle: Bundle, shifted: EvaluationCase, frame: int) -> Prediction:
    """Return the cine, from the R wave, of a case that begins at a frame of the cycle, which the model is told."""
    model, labels, near = bundle.model, shifted.near_labels, shifted.near
    ready = prepare_anchor(near, shifted.cycle, bundle, labels, torch.device("cpu"))
    begin = at_the_r_wave(model, ready, near, shifted.frames, frame)
    velocity = begin.settle(begin.velocities(), ready.wanted_ef, keep_wall=model.after.keep_wall)

    def moved(stack: SaxStack, channels: np.ndarray, step: int) -> np.ndarray:
        motion = native_motion(model, velocity, begin.ready, stack, shifted.frames // step, frame // step)
        return motion.warp_all(channels)

    fractions = moved(near, label_fractions(labels), 1)
    curves = volume_curves(fractions, near.ijk_to_ras)
    images = moved(shifted.anchor, shifted.anchor.voxels[None], shifted.image_step)[:, 0]
    return Prediction(
        moved_labels(fractions, labels, frame), curves.lv_ml, curves.myocardium_ml, shifted.cycle.rr_ms, images
    )


def every_anchor(work: Workplace, name: str) -> Row:
    """Return the metrics of one subject for every canonical frame as the anchor, with its phase said and not."""
    case = work.case(name)
    if case.reference is None or case.reference_labels is None:
        return {"anchors": []}
    case = replace(case, displacement=None, closed_form=None)
    bundle = bundle_of(work.plan)
    method = ModelMethod("", bundle, seed=work.plan.seed, every_frame=True)
    rows = []
    for frame in case.image_frames:
        shifted = shift_case(case, frame)
        shifted.__dict__["crop"] = case.crop  # the same box, so that labels can be compared
        found = {False: shift_back(method.predict(shifted, Shared()), frame, case.image_step)}
        if frame:
            found[True] = predict_told(bundle, shifted, frame)
        for told, prediction in found.items():
            metrics = prediction_row(case, prediction)["metrics"]
            rows.append({"frame": frame, "told": told, **{metric: metrics.get(metric) for metric in KEPT}})
    return {"anchors": rows}


def own_work(plan: Plan) -> OwnWork | None:
    """Shift the first subjects."""
    if not plan.models:
        return None
    identity = f"{ModelMethod('', bundle_of(plan)).identity}:told"
    return OwnWork(every_anchor, KIND, plan.subjects[:MOST_SUBJECTS], identity)


def summarise(plan: Plan, store: Store) -> Section:
    """Return the section."""
    section = Section("anchor-phase", "Phase of the anchor")
    found: dict[tuple[int, bool], list[Row]] = defaultdict(list)
    subjects = 0
    for row in store.rows(KIND, plan.main) if plan.main else ():
        subjects += bool(row.get("anchors"))
        for part in row.get("anchors", ()):
            found[part["frame"], part.get("told", False)].append(part)
    section.tables.append(published("published_anchor_phase"))
    if not found:
        section.not_run = (
            "Needs cines with labels and --protocol anchor-phase (or all): about fifty generations' time a subject."
        )
        return section
    rows = []
    for (frame, told), parts in sorted(found.items()):
        values = {m: np.abs([as_number(part[m]) for part in parts]) for m in KEPT}
        cells = [shown(known_mean(values[m]), 3 if m.startswith(("dice", "motion")) else 2) for m in KEPT]
        rows.append((frame, "yes" if told else "no" if frame else "–", len(parts), *cells))
    section.text.append(
        f"{subjects} subjects; every canonical frame in turn is the anchor, with its labels. Where its phase is not "
        "said, the cycle begins there: the model takes its anchor for the frame at the R wave, and later frames ask of "
        "it what it was not made for. Said, as with `cof generate --anchor-phase`, the heart at the R wave is "
        "estimated first. This table says how much an anchor of another phase costs. Compared against the labels of "
        "the recorded cine."
    )
    section.tables.insert(0, Table(
        "anchor_phase", "Every canonical frame as the anchor",
        ("Frame", "Phase said", "N", "M-Corr", "M-SSIM heart", "Macro Dice", "LV Dice", "EF MAE points",
         "Curve RMSE mL"), rows,
    ))  # fmt: skip
    return section
