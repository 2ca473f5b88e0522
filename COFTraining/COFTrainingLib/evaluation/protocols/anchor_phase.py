"""Anchor phase: every canonical frame as the anchor (COF Table 4), in three ways.

As in the papers, image and ECG are shifted together: the cycle of both begins at that frame. With the image shifted
alone, the model takes its anchor for the frame at the R wave; with its phase said, the heart there is estimated.
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
from COFTrainingLib.evaluation.features import packed, unpacked
from COFTrainingLib.evaluation.measure import prediction_row
from COFTrainingLib.evaluation.metrics.distribution import frechet, standardise, subsampled
from COFTrainingLib.evaluation.plan import Plan
from COFTrainingLib.evaluation.report.papers import published
from COFTrainingLib.evaluation.report.section import Cell, Section, Table, shown
from COFTrainingLib.evaluation.run import REFERENCE, OwnWork, Workplace
from COFTrainingLib.evaluation.shifted_ecg import shifted_cycle
from COFTrainingLib.evaluation.statistics import as_number, known_mean
from COFTrainingLib.evaluation.store import Row, Store

KIND = "anchor-phase"
VERSION = 2
BOTH, ALONE, SAID, NONE = "image and ECG shifted (the papers’)", "image shifted alone", "phase said", "–"
ORDER = (NONE, BOTH, ALONE, SAID)
FEWEST, COMPONENTS = 8, 16
"""Subjects from which on a Fréchet distance is shown; most principal components of it where vectors are ours."""
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


def predict_told(bundle: Bundle, shifted: EvaluationCase, frame: int, device: str = "cpu") -> Prediction:
    """Return the cine, from the R wave, of a case that begins at a frame of the cycle, which the model is told."""
    model, labels, near = bundle.model, shifted.near_labels, shifted.near
    ready = prepare_anchor(near, shifted.cycle, bundle, labels, torch.device(device))
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
    """Return the metrics of one subject for every canonical frame as the anchor, in each way."""
    case = work.case(name)
    if case.reference is None or case.reference_labels is None:
        return {"anchors": []}
    case = replace(case, displacement=None, closed_form=None)
    bundle = bundle_of(work.plan)
    method = ModelMethod("", bundle, seed=work.plan.seed, every_frame=True, device=work.plan.device)
    rows = []
    for frame in case.image_frames:
        shifted = shift_case(case, frame)
        both = replace(shifted, cycle=shifted_cycle(case.cycle, frame / case.frames))
        for one in (shifted, both):
            one.__dict__["crop"] = case.crop  # the same box, so that labels can be compared
        made = {BOTH: both, ALONE: shifted} if frame else {NONE: shifted}
        found = {way: shift_back(method.predict(one, Shared()), frame, case.image_step) for way, one in made.items()}
        if frame:
            found[SAID] = predict_told(bundle, shifted, frame, work.plan.device)
        for way, prediction in found.items():
            metrics = prediction_row(case, prediction)["metrics"]
            row = {"frame": frame, "way": way, **{metric: metrics.get(metric) for metric in KEPT}}
            if work.embed is not None and prediction.images is not None:
                row["temporal"] = temporal_of(work.embed(case, prediction.images))
            rows.append(row)
    return {"anchors": rows}


def temporal_of(features: Row) -> str:
    """Return the packed vector by which motion is compared: the papers' where DINOv2 made it, else ours."""
    return str(features.get("papers_temporal") or packed(np.array(features["temporal"])))


def own_work(plan: Plan) -> OwnWork | None:
    """Shift all subjects, or as many as are asked for."""
    if not plan.models:
        return None
    identity = f"{VERSION}:{ModelMethod('', bundle_of(plan)).identity}"
    return OwnWork(every_anchor, KIND, plan.subjects[: plan.anchor_subjects], identity)


def summarise(plan: Plan, store: Store) -> Section:
    """Return the section."""
    section = Section("anchor-phase", "Phase of the anchor")
    found: dict[tuple[float, str], list[Row]] = defaultdict(list)
    subjects = 0
    for row in store.rows(KIND, plan.main) if plan.main else ():
        subjects += bool(row.get("anchors"))
        for part in row.get("anchors", ()):
            found[part["frame"], part["way"]].append({**part, "subject": row["subject"]})
    section.tables.append(published("published_anchor_phase"))
    if not found:
        section.not_run = (
            "Needs cines with labels and --protocol anchor-phase (or all): about fifty generations' time a subject."
        )
        return section
    rows: list[tuple[Cell, ...]] = []
    recorded = recorded_vectors(store)
    for (frame, way), parts in sorted(found.items(), key=lambda item: (item[0][0], ORDER.index(item[0][1]))):
        values = {m: np.abs([as_number(part[m]) for part in parts]) for m in KEPT}
        cells = [shown(known_mean(values[m]), 3 if m.startswith(("dice", "motion")) else 2) for m in KEPT]
        rows.append((frame, way, len(parts), _distance(recorded, parts), *cells))
    section.text.append(
        f"{subjects} of {len(plan.subjects)} subjects; every canonical frame in turn is the anchor, with its labels. "
        "In "
        "the papers image and ECG are shifted together: a network that has learnt from ECGs that begin at the R wave "
        "meets one that does not. With the image shifted alone, it takes its anchor for the frame at the R wave. With "
        "the phase said, as by `cof generate --anchor-phase`, the heart at the R wave is estimated first. Compared "
        "with "
        "the labels and images of the recorded cine from its R wave. FVD: Fréchet distance of "
        + (
            "DINOv2’s vectors of the mid slice in order, full dimension."
            if plan.features
            else "our temporal vectors, in principal components; not comparable with published FVD."
        )
    )
    section.tables.insert(0, Table(
        "anchor_phase", "Every canonical frame as the anchor",
        ("Frame", "Way", "N", "FVD", "M-Corr", "M-SSIM heart", "Macro Dice", "LV Dice", "EF MAE points",
         "Curve RMSE mL"), rows,
    ))  # fmt: skip
    return section


def recorded_vectors(store: Store) -> dict[str, tuple[np.ndarray, bool]]:
    """Return (temporal vector of the recorded cine, whether it is the papers') by subject."""
    rows = [row for row in store.rows(REFERENCE) if row.get("features")]
    return {
        row["subject"]: (unpacked(temporal_of(row["features"])), "papers_temporal" in row["features"]) for row in rows
    }


def _distance(recorded: dict[str, tuple[np.ndarray, bool]], parts: list[Row]) -> str:
    """Return the Fréchet distance of generated from recorded motion, mean ± spread of 50 subsamples, as text."""
    known = [part for part in parts if part.get("temporal") and part["subject"] in recorded]
    if len(known) < FEWEST:
        return "–"
    true = np.stack([recorded[part["subject"]][0] for part in known])
    made = np.stack([unpacked(part["temporal"]) for part in known])
    if not all(recorded[part["subject"]][1] for part in known):
        true, made = standardise(true, made, keep=min(COMPONENTS, len(known) // 3))
    mean, sd = subsampled(true, made, frechet)
    return f"{mean:.2f} ± {sd:.2f}"
