"""From a real cine to a ``Cine`` whose motion is measured, not generated: one frame registered to all others."""

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from COFGeneratorLib.anatomy.heart_frame import heart_frame_from_labels
from COFGeneratorLib.anatomy.segmenters.segmenter import Segmenter
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.cine import Cine
from COFGeneratorLib.errors import AnatomyError, FunctionError, MotionError
from COFGeneratorLib.function import measure_function
from COFGeneratorLib.motion.fields import folded_fraction, warp
from COFGeneratorLib.registration.demons import demons
from COFGeneratorLib.registration.teacher import Refinement, RegistrationTeacher
from COFGeneratorLib.resources import models_folders

Progress = Callable[[str, int, int], None]
TEACHER_FILES = ("config.json", "model.safetensors")
WITHOUT_TEACHER = (
    "No trained registration teacher was found, so the motion is measured by SimpleITK's diffeomorphic demons, which "
    "no training has adapted to hearts. Train one with `cof train teacher` and give its folder with --teacher."
)


@dataclass(frozen=True)
class MeasuredMotion:
    """Displacements of all frames, (T, 3, D, H, W) float32 mm, components (k, j, i)."""

    displacements_mm: np.ndarray

    def displacement_mm(self, frame: int) -> np.ndarray:
        """Return the pull displacement of a frame, (3, D, H, W) mm."""
        return self.displacements_mm[frame]


def find_teacher(bundle: Path | None = None) -> Path | None:
    """Return the folder of a trained teacher: in a bundle's ``models/teacher``, or ``Resources/Models/teacher``."""
    places = [folder / "teacher" for folder in models_folders()]
    if bundle is not None:
        places.insert(0, Path(bundle) / "models" / "teacher")
    return next((place for place in places if all((place / name).is_file() for name in TEACHER_FILES)), None)


def register_cine(
    anchor: SaxStack,
    targets: np.ndarray,
    rr_ms: float,
    *,
    times_ms: Sequence[float] | None = None,
    labels: np.ndarray | None = None,
    labels_from: str = "none",
    teacher: Path | None = None,
    segmenter: Segmenter | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Cine:
    """Measure the motion of a real cine.

    Args:
        anchor: The frame that is moved; its ``frame`` says which of the cine it is.
        targets: (T, D, H, W) all frames, the anchor among them.
        rr_ms: Length of the cycle, ms.
        times_ms: (T,) when frames were taken, increasing; evenly spread over the cycle where None.
        labels: (D, H, W) of the anchor, or None.
        labels_from: ``"user"``, ``"segmenter"`` or ``"none"``.
        teacher: Folder of a trained ``RegistrationTeacher``; demons where None.
        segmenter: A ``Segmenter``; what it sees in anchor and frames then guides the teacher's refinement, as the
            frozen segmentation network of Chain of Flow's stage 1 does. The labels given are only moved.
        device: Of the teacher.
        progress: Called with (stage, done, total).

    Returns:
        The anchor warped to every frame, starting with itself, with motion and read-outs. ``record`` and ``cycle`` are
        None: no ECG took part.

    Raises:
        MotionError: If the frames do not fit.
    """
    targets = np.roll(np.asarray(targets, np.float32), -anchor.frame, axis=0)
    count = len(targets)
    if targets.ndim != 4 or targets.shape[1:] != anchor.shape or count < 2 or not rr_ms > 0.0:
        raise MotionError(
            f"Registration needs a cine of at least two frames on the anchor's grid {anchor.shape} and the length of "
            f"its cycle; found {targets.shape}, {rr_ms} ms. Choose another file, or give --rr."
        )

    def tell(done: int, total: int = count) -> None:
        if progress is not None:
            progress("registration", done, total)

    tell(0)
    if teacher is not None:
        seen = seen_in(segmenter, anchor, targets)
        displacements = _by_teacher(RegistrationTeacher.load(teacher, device), anchor, targets, labels, seen, tell)
        method = f"teacher {Path(teacher).name}, refined"
    else:
        displacements, method = np.zeros((count, 3, *anchor.shape), np.float32), "demons (SimpleITK)"
        for frame in range(1, count):
            displacements[frame] = demons(anchor.voxels, targets[frame], anchor.spacing_mm)
            tell(frame + 1)
    displacements[0] = 0.0
    time_ms = np.arange(count) * (rr_ms / count)
    if times_ms is not None:
        time_ms = np.roll(np.asarray(times_ms, float) - times_ms[anchor.frame], -anchor.frame) % rr_ms
    return _cine(
        anchor, displacements, time_ms, rr_ms, labels=labels, labels_from=labels_from, method=method,
        untrained=teacher is None,
    )  # fmt: skip


def _by_teacher(
    teacher: RegistrationTeacher,
    anchor: SaxStack,
    targets: np.ndarray,
    labels: np.ndarray | None,
    seen: tuple[np.ndarray, np.ndarray] | tuple[None, None],
    tell: Callable[[int, int], None],
) -> np.ndarray:
    """Return the displacements of all frames, (T, 3, D, H, W) float32 mm."""
    frame = heart_frame_from_labels(labels, anchor.ijk_to_ras) if labels is not None else None
    found = teacher.register(
        anchor, targets, frame, refinement=Refinement(), anchor_labels=seen[0], target_labels=seen[1], progress=tell
    )
    return np.stack([found.displacement_on_stack(index) for index in range(len(targets))]).astype(np.float32)


def seen_in(
    segmenter: Segmenter | None, anchor: SaxStack, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    """Return the probabilities that a segmenter sees in anchor (3, D, H, W) and frames (T, 3, D, H, W).

    (None, None) without a segmenter, or where it finds no heart.
    """
    if segmenter is None:
        return None, None
    try:
        found = segmenter.segment(anchor)
    except AnatomyError:
        return None, None
    seen = segmenter.follow(anchor, found, np.concatenate([anchor.voxels[None], targets]))  # all looked at alike
    return seen[0], seen[1:]


def _cine(
    anchor: SaxStack,
    displacements: np.ndarray,
    time_ms: np.ndarray,
    rr_ms: float,
    *,
    labels: np.ndarray | None,
    labels_from: str,
    method: str,
    untrained: bool,
) -> Cine:
    """Warp the anchor and its labels by displacements (T, 3, D, H, W) mm, and measure what comes of it."""
    spacing = anchor.spacing_mm.reshape(3, 1, 1, 1)
    source = [anchor.voxels[None]]
    if labels is not None:
        source.append(np.stack([labels == code for code in range(4)]).astype(np.float32))
    image = torch.from_numpy(np.concatenate(source))[None]
    frames, moved, folded = [], [], []
    for field in displacements:
        voxels = torch.from_numpy(np.ascontiguousarray(field / spacing, dtype=np.float32))[None]
        warped = warp(image, voxels)[0].numpy()
        frames.append(warped[0])
        moved.append(warped[1:])
        folded.append(folded_fraction(voxels))
    frames[0] = anchor.voxels
    warnings = [*anchor.warnings, *([WITHOUT_TEACHER] if untrained else [])]
    report, label_cine = None, None
    if labels is not None:
        fractions = np.stack(moved)
        label_cine = fractions.argmax(axis=1).astype(np.uint8)
        try:
            report = measure_function(
                fractions[:, 1:],
                anchor.ijk_to_ras,
                time_ms,
                rr_ms,
                60000.0 / rr_ms,
                labels_from=labels_from,
                folded_fraction=max(folded),
            )
        except FunctionError as error:
            warnings.append(f"Function was not measured. {error}")
    provenance = {
        "motion_from": "registration of a real cine",
        "method": method,
        "anchor_sha256": anchor.source_sha256,
        "anchor_frame": anchor.frame,
        "labels_from": labels_from,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "seconds": {},
        "warnings": warnings,
    }
    return Cine(
        frames=np.stack(frames).astype(np.float32),
        time_ms=time_ms,
        rr_ms=rr_ms,
        anchor=anchor,
        motion=MeasuredMotion(displacements),
        labels=label_cine,
        labels_from=labels_from,
        function=report,
        record=None,
        cycle=None,
        provenance=provenance,
    )
