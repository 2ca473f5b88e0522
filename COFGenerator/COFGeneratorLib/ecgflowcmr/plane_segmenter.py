"""A small 2-D U-Net that labels the model's own plane: LV cavity, myocardium, RV cavity in every frame."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

CLASSES = 4


@dataclass(frozen=True)
class PlaneSegmenterConfig:
    """Channels of each level; space halves between levels."""

    widths: tuple[int, ...] = (12, 24, 48, 64)


def _pair(inside: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, out, 3, padding=1), nn.InstanceNorm2d(out, affine=True), nn.LeakyReLU(0.01),
        nn.Conv2d(out, out, 3, padding=1), nn.InstanceNorm2d(out, affine=True), nn.LeakyReLU(0.01),
    )  # fmt: skip


class PlaneSegmenter(nn.Module):
    """U-Net over single frames (N, 1, H, W) in [0, 1]; returns logits (N, 4, H, W)."""

    def __init__(self, config: PlaneSegmenterConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        self.down = nn.ModuleList(_pair(a, b) for a, b in zip((1, *widths[:-1]), widths, strict=True))
        self.up = nn.ModuleList(_pair(a + b, b) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.last = nn.Conv2d(widths[0], CLASSES, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = []
        for index, level in enumerate(self.down):
            x = level(functional.avg_pool2d(x, 2) if index else x)
            kept.append(x)
        kept.pop()
        for level in self.up:
            side = kept.pop()
            x = level(torch.cat([functional.interpolate(x, size=side.shape[-2:], mode="bilinear"), side], dim=1))
        return self.last(x)

    @torch.no_grad()
    def segment(self, cines: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Label cines (B, T, H, W) in [0, 1].

        Returns:
            (B, T, H, W) uint8 labels, and (B, T, 3) expected pixels of LV cavity, myocardium and RV cavity: sums of
            probabilities, which count partial pixels as such.
        """
        labels, areas = [], []
        for cine in cines:
            share = self(cine[:, None].to(next(self.parameters()))).softmax(dim=1)
            labels.append(share.argmax(dim=1).to(torch.uint8).cpu().numpy())
            areas.append(share[:, 1:].sum(dim=(2, 3)).cpu().numpy())
        return np.stack(labels), np.stack(areas)
