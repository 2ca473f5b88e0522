"""The reference anatomy (REA): what the registration teacher's encoder sees in the anchor's image, on the motion grid.

The image is brought into the heart's frame first, onto the slices of the motion grid and the teacher's plane: the space
in which both stages of Chain of Flow work. Features of all scales are then sampled at the motion grid's nodes and fused
by one 1×1×1 convolution. The encoder is frozen, as in the paper, or learns on.
"""

import numpy as np
import torch
from torch import nn
from torch.nn.functional import grid_sample, silu

from COFGeneratorLib.anatomy.heart_frame import HeartFrame
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.generator.networks.grid import MotionGrid
from COFGeneratorLib.registration.teacher_grid import TOWARDS_RV_MM, TeacherGrid, scale_intensity
from COFGeneratorLib.registration.teacher_network import TeacherConfig, TeacherEncoder

ENCODER_PREFIX = "reference.encoder."
"""Of the encoder's weights in the state of a velocity network: a bundle keeps them once, with its teacher."""


def reference_grid(
    frame: HeartFrame, ijk_to_ras: np.ndarray, grid: MotionGrid, teacher: TeacherConfig, enlarged: float = 1.0
) -> TeacherGrid:
    """Return the teacher's plane on the slices of the motion grid, in the heart's frame.

    Args:
        frame: The heart's frame.
        ijk_to_ras: (4, 4) geometry of the stack.
        grid: The model's motion grid.
        teacher: Plane and pixel.
        enlarged: By how much the motion grid is stretched for this heart, see ``grid.grid_for_heart``.
    """
    to_heart = np.eye(4)
    spacing = np.array([grid.spacing_mm[0], teacher.pixel_mm, teacher.pixel_mm])
    half = 0.5 * (np.array([grid.shape[0], *teacher.plane]) - 1.0)
    to_heart[:3, :3] = enlarged * np.diag(spacing)
    to_heart[:3, 3] = enlarged * (np.array([grid.centre_mm[0], 0.0, -TOWARDS_RV_MM]) - half * spacing)
    to_ras = np.linalg.inv(frame.ras_to_heart()) @ to_heart
    return TeacherGrid(teacher, grid.shape[0], to_ras, np.linalg.inv(frame.kji_to_heart(ijk_to_ras)) @ to_heart)


def reference_image(
    stack: SaxStack, frame: HeartFrame, grid: MotionGrid, teacher: TeacherConfig, enlarged: float = 1.0
) -> torch.Tensor:
    """Return the anchor's image as the reference anatomy takes it, (D, h, w) float32, D slices of the motion grid.

    Scaled to about 0…1 by the percentiles of what the view shows of the stack; 0 from half a slice beyond the stack on.
    Arguments are those of ``reference_grid``.
    """
    view = reference_grid(frame, stack.ijk_to_ras, grid, teacher, enlarged)
    image = view.from_stack(stack.voxels[None])[0]
    k, j, i = np.ogrid[tuple(slice(size) for size in view.shape)]
    to_slice = view.kji_to_stack[0]
    height = torch.from_numpy(to_slice[0] * k + to_slice[1] * j + to_slice[2] * i + to_slice[3])
    shown = (height > -0.5) & (height < stack.shape[0] - 0.5)
    if not shown.any():
        return torch.zeros_like(image)
    return torch.where(shown, scale_intensity(image, image[shown]), torch.zeros_like(image))


class ReferenceAnatomy(nn.Module):
    """Features of an anchor's image at the nodes of a motion grid, folded into channels slice by slice."""

    def __init__(self, grid: MotionGrid, teacher: TeacherConfig, channels: int, trained: bool = False) -> None:
        """Build it.

        Args:
            grid: The motion grid.
            teacher: The registration teacher whose encoder looks; its weights come with the state.
            channels: Fused channels of each slice.
            trained: Let the encoder learn on; frozen else.
        """
        super().__init__()
        self.channels, self.trained = channels * grid.shape[0], trained
        self.pitch_mm, self.slices = float(grid.spacing_mm[0]), grid.shape[0]
        self.encoder = TeacherEncoder(teacher).requires_grad_(trained)
        self.fuse = nn.Conv3d(sum(teacher.filters), channels, 1)
        self.register_buffer("nodes", _nodes_in_plane(grid, teacher), persistent=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the fused features, (B, channels·D, H, W), of images (B, D, h, w) as ``reference_image`` makes them.

        Channel = feature·D + slice, as in the flow pack.
        """
        pitch = torch.full((len(image),), self.pitch_mm, device=image.device)
        with torch.set_grad_enabled(self.trained and torch.is_grad_enabled()):
            levels = self.encoder.features(image[:, None], pitch)
            nodes = self.nodes.expand(len(image), -1, -1, -1)
            seen = torch.cat([_at_nodes(level, nodes) for level in levels], dim=1)
        return silu(self.fuse(seen)).flatten(1, 2)


def _at_nodes(features: torch.Tensor, nodes: torch.Tensor) -> torch.Tensor:
    """Return features (B, C, D, h, w) at nodes (B, H, W, 2) of the plane, (B, C, D, H, W)."""
    sampled = grid_sample(features.flatten(1, 2), nodes.to(features), padding_mode="border", align_corners=False)
    return sampled.unflatten(1, features.shape[1:3])


def _nodes_in_plane(grid: MotionGrid, teacher: TeacherConfig) -> torch.Tensor:
    """Return where the motion grid's nodes lie in the teacher's plane, (1, H, W, 2), −1…1 as (column, row)."""
    _, j_mm, i_mm = grid.axes_mm()
    extent = np.array(teacher.plane) * teacher.pixel_mm
    rows, columns = 2.0 * j_mm / extent[0], 2.0 * (i_mm + TOWARDS_RV_MM) / extent[1]
    row, column = np.meshgrid(rows, columns, indexing="ij")
    return torch.as_tensor(np.stack([column, row], axis=-1)[None], dtype=torch.float32)
