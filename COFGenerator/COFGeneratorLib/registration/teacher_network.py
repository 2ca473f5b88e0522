"""The registration network: an anchor and a target frame in, a stationary velocity out."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch.nn.functional import interpolate, pixel_unshuffle

from COFGeneratorLib.errors import MotionError
from COFGeneratorLib.motion.fields import Spacing, along_axis, exponential, spline_matrix

REDUCTION = 2
"""Velocity nodes are twice as far apart as pixels, in-plane; slices are kept."""


@dataclass(frozen=True)
class TeacherConfig:
    """What fixes a registration network and its grid.

    Args:
        plane: In-plane pixels (H, W) of the heart-centred grid; multiples of 8.
        pixel_mm: In-plane pixel, mm. The slice pitch is the stack's own.
        filters: Channels of the U-Net's levels; multiples of 4.
        output_mm: Velocity, mm, of a network output of 1.
    """

    plane: tuple[int, int] = (64, 64)
    pixel_mm: float = 2.7
    filters: tuple[int, ...] = (24, 48, 64)
    output_mm: float = 10.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "plane", tuple(self.plane))
        object.__setattr__(self, "filters", tuple(self.filters))
        if not self.filters or any(width % 4 for width in self.filters):
            raise MotionError(f"Filters must be multiples of 4, one a level; found {self.filters}. Change them.")
        step = REDUCTION * 2 ** (len(self.filters) - 1)
        if any(size % step for size in self.plane):
            raise MotionError(
                f"The teacher's plane must be a multiple of {step} pixels; found {self.plane}. Change plane or filters."
            )

    def node_mm(self, pitch_mm: float) -> tuple[float, float, float]:
        """Return the spacing of velocity nodes along (k, j, i) for a slice pitch."""
        return (float(pitch_mm), REDUCTION * self.pixel_mm, REDUCTION * self.pixel_mm)


class TeacherEncoder(torch.nn.Module):
    """The way down of the registration network: what it sees in two images, at several scales."""

    def __init__(self, config: TeacherConfig) -> None:
        super().__init__()
        self.config = config
        channels = [2 * REDUCTION**2 + 1, *config.filters]
        self.down = torch.nn.ModuleList(
            _block(channels[level], width, depth=1 if level == 0 else 3, stride=1 if level == 0 else 2)
            for level, width in enumerate(config.filters)
        )

    def encode(self, anchor: torch.Tensor, target: torch.Tensor, pitch_mm: torch.Tensor) -> list[torch.Tensor]:
        """Return the features of every level, finest first, (B, filters[l], D, H/2^(l+1), W/2^(l+1)).

        Args:
            anchor, target: (B, 1, D, H, W), scaled to 0…1 by the anchor's percentiles.
            pitch_mm: (B,) slice pitch, mm.

        Raises:
            MotionError: If the images do not lie on the teacher's plane.
        """
        if anchor.shape != target.shape or anchor.ndim != 5 or tuple(anchor.shape[3:]) != self.config.plane:
            raise MotionError(
                f"Anchor and target must both be (B, 1, D, {self.config.plane[0]}, {self.config.plane[1]}); found "
                f"{tuple(anchor.shape)} and {tuple(target.shape)}. Resample onto the teacher's grid."
            )
        images = torch.cat([anchor, target], dim=1).movedim(2, 1)  # (B, D, 2, H, W)
        cells = pixel_unshuffle(images, REDUCTION).movedim(1, 2)  # (B, 2·4, D, H/2, W/2)
        pitch = (pitch_mm.to(cells) / 10.0).log().view(-1, 1, 1, 1, 1).expand(-1, 1, *cells.shape[2:])
        features, levels = torch.cat([cells, pitch], dim=1), []
        for block in self.down:
            features = block(features)
            levels.append(features)
        return levels

    def features(self, image: torch.Tensor, pitch_mm: torch.Tensor) -> list[torch.Tensor]:
        """Return what the encoder sees in one image (B, 1, D, H, W), paired with itself; levels as in ``encode``."""
        return self.encode(image, image, pitch_mm)


class TeacherNetwork(TeacherEncoder):
    """Anisotropic U-Net in VoxelMorph's role (Balakrishnan 2019; stationary velocity as Dalca 2018).

    MONAI's ``VoxelMorphUNet`` halves every axis and so cannot take 10 or 12 slices; here the slice axis is never
    halved, so any number of slices, one included, goes through.
    """

    def __init__(self, config: TeacherConfig) -> None:
        super().__init__(config)
        widths = config.filters
        self.up = torch.nn.ModuleList(
            _block(widths[level] + widths[level + 1], widths[level], depth=1 if level == 0 else 3)
            for level in reversed(range(len(widths) - 1))
        )
        self.velocity = torch.nn.Conv3d(widths[0], 3, 1)
        torch.nn.init.normal_(self.velocity.weight, std=1e-5)  # training starts from no motion
        torch.nn.init.zeros_(self.velocity.bias)
        plane = torch.ones(tuple(size // REDUCTION for size in config.plane))
        for axis, size in enumerate(plane.shape):
            edge = torch.minimum(torch.arange(size), torch.arange(size - 1, -1, -1)) / 3.0
            ramp = edge.clamp(max=1.0)
            plane = plane * (ramp * ramp * (3 - 2 * ramp)).unsqueeze(1 - axis)
        self.register_buffer("window", plane, persistent=False)  # nothing moves at the rim of the view

    def forward(self, anchor: torch.Tensor, target: torch.Tensor, pitch_mm: torch.Tensor) -> torch.Tensor:
        """Return the velocity, mm, (B, 3, D, H/2, W/2) along the grid's (k, j, i).

        Args:
            anchor, target: (B, 1, D, H, W), scaled to 0…1 by the anchor's percentiles.
            pitch_mm: (B,) slice pitch, mm.
        """
        skips = self.encode(anchor, target, pitch_mm)
        features = skips.pop()
        for block in self.up:
            features = interpolate(features, scale_factor=(1, 2, 2), mode="nearest")
            features = block(torch.cat([features, skips.pop()], dim=1))
        return self.velocity(features).float() * self.config.output_mm * self.window


def _block(inputs: int, outputs: int, depth: int, stride: int = 1) -> torch.nn.Sequential:
    """Return two convolutions ``depth``×3×3, the first with an in-plane stride."""
    layers = []
    for index in range(2):
        layers += [
            torch.nn.Conv3d(
                inputs if index == 0 else outputs, outputs, (depth, 3, 3),
                stride=(1, stride, stride) if index == 0 else 1, padding=(depth // 2, 1, 1), bias=False,
            ),
            torch.nn.GroupNorm(4, outputs),
            torch.nn.LeakyReLU(0.1),
        ]  # fmt: skip
    return torch.nn.Sequential(*layers)


def displace(velocity_mm: torch.Tensor, spacing_mm: Spacing) -> torch.Tensor:
    """Return the displacement, mm, of a velocity (B, 3, D, h, w); ``spacing_mm`` is (3,) or (B, 3)."""
    spacing = torch.as_tensor(spacing_mm, dtype=torch.float32, device=velocity_mm.device).view(-1, 3, 1, 1, 1)
    return exponential(velocity_mm.float() / spacing) * spacing


def nodes_to_pixels(field: torch.Tensor, factor: int = REDUCTION) -> torch.Tensor:
    """Bring (B, C, D, h, w) from the nodes, which are centres of pixel blocks, to the pixels by cubic splines."""
    for axis in (3, 4):
        field = along_axis(field, _to_pixels(field.shape[axis], factor, field.dtype, field.device), axis)
    return field


@lru_cache(maxsize=32)
def _to_pixels(nodes: int, factor: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return the (nodes · factor, nodes) matrix of ``nodes_to_pixels``, which is sent to a device once."""
    positions = (torch.arange(nodes * factor) + 0.5) / factor - 0.5
    with torch.inference_mode(False):  # else it would be of no use to a training
        return torch.as_tensor(spline_matrix(nodes, positions.numpy()), dtype=dtype, device=device)
