"""Function and anatomy by the independent assessor, in recorded and generated images alike (COF Table 3's protocol).

The papers never see a true volume: one network labels both the recorded and the generated cine, and what is reported is
how far its two readings lie apart. Where the recorded labels are known, the same network's error on the *recorded*
images stands beside it: two arms that are misread alike agree, and are none the less wrong.
"""

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
from COFTrainingLib.evaluation.metrics.function import circular
from COFTrainingLib.evaluation.plan import Plan
from COFTrainingLib.evaluation.report.section import Section, Table, shown, with_interval
from COFTrainingLib.evaluation.run import CINE, OwnWork, Workplace
from COFTrainingLib.evaluation.statistics import Values, as_number, bca_interval
from COFTrainingLib.evaluation.store import Numbers, Row, Store
from COFTrainingLib.training.segmenter.assessor_network import weights_sha256

KIND = "assessor"
MOST_SUBJECTS = 16
VERSION = 1
COMPONENTS, FEWEST = 16, 8
COLUMNS = (
    ("ef_points", "EF MAE points", 2), ("esv_ml", "ESV MAE mL", 1), ("sv_ml", "SV MAE mL", 1),
    ("curve_rmse_ml", "LV RMSE mL", 1), ("dice_lv", "LV Dice", 3), ("dice_macro", "macro Dice", 3),
)  # fmt: skip


def judged(plan: Plan) -> list[Method]:
    """Return the methods that are judged: every model and prediction as it is, and the two plainest baselines."""
    names = {name for name, _ in (*plan.models, *plan.predictions)} | {CopyAnchor.name, POPULATION}
    return [method for method in build_methods(plan) if method.name in names]


def assessed_frames(case: EvaluationCase) -> list[int]:
    """Return ED, mid-systole, ES and mid-diastole of the recorded cine, of the frames that have images."""
    wanted = (0.0, case.es / 2, case.es, (case.es + case.frames) / 2)

    def nearest(at: float) -> int:
        return min(case.image_frames, key=lambda frame: circular(frame, at, case.frames))

    return sorted({nearest(at) for at in wanted})


def assess_case(work: Workplace, name: str) -> Row:
    """Return what the assessor reads in the recorded and in every judged cine of one subject."""
    case = work.case(name)
    if case.reference is None or case.reference_labels is None:
        return {"frames": []}
    frames, assessor = assessed_frames(case), work.assessor
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


def compare(found: Row, true_ml: Values) -> dict[str, float]:
    """Return the errors of an arm's reading against another's volumes in the same frames, and its Dice."""
    one, other = read_outs(found["lv_ml"]), read_outs(true_ml)
    rmse = float(np.sqrt(np.mean((np.array(found["lv_ml"]) - np.array(true_ml)) ** 2)))
    dice = {name: as_number(found[name]) for name in ("dice_lv", "dice_macro")}
    return {name: abs(one[name] - other[name]) for name in one} | {"curve_rmse_ml": rmse, **dice}


def own_work(plan: Plan) -> OwnWork | None:
    """Let the assessor read the first subjects; nothing where there is none, or where it is not independent."""
    if plan.assessor is None or plan.assessor_refused or not (plan.models or plan.predictions):
        return None
    methods = ",".join(method.identity for method in judged(plan))
    identity = f"{VERSION}:{weights_sha256(plan.assessor)[:16]}:{methods}"
    return OwnWork(assess_case, KIND, plan.subjects[:MOST_SUBJECTS], identity)


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
    table = [("the assessor in recorded images, against the recorded labels", "–",
              *_cells([compare(row["recorded"], row["true_ml"]) for row in rows]))]  # fmt: skip
    for arm in arms:
        found = [(row["methods"][arm], row["recorded"]["lv_ml"]) for row in rows if arm in row["methods"]]
        errors = [compare(made, recorded) for made, recorded in found]
        table.append((arm, _moved(moved, arm, names), *_cells(errors)))
        section.numbers[arm] = {name: bca_interval([e[name] for e in errors]).value for name, *_ in COLUMNS}
    section.text.append(
        f"{len(rows)} subjects. As in the papers, one independent network labels recorded and generated images, and an "
        "error is the difference of its two readings; EDV and ESV are the largest and smallest volume of up to four "
        "frames (ED, mid-systole, ES, mid-diastole of the recorded cine), so they are not those of the function table. "
        "The first row is the assessor’s own error, in recorded images, against the recorded labels: no difference "
        "much below it means anything. Variants of the main model are left out."
    )
    section.tables.append(Table(
        "assessor", "Function and overlap by the assessor",
        ("Method", "for comparison: EF MAE, moved labels", *(label for _, label, _ in COLUMNS)), table,
        "Mean [95 % BCa interval over subjects] of absolute differences. Dice without the anchor’s own frame.",
    ))  # fmt: skip
    distances = _distances(rows, arms)
    if distances is not None:
        section.tables.append(distances)
    return section


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
