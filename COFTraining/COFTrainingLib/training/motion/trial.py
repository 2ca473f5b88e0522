"""Moves phantoms with a model and measures them, for calibration and studies."""

import numpy as np
import torch
from COFGeneratorLib.function import FunctionReport, report_from_curves, volume_curves
from COFGeneratorLib.generator.bundle import Bundle
from COFGeneratorLib.generator.conditioned import Conditioned, prepare_anchor
from COFGeneratorLib.generator.native import NativeMotion, native_motion
from COFGeneratorLib.generator.networks.grid import label_fractions
from COFGeneratorLib.generator.settled import settled

from COFTrainingLib.phantom.cases import PhantomCase


def move(
    bundle: Bundle,
    case: PhantomCase,
    ready: Conditioned,
    velocity: torch.Tensor,
    frames: int,
    *,
    keep_wall: bool = False,
    wanted_ef: float | None = None,
) -> NativeMotion:
    """Return the motion of a case on its native grid; with ``keep_wall`` and its ECG's EF as the product makes it.

    Keeping the wall's volume changes neither cavity's, so the other arms do without and are cheaper.
    """
    velocity = settled(bundle.model, velocity, ready, case.anchor, wanted_ef, keep_wall)
    return native_motion(bundle.model, velocity, ready, case.anchor, frames)


def measure(case: PhantomCase, native: NativeMotion, frames: int, rr_ms: float, folded: bool) -> FunctionReport:
    """Return the function of a motion, from the warped labels of the anchor."""
    moved = native.warp_all(label_fractions(case.labels))
    time_ms = np.arange(frames) / frames * rr_ms
    share = native.folded_fraction(case.labels > 0, every=5) if folded else 0.0
    curves = volume_curves(moved, case.anchor.ijk_to_ras)
    return report_from_curves(curves, time_ms, rr_ms, 60000.0 / rr_ms, labels_from="user", folded_fraction=share)


def prepared(bundle: Bundle, case: PhantomCase) -> Conditioned:
    """Return a case ready for the model, with the labels given."""
    return prepare_anchor(case.anchor, case.cycle, bundle, case.labels, torch.device("cpu"))
