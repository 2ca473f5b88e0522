"""Cross-visit serial use: an earlier MRI under today's ECG, and where registration helps (COF Tables 5 and 6)."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from COFGeneratorLib.anatomy.geometry import resample
from COFGeneratorLib.anatomy.heart_frame import heart_frame_from_labels
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.errors import CohortError
from COFGeneratorLib.function import volume_curves
from COFGeneratorLib.motion.fields import voxels_from_mm, warp
from COFGeneratorLib.registration.pipeline import find_teacher
from COFGeneratorLib.registration.teacher import Refinement, RegistrationTeacher

from COFTrainingLib.evaluation import visits
from COFTrainingLib.evaluation.alignment import align
from COFTrainingLib.evaluation.case_files import read_case
from COFTrainingLib.evaluation.cases import EvaluationCase
from COFTrainingLib.evaluation.comparators.base import Shared
from COFTrainingLib.evaluation.comparators.methods import bundle_of
from COFTrainingLib.evaluation.comparators.models import ModelMethod
from COFTrainingLib.evaluation.metrics.anatomy import STRUCTURES, confusion, overlap
from COFTrainingLib.evaluation.metrics.function import densely, report_of_curve, resample_curve
from COFTrainingLib.evaluation.metrics.image import body_mask, pearson, scale_of, ssim_map
from COFTrainingLib.evaluation.plan import Plan
from COFTrainingLib.evaluation.report.papers import published
from COFTrainingLib.evaluation.report.section import Section, Table, p_shown, shown, with_interval
from COFTrainingLib.evaluation.run import OwnWork, Workplace
from COFTrainingLib.evaluation.statistics import as_number, bca_interval, compare_pair, known_mean
from COFTrainingLib.evaluation.store import Row, Store

KIND = "serial"
VERSION = 3
AROUND_MM = 25.0
DEFORMED = "registered and deformed prior + ECG"
ARMS = ("prior", "prior + ECG", "registered prior + ECG", DEFORMED, "current + ECG")
AGAINST_CURRENT = ("dice_lv", "dice_myo", "dice_macro")
COLUMNS = ("dice_lv", "dice_myo", "dice_macro", "prior_curve_r", "ef_drift_points", "sv_drift_ml", "ef_error_points")
HEADS = ("LV Dice", "Myo Dice", "Macro Dice", "Prior curve r", "EF drift points", "SV drift mL", "EF MAE today points")


def compare_visits(work: Workplace, name: str) -> Row:
    """Return the arms of one subject, and the decomposition of its registration."""
    current, subject = work.case(name), work.subjects[name]
    earlier = visits.earlier_visit(work.cohort, subject)
    if earlier is not None:
        prior = read_case(work.cohort, earlier)
    elif work.cohort.header.kind == "phantom":
        prior = visits.phantom_prior(work.cohort, subject, current.frames)
    else:
        return {"arms": {}}
    method = ModelMethod("", bundle_of(work.plan), seed=work.plan.seed, every_frame=True,
                         device=work.plan.device)  # fmt: skip
    before = _labels_only(prior)
    under_ecg, under_ecg_ml, _ = method.predict(replace(before, cycle=current.cycle), Shared()).moved()
    today, today_ml, _ = method.predict(_labels_only(current), Shared()).moved()
    transform = align(prior.anchor, current.anchor, _around(current))
    near = before.near.ijk_to_ras
    prior_labels, recorded = before.near_reference, current.near_reference
    if prior_labels is None or recorded is None or current.truth is None:
        raise CohortError(f"Visits are compared by the labels of both cines; found none of {name}. Add them.")
    prior_ml = volume_curves(prior_labels, near).lv_ml
    arms = {
        "prior": (_onto(prior_labels, near, current), prior_ml, prior.rr_ms),
        "prior + ECG": (_onto(under_ecg, near, current), under_ecg_ml, current.cycle.rr_ms),
        "registered prior + ECG": (_onto(under_ecg, transform @ near, current), under_ecg_ml, current.cycle.rr_ms),
        "current + ECG": (today, today_ml, current.cycle.rr_ms),
    }
    field = deformation(prior, current, transform, str(find_teacher(bundle_of(work.plan).folder) or ""))
    if field is not None:
        rigid, _, rr_ms = arms["registered prior + ECG"]
        moved = deformed(rigid, field[(slice(None), *current.crop)], current.near.spacing_mm)
        arms[DEFORMED] = (moved, volume_curves(moved, current.near.ijk_to_ras).lv_ml, rr_ms)
    before_report = report_of_curve(densely(prior_ml), prior.rr_ms)
    rows = {}
    for arm, (labels, lv_ml, rr_ms) in arms.items():
        report = report_of_curve(densely(lv_ml), rr_ms)
        rows[arm] = {
            **_dice(recorded, labels),
            "prior_curve_r": pearson(resample_curve(lv_ml, 50), resample_curve(prior_ml, 50)),
            "ef_drift_points": abs(report.ef_percent - before_report.ef_percent),
            "sv_drift_ml": abs(report.sv_ml - before_report.sv_ml),
            "ef_error_points": abs(report.ef_percent - current.truth.ef_percent),
        }
    return {"arms": rows, "registration": decompose(prior.anchor, current.anchor, current.labels > 0, transform)}


def deformation(
    prior: EvaluationCase, current: EvaluationCase, transform: np.ndarray, teacher: str
) -> np.ndarray | None:
    """Return how the rigidly registered prior is deformed to become today's first frame, by our registration.

    Returns:
        (3, D, H, W) pull, mm along the current stack's axes; None where the model brings no registration teacher.
    """
    if not teacher:
        return None
    matrix, shape = transform @ prior.anchor.ijk_to_ras, current.anchor.shape
    image, labels = (
        resample(volume, matrix, shape, current.anchor.ijk_to_ras, order=order)
        for volume, order in ((prior.anchor.voxels, 1), (prior.labels, 0))
    )
    anchor = SaxStack(image.astype(np.float32), current.anchor.ijk_to_ras)
    frame = heart_frame_from_labels(labels.astype(np.uint8), anchor.ijk_to_ras)
    found = _teacher(teacher).register(anchor, current.anchor.voxels[None], frame, refinement=Refinement())
    return found.displacement_on_stack(0)


@lru_cache(maxsize=1)
def _teacher(folder: str) -> RegistrationTeacher:
    return RegistrationTeacher.load(folder)


def deformed(labels: np.ndarray, field_mm: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """Return labels (T, d, h, w), every frame deformed by the same pull (3, d, h, w), mm."""
    shares = torch.from_numpy(np.stack([labels == code for code in range(4)], axis=1).astype(np.float32))
    field = torch.from_numpy(np.ascontiguousarray(field_mm, dtype=np.float32))[None]
    voxels = voxels_from_mm(field, tuple(float(value) for value in spacing_mm))
    moved = [warp(one[None], voxels)[0].argmax(dim=0).to(torch.uint8).numpy() for one in shares]
    return np.stack(moved)


def _around(current: EvaluationCase) -> np.ndarray:
    """Return where the images must agree: the heart and ``AROUND_MM`` about it, all slices."""
    reach = np.ceil(AROUND_MM / current.anchor.spacing_mm[1:]).astype(int)
    heart = np.asarray((current.labels > 0).any(axis=0))
    rows, columns = (np.flatnonzero(heart.any(axis=axis)) for axis in (1, 0))
    where = np.zeros(current.anchor.shape, dtype=bool)
    where[
        :,
        max(rows[0] - reach[0], 0) : rows[-1] + reach[0] + 1,
        max(columns[0] - reach[1], 0) : columns[-1] + reach[1] + 1,
    ] = True
    return where


def _labels_only(case: EvaluationCase) -> EvaluationCase:
    """Return the case without its cine: nothing of it is looked at, and nothing need be warped."""
    return replace(case, reference=None, displacement=None)


def _onto(labels: np.ndarray, ijk_to_ras: np.ndarray, current: EvaluationCase) -> np.ndarray:
    """Return labels (T, …) on the current heart's box, at the current number of frames."""
    frames = [round(t / current.frames * len(labels)) % len(labels) for t in range(current.frames)]
    return np.stack(
        [resample(labels[frame], ijk_to_ras, current.near.shape, current.near.ijk_to_ras, order=0) for frame in frames]
    )


def _dice(recorded: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    table = confusion(recorded, labels)
    values = {name: float(np.nanmean(overlap(table, code)[0])) for name, code in STRUCTURES.items()}
    return {"dice_lv": values["lv"], "dice_myo": values["myo"], "dice_macro": float(np.mean(list(values.values())))}


def decompose(prior: SaxStack, current: SaxStack, roi: np.ndarray, transform: np.ndarray) -> dict[str, float]:
    """Return MAE and SSIM of the prior's first frame on the current grid, raw and registered, in and outside the heart.

    Args:
        prior, current: First frames.
        roi: (D, H, W) the current heart.
        transform: RAS → RAS of the prior onto the current.

    Returns:
        ``mae_raw_roi``, ``mae_registered_rest``, … and ``residual_share_roi``: the heart's share of all absolute error
        that is left after registration.
    """
    target = scale_of(current.voxels)(current.voxels)
    source = scale_of(prior.voxels)(prior.voxels)
    rest = body_mask(target) & ~roi
    row, left = {}, {}
    for name, matrix in (("raw", prior.ijk_to_ras), ("registered", transform @ prior.ijk_to_ras)):
        moved = resample(source, matrix, current.shape, current.ijk_to_ras, order=1)
        error, similar = np.abs(moved - target), ssim_map(moved, target)
        for where, mask in (("roi", roi), ("rest", rest)):
            row[f"mae_{name}_{where}"] = float(error[mask].mean())
            row[f"ssim_{name}_{where}"] = known_mean(similar, mask)
            left[where] = float(error[mask].sum())
    row["residual_share_roi"] = left["roi"] / max(left["roi"] + left["rest"], 1e-9)
    return row


def own_work(plan: Plan) -> OwnWork | None:
    """Compare visits of all subjects that have two."""
    if not plan.models:
        return None
    identity = f"{VERSION}:{ModelMethod('', bundle_of(plan)).identity}"
    return OwnWork(compare_visits, KIND, plan.subjects, identity)


def summarise(plan: Plan, store: Store) -> Section:
    """Return the section."""
    section = Section("serial", "Cross-visit serial use")
    found = [row for row in store.rows(KIND, plan.main) if row.get("arms")] if plan.main else []
    section.tables += [published("published_serial"), published("published_roi")]
    if not found:
        section.not_run = (
            "Needs persons with two visits (or phantoms, whose earlier visit is drawn) and --protocol serial."
        )
        return section

    def values(arm: str, metric: str) -> np.ndarray:
        return np.array([as_number(row["arms"].get(arm, {}).get(metric)) for row in found])

    def cell(arm: str, metric: str) -> str:
        digits = 3 if metric in (*AGAINST_CURRENT, "prior_curve_r") else 1
        return with_interval(bca_interval(values(arm, metric), resamples=2000), digits)

    known = [arm for arm in ARMS if any(arm in row["arms"] for row in found)]
    rows = [(arm, *(cell(arm, metric) for metric in COLUMNS)) for arm in known]
    wins = []
    for arm in ("registered prior + ECG", *([DEFORMED] if DEFORMED in known else [])):
        for metric, head in zip(COLUMNS, HEADS, strict=True):
            sign = -1.0 if metric in (*AGAINST_CURRENT, "prior_curve_r") else 1.0
            pair = compare_pair(sign * values(arm, metric), sign * values("prior + ECG", metric))
            wins.append((arm, head, f"{pair.wins} / {len(found)}", f"{pair.losses} / {len(found)}",
                         p_shown(pair.p_sign)))  # fmt: skip
    section.text.append(
        f"{len(found)} persons. Labels against today’s recorded labels over all frames; drift and curve correlation "
        "against the earlier visit say how stable, not how right, a result is: the last column, against today’s truth, "
        "does. Registration is rigid, by the images about the heart, of the earlier first frame to today’s; deformed, "
        "our refined "
        "registration teacher then brings that frame onto today’s, and every frame’s labels with it. A "
        "phantom’s earlier visit is drawn: the same anatomy ± 3 % in size, a few millimetres and degrees elsewhere, "
        "another heart rate and contractility."
    )
    part = [r["registration"] for r in found if r.get("registration")]

    def mean(name: str) -> float:
        return known_mean([as_number(one[name]) for one in part])

    areas = [
        (f"{label} {name}", *(shown(mean(f"{metric}_{name}_{where}"), 3) for where in ("roi", "rest")))
        for metric, label in (("mae", "MAE"), ("ssim", "SSIM")) for name in ("raw", "registered")
    ]  # fmt: skip
    share = mean("residual_share_roi")
    areas.append(("Share of what is left", shown(share, 3), shown(1 - share, 3)))
    section.tables[:0] = [
        Table("serial", "Serial arms", ("Arm", *HEADS), rows),
        Table("serial_wins", "Registered against prior + ECG", ("Arm", "Metric", "better", "worse", "Sign test p"),
              wins),
        Table("serial_roi", "Where registration helps", ("Metric", "ROI (today’s heart)", "Rest of the body"), areas),
    ]  # fmt: skip
    return section
