"""The 3-D U-Net of the diffusion: noise of a sequence, told the still image, the step and the ECG."""

import math

import torch
from torch import nn
from torch.nn import functional

CLOCK = 64
"""Length of the sinusoids of a diffusion step."""


class _Told(nn.Module):
    """Two 3-D convolutions beside a way past them; what is told scales and shifts between them (FiLM)."""

    def __init__(self, inputs: int, outputs: int, told: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.GroupNorm(_groups(inputs), inputs), nn.SiLU(), nn.Conv3d(inputs, outputs, 3, padding=1)
        )
        self.tell = nn.Linear(told, 2 * outputs)
        self.norm = nn.GroupNorm(_groups(outputs), outputs)
        self.second = nn.Conv3d(outputs, outputs, 3, padding=1)
        self.skip = nn.Identity() if inputs == outputs else nn.Conv3d(inputs, outputs, 1)

    def forward(self, x: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        scale, shift = self.tell(told)[..., None, None, None].chunk(2, dim=1)
        inner = self.norm(self.first(x)) * (1.0 + scale) + shift
        return self.skip(x) + self.second(functional.silu(inner))


def _groups(channels: int) -> int:
    return next(count for count in (8, 4, 2, 1) if channels % count == 0)


class SequenceDenoiser(nn.Module):
    """Sequences (B, inputs, T, s, s) to (B, outputs, T, s, s).

    As in LFDM, the condition is joined to the embedding of the step, and both act in every block; the resolution is
    halved in space, never in time.

    Args:
        inputs, outputs: Channels.
        channels: Of the levels.
        heard: Length of the condition.
    """

    def __init__(self, inputs: int, outputs: int, channels: tuple[int, ...], heard: int) -> None:
        super().__init__()
        told = 2 * CLOCK
        self.join = nn.Sequential(nn.Linear(CLOCK + heard, told), nn.SiLU(), nn.Linear(told, told), nn.SiLU())
        self.begin = nn.Conv3d(inputs, channels[0], 3, padding=1)
        self.down = nn.ModuleList(
            _Told(before, here, told) for before, here in zip((channels[0], *channels), channels, strict=False)
        )
        self.middle = _Told(channels[-1], channels[-1], told)
        self.up = nn.ModuleList(
            _Told(below + here, here, told)
            for below, here in zip((channels[-1], *reversed(channels)), reversed(channels), strict=False)
        )
        self.end = nn.Conv3d(channels[0], outputs, 1)
        nn.init.zeros_(self.end.weight)
        nn.init.zeros_(self.end.bias)

    def forward(self, x: torch.Tensor, step: torch.Tensor, heard: torch.Tensor) -> torch.Tensor:
        """Return what is told of x at steps (B,), with conditions (B, heard)."""
        rates = torch.exp(-math.log(10_000.0) * torch.arange(CLOCK // 2, device=x.device) / (CLOCK // 2))
        angle = step[:, None].float() * rates
        told = self.join(torch.cat([angle.sin(), angle.cos(), heard], dim=1))
        x, kept = self.begin(x), []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else functional.avg_pool3d(x, (1, 2, 2)), told)
            kept.append(x)
        x = self.middle(x, told)
        for block, beside in zip(self.up, reversed(kept), strict=True):
            if x.shape[-2:] != beside.shape[-2:]:
                x = functional.interpolate(x, size=beside.shape[2:], mode="nearest")
            x = block(torch.cat([x, beside], dim=1), told)
        return self.end(x)
