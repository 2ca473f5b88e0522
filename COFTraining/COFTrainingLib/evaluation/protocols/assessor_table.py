"""Function and anatomy by the independent assessor, in recorded and generated images alike (COF Table 3's protocol).

The papers never see a true volume: one network labels both the recorded and the generated cine, and what is reported is
how far its two readings lie apart. Where the recorded labels are known, the same network's error on the *recorded*
images stands beside it: two arms that are misread alike agree, and are none the less wrong.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from COFGeneratorLib.anatomy.geometry import voxel_volume_ml

from COFTrainingLib.evaluation.assessor import Assessment
from COFTrainingLib.evaluation.cases import EvaluationCase
from COFTrainingLib.evaluation.comparators.base import Method
from COFTrainingLib.evaluation.comparators.copies import CopyAnchor
from COFTrainingLib.evaluation.comparators.methods import build_methods
from COFTrainingLib.evaluation.comparators.motions import POPULATION
from COFTrainingLib.evaluation.metrics.anatomy import STRUCTURES, confusion, overlap
from COFTrainingLib.evaluation.metrics.distribution import (
    frechet,
    half_split,
    kernel_distance,
    paired_kernel_distance,
    standardise,
    subsampled,
)
from COFTrainingLib.evaluation.metrics.function import NATIVE_FRAMES, circular
from COFTrainingLib.evaluation.plan import Plan
from COFTrainingLib.evaluation.report.section import Section, Table, p_shown, shown, with_interval
from COFTrainingLib.evaluation.run import CINE, OwnWork, Workplace
from COFTrainingLib.evaluation.statistics import Values, as_number, bca_interval, compare_family
from COFTrainingLib.evaluation.store import Numbers, Row, Store
from COFTrainingLib.training.segmenter.assessor_network import weights_sha256

KIND = "assessor"
VERSION = 2
COMPONENTS, FEWEST = 16, 8
COLUMNS = (
    ("ef_points", "EF MAE points", 2), ("esv_ml", "ESV MAE mL", 1), ("sv_ml", "SV MAE mL", 1),
    ("curve_rmse_ml", "LV RMSE mL", 1), ("es_frames", "ES error, frames of 50", 2),
    ("dice_lv", "LV Dice", 3), ("dice_macro", "macro Dice", 3),
)  # fmt: skip


FAMILY = ("esv_ml", "ef_points", "sv_ml", "curve_rmse_ml", "es_frames")
"""The five of the papers' bundle."""


def judged(plan: Plan) -> list[Method]:
    """Return the methods that are judged: every model and prediction as it is, and the two plainest baselines."""
    names = {name for name, _ in (*plan.models, *plan.predictions, *plan.comparators)} | {CopyAnchor.name, POPULATION}
    return [method for method in build_methods(plan) if method.name in names]


def every_image(case: EvaluationCase) -> EvaluationCase:
    """Return the case with images compared in every frame of its cycle, not in about ten."""
    again = replace(case)
    again.__dict__["image_step"] = 1
    return again


def assessed_frames(case: EvaluationCase, count: int | None = None) -> list[int]:
    """Return the frames that are read: all, or at most ``count``: ED, ES, and others evenly in systole and diastole."""
    if count is None or count >= case.frames:
        return list(range(case.frames))
    systole = count // 2
    before = np.linspace(0.0, case.es, systole + 1)
    after = np.linspace(case.es, case.frames, count - systole, endpoint=False)[1:]
    return sorted({round(at) % case.frames for at in (*before, *after)})


def assess_case(work: Workplace, name: str) -> Row:
    """Return what the assessor reads in the recorded and in every judged cine of one subject."""
    case = every_image(work.case(name))
    if case.reference is None or case.reference_labels is None:
        return {"frames": []}
    frames, assessor = assessed_frames(case, work.plan.assessor_frames), work.assessor
    volume = voxel_volume_ml(case.anchor.ijk_to_ras)
    recorded = assessor.assess(case.reference[frames], case.anchor.ijk_to_ras, case.frame)
    anchor = assessor.assess(case.anchor.voxels[None], case.anchor.ijk_to_ras, case.frame)

    def read(found: Assessment, against: np.ndarray) -> Row:
        return {
            "lv_ml": (found.labels == STRUCTURES["lv"]).sum(axis=(1, 2, 3)) * volume,
            **_dice(against, found.labels),
            "features": np.round(found.features.mean(axis=0), 5),
        }

    truth = case.reference_labels[frames]
    row: dict[str, Any] = {
        "frames": frames,
        "of": case.frames,
        "true_ml": (truth == STRUCTURES["lv"]).sum(axis=(1, 2, 3)) * volume,
        "recorded": read(recorded, truth),
        "methods": {},
        "failed": {},
    }
    shared = work.shared(name)
    for method in judged(work.plan):
        try:
            images = method.predict(case, shared).images
        except Exception as error:  # it costs its own column of this subject; why is among the report's failures
            row["failed"][method.name] = f"{type(error).__name__}: {error}"
            continue
        if images is None:
            continue
        chosen = images[[case.image_frames.index(frame) for frame in frames]]
        if np.array_equal(chosen[0], case.anchor.voxels):  # read once for all that leave the anchor as it is
            rest = assessor.assess(chosen[1:], case.anchor.ijk_to_ras, case.frame)
            found = type(rest)(*(np.concatenate(pair) for pair in
                                 ((anchor.labels, rest.labels), (anchor.features, rest.features))))  # fmt: skip
        else:
            found = assessor.assess(chosen, case.anchor.ijk_to_ras, case.frame)
        row["methods"][method.name] = read(found, recorded.labels)
    return row


def _dice(reference: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """Return Dice by structure, means over the frames after the first: that is the anchor."""
    table = confusion(reference[1:], found[1:])
    values = {f"dice_{name}": float(np.nanmean(overlap(table, code)[0])) if table[:, code].any() else float("nan")
              for name, code in STRUCTURES.items()}  # fmt: skip
    return values | {"dice_macro": float(np.mean(list(values.values())))}


def read_outs(lv_ml: Values) -> dict[str, float]:
    """Return EF (percent), ESV and SV (mL) of volumes in a few frames, by the papers' largest and smallest."""
    edv, esv = float(np.max(lv_ml)), float(np.min(lv_ml))
    return {"ef_points": 100.0 * (edv - esv) / edv if edv > 0 else 0.0, "esv_ml": esv, "sv_ml": edv - esv}


def compare(found: Row, true_ml: Values, frames: Sequence[int], total: int) -> dict[str, float]:
    """Return the errors of an arm's reading against another's volumes in the same frames of a cycle, and its Dice."""
    one, other = read_outs(found["lv_ml"]), read_outs(true_ml)
    rmse = float(np.sqrt(np.mean((np.array(found["lv_ml"]) - np.array(true_ml)) ** 2)))
    dice = {name: as_number(found[name]) for name in ("dice_lv", "dice_macro")}
    made, true = (frames[int(np.argmin(volumes))] for volumes in (found["lv_ml"], true_ml))
    es = circular(made, true, total) / total * NATIVE_FRAMES
    return {name: abs(one[name] - other[name]) for name in one} | {"curve_rmse_ml": rmse, "es_frames": es, **dice}


def own_work(plan: Plan) -> OwnWork | None:
    """Let the assessor read all subjects, or as many as are asked for; nothing where none may judge."""
    if plan.assessor is None or plan.assessor_refused or not (plan.models or plan.comparators or plan.predictions):
        return None
    methods = ",".join(method.identity for method in judged(plan))
    identity = f"{VERSION}:{plan.assessor_frames}:{weights_sha256(plan.assessor)[:16]}:{methods}"
    return OwnWork(assess_case, KIND, plan.subjects[: plan.assessor_subjects], identity)


def summarise(plan: Plan, store: Store) -> Section:
    """Return the section."""
    section = Section(KIND, "By the independent assessor")
    rows = [row for row in store.rows(KIND, plan.main) if row.get("frames")]
    if plan.assessor_refused:
        section.not_run = plan.assessor_refused
        return section
    if not rows:
        section.not_run = (
            "Needs cines with labels, an assessor (--assessor FOLDER; none ships or none was asked for) and "
            "--protocol assessor."
        )
        return section
    arms = list(dict.fromkeys(name for row in rows for name in row["methods"]))
    moved = Numbers(store, CINE, ["labels_ef_error_points", "ef_error_points"], arms)
    names = [row["subject"] for row in rows]
    own = [compare(row["recorded"], row["true_ml"], row["frames"], row["of"]) for row in rows]
    table = [("the assessor in recorded images, against the recorded labels", "–", *_cells(own))]
    by_arm: dict[str, dict[str, dict[str, float]]] = {}
    for arm in arms:
        found = {row["subject"]: compare(row["methods"][arm], row["recorded"]["lv_ml"], row["frames"], row["of"])
                 for row in rows if arm in row["methods"]}  # fmt: skip
        by_arm[arm], errors = found, list(found.values())
        table.append((arm, _moved(moved, arm, names), *_cells(errors)))
        section.numbers[arm] = {name: bca_interval([e[name] for e in errors]).value for name, *_ in COLUMNS}
    section.text.append(
        f"{len(rows)} of {len(plan.subjects)} subjects, {_frames_read(rows, plan.assessor_frames)}. As in the "
        "papers, one independent network labels recorded and generated images, and an error is the difference of its "
        "two readings; EDV and ESV are the largest and smallest volume of the frames that were read, ES is where the "
        "smallest is. The first row is the assessor’s own error, in recorded images, against the recorded labels: no "
        "difference much below it means anything. Variants of the main model are left out."
    )
    section.tables.append(Table(
        "assessor", "Function and overlap by the assessor",
        ("Method", "for comparison: EF MAE, moved labels", *(label for _, label, _ in COLUMNS)), table,
        "Mean [95 % BCa interval over subjects] of absolute differences. Dice without the anchor’s own frame.",
    ))  # fmt: skip
    main = plan.about(arms)
    if len(arms) > 1:
        section.tables.append(paired(by_arm, main))
    distances = _distances(rows, arms)
    if distances is not None:
        section.tables.append(distances)
    return section


def paired(by_arm: dict[str, dict[str, dict[str, float]]], main: str) -> Table:
    """Return the main arm against each other one, subject by subject, over the papers' five metrics.

    Args:
        by_arm: Errors by arm, subject and metric.
        main: Name of an arm.
    """
    labels = {name: label for name, label, _ in COLUMNS}
    rows = []
    for arm, found in by_arm.items():
        if arm == main:
            continue
        both = sorted(by_arm[main].keys() & found.keys())
        first, second = ({name: [errors[s][name] for s in both] for name in FAMILY} for errors in (by_arm[main], found))
        for name, pair in compare_family(first, second).items():
            total = pair.wins + pair.losses + pair.ties
            rows.append((arm, labels[name], f"{pair.wins} / {total}", pair.ties, with_interval(pair.difference),
                         p_shown(pair.p_sign), p_shown(pair.p_holm)))  # fmt: skip
    return Table(
        "assessor_paired", f"{main} against each comparator by the assessor, paired by subject",
        ("Comparator", "Metric", f"{main} closer", "Ties", "Mean difference", "Sign test p", "after Holm"), rows,
        "Exact two-sided sign test, Holm over the five metrics of a comparator, as in the papers’ supplement; the "
        "difference of errors has a BCa interval (negative: the model errs less).",
    )  # fmt: skip


def _frames_read(rows: list[Row], asked: int | None) -> str:
    """Return in words how many frames of a cine were read, for sub-sampling has to be said."""
    if asked is None:
        return "all frames of each cine"
    most = max(len(row["frames"]) for row in rows)
    return f"at most {most} frames of each cine (--assessor-frames {asked})"


def _cells(errors: list[dict[str, float]]) -> list[str]:
    return [with_interval(bca_interval([e[name] for e in errors], resamples=2000), digits)
            for name, _, digits in COLUMNS]  # fmt: skip


def _moved(numbers: Numbers, arm: str, subjects: list[str]) -> str:
    """Return the EF error of the same subjects by the labels that move with the anchor, or that were given."""
    where = [place for place, subject in enumerate(numbers.subjects) if subject in subjects]
    for metric in ("labels_ef_error_points", "ef_error_points"):
        if where and numbers.known(arm, metric):
            return shown(float(np.nanmean(np.abs(numbers(arm, metric)[where]))))
    return "–"


def _distances(rows: list[Row], arms: list[str]) -> Table | None:
    rows = [row for row in rows if all(arm in row["methods"] for arm in arms)]
    if len(rows) < FEWEST:
        return None
    true = np.array([row["recorded"]["features"] for row in rows], dtype=float)
    made = [np.array([row["methods"][arm]["features"] for row in rows], dtype=float) for arm in arms]
    keep = min(COMPONENTS, len(rows) // 3)
    true, *made = standardise(true, *made, keep=keep)
    cells = [(arm, subsampled(true, sample, frechet), subsampled(true, sample, paired_kernel_distance))
             for arm, sample in zip(arms, made, strict=True)]  # fmt: skip
    cells.append(("half of the recorded against the other half (floor)", half_split(true, frechet),
                  half_split(true, kernel_distance)))  # fmt: skip
    return Table(
        "assessor_distances", "Distances of distributions (features: the assessor)", ("Method", "FD ↓", "KID ↓"),
        [(name, *(f"{mean:.3f} ± {sd:.3f}" for mean, sd in pair)) for name, *pair in cells],
        f"N = {len(rows)} (halves: {len(rows) // 2} each); deepest level of the assessor, averaged over the assessed "
        f"frames, {keep} principal components of the recorded; mean ± SD of 50 subsamples of 80 % without replacement. "
        "Not comparable with published FID.",
    )  # fmt: skip
