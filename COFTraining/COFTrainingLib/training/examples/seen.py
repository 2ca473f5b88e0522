"""What an example holds for networks that look at images: the anchor's image, and the confidence of its motion."""

import numpy as np
import torch
from COFGeneratorLib.anatomy.heart_frame import HeartFrame
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.generator.networks.grid import MotionGrid
from COFGeneratorLib.generator.networks.rea import reference_image

from COFTrainingLib.training.examples.cine_motion import MotionField, load_teacher


def nodes_ras(nodes_mm: np.ndarray, frame: HeartFrame) -> np.ndarray:
    """Return heart-frame points (…, 3) mm as RAS points (N, 3) mm."""
    return nodes_mm.reshape(-1, 3) @ frame.axes_ras + frame.origin_ras


def confidence_on(field: MotionField, frame: HeartFrame, nodes_mm: np.ndarray) -> torch.Tensor:
    """Return the agreement of a motion's frames at nodes (D, H, W, 3) of the heart's frame, (T, D, H, W) 0…1.

    Raises:
        TrainingError: If the motion was not found in images.
    """
    found = field.agreement_at(nodes_ras(nodes_mm, frame))
    if found is None:
        raise TrainingError("Agreement is that of images; this motion is known. Use the heart's own confidence.")
    return torch.from_numpy(found.reshape(-1, *nodes_mm.shape[:3])).clamp(0.0, 1.0)


def seen_in_cine(
    anchor: SaxStack, field: MotionField, in_time: np.ndarray, frame: HeartFrame, grid: MotionGrid, teacher: str
) -> dict[str, np.ndarray]:
    """Return ``image`` (D, h, w) and, where motion was found in images, ``confidence`` (T, D, H, W), half precision.

    Args:
        anchor: The anchor.
        field: Its motion to the frames of its cine.
        in_time: (T, frames) weights that interpolate frames to the grid's phases.
        frame: The heart's frame of the example.
        grid: The motion grid.
        teacher: Folder of the teacher whose encoder looks, or empty: then there is nothing.
    """
    if not teacher:
        return {}
    image = reference_image(anchor, frame, grid, load_teacher(teacher).config)
    found = {"image": image.numpy().astype(np.float16)}
    agreement = field.agreement_at(nodes_ras(grid.points_mm(), frame))
    if agreement is not None:
        confidence = np.clip(in_time @ agreement, 0.0, 1.0).reshape(grid.phases, *grid.shape)
        found["confidence"] = confidence.astype(np.float16)
    return found
