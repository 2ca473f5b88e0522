"""A recorded heart, ready to be compared with: its frames, labels of all of them, and what they say of its function.

Labels at end-diastole and end-systole are a reader's where there are any, the segmenter's elsewhere; between them the
segmenter's volumes are taken, scaled and shifted so that they agree with the labels of these two frames. Where the
segmenter's labels at end-systole contradict the image (``cohort.frame_labels``), those of end-diastole are moved by
registration, to end-systole and to enough frames for a curve.
"""

import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from COFGeneratorLib.anatomy import read_labels
from COFGeneratorLib.anatomy.geometry import affine, voxel_volume_ml
from COFGeneratorLib.anatomy.readers import CineStack, read_cine
from COFGeneratorLib.anatomy.segmenters.segmenter import own_segmenter
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.files import replacing, weights_hash
from COFGeneratorLib.function import VolumeCurves, volume_curves
from COFGeneratorLib.function.curve import interpolate_periodic
from scipy.ndimage import distance_transform_edt

from COFTrainingLib.cohort.case_list import ListedCine
from COFTrainingLib.cohort.frame_labels import MOVED, SEGMENTER, doubted, moved_occupancy, segmented
from COFTrainingLib.cohort.measured_cine import RR_MS, check_frames, ejected_percent
from COFTrainingLib.cohort.synthesised_ecg import MeasuredHeart
from COFTrainingLib.evaluation.metrics.image import Scale, scale_of

VIEW_MM = 50.0
"""Of the surroundings that are kept of a large picture."""
BOX_MM = 10.0
"""Around the labelled heart in the plane: where images are compared."""
REGISTERED_PHASES = (0.1, 0.2, 0.5, 0.6, 0.75, 0.9)
"""Beside frame 1 and end-systole; those that contact sheets show are among them."""
FAR_MM = 20.0
"""From the heart: there nothing should change."""


@dataclass(frozen=True)
class RealHeart:
    """One recorded heart, its frames rolled so that the first is end-diastole.

    Attributes:
        case: What the list says.
        anchor: The stack at end-diastole.
        frames: (T, D, H, W) float32, all frames of the beat, taken as equidistant.
        labels: (T, D, H, W) uint8 in our codes.
        curves: Volumes of all frames, mL.
        es_frame: End-systole as the list says, counted from end-diastole.
        labels_from: Of end-systole: ``"reader"``, ``"segmenter"``, or ``"moved"``: those of end-diastole, registered.
        segmenter_labels: (2, D, H, W) the segmenter's own at the two frames.
    """

    case: ListedCine
    anchor: SaxStack
    frames: np.ndarray
    labels: np.ndarray
    curves: VolumeCurves
    es_frame: int
    labels_from: str
    segmenter_labels: np.ndarray

    @property
    def rr_ms(self) -> float:
        """Length of the beat."""
        return self.case.rr_ms or RR_MS

    @property
    def es_phase(self) -> float:
        """End-systole as a share of the beat."""
        return self.es_frame / len(self.frames)

    @property
    def edv_ml(self) -> float:
        """LV volume at end-diastole."""
        return float(self.curves.lv_ml[0])

    @cached_property
    def ef_percent(self) -> float:
        """LV ejection fraction between the two labelled frames."""
        return ejected_percent(self.curves.lv_ml, self.es_frame)

    @cached_property
    def rvef_percent(self) -> float:
        """RV ejection fraction between the two labelled frames; NaN where no RV is labelled."""
        return ejected_percent(self.curves.rv_ml, self.es_frame)

    @property
    def measured(self) -> MeasuredHeart:
        """What decides the ECG that is synthesised for it."""
        surface = self.case.body_surface_m2
        index = None if surface is None else float(self.curves.myocardial_mass_g[0] / surface)
        rvef = None if np.isnan(self.rvef_percent) else self.rvef_percent
        return MeasuredHeart(self.ef_percent, self.rr_ms, self.case.group, rvef, index)

    @property
    def seed(self) -> int:
        """Of what is drawn for this heart, from its name."""
        return zlib.crc32(self.case.name.encode())

    @cached_property
    def scale(self) -> Scale:
        """Intensities as images are compared: 0…1 by percentiles of the anchor."""
        return scale_of(self.anchor.voxels)

    @cached_property
    def box(self) -> tuple[slice, slice, slice]:
        """Where images are compared: the anchor's heart and ``BOX_MM`` around it in the plane."""
        return around(self.labels[0] > 0, self.anchor.spacing_mm, BOX_MM)

    @cached_property
    def far(self) -> np.ndarray:
        """(D, H, W) bool: further than ``FAR_MM`` from the heart at end-diastole."""
        return distance_transform_edt(self.labels[0] == 0, sampling=self.anchor.spacing_mm) > FAR_MM


def around(mask: np.ndarray, spacing_mm: np.ndarray, margin_mm: float) -> tuple[slice, slice, slice]:
    """Return the box about a mask (D, H, W), with a margin in the plane alone."""
    box = []
    for axis in range(3):
        where = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        margin = int(np.ceil(margin_mm / spacing_mm[axis])) if axis else 0
        box.append(slice(max(int(where[0]) - margin, 0), min(int(where[-1]) + margin + 1, mask.shape[axis])))
    return box[0], box[1], box[2]


def read_heart(
    case: ListedCine, segmenter: Path | str, teacher: Path | str | None = None, work: Path | None = None
) -> RealHeart:
    """Read a heart and label what no reader has labelled.

    Args:
        case: The heart.
        segmenter: Folder of the segmenter's own files.
        teacher: Folder of the registration teacher, for hearts whose labels at end-systole contradict the image; the
            segmenter is believed where None.
        work: Where labels are kept for the next time; not at all where None.

    Raises:
        CohortError: If the frames do not fit.
        AnatomyError: If a file cannot be read, or the segmenter finds no heart.
    """
    cine = read_cine(case.image)
    es, stack = check_frames(case, cine), cine.stack(case.ed_frame)
    frames = np.roll(cine.frames, -case.ed_frame, axis=0)
    seen = _kept(work, case, cine, "seen", weights_hash(str(segmenter)),
                 lambda: segmented(own_segmenter(str(segmenter)), cine, case.ed_frame))  # fmt: skip
    labels, own, source = seen.copy(), seen[[0, es]], SEGMENTER
    for frame, file, at in ((0, case.ed_labels, case.ed_frame), (es, case.es_labels, case.es_frame)):
        if file is not None:
            labels[frame] = read_labels(file, cine.stack(at), case.label_map)
            source = "reader"
    curves = _curves(seen, labels, es, stack.ijk_to_ras)
    if teacher is not None and case.es_labels is None and doubted(frames[0], labels[0], frames[es], labels[es]):
        chosen = registered_frames(len(frames), es)
        key = f"{weights_hash(str(teacher))[:8]}-{hashlib.sha256(labels[0].tobytes()).hexdigest()}"
        moved = _kept(
            work, case, cine, "moved", key, lambda: moved_occupancy(teacher, stack, labels[0], frames[chosen])
        )
        labels[chosen], source = moved.argmax(axis=1).astype(np.uint8), MOVED
        curves = _moved_curves(moved, labels[0], chosen, len(frames), stack.ijk_to_ras)
    box = around(labels[0] > 0, stack.spacing_mm, VIEW_MM)
    box = slice(0, stack.shape[0]), box[1], box[2]
    matrix = stack.ijk_to_ras @ affine(np.eye(3), np.array([part.start for part in box[::-1]], dtype=float))
    anchor = SaxStack(stack.voxels[box], matrix, source_sha256=stack.source_sha256, warnings=stack.warnings)
    inside = (slice(None), *box)
    return RealHeart(
        case=case, anchor=anchor, frames=np.ascontiguousarray(frames[inside]),
        labels=np.ascontiguousarray(labels[inside]), curves=curves, es_frame=es, labels_from=source,
        segmenter_labels=own[inside],
    )  # fmt: skip


def registered_frames(count: int, es_frame: int) -> list[int]:
    """Return the frames after the first to which labels are moved: enough for a curve, and end-systole."""
    return sorted({1, es_frame, *(round(phase * count) for phase in REGISTERED_PHASES)} - {0, count})


def _kept(
    work: Path | None, case: ListedCine, cine: CineStack, what: str, key: str, make: Callable[[], np.ndarray]
) -> np.ndarray:
    """Return an array that is kept by the content of the cine and a key; made anew where it is not there."""
    if work is None:
        return make()
    path = work / what / f"{case.name}-{cine.source_sha256[:8]}-{case.ed_frame}-{case.es_frame}-{key[:20]}.npz"
    if path.is_file():
        return np.load(path, allow_pickle=False)["array"]
    array = make()
    with replacing(path) as beside:
        np.savez_compressed(beside, array=array)
    return array


def _curves(seen: np.ndarray, labels: np.ndarray, es: int, ijk_to_ras: np.ndarray) -> VolumeCurves:
    """Return the segmenter's volumes, each scaled and shifted to those of the labels at both labelled frames."""
    by_segmenter, known = volume_curves(seen, ijk_to_ras), volume_curves(labels[[0, es]], ijk_to_ras)

    def fitted(curve: np.ndarray, two: np.ndarray) -> np.ndarray:
        span = curve[0] - curve[es]
        if span <= 0.02 * max(curve[0], 1e-9):  # it hardly moves for the segmenter: nothing to scale by
            return curve * (two[0] / max(curve[0], 1e-9))
        return np.maximum(two[0] + (curve - curve[0]) * (two[0] - two[1]) / span, 0.0)

    pairs = ((getattr(by_segmenter, name), getattr(known, name)) for name in ("lv_ml", "myocardium_ml", "rv_ml"))
    return VolumeCurves(*(fitted(*pair) for pair in pairs))


def _moved_curves(
    moved: np.ndarray, labels: np.ndarray, chosen: list[int], count: int, ijk_to_ras: np.ndarray
) -> VolumeCurves:
    """Return the volumes of moved labels (T, 4, D, H, W) at all frames of the beat: between them a periodic cubic."""
    still = np.array([(labels == code).sum() for code in (1, 2, 3)], dtype=float)
    known = np.vstack([still, moved[:, 1:].sum(axis=(2, 3, 4), dtype=np.float64)]) * voxel_volume_ml(ijk_to_ras)
    times, wanted = np.array([0, *chosen]) / count, np.arange(count) / count
    return VolumeCurves(*(interpolate_periodic(curve, times, 1.0, wanted) for curve in known.T))


def described(heart: RealHeart) -> dict[str, object]:
    """Return what a table says of a heart, as JSON values."""
    return {
        "name": heart.case.name, "group": heart.case.group, "frames": len(heart.frames),
        "labels_from": heart.labels_from, "edv_ml": round(heart.edv_ml, 1), "ef_percent": round(heart.ef_percent, 1),
        "rvef_percent": round(heart.rvef_percent, 1), "es_phase": round(heart.es_phase, 3),
    }  # fmt: skip
