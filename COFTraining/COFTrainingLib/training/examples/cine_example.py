"""From a subject's own cine and ECG to examples of Stage 2, the same as those of phantoms."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from COFGeneratorLib.anatomy import read_labels
from COFGeneratorLib.anatomy.heart_frame import HeartFrame, heart_frame_from_labels
from COFGeneratorLib.anatomy.readers import CineStack, read_cine
from COFGeneratorLib.anatomy.segmenters.segmenter import own_segmenter
from COFGeneratorLib.anatomy.stack import LABELS, SaxStack
from COFGeneratorLib.ecg import analyse_ecg, read_ecg
from COFGeneratorLib.ecg.average_beat import average_beat
from COFGeneratorLib.ecg.cycle import BEAT_SAMPLES, SCALAR_NAMES
from COFGeneratorLib.ecg.record import LEADS, EcgRecord
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.generator.networks.grid import MotionGrid, anatomy_maps, grid_for_heart, label_fractions
from COFGeneratorLib.motion.fields import logarithm, voxels_from_mm
from COFGeneratorLib.motion.volume_gradient import volume_sensitivity
from scipy.interpolate import CubicSpline
from scipy.ndimage import map_coordinates

from COFTrainingLib.cohort.manifest import Cohort, Subject
from COFTrainingLib.training.examples.cine_motion import (
    CineMotion,
    MotionField,
    demons_motion,
    load_teacher,
    teacher_motion,
    true_motion,
)
from COFTrainingLib.training.examples.flow_cache import ECG_DRAWS, SENSITIVITY_SCALE
from COFTrainingLib.training.examples.flow_samples import (
    LOGARITHM_SWEEPS,
    REFINE,
    draw_anchor,
    fitted_to_grid,
    jittered,
    volume_phases,
)
from COFTrainingLib.training.examples.seen import seen_in_cine
from COFTrainingLib.training.examples.stated import stated_of_cine

MIN_FRAMES = 8
"""A cine of fewer frames does not show when the heart is smallest."""
MARGIN_MM = 25.0
"""Of the box about the heart in which its labels are warped."""


@dataclass(frozen=True)
class Recipe:
    """What decides how examples are made, beside the subject's own files.

    Args:
        grid: The motion grid.
        motion: How motion is found.
        teacher: Folder of the teacher, or empty.
        segmenter: Folder of the segmenter for anchors without labels, or empty.
        anchor: When anchors are taken, one of ``flow_samples.ANCHORS``: at the R wave, or every copy at another phase.
        looks: Folder of the teacher whose encoder looks at the anchor's image, or empty.
    """

    grid: MotionGrid
    motion: CineMotion
    teacher: str = ""
    segmenter: str = ""
    anchor: str = "ed"
    looks: str = ""


def make_examples(cohort: Cohort, subject: Subject, recipe: Recipe, copies: int, seed: int) -> list[dict[str, Any]]:
    """Return the examples of a subject: what ``FlowCache`` holds of one, in the types in which it is stored.

    Beside it ``volumes`` (T, 3): LV, wall and RV at the grid's phases relative to the anchor's, counted in the labels
    of the cine where there are any, else in the anchor's labels as the registration moves them on the native grid;
    ``stated`` (3,), see ``stated_of_cine``; and ``anchor`` (1,), the phase of the anchor, where the recipe takes it at
    any. Without an ECG, ``beats`` and ``scalars`` are zero.

    Args:
        cohort: The cohort.
        subject: One of its subjects, with the file ``cine`` and perhaps ``ecg``.
        recipe: How.
        copies: How many examples.
        seed: Of their variation.

    Raises:
        ChainOfFlowError: If a file cannot be used.
    """
    cine, order = _cine(cohort, subject)
    starts = _starts(cohort, subject, order, recipe, copies, seed)
    moving = {start: _moving(cohort, subject, cine, order, start, recipe) for start in sorted(set(starts))}
    heard = no_ecg()
    if "ecg" in subject.files:
        heard = ecg_draws(read_ecg(cohort.path(subject, "ecg")), np.random.default_rng([seed, 1]))
    source = subject.facts.get("ecg", "recorded" if "ecg" in subject.files else "none")
    examples = []
    for copy, start in enumerate(starts):
        rng = np.random.default_rng([seed, 2, copy])
        heart = moving[start]
        own = heart.frame if copy == 0 else jittered(heart.frame, rng)
        example = _on_grid(heart, own, recipe, at_r=start == 0)
        facts = {"labels_from": heart.source, "confidence": float(heart.field.confidence.mean()), "ecg": source}
        if recipe.anchor == "any":
            example["anchor"] = np.array([start / len(order)], dtype=np.float32)
        example |= {"volumes": heart.volumes.astype(np.float32), "stated": stated_of_cine(subject, heart.volumes)}
        examples.append({**example, **heard, "facts": facts})
    return examples


@dataclass(frozen=True)
class _Moving:
    """One frame of a cine as the anchor, and how it moves: what all copies with this anchor share."""

    anchor: SaxStack
    labels: np.ndarray
    source: str
    frame: HeartFrame
    field: MotionField
    in_time: np.ndarray
    volumes: np.ndarray


def _starts(cohort: Cohort, subject: Subject, order: list[int], recipe: Recipe, copies: int, seed: int) -> list[int]:
    """Return which frame after the R wave is the anchor of each copy: one whose labels are known or can be found."""
    if recipe.anchor != "any":
        return [0] * copies
    known = list(range(len(order))) if recipe.segmenter else [0]
    if "cine_labels" in subject.files:
        marked = read_cine(cohort.path(subject, "cine_labels")).frames
        code = subject.facts.get("label_map", LABELS).get("lv", -1)
        if len(marked) == len(order):
            known = [0, *(n for n in range(1, len(order)) if (marked[order[n]] == code).any())]
    drawn = (draw_anchor(np.random.default_rng([seed, 3, copy])) for copy in range(copies))
    return [min(known, key=lambda n: abs(n - phase * len(order))) for phase in drawn]


def _moving(cohort: Cohort, subject: Subject, cine: CineStack, order: list[int], start: int, recipe: Recipe) -> _Moving:
    """Return a frame's anatomy and its motion to every phase of the grid, which begins at the R wave."""
    if start:  # the manifest's labels of an anchor are those of its frame at the R wave
        subject = replace(subject, files={role: file for role, file in subject.files.items() if role != "labels"})
    order = [*order[start:], *order[:start]]
    anchor = cine.stack(order[0])
    labels, source = anchor_labels(cohort, subject, anchor, recipe.segmenter)
    frame = heart_frame_from_labels(labels, anchor.ijk_to_ras)
    chosen = _chosen(len(order), recipe.motion.frames)
    targets = [order[n] for n in chosen]
    field = _motion(cohort, subject, anchor, cine, frames=targets, heart=frame, recipe=recipe)
    phases = (np.arange(recipe.grid.phases) / recipe.grid.phases - start / len(order)) % 1.0
    in_time = _periodic(np.array(chosen) / len(order), phases)
    volumes = _counted(cohort, subject, order, phases)
    if volumes is None:
        volumes = _warped_volumes(labels, anchor, field, in_time)
    return _Moving(
        anchor=anchor, labels=labels, source=source, frame=frame, field=field, in_time=in_time, volumes=volumes
    )


def _cine(cohort: Cohort, subject: Subject) -> tuple[CineStack, list[int]]:
    """Return a subject's cine and its frames in the order of the beat, the anchor (at the R wave) first."""
    cine = read_cine(cohort.path(subject, "cine"))
    count, first = len(cine.frames), int(subject.facts.get("anchor_frame", 0))
    if count < MIN_FRAMES or not 0 <= first < count:
        raise TrainingError(
            f"A cine to learn motion from has at least {MIN_FRAMES} frames of one beat, one of them the anchor; found "
            f"{count} and anchor frame {first}. Leave the subject out, or correct anchor_frame."
        )
    return cine, [*range(first, count), *range(first)]


def anchor_labels(cohort: Cohort, subject: Subject, anchor: SaxStack, segmenter: str = "") -> tuple[np.ndarray, str]:
    """Return the labels of an anchor, (D, H, W) in our codes, and where they are from: files, or the segmenter.

    Raises:
        TrainingError: If there are none and no segmenter.
    """
    codes = subject.facts.get("label_map", LABELS)
    if "labels" in subject.files:
        return read_labels(cohort.path(subject, "labels"), anchor, codes, subject.facts.get("labels_frame")), "file"
    if "cine_labels" in subject.files:
        return read_labels(cohort.path(subject, "cine_labels"), anchor, codes, anchor.frame), "file"
    if not segmenter:
        raise TrainingError(
            f"An anchor needs labels, or a segmenter that finds them; {subject.id} has neither. Give --segmenter."
        )
    return own_segmenter(segmenter).segment(anchor).labels, "segmenter"


def _chosen(frames: int, most: int) -> list[int]:
    """Return which frames of a beat are registered: evenly chosen, the anchor first."""
    count = min(frames, most)
    return sorted({round(n * frames / count) % frames for n in range(count)})


def _motion(
    cohort: Cohort, subject: Subject, anchor: SaxStack, cine: CineStack, *, frames: list[int], heart: HeartFrame,
    recipe: Recipe,
) -> MotionField:  # fmt: skip
    """Return the motion from the anchor to some frames of its cine."""
    motion = recipe.motion
    if motion.source == "truth":
        return true_motion(Path(cohort.path(subject, "displacement")), anchor, frames)
    targets = cine.frames[frames]
    if motion.source == "demons":
        return demons_motion(anchor, targets, heart)
    return teacher_motion(load_teacher(recipe.teacher), anchor, targets, heart, motion.refinement_steps)


def _periodic(times: np.ndarray, phases: np.ndarray) -> np.ndarray:
    """Return the (phases, times) matrix of periodic cubic interpolation from times 0…1 of a beat that start at 0."""
    knots, values = np.append(times, 1.0), np.vstack([np.eye(len(times)), np.eye(len(times))[:1]])
    return CubicSpline(knots, values, bc_type="periodic")(phases)


def _counted(cohort: Cohort, subject: Subject, order: list[int], phases: np.ndarray) -> np.ndarray | None:
    """Return relative volumes (T, 3) from labels of all frames; None where not all frames have them."""
    if "cine_labels" not in subject.files:
        return None
    codes = subject.facts.get("label_map", LABELS)
    marked = read_cine(cohort.path(subject, "cine_labels")).frames
    if len(marked) != len(order):
        return None
    count = np.array(
        [[(marked[frame] == codes.get(name, -1)).sum() for name in LABELS] for frame in order], dtype=float
    )
    if not count[:, :2].all():  # labelled at end-diastole and end-systole alone
        return None
    return (_periodic(np.arange(len(order)) / len(order), phases) @ count) / np.maximum(count[:1], 1.0)


def _warped_volumes(labels: np.ndarray, anchor: SaxStack, field: MotionField, in_time: np.ndarray) -> np.ndarray:
    """Return relative volumes (T, 3) of the anchor's labels under the motion, on the anchor's own grid."""
    margin = np.maximum(np.ceil(MARGIN_MM / anchor.spacing_mm), 1).astype(int)
    used = [np.flatnonzero((labels > 0).any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    box = tuple(slice(max(u[0] - m, 0), u[-1] + m + 1) for u, m in zip(used, margin, strict=True))
    fractions = label_fractions(labels)[(slice(None), *box)]
    kji = np.stack(np.meshgrid(*[np.arange(size)[part] for size, part in zip(labels.shape, box, strict=True)],
                               indexing="ij"), axis=-1).reshape(-1, 3)  # fmt: skip
    to_ras = anchor.ijk_to_ras @ np.eye(4)[[2, 1, 0, 3]]
    points = kji @ to_ras[:3, :3].T + to_ras[:3, 3]
    moved = field.at(points) @ np.linalg.inv(to_ras[:3, :3]).T  # voxels of the stack
    start = kji - np.array([part.start for part in box])
    still, out = fractions.sum(axis=(1, 2, 3)).clip(min=1.0), []
    for weights in in_time:
        positions = (start + np.tensordot(weights, moved, axes=1)).T
        out.append([map_coordinates(channel, positions, order=1, mode="nearest").sum() for channel in fractions])
    return np.array(out) / still


def _on_grid(heart: _Moving, frame: HeartFrame, recipe: Recipe, at_r: bool) -> dict[str, Any]:
    anchor, fractions = heart.anchor, label_fractions(heart.labels)
    grid = grid_for_heart(heart.labels, anchor.ijk_to_ras, frame, recipe.grid)  # as for a heart that is generated
    nodes = grid.points_mm(REFINE)
    points = nodes.reshape(-1, 3) @ frame.axes_ras + frame.origin_ras  # axes_ras: rows are the axes, orthonormal
    along = heart.field.at(points) @ frame.axes_ras.T
    exact = np.tensordot(heart.in_time, along, axes=1).reshape(grid.phases, *nodes.shape)
    velocity = logarithm(
        voxels_from_mm(torch.as_tensor(fitted_to_grid(exact, grid), dtype=torch.float32), grid.spacing_mm),
        LOGARITHM_SWEEPS,
    )
    if at_r:
        velocity[0] = 0.0
    chosen = volume_phases(grid, recipe.anchor)
    fine = torch.from_numpy(anatomy_maps(fractions, anchor.ijk_to_ras, frame, grid, 2, 2))
    coarse, sensitivity = (part.numpy() for part in volume_sensitivity(velocity[chosen], fine))
    deficit = heart.volumes[chosen] - coarse
    if not at_r:  # volumes of the loss are relative to the R wave's
        share = 1.0 / np.maximum(heart.volumes[0], 1e-3)
        sensitivity, deficit = sensitivity * share.reshape(1, 3, 1, 1, 1, 1), deficit * share
    return {
        **seen_in_cine(anchor, heart.field, heart.in_time, frame, grid, recipe.looks),
        "maps": anatomy_maps(fractions, anchor.ijk_to_ras, frame, grid).astype(np.float16),
        "velocity": velocity.numpy().astype(np.float16),
        "sensitivity": (sensitivity * SENSITIVITY_SCALE).astype(np.float16),
        "deficit": deficit.astype(np.float32),
    }


def ecg_draws(record: EcgRecord, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return the beats and scalars of a record: first the average of all its good beats, then of random halves.

    Keys ``beats`` (R, 12, 256) mV and ``scalars`` (R, 12); with few beats the draws repeat the first.
    """
    cycle = analyse_ecg(record)
    beats, good = [cycle.beat_mv], np.flatnonzero(cycle.accepted)
    for _ in range(ECG_DRAWS - 1):
        if len(good) < 4:
            beats.append(cycle.beat_mv)
            continue
        half = np.zeros(len(cycle.accepted), dtype=bool)
        half[rng.choice(good, len(good) // 2, replace=False)] = True
        beats.append(average_beat(record.signal_mv, record.fs_hz, cycle.r_peaks_s * record.fs_hz, half))
    scalars = np.repeat(cycle.scalars()[None], ECG_DRAWS, axis=0)
    return {"beats": np.stack(beats).astype(np.float16), "scalars": scalars.astype(np.float32)}


def no_ecg() -> dict[str, np.ndarray]:
    """Return what stands for the beats and scalars of a subject without an ECG: zeros."""
    beats = np.zeros((ECG_DRAWS, len(LEADS), BEAT_SAMPLES), dtype=np.float16)
    return {"beats": beats, "scalars": np.zeros((ECG_DRAWS, len(SCALAR_NAMES)), dtype=np.float32)}


def of_anchor(cohort: Cohort, subject: Subject) -> SaxStack:
    """Return a subject's anchor: the frame of its cine at the R wave, or the stack that the manifest names."""
    from COFGeneratorLib.anatomy import read_sax

    role = "cine" if "cine" in subject.files else "anchor"
    stack = read_sax(cohort.path(subject, role), int(subject.facts.get("anchor_frame", 0)))
    return replace(stack, warnings=())
