"""What a recorded cine says of its heart's function, by labels of its end-diastole and end-systole."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from COFGeneratorLib.anatomy import read_labels
from COFGeneratorLib.anatomy.readers import CineStack, read_cine
from COFGeneratorLib.anatomy.segmenters.segmenter import own_segmenter
from COFGeneratorLib.errors import CohortError
from COFGeneratorLib.function import volume_curves

from COFTrainingLib.cohort.case_list import ListedCine
from COFTrainingLib.cohort.frame_labels import MOVED, SEGMENTER, doubted, moved_occupancy, segmented
from COFTrainingLib.cohort.synthesised_ecg import MeasuredHeart

RR_MS = 900.0
"""Taken where the length of the beat is not stated: ACDC has no times."""
LEAST_FRAMES = 8
PLAUSIBLE_EF_PERCENT = (5.0, 85.0)


@dataclass(frozen=True)
class MeasuredCine:
    """The function of a recorded heart.

    Attributes:
        heart: EF, RVEF, R–R, group and mass.
        es_phase: End-systole as a share of the beat, from end-diastole.
        frames: Frames of the beat.
        labels_from: ``"reader"`` where both frames have a reader's labels; else ``"segmenter"``, or ``"moved"`` where
            its labels of end-systole contradict the image and those of end-diastole were registered instead.
        edv_ml: LV volume at end-diastole.
    """

    heart: MeasuredHeart
    es_phase: float
    frames: int
    labels_from: str
    edv_ml: float


def ejected_percent(volume_ml: np.ndarray, frame: int) -> float:
    """Return how much of the first volume is gone at a frame, percent; NaN where there was none."""
    return float(100.0 * (1.0 - volume_ml[frame] / volume_ml[0])) if volume_ml[0] > 0 else float("nan")


def check_frames(case: ListedCine, cine: CineStack) -> int:
    """Return end-systole counted from end-diastole.

    Raises:
        CohortError: If the cine has too few frames, or not those that the list names.
    """
    count = len(cine.frames)
    if count < LEAST_FRAMES or not (0 <= case.ed_frame < count and 0 <= case.es_frame < count):
        raise CohortError(
            f"A cine has at least {LEAST_FRAMES} frames, and its end-diastole and end-systole are among them; "
            f"{case.name} has {count}, and {case.ed_frame} and {case.es_frame} are named. Correct the list."
        )
    return (case.es_frame - case.ed_frame) % count


def measure_cine(case: ListedCine, segmenter: Path | str, teacher: Path | str | None = None) -> MeasuredCine:
    """Measure a cine by its reader's labels, and by the segmenter's where there are none.

    Args:
        case: The heart.
        segmenter: Folder of the segmenter's own files; empty where every frame needed has labels.
        teacher: Folder of the registration teacher, or None to believe the segmenter whatever it finds.

    Raises:
        CohortError: If the frames do not fit, labels are lacking, or the function found is that of no heart.
        AnatomyError: If a file cannot be read, or the segmenter finds no heart.
    """
    cine = read_cine(case.image)
    es = check_frames(case, cine)
    files = ((case.ed_labels, case.ed_frame), (case.es_labels, case.es_frame))
    lacking = [at for file, at in files if file is None]
    if lacking and not segmenter:
        raise CohortError(
            f"Function is measured in labels of end-diastole and end-systole; {case.name} has none of frame "
            f"{lacking[0]}, and there is no segmenter. Give --segmenter."
        )
    source = SEGMENTER if lacking else "reader"
    seen = segmented(own_segmenter(str(segmenter)), cine, case.ed_frame, [case.es_frame]) if lacking else (None, None)
    found = [
        own if file is None else read_labels(file, cine.stack(at), case.label_map)
        for (file, at), own in zip(files, seen, strict=True)
    ]
    still, late = cine.stack(case.ed_frame), cine.frames[case.es_frame]
    if case.es_labels is None and teacher is not None and doubted(still.voxels, found[0], late, found[1]):
        found[1] = moved_occupancy(teacher, still, found[0], late[None])[0].argmax(axis=0)
        source = MOVED
    curves = volume_curves(np.stack(found).astype(np.uint8), cine.ijk_to_ras)
    ef, rvef = ejected_percent(curves.lv_ml, 1), ejected_percent(curves.rv_ml, 1)
    low, high = PLAUSIBLE_EF_PERCENT
    if not low <= ef <= high:
        raise CohortError(
            f"An ejection fraction is between {low:g} and {high:g} %; the labels of {case.name} ({source}) give "
            f"{ef:.1f}. Look at the frames and labels, or leave the heart out."
        )
    surface = case.body_surface_m2
    heart = MeasuredHeart(
        ef_percent=ef,
        rr_ms=case.rr_ms or RR_MS,
        group=case.group,
        rvef_percent=rvef if low <= rvef <= high else None,
        lv_mass_index=None if surface is None else float(curves.myocardial_mass_g[0] / surface),
    )
    return MeasuredCine(heart, es / len(cine.frames), len(cine.frames), source, float(curves.lv_ml[0]))
