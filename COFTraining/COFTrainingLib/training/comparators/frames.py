"""Encoder and decoder of single images, which both families begin and end with."""

from dataclasses import dataclass

import torch
from COFGeneratorLib.errors import TrainingError
from torch import nn

GROUPS = 4


@dataclass(frozen=True)
class FrameCoder:
    """Size of encoder and decoder.

    Args:
        width: Channels at full resolution; a multiple of 4.
        levels: How often the resolution is halved; LFDM and ECHOPulse have latents four to eight times coarser than
            their images.
    """

    width: int = 32
    levels: int = 2

    def __post_init__(self) -> None:
        if self.width < GROUPS or self.width % GROUPS or self.levels < 1:
            raise TrainingError(
                f"A frame coder has a width that is a multiple of {GROUPS} and at least one level; found {self.width} "
                f"and {self.levels}. Correct the table frames."
            )

    @property
    def factor(self) -> int:
        """How much coarser latents are than images."""
        return 2**self.levels


class _Block(nn.Module):
    """Two convolutions beside a way past them."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(GROUPS, inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.GroupNorm(GROUPS, outputs), nn.SiLU(), nn.Conv2d(outputs, outputs, 3, padding=1),
        )  # fmt: skip
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.skip(x) + self.body(x)


class FrameEncoder(nn.Module):
    """Images (B, inputs, S, S) to latents (B, outputs, S/factor, S/factor)."""

    def __init__(self, config: FrameCoder, outputs: int, inputs: int = 1) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(inputs, config.width, 3, padding=1)]
        width = config.width
        for _ in range(config.levels):
            layers += [_Block(width, width), nn.Conv2d(width, 2 * config.width, 4, 2, 1)]
            width = 2 * config.width
        layers += [_Block(width, width), nn.GroupNorm(GROUPS, width), nn.SiLU(), nn.Conv2d(width, outputs, 1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Encode."""
        return self.layers(images)


class FrameDecoder(nn.Module):
    """Latents (B, inputs, s, s) to images (B, 1, s·factor, s·factor)."""

    def __init__(self, config: FrameCoder, inputs: int) -> None:
        super().__init__()
        width = 2 * config.width
        layers: list[nn.Module] = [nn.Conv2d(inputs, width, 1), _Block(width, width)]
        for level in range(config.levels):
            narrower = config.width if level == config.levels - 1 else width
            layers += [nn.Upsample(scale_factor=2, mode="nearest"), _Block(width, narrower)]
            width = narrower
        layers += [nn.GroupNorm(GROUPS, width), nn.SiLU(), nn.Conv2d(width, 1, 3, padding=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode."""
        return self.layers(latents)
