"""The 3-D VAE of cines: space shrinks eightfold, time stays; 1×T×96×96 ↔ 4×T×12×12."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

LOG_VARIANCE_RANGE = (-30.0, 20.0)


@dataclass(frozen=True)
class VaeConfig:
    """Size of the VAE; the defaults are the paper's (25 M encoder, 39 M decoder parameters).

    Args:
        stem: Stride of the first convolution (and factor of the last pixel shuffle); 1 is the paper's.
        widths: Channels of each level; space halves between levels.
        blocks: Residual blocks a level of the encoder; the decoder has one more.
        attention: Levels with full space-time attention, besides the middle.
        middle_attention: Whether the middle has it.
        heads: Attention heads.
        latent: Channels of the latent.
        temporal: Levels whose convolutions span three frames; elsewhere they act on single frames.
        groups: Groups of the normalisation.
    """

    stem: int = 1
    widths: tuple[int, ...] = (64, 128, 256, 256)
    blocks: int = 2
    attention: tuple[int, ...] = (2, 3)
    middle_attention: bool = True
    heads: int = 8
    latent: int = 4
    temporal: tuple[int, ...] = (0, 1, 2, 3)
    groups: int = 32

    @property
    def factor(self) -> int:
        """How much smaller the latent is in space."""
        return self.stem * 2 ** (len(self.widths) - 1)


def _conv(inside: int, out: int, temporal: bool, stride: int = 1) -> nn.Conv3d:
    depth = 3 if temporal else 1
    return nn.Conv3d(inside, out, (depth, 3, 3), (1, stride, stride), (depth // 2, 1, 1))


class _Residual(nn.Module):
    def __init__(self, inside: int, out: int, temporal: bool, groups: int) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.GroupNorm(groups, inside), nn.GroupNorm(groups, out)
        self.first, self.second = _conv(inside, out, temporal), _conv(out, out, temporal)
        self.shortcut = nn.Conv3d(inside, out, 1) if inside != out else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = self.first(functional.silu(self.norm_1(x)))
        return self.shortcut(x) + self.second(functional.silu(self.norm_2(inner)))


class _Attention(nn.Module):
    """Attention over all voxels of all frames; the fused kernels keep its memory linear in their number."""

    def __init__(self, width: int, heads: int, groups: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(groups, width)
        self.qkv, self.out = nn.Conv3d(width, 3 * width, 1), nn.Conv3d(width, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count, width = x.shape[:2]
        parts = self.qkv(self.norm(x)).reshape(count, 3, self.heads, width // self.heads, -1).transpose(3, 4)
        q, k, v = (part.contiguous() for part in parts.unbind(1))
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(2, 3).reshape(x.shape)
        return x + self.out(mixed)


class VideoVae(nn.Module):
    """Encoder and decoder of cines (B, 1, T, H, W) in [−1, 1]."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.config = config
        widths, groups = config.widths, config.groups

        def level(inside: int, out: int, at: int, blocks: int) -> list[nn.Module]:
            temporal = at in config.temporal
            parts: list[nn.Module] = [
                _Residual(inside if n == 0 else out, out, temporal, groups) for n in range(blocks)
            ]
            if at in config.attention:
                parts.append(_Attention(out, config.heads, groups))
            return parts

        down: list[nn.Module] = [_conv(1, widths[0], 0 in config.temporal, config.stem)]
        inside = widths[0]
        for at, width in enumerate(widths):
            down += level(inside, width, at, config.blocks)
            if at + 1 < len(widths):
                down.append(_conv(width, width, False, 2))
            inside = width
        self.encoder = nn.Sequential(
            *down,
            *self._middle(inside),
            nn.GroupNorm(groups, inside),
            nn.SiLU(),
            _conv(inside, 2 * config.latent, False),
        )
        up: list[nn.Module] = [_conv(config.latent, inside, True), *self._middle(inside)]
        for at in reversed(range(len(widths))):
            up += level(inside, widths[at], at, config.blocks + 1)
            inside = widths[at]
            if at:
                up += [
                    nn.Upsample(scale_factor=(1, 2, 2), mode="nearest"),
                    _conv(inside, inside, at in config.temporal),
                ]
        self.decoder = nn.Sequential(*up, nn.GroupNorm(groups, inside), nn.SiLU())
        self.last = _conv(inside, config.stem**2, False)

    def _middle(self, width: int) -> list[nn.Module]:
        config = self.config
        middle: list[nn.Module] = [_Residual(width, width, True, config.groups) for _ in range(2)]
        if config.middle_attention:
            middle.insert(1, _Attention(width, config.heads, config.groups))
        return middle

    def encode(self, cine: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and log variance of the posterior, (B, latent, T, h, w) each."""
        mean, log_variance = self.encoder(cine).chunk(2, dim=1)
        return mean, log_variance.clamp(*LOG_VARIANCE_RANGE)

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        """Return the cine (B, 1, T, H, W) of a latent."""
        out = self.last(self.decoder(latent))
        if self.config.stem == 1:
            return out
        count, _, frames, height, width = out.shape
        flat = out.transpose(1, 2).reshape(count * frames, -1, height, width)
        large = functional.pixel_shuffle(flat, self.config.stem)
        return large.reshape(count, frames, 1, *large.shape[-2:]).transpose(1, 2)
