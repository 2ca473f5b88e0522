"""Cines of one plane and ECGs of a real (or any) cohort of the one manifest, brought onto the model's grid."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from COFGeneratorLib.anatomy.readers import read_cine
from COFGeneratorLib.ecg.beats import analyse_ecg
from COFGeneratorLib.ecg.readers import read_ecg
from COFGeneratorLib.ecg.record import EcgRecord
from COFGeneratorLib.ecgflowcmr.model import PlaneGrid
from COFGeneratorLib.ecgflowcmr.pa_mae import phase_labels, prepare_record
from COFGeneratorLib.errors import ChainOfFlowError, CohortError, TrainingError
from torch.nn import functional

from COFTrainingLib.cohort.importers.ukbiobank_long_axis import PLANE, read_four_chamber
from COFTrainingLib.cohort.manifest import Cohort, Subject
from COFTrainingLib.phantom.planes import to_grey
from COFTrainingLib.training.ecgflowcmr.data import SAMPLES, TOKENS, TRUTHS, Examples
from COFTrainingLib.training.ecgflowcmr.settings import DataSettings

logger = logging.getLogger(__name__)

Signals = tuple[np.ndarray, np.ndarray, np.ndarray]
"""(12, 5000) float16, phase (2, 625) float16, known (625,) uint8, as ``Examples`` holds them."""


def cohort_examples(cohort: Cohort, split: str, data: DataSettings) -> Examples:
    """Read the examples of one split; a subject that cannot be used is left out and named in the log.

    A cine of several slices gives its middle one. Cines are cut or padded about their labels' centre (the image's,
    where there are none) to the grid, and brought to its number of frames by periodic linear interpolation.

    Raises:
        TrainingError: If no subject can be used.
    """
    parts = []
    for subject in cohort.used(split):
        try:
            parts.append((*_example(cohort, subject, data.grid), _truths(subject.facts)))
        except ChainOfFlowError as error:
            logger.warning("%s is left out: %s", subject.id, error)
    if not parts:
        raise TrainingError(
            f"Subjects with a cine and an ECG are needed; the split {split!r} of {cohort.header.name!r} has none that "
            "can be used. Import a cohort with both."
        )
    read, clips, labels, truths = zip(*parts, strict=True)
    signals, phase, known = zip(*read, strict=True)
    marked = None if any(item is None for item in labels) else torch.from_numpy(np.stack(labels))
    return Examples(
        signals=torch.from_numpy(np.stack(signals)),
        phase=torch.from_numpy(np.stack(phase)),
        known=torch.from_numpy(np.stack(known)),
        owner=torch.arange(len(parts)),
        clips=torch.from_numpy(np.stack(clips)),
        labels=marked,
        truths=torch.tensor(truths, dtype=torch.float32),
        seeds=torch.arange(len(parts)),
    )


def _truths(facts: dict[str, Any]) -> list[float]:
    """Return what a cohort's table says of a subject, in the order of ``TRUTHS``; NaN where it says nothing."""
    known = {name: facts.get(name) for name in TRUTHS}
    if known["ef"] is None and isinstance(facts.get("ef_percent"), int | float):
        known["ef"] = facts["ef_percent"] / 100.0
    return [float(value) if isinstance(value, bool | int | float) else np.nan for value in known.values()]


def _example(cohort: Cohort, subject: Subject, grid: PlaneGrid) -> tuple[Signals, np.ndarray, np.ndarray | None]:
    record = read_ecg(cohort.path(subject, "ecg"))
    cycle = analyse_ecg(record)
    phase, known = phase_labels(cycle.r_peaks_s * record.fs_hz, TOKENS, record.fs_hz)
    if subject.facts.get("plane") == PLANE:
        if grid.plane != PLANE:
            raise CohortError(f"This model draws {grid.plane}; {subject.id} has {PLANE}. Choose a configuration of it.")
        plane = read_four_chamber(cohort.path(subject, "cine"))
        clip = resample(plane.frames, plane.spacing_mm, _centre(None, plane.frames.shape[1:]), grid)
        return _signals(record, phase, known), to_grey(clip), None
    cine = read_cine(cohort.path(subject, "cine"))
    frames = np.asarray(cine.frames, dtype=np.float32)
    middle = frames.shape[1] // 2
    spacing = cine.stack(0).spacing_mm[1:]
    marked = None
    if "cine_labels" in subject.files:
        labels = np.asarray(read_cine(cohort.path(subject, "cine_labels")).frames)
        middle = int((labels == 1).sum(axis=(0, 2, 3)).argmax())
        marked = labels[:, middle]
    centre = _centre(marked, frames.shape[2:])
    clip = to_grey(resample(frames[:, middle], spacing, centre, grid))
    out = None if marked is None else resample(marked.astype(np.float32), spacing, centre, grid, nearest=True)
    return _signals(record, phase, known), clip, None if out is None else out.astype(np.uint8)


def _signals(record: EcgRecord, phase: np.ndarray, known: np.ndarray) -> Signals:
    return prepare_record(record, SAMPLES).astype(np.float16), phase.astype(np.float16), known.astype(np.uint8)


def _centre(labels: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    if labels is None or not (labels > 0).any():
        return (np.array(shape) - 1) / 2
    return np.argwhere((labels > 0).any(axis=0)).mean(axis=0)


def resample(
    frames: np.ndarray,
    spacing_mm: Sequence[float] | np.ndarray,
    centre: np.ndarray,
    grid: PlaneGrid,
    nearest: bool = False,
) -> np.ndarray:
    """Bring (F, h, w) onto the grid (T, H, W): square about ``centre`` (rows, columns), zeros beyond the image."""
    count, height, width = frames.shape
    at = (np.arange(grid.size) - (grid.size - 1) / 2) * grid.pixel_mm
    rows = 2 * (centre[0] + at / spacing_mm[0]) / max(height - 1, 1) - 1
    columns = 2 * (centre[1] + at / spacing_mm[1]) / max(width - 1, 1) - 1
    where = np.stack(np.meshgrid(columns, rows), axis=-1)[None].astype(np.float32)
    mode = "nearest" if nearest else "bilinear"
    image = torch.from_numpy(np.ascontiguousarray(frames))[None]
    flat = functional.grid_sample(image, torch.from_numpy(where), mode=mode, align_corners=True)[0].numpy()
    position = np.arange(grid.frames) * count / grid.frames
    low = np.floor(position).astype(int) % count
    if nearest:
        return flat[np.rint(position).astype(int) % count]
    part = (position - np.floor(position))[:, None, None].astype(np.float32)
    return (1 - part) * flat[low] + part * flat[(low + 1) % count]
