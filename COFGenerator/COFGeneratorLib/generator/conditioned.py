"""An anchor and an ECG made ready for the motion model."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from COFGeneratorLib.anatomy.heart_frame import HeartFrame, heart_frame_from_labels
from COFGeneratorLib.anatomy.label_doubts import label_doubts
from COFGeneratorLib.anatomy.roi import Roi, check_heart_in, check_on_stack
from COFGeneratorLib.anatomy.segmenters.completion import complete_by
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.ecg.cycle import EcgCycle
from COFGeneratorLib.errors import AnatomyError, BundleError
from COFGeneratorLib.generator.bundle import Bundle
from COFGeneratorLib.generator.ejection import StatedEf
from COFGeneratorLib.generator.heart_measures import heart_measures
from COFGeneratorLib.generator.model import REFINE
from COFGeneratorLib.generator.networks.condition import Stated
from COFGeneratorLib.generator.networks.grid import MotionGrid, anatomy_maps, grid_for_heart, label_fractions

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
    frame: HeartFrame
    maps: torch.Tensor
    fine_maps: torch.Tensor
    condition: torch.Tensor
    grid: MotionGrid
    image: torch.Tensor | None = None
    ef: StatedEf | None = None
    follows_ef: bool = True
    followed: bool = True
    wanted_rvef: float | None = None
    measures: np.ndarray | None = None
    roi: Roi | None = None
    warnings: tuple[str, ...] = ()

    @property
    def fine_grid(self) -> MotionGrid:
        """The grid of this heart on which its displacements lie."""
        return self.grid.refined(REFINE)

    @property
    def wanted_ef(self) -> float | None:
        """The EF 0…1 that the user or the ECG states; None without one, or where the model does not go by it."""
        return self.ef.mean if self.ef and self.follows_ef else None

    def drawn_ef(self, seed: int) -> float | None:
        """Return one random EF 0…1 of what is stated; None where ``wanted_ef`` is."""
        return self.ef.draw(seed) if self.ef and self.follows_ef else None


def prepare_anchor(
    anchor: SaxStack,
    cycle: EcgCycle | None,
    bundle: Bundle,
    labels: np.ndarray | None,
    device: torch.device,
    *,
    roi: Roi | None = None,
    complete: bool = False,
    stated: Stated | None = None,
    end_diastolic: bool = True,
    followed: bool = True,
) -> Conditioned:
    """Find the heart, bring its labels onto the motion grid, and read the ECG; arguments as for ``pipeline.generate``.

    The size of the heart tells of its EF where the anchor is ``end_diastolic``; ``followed`` as for ``settled``.

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
    warnings = check_heart_in(roi, labels, anchor.ijk_to_ras, source) if roi is not None else ()
    if source == "user" and complete:
        given = labels
        labels, said = complete_by(bundle.segmenter, anchor, given, roi)
        source = source if labels is given else "user+segmenter"
        warnings += said
    frame = heart_frame_from_labels(labels, anchor.ijk_to_ras)
    if frame.mirrored:
        warnings += (MIRRORED,)
    warnings += label_doubts(labels, anchor.ijk_to_ras, frame)
    grid = grid_for_heart(labels, anchor.ijk_to_ras, frame, bundle.model.grid)
    maps, fine = _maps(labels, anchor.ijk_to_ras, frame, grid, device)
    measures = heart_measures(labels, anchor.ijk_to_ras) if end_diastolic else None
    return Conditioned(
        labels=labels.astype(np.uint8), labels_from=source, frame=frame, maps=maps, fine_maps=fine,
        image=bundle.model.image_of(anchor, frame, grid, device),
        condition=bundle.model.condition(cycle, device, stated), grid=grid, followed=followed,
        ef=bundle.model.stated_ef(cycle, stated, measures), follows_ef=bundle.model.follows_ef(stated), roi=roi,
        measures=measures,
        wanted_rvef=None if stated is None or stated.rvef_percent is None else stated.rvef_percent / 100.0,
        warnings=warnings,
    )  # fmt: skip


def relabelled(
    ready: Conditioned, labels: np.ndarray, ijk_to_ras: np.ndarray, model_grid: MotionGrid | None = None
) -> Conditioned:
    """Return an anchor with the labels (D, H, W) of the same heart at another phase.

    Args:
        ready: The anchor as it was prepared.
        labels: On the same stack.
        ijk_to_ras: (4, 4) geometry of the stack.
        model_grid: The model's motion grid, to find the heart's frame and grid anew; they are kept where None.

    Raises:
        AnatomyError: If no heart's frame is found in the labels.
    """
    frame, grid = ready.frame, ready.grid
    if model_grid is not None:
        frame = heart_frame_from_labels(labels, ijk_to_ras)
        grid = grid_for_heart(labels, ijk_to_ras, frame, model_grid)
    maps, fine = _maps(labels, ijk_to_ras, frame, grid, ready.maps.device)
    return replace(ready, labels=labels, frame=frame, grid=grid, maps=maps, fine_maps=fine)


def _maps(
    labels: np.ndarray, ijk_to_ras: np.ndarray, frame: HeartFrame, grid: MotionGrid, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    fractions = label_fractions(labels)
    maps = torch.from_numpy(anatomy_maps(fractions, ijk_to_ras, frame, grid))[None].to(device)
    return maps, torch.from_numpy(anatomy_maps(fractions, ijk_to_ras, frame, grid, 2, 2))
