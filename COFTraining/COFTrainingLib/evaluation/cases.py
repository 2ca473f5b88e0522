"""A subject of a cohort, ready to be evaluated: what a user would have, and what is true of it."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from COFGeneratorLib.anatomy.heart_frame import HeartFrame, heart_frame_from_labels
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.ecg.cycle import EcgCycle
from COFGeneratorLib.function import volume_curves

from COFTrainingLib.evaluation.metrics.function import TrueFunction, circular, true_function
from COFTrainingLib.evaluation.metrics.image import ReferenceImages, Scale, scale_of
from COFTrainingLib.evaluation.metrics.regional import excursion_curves, half_time

MARGIN_MM = 18.0
"""Around the labelled heart: further than any of its borders moves."""
FEWEST_IMAGE_FRAMES, FEWEST_LABEL_FRAMES = 8, 24
"""Of a cycle: the papers' canonical grid has about ten images; volumes need twice the phases of any motion here."""
DISTANCE_FRAMES = 4
TIMING_FRAMES = 12


@dataclass(frozen=True, kw_only=True)
class EvaluationCase:
    """One subject.

    Attributes:
        id, person, facts: As in the manifest.
        anchor, labels: The stack at the anchor's phase and its labels (D, H, W).
        cycle: The analysed ECG.
        frames: Number T of frames of one cycle.
        rr_ms: Length of the reference's cycle.
        reference: (T, D, H, W) float32, frame 0 at the anchor's phase, or None.
        reference_labels: (T, D, H, W) uint8, or None.
        displacement: (T, 3, D, H, W) true pull displacement, mm along the stack's axes, or None.
        closed_form: True LV curve of a phantom, mL of the whole heart, or None.
        expected: What a perfect reader of the ECG expects (phantoms).
        stated_group: Group of the ECG's diagnosis statements; empty where there are none.
    """

    id: str
    person: str
    facts: dict[str, Any]
    anchor: SaxStack
    labels: np.ndarray
    cycle: EcgCycle
    frames: int
    rr_ms: float
    reference: np.ndarray | None = None
    reference_labels: np.ndarray | None = None
    displacement: np.ndarray | None = None
    closed_form: np.ndarray | None = None
    expected: dict[str, float] = field(default_factory=dict)
    stated_group: str = ""

    @cached_property
    def frame(self) -> HeartFrame:
        """The heart's frame, found in the anchor's labels."""
        return heart_frame_from_labels(self.labels, self.anchor.ijk_to_ras)

    @cached_property
    def crop(self) -> tuple[slice, slice, slice]:
        """The box, whole slices, around everything that is ever heart: labels are measured in it."""
        heart = self.labels > 0
        if self.reference_labels is not None:
            heart = heart | (self.reference_labels > 0).any(axis=0)
        box = [slice(0, heart.shape[0])]
        for axis in (1, 2):
            where = np.flatnonzero(heart.any(axis=(0, 3 - axis)))
            margin = int(np.ceil(MARGIN_MM / self.anchor.spacing_mm[axis]))
            box.append(slice(max(int(where[0]) - margin, 0), min(int(where[-1]) + margin + 1, heart.shape[axis])))
        return box[0], box[1], box[2]

    @cached_property
    def near(self) -> SaxStack:
        """The anchor within ``crop``."""
        matrix = self.anchor.ijk_to_ras.copy()
        start = np.array([axis.start for axis in self.crop[::-1]], dtype=float)
        matrix[:3, 3] += matrix[:3, :3] @ start
        return SaxStack(self.anchor.voxels[self.crop], matrix)

    @cached_property
    def near_labels(self) -> np.ndarray:
        """The anchor's labels within ``crop``."""
        return np.ascontiguousarray(self.labels[self.crop])

    @cached_property
    def near_reference(self) -> np.ndarray | None:
        """(T, d, h, w) reference labels within ``crop``."""
        if self.reference_labels is None:
            return None
        return np.ascontiguousarray(self.reference_labels[(slice(None), *self.crop)])

    @cached_property
    def image_step(self) -> int:
        """Every how many frames images are compared: about ten of a cycle, as the papers' canonical grid has."""
        return _coarsest_step(self.frames, FEWEST_IMAGE_FRAMES)

    @property
    def image_frames(self) -> list[int]:
        """Frames in which images are compared."""
        return list(range(0, self.frames, self.image_step))

    @cached_property
    def label_frames(self) -> list[int]:
        """Frames in which labels are compared and volumes measured: all, or every n-th of a cine of many."""
        return list(range(0, self.frames, _coarsest_step(self.frames, FEWEST_LABEL_FRAMES)))

    @property
    def distance_frames(self) -> list[int]:
        """Some of ``label_frames`` in which borders and motion are looked at; ED and ES are among or beside them."""
        frames = self.label_frames
        step = max(1, len(frames) // DISTANCE_FRAMES)
        return frames[max(1, step // 2) :: step]

    @cached_property
    def motion_frames(self) -> list[int]:
        """Frames in which motion is judged: ``distance_frames``, and the one nearest to ES."""
        return sorted({*self.distance_frames, *([] if self.near_reference is None else [self.nearest_to_es])})

    @cached_property
    def timing_frames(self) -> list[int]:
        """Some of ``label_frames`` in which the segments' motion is followed: about a dozen of a cycle."""
        return self.label_frames[:: max(1, len(self.label_frames) // TIMING_FRAMES)]

    def half_times(self, labels: np.ndarray, frames: list[int]) -> np.ndarray:
        """Return when each AHA segment of labels (F, d, h, w) has made half of its inward motion, (17,) phase.

        ``frames`` says which of the cycle they are; ``timing_frames`` are among them.
        """
        chosen = [frames.index(frame) for frame in self.timing_frames]
        curves = excursion_curves(labels[chosen], self.near.ijk_to_ras, self.frame)
        return half_time(curves, np.array(self.timing_frames) / self.frames)

    @cached_property
    def reference_half_times(self) -> np.ndarray:
        """The same of the reference."""
        assert self.near_reference is not None  # asked for where labels are compared
        return self.half_times(self.near_reference, list(range(self.frames)))

    @cached_property
    def reference_images(self) -> ReferenceImages:
        """The recorded images in ``image_frames``, scaled, with what similarity needs of them."""
        assert self.reference is not None  # asked for where images are compared
        return ReferenceImages(self.scale(self.reference[self.image_frames]))

    @cached_property
    def scale(self) -> Scale:
        """Intensities of the anchor that become 0 and 1."""
        return scale_of(self.anchor.voxels)

    @cached_property
    def truth(self) -> TrueFunction | None:
        """What is true of function: the closed form where it is known, else the reference's labels.

        A closed form is scaled to the labelled anchor, so that what its slices miss of the heart is not charged.
        """
        if self.closed_form is not None:
            curve = self.closed_form
            anchor_ml = float(volume_curves(self.labels[None], self.anchor.ijk_to_ras).lv_ml[0])
            return true_function(anchor_ml * curve / curve[0], self.rr_ms, "closed form")
        return self.labelled_truth

    @cached_property
    def labelled_truth(self) -> TrueFunction | None:
        """Function as measured in the reference's labels, as the papers do."""
        if self.near_reference is None:
            return None
        return true_function(volume_curves(self.near_reference, self.anchor.ijk_to_ras).lv_ml, self.rr_ms,
                             "reference labels")  # fmt: skip

    @cached_property
    def es(self) -> int:
        """Frame of ES in the reference's labels."""
        truth = self.labelled_truth
        assert truth is not None  # asked for where labels are compared
        if np.isnan(truth.es_frame):
            return int(truth.es_argmin_frame / len(truth.lv_ml) * self.frames)
        return round(truth.es_frame / len(truth.lv_ml) * self.frames) % self.frames

    @cached_property
    def nearest_to_es(self) -> int:
        """The one of ``label_frames`` that is nearest to ES."""
        return min(self.label_frames, key=lambda frame: circular(frame, self.es, self.frames))


def _coarsest_step(frames: int, fewest: int) -> int:
    """Return the largest step that divides a cycle and leaves at least ``fewest`` frames; 1 where none does."""
    return max((n for n in range(1, frames + 1) if frames % n == 0 and frames // n >= fewest), default=1)


def ecg_facts(case: EvaluationCase) -> dict[str, Any]:
    """Return the ECG's measurements by which subjects are grouped."""
    cycle = case.cycle
    return {
        "hr_bpm": cycle.hr_bpm, "rr_ms": cycle.rr_ms, "pr_ms": cycle.pr_ms, "qrsd_ms": cycle.qrsd_ms,
        "qt_ms": cycle.qt_ms, "sokolow_mv": cycle.sokolow_mv, "cornell_mv": cycle.cornell_mv,
        "p_wave_present": bool(cycle.p_wave_present), "rr_cv": cycle.rr_cv, "rhythm": cycle.rhythm,
    }  # fmt: skip
