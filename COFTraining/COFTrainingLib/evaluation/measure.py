"""From a prediction of a case to one result: every metric of every room, as flat numbers by name."""

import numpy as np
import torch
from COFGeneratorLib.errors import ChainOfFlowError

from COFTrainingLib.evaluation.cases import EvaluationCase, ecg_facts
from COFTrainingLib.evaluation.comparators.base import Prediction
from COFTrainingLib.evaluation.metrics.anatomy import STRUCTURES, compare_slices, compare_volumes, slice_ranks
from COFTrainingLib.evaluation.metrics.function import NATIVE_FRAMES, circular, compare_function, es_of, resample_curve
from COFTrainingLib.evaluation.metrics.image import compare_cines
from COFTrainingLib.evaluation.metrics.motion import compare_motion, jacobian_stats, parts_kept
from COFTrainingLib.evaluation.metrics.regional import compare_regional, compare_timing
from COFTrainingLib.evaluation.statistics import known_mean
from COFTrainingLib.evaluation.store import Row


def prediction_row(case: EvaluationCase, prediction: Prediction) -> Row:
    """Return everything that is measured of a prediction.

    Returns:
        ``metrics`` by name (NaN: cannot be measured), ``curve_ml`` at the case's frames, ``slices`` (rows of slice-wise
        agreement at ED and ES), ``labels_from``.
    """
    row: Row = {"metrics": {}, "labels_from": prediction.labels_from}
    metrics = row["metrics"]
    if prediction.images is not None and case.reference is not None:
        metrics |= compare_cines(case.reference_images, case.scale(prediction.images), _heart(case))
    if prediction.lv_ml is not None and case.truth is not None:
        curve = resample_curve(prediction.lv_ml, case.frames)
        row["curve_ml"] = np.round(curve, 2)
        metrics |= compare_function(curve, prediction.rr_ms, case.truth)
        if case.labelled_truth is not None and case.labelled_truth is not case.truth:
            again = compare_function(curve, prediction.rr_ms, case.labelled_truth)
            metrics |= {f"labels_{name}": value for name, value in again.items() if "error" in name or "rmse" in name}
        if prediction.myocardium_ml is not None and prediction.myocardium_ml[0] > 0:
            wall = prediction.myocardium_ml / prediction.myocardium_ml[0]
            metrics["wall_volume_change_percent"] = 100.0 * float(np.abs(wall - 1.0).max())
    if prediction.labels is not None and case.near_reference is not None:
        metrics |= _anatomy(case, prediction, case.near_reference, prediction.labels, row)
    fields = prediction.displacement_voxels
    if fields:
        if case.displacement is not None and case.near_reference is not None:
            metrics |= _motion(case, fields, case.displacement, case.near_reference)
        metrics |= jacobian_stats(torch.stack(list(fields.values())), case.near_labels > 0)
    return row


def _heart(case: EvaluationCase) -> np.ndarray:
    """Return where the heart is at any time, (D, H, W) bool."""
    if case.reference_labels is None:
        return case.labels > 0
    return np.asarray((case.reference_labels > 0).any(axis=0))


def _anatomy(
    case: EvaluationCase, prediction: Prediction, recorded: np.ndarray, found: np.ndarray, row: Row
) -> dict[str, float]:
    """Return the agreement of labels; adds the slice-wise rows."""
    frames = list(range(case.frames)) if prediction.labelled is None else list(prediction.labelled)
    reference, spacing, es = recorded[frames], case.near.spacing_mm, case.es
    at_es = int(np.argmin([circular(frame, es, case.frames) for frame in frames]))
    distances = sorted({at_es} | {frames.index(frame) for frame in case.distance_frames if frame in frames})
    metrics = compare_volumes(reference, found, spacing, distances)
    es_only = compare_volumes(reference[[at_es]], found[[at_es]], spacing, [])
    metrics |= {f"{name}_es": value for name, value in es_only.items() if name.startswith("dice")}
    axis = case.frame.kji_to_heart(case.near.ijk_to_ras)[0, 0]
    row["slices"] = []
    for phase, at in (("ED", 0), ("ES", at_es)):
        ranks = slice_ranks(reference[at], apex_last=axis > 0)
        slices = compare_slices(reference[at], found[at], ranks, spacing)
        row["slices"] += [{"phase": phase, **part} for part in slices]
    for name in STRUCTURES:
        distances_mm = [part["hd95_mm"] for part in row["slices"] if part["structure"] == name]
        metrics[f"hd95_{name}_plane_mm"] = known_mean(distances_mm)
    metrics["parts_kept_percent"] = parts_kept(case.near_labels, found, distances)
    if prediction.lv_ml is not None and set(case.timing_frames) <= set(frames):
        metrics |= _regions(case, prediction.lv_ml, prediction.rr_ms, found, frames)
    return metrics


def _regions(
    case: EvaluationCase, lv_ml: np.ndarray, rr_ms: float, found: np.ndarray, frames: list[int]
) -> dict[str, float]:
    """Return regional errors; none where the base slice has too little to measure."""
    assert case.near_reference is not None
    try:
        phase = es_of(lv_ml, rr_ms) / len(lv_ml)
        found_es = min(range(len(frames)), key=lambda at: circular(frames[at] / case.frames, phase, 1.0))
        row = compare_regional(case.near_reference, found, (case.es, found_es), case.near.ijk_to_ras, case.frame)
        timing = case.half_times(found, frames)
        return row | compare_timing(case.reference_half_times, timing, NATIVE_FRAMES)
    except ChainOfFlowError:
        return {}


def _motion(
    case: EvaluationCase, fields: dict[int, torch.Tensor], displacement: np.ndarray, recorded: np.ndarray
) -> dict[str, float]:
    where = (slice(None), *case.crop)
    true = {frame: np.asarray(displacement[frame])[where] for frame in fields}
    spacing = np.asarray(case.near.spacing_mm, dtype=np.float32)[:, None, None, None]
    return compare_motion(lambda frame: fields[frame].numpy() * spacing, true, recorded, sorted(fields))


def reference_row(case: EvaluationCase) -> Row:
    """Return what is known of a case itself, for subgroups and figures."""
    truth = case.truth
    row: Row = {
        "facts": {name: value for name, value in case.facts.items() if not isinstance(value, dict)},
        "person": case.person,
        "ecg": ecg_facts(case),
        "stated_group": case.stated_group,
        "metrics": {
            "spacing_plane_mm": float(case.anchor.spacing_mm[1:].mean()),
            "spacing_slice_mm": float(case.anchor.spacing_mm[0]),
            "slices": float(case.anchor.shape[0]),
            "rr_ms": case.rr_ms,
        },
    }
    if truth is not None:
        row["curve_ml"] = np.round(truth.lv_ml, 2)
        row["truth_source"] = truth.source
        row["metrics"] |= {
            "ef_percent": truth.ef_percent, "edv_ml": truth.edv_ml, "esv_ml": truth.esv_ml, "sv_ml": truth.sv_ml,
            "co_l_min": truth.sv_ml * 60.0 / truth.rr_ms, "es_frame": truth.es_frame * NATIVE_FRAMES / len(truth.lv_ml),
        }  # fmt: skip
        if case.labelled_truth is not None:
            labelled = case.labelled_truth
            row["metrics"] |= {
                "labels_ef_percent": labelled.ef_percent,
                "labels_es_frame": labelled.es_frame * NATIVE_FRAMES / len(labelled.lv_ml),
            }
    shown = case.expected.get("ef_percent", case.facts.get("ecg_ef_percent"))
    if shown is not None:
        row["metrics"]["ecg_oracle_ef_percent"] = float(shown)
    return row
