"""Anyone's predicted cines: a folder with one cine a subject, in any format that is read, through the same metrics.

``DIR/ID.*`` or ``DIR/ID/cine.*`` is the cine, ``DIR/ID_labels.*``, ``DIR/ID/labels.*`` its labels where there are any.
Cines without labels are labelled in about a dozen frames: by the independent assessor, or the model's segmenter.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from COFGeneratorLib.anatomy.geometry import resample, same_grid
from COFGeneratorLib.anatomy.readers import CineStack, read_cine
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.errors import AnatomyError, CohortError
from COFGeneratorLib.function import volume_curves
from COFGeneratorLib.generator.bundle import Bundle

from COFTrainingLib.evaluation.assessor import load_assessor
from COFTrainingLib.evaluation.cases import EvaluationCase
from COFTrainingLib.evaluation.comparators.base import Prediction, Shared
from COFTrainingLib.training.segmenter.assessor_network import weights_sha256

ENDINGS = (".seq.nrrd", ".nrrd", ".nii.gz", ".nii", ".mha", ".mhd", ".zip")
ASSESSED_FRAMES = 12


@dataclass(frozen=True)
class GivenPredictions:
    """Predictions of a method that runs elsewhere.

    Args:
        name: As it stands in tables.
        folder: Where its cines lie.
        bundle: Whose segmenter labels cines that come without labels where there is no assessor; with neither they are
            judged as images only.
        role: As in ``ModelMethod``.
        assessor: Folder of the independent assessor, or None.
        device: Where it runs.
    """

    name: str
    folder: Path
    bundle: Bundle | None
    role: str = "prediction"
    assessor: Path | None = None
    device: str = "cpu"

    @property
    def identity(self) -> str:
        """Changes with the list of files, their sizes and times."""
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        listed = (f"{p.relative_to(self.folder)}:{p.stat().st_size}:{p.stat().st_mtime_ns}" for p in files)
        digest = hashlib.sha256("\n".join(listed).encode()).hexdigest()[:16]
        return digest if self.assessor is None else f"{digest}:{weights_sha256(self.assessor)[:16]}"

    def predict(self, case: EvaluationCase, shared: Shared) -> Prediction:
        """Return the cine of a case.

        Raises:
            CohortError: If there is none for this subject.
        """
        path = self._find(case.id, "cine")
        if path is None:
            raise CohortError(
                f"{self.name} needs a cine of every subject as {case.id}.nii.gz, {case.id}.seq.nrrd or "
                f"{case.id}/cine.seq.nrrd; found none in {self.folder}. Add it, or leave the subject out."
            )
        labels_path = self._find(case.id, "labels")
        labelled = None if labels_path is None else read_cine(labels_path)
        return of_cine(read_cine(path), case, Reader(self.bundle, self.assessor, self.device), labelled)

    def _find(self, subject: str, what: str) -> Path | None:
        stems = [self.folder / subject / what]
        stems += [self.folder / subject] if what == "cine" else [self.folder / f"{subject}_{what}"]
        for stem in stems:
            for ending in ENDINGS:
                path = stem.with_name(stem.name + ending)
                if path.is_file():
                    return path
        folder = self.folder / subject
        holds_series = what == "cine" and folder.is_dir() and not any(folder.glob("labels.*"))
        return folder if holds_series and any(folder.iterdir()) else None


@dataclass(frozen=True)
class Reader:
    """What labels cines that come without labels: the independent assessor, else the model's segmenter, if any.

    Args:
        bundle: Whose segmenter, or None.
        assessor: Folder of the assessor, or None.
        device: Where the assessor runs.
    """

    bundle: Bundle | None
    assessor: Path | None
    device: str = "cpu"

    @property
    def name(self) -> str:
        """What a report calls it; ``"none"`` where there is nothing that labels."""
        if self.assessor is not None:
            return "the independent assessor"
        return "none" if self.bundle is None or self.bundle.segmenter is None else "the model's segmenter"

    def label(self, cine: CineStack, chosen: list[int], case: EvaluationCase) -> CineStack:
        """Label chosen frames; a frame in which no heart is found has no heart, and is charged as such."""
        if self.assessor is not None:
            found = _loaded(self.assessor, self.device).assess(cine.frames[chosen], cine.ijk_to_ras, case.frame)
            return CineStack(found.labels, cine.ijk_to_ras)
        assert self.bundle is not None
        assert self.bundle.segmenter is not None
        out = []
        for n in chosen:
            try:
                out.append(self.bundle.segmenter.segment(SaxStack(cine.frames[n], cine.ijk_to_ras)).labels)
            except AnatomyError:
                out.append(np.zeros(cine.frames.shape[1:], dtype=np.uint8))
        return CineStack(np.stack(out), cine.ijk_to_ras)


def of_cine(cine: CineStack, case: EvaluationCase, reader: Reader, labelled: CineStack | None = None) -> Prediction:
    """Return a cine of one R–R as the prediction of a case; what has no labels of its own is labelled by a reader."""
    images = None
    if case.reference is not None:
        chosen = _nearest(case.image_frames, case.frames, len(cine.frames))
        images = np.stack([_onto(cine.frames[n], cine.ijk_to_ras, case.anchor, order=1) for n in chosen])
    if labelled is not None:
        source = "its own"
        curves = volume_curves(labelled.frames.astype(np.uint8), labelled.ijk_to_ras)
        frames: tuple[int, ...] = tuple(case.label_frames)
        chosen = _nearest(frames, case.frames, len(labelled.frames))
        near = np.stack([_onto(labelled.frames[n], labelled.ijk_to_ras, case.near, order=0) for n in chosen])
    elif reader.name != "none":
        source = reader.name
        frames = tuple(range(0, case.frames, max(1, case.frames // ASSESSED_FRAMES)))
        labelled = reader.label(cine, _nearest(frames, case.frames, len(cine.frames)), case)
        curves = volume_curves(labelled.frames, labelled.ijk_to_ras)
        near = np.stack([_onto(frame, labelled.ijk_to_ras, case.near, order=0) for frame in labelled.frames])
    else:
        return Prediction(None, None, None, case.cycle.rr_ms, images, labels_from="none")
    return Prediction(
        near.astype(np.uint8), curves.lv_ml, curves.myocardium_ml, case.cycle.rr_ms, images, frames, labels_from=source
    )


_loaded = cache(load_assessor)
"""Once a process."""


def _nearest(frames: Sequence[int], total: int, available: int) -> list[int]:
    """Return for each of ``frames`` of ``total`` the frame of a cine of ``available`` that is nearest in phase."""
    return [round(frame / total * available) % available for frame in frames]


def _onto(volume: np.ndarray, ijk_to_ras: np.ndarray, target: SaxStack, order: int) -> np.ndarray:
    if same_grid(ijk_to_ras, volume.shape, target.ijk_to_ras, target.shape):
        return volume
    return resample(volume, ijk_to_ras, target.shape, target.ijk_to_ras, order=order)
