"""An anchor and an ECG made ready for the motion model."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from COFGeneratorLib.anatomy.heart_frame import heart_frame_from_labels
from COFGeneratorLib.anatomy.roi import Roi, check_heart_in, check_on_stack
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.ecg.cycle import EcgCycle
from COFGeneratorLib.errors import AnatomyError, BundleError
from COFGeneratorLib.generator.bundle import Bundle
from COFGeneratorLib.generator.ejection import StatedEf
from COFGeneratorLib.generator.grid import MotionGrid, anatomy_maps, grid_for_heart, label_fractions
from COFGeneratorLib.generator.model import REFINE

MIRRORED = (
    "The heart is a mirror image: its right ventricle turns the wrong way round, so the stack's header is mirrored "
    "(left and right, or the slice order, are exchanged). The motion follows the heart as it is stored; check the "
    "orientation before left and right are believed."
)


@dataclass(frozen=True)
class Conditioned:
    """An anchor and an ECG, ready for the motion model: what stays the same over draws and counterfactuals."""

    labels: np.ndarray
    labels_from: str
    frame: Any
    maps: torch.Tensor
    fine_maps: torch.Tensor
    condition: torch.Tensor
    grid: MotionGrid
    ef: StatedEf | None = None
    roi: Roi | None = None
    warnings: tuple[str, ...] = ()

    @property
    def fine_grid(self) -> MotionGrid:
        """The grid of this heart on which its displacements lie."""
        return self.grid.refined(REFINE)

    @property
    def wanted_ef(self) -> float | None:
        """The EF 0…1 that the ECG states; None without one, or where the model does not go by it."""
        return self.ef.mean if self.ef else None


def prepare(
    anchor: SaxStack, cycle: EcgCycle | None, bundle: Bundle, labels, device, roi: Roi | None = None
) -> Conditioned:
    """Find the heart, bring its labels onto the motion grid, and read the ECG.

    Raises:
        AnatomyError: If there is no heart in view or in the region of interest, or the labels lie on another grid.
    """
    if roi is not None:
        check_on_stack(roi, anchor.shape, anchor.ijk_to_ras)
    source = "user"
    if labels is None:
        if bundle.segmenter is None:
            raise BundleError(
                f"Labels of the anchor are needed with {bundle.model_id}, which has no segmenter. Give --labels."
            )
        labels, source = bundle.segmenter.segment(anchor, roi).labels, "segmenter"
    labels = np.asarray(labels)
    if labels.shape != anchor.shape:
        raise AnatomyError(
            f"Labels must lie on the anchor's grid {anchor.shape}; found {labels.shape}. Read them with "
            "read_labels(path, like=anchor)."
        )
    frame = heart_frame_from_labels(labels, anchor.ijk_to_ras)
    warnings = check_heart_in(roi, labels, anchor.ijk_to_ras, source) if roi is not None else ()
    if frame.mirrored:
        warnings += (MIRRORED,)
    fractions, grid = label_fractions(labels), grid_for_heart(labels, anchor.ijk_to_ras, frame, bundle.model.grid)
    maps = torch.from_numpy(anatomy_maps(fractions, anchor.ijk_to_ras, frame, grid))[None].to(device)
    fine = torch.from_numpy(anatomy_maps(fractions, anchor.ijk_to_ras, frame, grid, 2, 2))
    condition = bundle.model.condition(cycle, device)
    ef = bundle.model.stated_ef(cycle)
    return Conditioned(labels.astype(np.uint8), source, frame, maps, fine, condition, grid, ef, roi, warnings)
