"""Middle slices at ED and ES, kept for the pages of a report: small, and read by nothing else."""

from pathlib import Path

import numpy as np
from COFGeneratorLib.files import replacing

from COFTrainingLib.evaluation.cases import EvaluationCase
from COFTrainingLib.evaluation.comparators.base import Prediction
from COFTrainingLib.evaluation.metrics.function import circular
from COFTrainingLib.evaluation.plan import Plan
from COFTrainingLib.evaluation.report.section import safe_name

FOLDER = "pictures"


def picture_path(store: Path, subject: str, method: str) -> Path:
    """Return the file of a subject's pictures by a method."""
    return store / FOLDER / f"{safe_name(f'{subject}__{method}')}.npz"


def keep_pictures(plan: Plan, case: EvaluationCase, method: str, prediction: Prediction) -> None:
    """Write the middle slice at ED and ES, recorded and generated, with its labels; nothing without images."""
    if prediction.images is None or prediction.labels is None or case.near_reference is None or plan.store is None:
        return
    assert case.reference is not None  # images are made of it alone
    k = _middle(case.near_labels)
    frames = list(range(case.frames)) if prediction.labelled is None else list(prediction.labelled)
    es = case.es
    labelled = [frame for frame in case.image_frames if frame in frames] or case.image_frames
    nearest = min(labelled, key=lambda frame: circular(frame, es, case.frames))
    rows, columns = case.crop[1:]
    kept: dict[str, np.ndarray] = {"pixel_mm": case.anchor.spacing_mm[1:], "es_frame": np.array(nearest)}
    for phase, frame in (("ed", 0), ("es", nearest)):
        at = case.image_frames.index(frame)
        true = case.scale(case.reference[frame, k, rows, columns])
        made = case.scale(prediction.images[at, k, rows, columns])
        kept |= {
            f"{phase}_true": (255 * true).astype(np.uint8),
            f"{phase}_made": (255 * made).astype(np.uint8),
            f"{phase}_true_labels": case.near_reference[frame, k],
        }
        if frame in frames:
            kept[f"{phase}_made_labels"] = prediction.labels[frames.index(frame), k]
    path = picture_path(plan.store, case.id, method)
    with replacing(path) as beside:
        np.savez_compressed(beside, allow_pickle=False, **kept)


def _middle(labels: np.ndarray) -> int:
    """Return the slice in the middle of the wall."""
    return int(np.median(np.flatnonzero((labels == 2).any(axis=(1, 2)))))
