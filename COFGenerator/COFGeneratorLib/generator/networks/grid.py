"""The motion grid: the coarse, heart-fixed grid on which networks see anatomy and write velocities."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, map_coordinates

from COFGeneratorLib.anatomy.heart_frame import HeartFrame

FOREGROUND = (1, 2, 3)
"""LV cavity, myocardium, RV cavity: the channels of an anatomy map."""
RIM_MM = 15.0
"""Width of the rim over which motion falls to zero: wide enough that a free wall near it does not fold."""

MARGIN_MM = 9.0
"""Distance that a heart keeps from the edge of the grid."""
HEART_EXTENT_PERCENT = (0.1, 99.9)
"""Percentiles of the labelled voxels' places that count as the heart's extent: a stray voxel is none of it."""
LARGEST_FACTOR = 1.5
EVERYWHERE = (slice(None),) * 3


@dataclass(frozen=True)
class MotionGrid:
    """A grid of heart-frame points, axes (k, j, i).

    Args:
        shape: Number of nodes (D, H, W).
        spacing_mm: Distance of nodes.
        centre_mm: Heart-frame position of the grid's middle; off the LV's centroid towards apex and RV, so that both
            ventricles fit.
        phases: Number of equidistant phases of one cycle (T).
    """

    shape: tuple[int, int, int] = (12, 32, 32)
    spacing_mm: tuple[float, float, float] = (11.0, 5.0, 5.0)
    centre_mm: tuple[float, float, float] = (10.5, 0.0, -19.0)
    phases: int = 12

    def axes_mm(self, refine: int = 1, refine_through: int = 1) -> list[np.ndarray]:
        """Return the node positions along k, j, i, mm; ``refine`` times as dense in-plane over the same extent."""
        factors = (refine_through, refine, refine)
        sizes = [(nodes - 1) * factor + 1 for nodes, factor in zip(self.shape, factors, strict=True)]
        return [
            centre + spacing * (nodes - 1) * (np.linspace(0.0, 1.0, size) - 0.5)
            for centre, spacing, nodes, size in zip(self.centre_mm, self.spacing_mm, self.shape, sizes, strict=True)
        ]

    def points_mm(self, refine: int = 1, refine_through: int = 1) -> np.ndarray:
        """Return the nodes as heart-frame points (D, H, W, 3), mm."""
        return np.stack(np.meshgrid(*self.axes_mm(refine, refine_through), indexing="ij"), axis=-1)

    def window(self, rim_mm: float = RIM_MM) -> np.ndarray:
        """Return a (D, H, W) weight that is 1 inside and falls to 0 at the in-plane edge, so that motion ends there."""
        ramps = []
        for nodes, spacing in zip(self.shape, self.spacing_mm, strict=True):
            edge = np.minimum(np.arange(nodes), nodes - 1 - np.arange(nodes)) * spacing
            ramps.append(np.clip(edge / rim_mm, 0.0, 1.0))
        smooth = [r * r * (3 - 2 * r) for r in ramps]
        plane = smooth[1][:, None] * smooth[2][None, :]
        return np.broadcast_to(plane, self.shape).astype(np.float32)

    def enlarged(self, factor: float) -> "MotionGrid":
        """Return the grid stretched about the heart's origin: what a heart of 1/factor the size would see."""
        (pitch, row, column), (k, j, i) = self.spacing_mm, self.centre_mm
        return replace(
            self,
            spacing_mm=(factor * pitch, factor * row, factor * column),
            centre_mm=(factor * k, factor * j, factor * i),
        )

    def refined(self, factor: int) -> "MotionGrid":
        """Return the grid over the same extent whose in-plane nodes are ``factor`` times as dense."""
        depth, height, width = self.shape
        pitch, row, column = self.spacing_mm
        return replace(
            self,
            shape=(depth, (height - 1) * factor + 1, (width - 1) * factor + 1),
            spacing_mm=(pitch, row / factor, column / factor),
        )


def grid_for_heart(labels: np.ndarray, ijk_to_ras: np.ndarray, frame: HeartFrame, grid: MotionGrid) -> MotionGrid:
    """Return the motion grid, enlarged where a heart is too large for it.

    A dilated right ventricle that reaches over the rim would be moved in part and fold there. On an enlarged grid the
    network sees the heart in the size that it knows; velocities are in nodes, so strains stay what they are.

    Args:
        labels: (D, H, W) labels of the anchor.
        ijk_to_ras: (4, 4) geometry of the stack.
        frame: The heart's frame.
        grid: The model's motion grid.
    """
    to_heart = frame.kji_to_heart(ijk_to_ras)
    points = np.argwhere(labels > 0) @ to_heart[:3, :3].T + to_heart[:3, 3]
    factor = 1.0
    for axis in (1, 2):  # along the slices the grid reaches beyond any heart, and has no rim
        low, high = np.percentile(points[:, axis], HEART_EXTENT_PERCENT)
        nodes = grid.axes_mm()[axis]
        factor = max(factor, low / (nodes[0] + MARGIN_MM), high / (nodes[-1] - MARGIN_MM))
    return grid if factor <= 1.0 else grid.enlarged(min(factor, LARGEST_FACTOR))


def anatomy_maps(
    fractions: np.ndarray,
    ijk_to_ras: np.ndarray,
    frame: HeartFrame,
    grid: MotionGrid,
    refine: int = 1,
    refine_through: int = 1,
) -> np.ndarray:
    """Bring label fractions of a stack onto the motion grid.

    Each node gets the mean occupancy of its in-plane cell: the stack is smoothed to the cell's width first, so thin
    walls are kept as fractions; between slices values are linear, beyond the stack they are 0.

    Args:
        fractions: (3, D, H, W) occupancy of LV cavity, myocardium, RV cavity, 0…1.
        ijk_to_ras: (4, 4) geometry of the stack.
        frame: The heart's frame.
        grid: The motion grid.
        refine, refine_through: Denser nodes in-plane and through-plane.

    Returns:
        (3, D, H, W) float32; (D, H, W) is ``grid.shape`` where nothing is refined.
    """
    to_voxel = np.linalg.inv(frame.kji_to_heart(ijk_to_ras))
    nodes = grid.points_mm(refine, refine_through)
    points = nodes.reshape(-1, 3)
    positions = (points @ to_voxel[:3, :3].T + to_voxel[:3, 3]).T
    spacing = np.linalg.norm(ijk_to_ras[:3, :3], axis=0)[::-1]
    sigma = 0.32 * grid.spacing_mm[1] / refine / spacing[1:]
    # one empty slice on either side: occupancy falls to zero half a slice beyond the stack, not at once
    padded = np.pad(np.asarray(fractions, dtype=np.float32), ((0, 0), (1, 1), (0, 0), (0, 0)))
    smooth = gaussian_filter(padded, (0, 0, *sigma))
    positions[0] += 1.0
    maps = [map_coordinates(channel, positions, order=1, mode="constant") for channel in smooth]
    return np.stack(maps).reshape(len(maps), *nodes.shape[:3]).astype(np.float32)


def label_fractions(labels: np.ndarray) -> np.ndarray:
    """Return hard labels (D, H, W) as occupancies (3, D, H, W) float32 of LV cavity, myocardium, RV cavity."""
    return np.stack([labels == code for code in FOREGROUND]).astype(np.float32)


def hard_labels(fractions: np.ndarray) -> np.ndarray:
    """Return uint8 labels (…, D, H, W): the structure that fills most of each voxel, of occupancies (…, 3, D, H, W)."""
    return fullest(torch.from_numpy(fractions)).numpy()


def fullest(fractions: torch.Tensor) -> torch.Tensor:
    """Return ``hard_labels`` of a tensor, on its device.

    Structure by structure: a maximum over the axis of three is several times as slow on a CPU.
    """
    lv, wall, rv = fractions.unbind(-4)
    larger = torch.maximum(lv, wall)
    labels = (wall > lv).to(torch.uint8).add_(1).masked_fill_(rv > larger, 3)
    return labels.mul_(torch.maximum(larger, rv) > 1.0 - fractions.sum(dim=-4))


def moved_labels(
    fractions: np.ndarray, anchor_labels: np.ndarray, still: int = 0, box: tuple[slice, ...] = EVERYWHERE
) -> np.ndarray:
    """Return hard labels (T, D, H, W) uint8 of a moved anchor, from (T, 3, D, H, W) occupancies.

    Frame ``still`` is the anchor as it was labelled; only ``box`` (D, H, W) moves.
    """
    labels = np.repeat(anchor_labels[None].astype(np.uint8), len(fractions), axis=0)
    labels[(slice(None), *box)] = hard_labels(fractions[(slice(None), slice(None), *box)])
    labels[still] = anchor_labels
    return labels
