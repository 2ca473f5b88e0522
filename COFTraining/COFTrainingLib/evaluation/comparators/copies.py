"""Baselines that move nothing of their own: the anchor repeated, and another subject's recorded cine."""

from dataclasses import dataclass

import numpy as np
import torch
from COFGeneratorLib.errors import CohortError
from COFGeneratorLib.function import volume_curves
from scipy.ndimage import map_coordinates

from COFTrainingLib.evaluation.cases import EvaluationCase
from COFTrainingLib.evaluation.comparators.base import Prediction, Shared


@dataclass(frozen=True)
class CopyAnchor:
    """The anchor in every frame: what a static image already scores."""

    name: str = "copy anchor"
    identity: str = "3"
    role: str = "no ECG"

    def predict(self, case: EvaluationCase, shared: Shared) -> Prediction:
        """Return the cine of a case."""
        curves = volume_curves(case.near_labels[None], case.near.ijk_to_ras)
        frames, still = case.label_frames, torch.zeros(3, *case.near.shape)
        return Prediction(
            np.repeat(case.near_labels[None], len(frames), axis=0),
            np.repeat(curves.lv_ml, len(frames)),
            np.repeat(curves.myocardium_ml, len(frames)),
            case.cycle.rr_ms,
            None if case.reference is None else np.repeat(case.anchor.voxels[None], len(case.image_frames), axis=0),
            labelled=tuple(frames),
            displacement_voxels=dict.fromkeys(case.motion_frames, still),
        )


@dataclass(frozen=True)
class RandomSample:
    """The recorded cine of another subject, laid heart upon heart: likeness that needs no patient at all."""

    name: str = "random sample"
    identity: str = "2"
    role: str = "no ECG"

    def predict(self, case: EvaluationCase, shared: Shared) -> Prediction:
        """Return the cine of a case."""
        other = shared.partner_case
        if other.reference_labels is None:
            raise CohortError(
                f"A random sample needs labels of another subject's cine; found none in {other.id}. Add them, or leave "
                "it out."
            )
        labels = _laid_on(other, case, other.reference_labels, frames=len(case.label_frames), order=0, near=True)
        curves = volume_curves(other.reference_labels, other.anchor.ijk_to_ras)  # on its own grid: nothing is cut off
        images = None
        if case.reference is not None and other.reference is not None:
            scaled, frames = other.scale(other.reference), len(case.image_frames)
            images = _laid_on(other, case, scaled, frames=frames, order=1, near=False)
            images = images * (case.scale.high - case.scale.low) + case.scale.low
        times = np.arange(case.frames) / case.frames
        own = np.arange(other.frames + 1) / other.frames

        def at_times(curve: np.ndarray) -> np.ndarray:
            return np.interp(times, own, np.append(curve, curve[0]))

        return Prediction(
            labels.astype(np.uint8), at_times(curves.lv_ml), at_times(curves.myocardium_ml), other.rr_ms, images,
            tuple(case.label_frames), labels_from="recorded labels of the other subject",
        )  # fmt: skip


def _laid_on(
    other: EvaluationCase, case: EvaluationCase, cine: np.ndarray, *, frames: int, order: int, near: bool
) -> np.ndarray:
    """Bring a cine of another heart onto a case's grid so that both heart frames agree; nearest frame in time."""
    target = case.near if near else case.anchor
    to_other = np.linalg.inv(other.frame.kji_to_heart(other.anchor.ijk_to_ras)) @ case.frame.kji_to_heart(
        target.ijk_to_ras
    )
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in target.shape), indexing="ij")).reshape(3, -1)
    places = to_other[:3, :3] @ grid + to_other[:3, 3:]
    chosen = np.round(np.arange(frames) / frames * other.frames).astype(int) % other.frames
    return np.stack(
        [map_coordinates(cine[frame], places, order=order, mode="constant").reshape(target.shape) for frame in chosen]
    )
