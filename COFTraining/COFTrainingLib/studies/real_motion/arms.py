"""The arms of the comparison on real hearts: what moves each anchor."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.files import replacing, weights_hash
from COFGeneratorLib.function import VolumeCurves
from COFGeneratorLib.generator import generate
from COFGeneratorLib.generator.bundle import Bundle
from COFGeneratorLib.registration.pipeline import register_cine

from COFTrainingLib.cohort.synthesised_ecg import ecg_for, normal_ecg
from COFTrainingLib.evaluation.comparators.library import population_of
from COFTrainingLib.studies.real_motion.figures import es_phase_of
from COFTrainingLib.studies.real_motion.hearts import RealHeart
from COFTrainingLib.studies.real_motion.moved import Moved, moved_by, of_cine, standing_still

RECORDED, COPY, MEAN, OWN, NORMAL, ORACLE, DRAW, V2, TEACHER = (
    "recorded cine",
    "copy",
    "mean motion, EF told",
    "ECG of its EF",
    "normal ECG",
    "oracle",
    "one draw",
    "cof-v2",
    "registration",
)
ARMS = (RECORDED, COPY, MEAN, OWN, NORMAL, ORACLE, DRAW, V2, TEACHER)
SLICES_LOST = 0.3
"""Share of the slices, at the base, that a stack is shortened by."""


@dataclass(frozen=True)
class Models:
    """What moves hearts.

    Attributes:
        bundle: The model to be judged.
        v2: A bundle of ``cof-v2``, or None.
        teacher: Folder of the registration teacher, or None.
        work: Where registrations are kept for the next time, or None.
        skip: Names of ``ARMS`` that are left out.
    """

    bundle: Bundle
    v2: Bundle | None = None
    teacher: Path | None = None
    work: Path | None = None
    skip: tuple[str, ...] = ()


def arms_of(models: Models, heart: RealHeart) -> Iterator[tuple[str, Moved]]:
    """Yield every arm of a heart by name, one at a time."""
    anchor, labels, count = heart.anchor, heart.labels[0], len(heart.frames)
    bundle, record = models.bundle, ecg_for(heart.measured, heart.seed)

    def make(name: str) -> Moved | None:
        match name:
            case "recorded cine":
                return Moved(heart.frames, heart.labels, heart.curves)
            case "copy":
                return standing_still(anchor, labels, count)
            case "mean motion, EF told":
                velocity = population_of(bundle)
                if velocity is None:
                    return None
                return moved_by(bundle, anchor, labels, torch.from_numpy(velocity), count, heart.ef_percent)
            case "ECG of its EF":
                return of_cine(generate(anchor, record, bundle, labels=labels, frames=count, in_slices=True))
            case "normal ECG":
                return of_cine(
                    generate(anchor, normal_ecg(heart.rr_ms), bundle, labels=labels, frames=count, in_slices=True)
                )
            case "oracle":
                return told(bundle, heart)
            case "one draw":
                cine = generate(
                    anchor, record, bundle, labels=labels, frames=count, draw=True, seed=heart.seed, in_slices=True
                )
                return of_cine(cine)
            case "cof-v2" if models.v2 is not None:
                return of_cine(generate(anchor, record, models.v2, labels=labels, frames=count))
            case "registration" if models.teacher is not None:
                return registered(models, heart)
        return None

    for name in ARMS:
        moved = None if name in models.skip else make(name)
        if moved is not None:
            yield name, moved


def told(bundle: Bundle, heart: RealHeart) -> Moved:
    """Return a model's cine of a heart where EF and end-systole are told beside an ECG that fits.

    End-systole as the product defines it, the centre of the recorded curve's plateau: the frame that a list names lies
    0.04 of the beat from that on average, before or after.
    """
    record, labels = ecg_for(heart.measured, heart.seed), heart.labels[0]
    centre = es_phase_of(heart.curves, heart.rr_ms)
    es_ms = heart.rr_ms * (heart.es_phase if np.isnan(centre) else centre)
    cine = generate(
        heart.anchor, record, bundle, labels=labels, frames=len(heart.frames), ef_percent=heart.ef_percent,
        es_ms=es_ms, in_slices=True,
    )  # fmt: skip
    return of_cine(cine, heart.ef_percent)


def registered(models: Models, heart: RealHeart) -> Moved:
    """Return the anchor moved by the teacher's refined registration of the recorded frames; kept in ``models.work``."""
    assert models.teacher is not None
    path = None
    if models.work is not None:
        name = f"{heart.case.name}-{heart.anchor.source_sha256[:8]}-{weights_hash(str(models.teacher))[:8]}"
        path = models.work / "registered" / f"{name}-{_digest(heart.labels[0])}.npz"
        if path.is_file():
            kept = np.load(path, allow_pickle=False)
            return Moved(kept["frames"].astype(np.float32), kept["labels"], VolumeCurves(*kept["curves"]))
    moved = of_cine(
        register_cine(
            heart.anchor, heart.frames, heart.rr_ms, labels=heart.labels[0], labels_from="user", teacher=models.teacher
        )
    )
    if path is not None:
        curves = np.stack([moved.curves.lv_ml, moved.curves.myocardium_ml, moved.curves.rv_ml])
        with replacing(path) as beside:
            np.savez_compressed(beside, frames=moved.frames, labels=moved.labels, curves=curves)
    return moved


def ef_of_fewer_slices(models: Models, heart: RealHeart) -> float:
    """Return the EF under the heart's own ECG where the stack ends early at the base, percent."""
    labels = heart.labels[0]
    used = np.flatnonzero((labels == 2).any(axis=(1, 2)))
    area = (labels == 1).sum(axis=(1, 2))
    lost = round(SLICES_LOST * len(used))
    base_first = area[used[: len(used) // 2]].sum() > area[used[-(len(used) // 2) :]].sum()
    kept = slice(used[0] + lost, None) if base_first else slice(None, used[-1] + 1 - lost)
    start = kept.start or 0
    matrix = heart.anchor.ijk_to_ras.copy()
    matrix[:3, 3] += matrix[:3, 2] * start
    short = SaxStack(heart.anchor.voxels[kept], matrix)
    record = ecg_for(heart.measured, heart.seed)
    cine = generate(short, record, models.bundle, labels=labels[kept], frames=len(heart.frames), complete_labels=False)
    assert cine.function is not None
    return cine.function.ef_percent


def _digest(labels: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(labels).tobytes()).hexdigest()[:8]
