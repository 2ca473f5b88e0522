"""What an arm makes of a heart."""

from dataclasses import dataclass

import numpy as np
import torch
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.cine import Cine
from COFGeneratorLib.function import VolumeCurves, volume_curves
from COFGeneratorLib.generator.bundle import Bundle
from COFGeneratorLib.generator.conditioned import prepare_anchor
from COFGeneratorLib.generator.moving import moved_anchor
from COFGeneratorLib.generator.native import native_motion
from COFGeneratorLib.generator.networks.pack import motion_reach
from COFGeneratorLib.generator.settled import settled


@dataclass(frozen=True)
class Moved:
    """A heart as an arm moves it.

    Attributes:
        frames: (T, D, H, W) float32.
        labels: (T, D, H, W) uint8.
        curves: Volumes of all frames, mL, counted in the stack's slices as a reader's contours are.
        ef_percent, rvef_percent: As the product reads them out, which follows tissue out of the stack; None for an arm
            that is no cine of the product.
        notes: What the product says of it.
        asked_ef_percent: The ejection fraction that was told to the model, where one was.
    """

    frames: np.ndarray
    labels: np.ndarray
    curves: VolumeCurves
    ef_percent: float | None = None
    rvef_percent: float | None = None
    notes: tuple[str, ...] = ()
    asked_ef_percent: float | None = None


def of_cine(cine: Cine, asked_ef_percent: float | None = None) -> Moved:
    """Return a cine of the product, generated or registered with labels, as an arm."""
    assert cine.labels is not None  # every arm has the anchor's labels
    curves = volume_curves(cine.labels, cine.anchor.ijk_to_ras)
    ef, rvef = (None, None) if cine.function is None else (cine.function.ef_percent, cine.function.rv_ef_percent)
    notes = [*cine.provenance.get("warnings", ()), *(() if cine.function is None else cine.function.ef_notes)]
    return Moved(cine.frames, cine.labels, curves, ef, rvef, tuple(map(str, notes)), asked_ef_percent)


def standing_still(anchor: SaxStack, labels: np.ndarray, frames: int) -> Moved:
    """Return the anchor as every frame."""
    still = np.repeat(labels[None], frames, axis=0)
    return Moved(np.repeat(anchor.voxels[None], frames, axis=0), still, volume_curves(still, anchor.ijk_to_ras))


def moved_by(
    bundle: Bundle, anchor: SaxStack, labels: np.ndarray, velocity: torch.Tensor, frames: int, ef_percent: float
) -> Moved:
    """Return an anchor moved by velocities that no ECG decided, scaled to an EF and confined as the model's are.

    ``velocity`` is (T, 3, D, H, W) in nodes of the bundle's motion grid.
    """
    ready = prepare_anchor(anchor, None, bundle, labels, torch.device("cpu"))
    near = velocity * motion_reach(ready.maps)[0]
    near = settled(bundle.model, near, ready, anchor, ef_percent / 100.0, followed=False)
    images, moved, _ = moved_anchor(anchor, ready.labels, native_motion(bundle.model, near, ready, anchor, frames))
    return Moved(images, moved, volume_curves(moved, anchor.ijk_to_ras), asked_ef_percent=ef_percent)
