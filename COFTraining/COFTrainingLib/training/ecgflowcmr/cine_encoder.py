"""The network that the downstream studies pre-train and fine-tune: a small vision transformer of a cine's motion."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional


@dataclass(frozen=True)
class StudySettings:
    """Size and schedule of a study.

    Args:
        width, depth, heads: Of the transformer.
        shrink: Cines are averaged over squares of so many pixels.
        patch: Side of a token, in pixels of the shrunk cine. A token holds a square's whole course over the cycle: what
            is hidden in pre-training is hidden in all frames (tube masking, Tong et al., VideoMAE, 2022), so that it
            cannot be copied from the frame before.
        dropout: Of the transformer.
        mask: Share of the tokens hidden in pre-training.
        shift: Most pixels (shrunk) by which a batch is moved, in both trainings: without it, 160 cines are learned by
            heart and nothing about others is told (measured on phantoms: R² of EF below 0).
        gain: Standard deviation of the factor by which a cine's motion is made stronger or weaker.
        pretrain_steps, finetune_steps: Optimiser steps; the same for every mix, so that a larger mix is not a longer
            training.
        batch: Cines a step.
        learning_rate: Of both.
    """

    width: int = 64
    depth: int = 2
    heads: int = 4
    shrink: int = 2
    patch: int = 4
    dropout: float = 0.1
    mask: float = 0.6
    shift: int = 2
    gain: float = 0.15
    pretrain_steps: int = 600
    finetune_steps: int = 300
    batch: int = 16
    learning_rate: float = 1e-3


class CineEncoder(nn.Module):
    """A vision transformer over squares of a cine's motion; what fills no whole square is left out."""

    def __init__(self, settings: StudySettings, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.settings = settings
        frames, *sides = shape
        self.grid = tuple(side // settings.shrink // settings.patch for side in sides)
        count, width, voxels = self.grid[0] * self.grid[1], settings.width, frames * settings.patch**2
        self.embed = nn.Linear(voxels, width)
        self.position = nn.Parameter(0.02 * torch.randn(count, width))
        layer = nn.TransformerEncoderLayer(
            width, settings.heads, 4 * width, dropout=settings.dropout, activation="gelu", batch_first=True,
            norm_first=True,
        )  # fmt: skip
        self.layers = nn.TransformerEncoder(layer, settings.depth, enable_nested_tensor=False)
        self.mask_token = nn.Parameter(torch.zeros(width))
        self.rebuild = nn.Linear(width, voxels)
        self.scale = nn.Parameter(torch.tensor(1.0), requires_grad=False)

    def motion(self, cines: torch.Tensor) -> torch.Tensor:
        """Return what moves in cines (B, T, H, W) uint8: grey less its mean over the cycle, shrunk, in units of scale.

        Grey itself says what a body and a scanner look like; with it in, these few cines are told by that.
        """
        grey = functional.avg_pool2d(cines.float() / 255.0, self.settings.shrink)
        return (grey - grey.mean(dim=1, keepdim=True)) / self.scale

    def fit_scale(self, cines: torch.Tensor) -> None:
        """Set the scale to the motion's root mean square in cines (B, T, H, W) uint8."""
        self.scale.fill_(1.0)
        self.scale.copy_(self.motion(cines).square().mean().sqrt().clamp_min(1e-6))

    def varied(self, motion: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return a batch (B, T, h, w) moved in the plane, each cine stronger or weaker."""
        reach = self.settings.shift
        by = torch.randint(-reach, reach + 1, (2,), generator=generator).tolist()
        factor = 1.0 + self.settings.gain * torch.randn(len(motion), 1, 1, 1, generator=generator)
        return torch.roll(motion, by, (2, 3)) * factor

    def tubes(self, motion: torch.Tensor) -> torch.Tensor:
        """Return (B, tokens, voxels of a token)."""
        (h, w), side = self.grid, self.settings.patch
        motion = motion[:, :, : h * side, : w * side].reshape(len(motion), -1, h, side, w, side)
        return motion.permute(0, 2, 4, 1, 3, 5).reshape(len(motion), h * w, -1)

    def features(self, motion: torch.Tensor) -> torch.Tensor:
        """Return (B, width)."""
        return self.layers(self.embed(self.tubes(motion)) + self.position).mean(dim=1)

    def masked_loss(self, motion: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return the error of the hidden tokens, rebuilt from the others."""
        tubes = self.tubes(motion)
        hidden = torch.rand(tubes.shape[:2], generator=generator) < self.settings.mask
        tokens = torch.where(hidden[..., None], self.mask_token, self.embed(tubes)) + self.position
        error = (self.rebuild(self.layers(tokens)) - tubes).square().mean(dim=2)
        return (error * hidden).sum() / hidden.sum().clamp_min(1)
