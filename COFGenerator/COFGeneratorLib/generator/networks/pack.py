"""The flow pack: velocities and confidence of all phases as one normalised tensor, and back."""

from dataclasses import dataclass

import torch
from torch.nn.functional import avg_pool3d, max_pool3d

from COFGeneratorLib.motion.constants import constant

FOLLOWS_THE_BASE = 0.7
"""Share of the base's motion that is left one node (11 mm) above it."""
LAST_RING = 0.35
"""Share of the heart's motion that is left two nodes (10 mm) beside it: the motion of one node, and no more, slides."""


@dataclass(frozen=True)
class PackScale:
    """Root-mean-square of each velocity component over the training set's hearts, grid voxels, (k, j, i)."""

    rms: tuple[float, float, float]

    def normalise(self, velocity: torch.Tensor) -> torch.Tensor:
        """Divide (…, 3, D, H, W) grid voxels by the RMS: O(1) against unit noise."""
        return velocity / self._like(velocity)

    def restore(self, normalised: torch.Tensor) -> torch.Tensor:
        """Undo ``normalise``."""
        return normalised * self._like(normalised)

    def _like(self, field: torch.Tensor) -> torch.Tensor:
        return constant(tuple(self.rms), torch.float32, field.device).to(field.dtype).view(3, 1, 1, 1)


def heart_confidence(maps: torch.Tensor) -> torch.Tensor:
    """Return where motion can be trusted, (B, D, H, W) in 0…1: the heart and about 10 mm around it.

    The phantom's motion is exact everywhere, but only the heart's can be learnt from a heart's anatomy; a teacher's
    flows bring their own confidence (local NCC).
    """
    heart = maps.sum(dim=1, keepdim=True).clamp(0, 1)
    near = max_pool3d(heart, (3, 5, 5), stride=1, padding=(1, 2, 2))
    return avg_pool3d(near, (1, 3, 3), stride=1, padding=(0, 1, 1), count_include_pad=False)[:, 0]


def motion_reach(maps: torch.Tensor) -> torch.Tensor:
    """Return the weight of motion around the heart, (B, D, H, W): 1 to 5 mm beside it, 0 from 15 mm, 22 mm above it.

    The heart slides in its pericardium: liver, lung and chest wall stay where they are, and are not dragged along.
    Atria and great vessels follow the base for a slice.
    """
    heart = (2.0 * maps.sum(dim=1, keepdim=True)).clamp(0, 1)  # its border runs where half a node's cell is filled
    rings = []
    for reach in (3, 5):
        level, beyond = (max_pool3d(heart, (k, reach, reach), 1, (k // 2, reach // 2, reach // 2)) for k in (1, 3))
        rings.append(level + FOLLOWS_THE_BASE * (beyond - level))
    return torch.lerp(rings[0], rings[1], LAST_RING)[:, 0]


def pack(normalised: torch.Tensor, confidence: torch.Tensor) -> torch.Tensor:
    """Pack normalised velocities (B, T, 3, D, H, W) and confidence (B, T, D, H, W) to (B, T, 4·D, H, W).

    Channel = component·D + slice, components (v_k, v_j, v_i, confidence); confidence enters as 2c − 1.
    """
    return torch.cat([normalised.flatten(2, 3), 2.0 * confidence - 1.0], dim=2)


def unpack(packed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Undo ``pack``: normalised velocities (B, T, 3, D, H, W) and confidence (B, T, D, H, W) clipped to 0…1."""
    batch, phases, channels, height, width = packed.shape
    parts = packed.view(batch, phases, 4, channels // 4, height, width)
    return parts[:, :, :3], ((parts[:, :, 3] + 1.0) / 2.0).clamp(0, 1)
