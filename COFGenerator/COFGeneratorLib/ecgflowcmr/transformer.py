"""AMDF's velocity network: a diffusion transformer over (frame, place) tokens that listens to the ECG's cycles.

Each block: temporal self-attention → cross-attention to the ECG tokens → spatial self-attention → MLP, every one with
adaLN-Zero (Peebles & Xie, ICCV 2023): shift, scale and a gate that starts at zero, from flow time and ECG.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

TIME_SCALE = 1000.0
"""Flow time 0…1 enters the sinusoids times 1000: unscaled, nearly all of their frequencies would be constant."""
RATE_SCALARS = 2


@dataclass(frozen=True)
class DitConfig:
    """Size of the transformer; the defaults are the paper's (73 M parameters).

    Args:
        frames: Frames of a cine.
        side: Rows and columns of the latent.
        latent: Channels of the latent.
        patch: Latent pixels a token spans in rows and columns; 1 is the paper's.
        width: Of a token.
        depth: Blocks.
        heads: Attention heads.
        mlp: Hidden width of the MLP over ``width``.
        ecg: Width of the ECG's tokens.
        ecg_tokens: Tokens a cycle.
        aligned: Add each frame's own ECG token to its image tokens, so that the common clock need not be learned; the
            paper leaves it to cross-attention.
        scalars: Numbers beside the mean ECG token in the global condition: rate, its variation, and phenotypes.
    """

    frames: int = 50
    side: int = 12
    latent: int = 4
    patch: int = 1
    width: int = 512
    depth: int = 8
    heads: int = 8
    mlp: int = 4
    ecg: int = 768
    ecg_tokens: int = 50
    aligned: bool = False
    scalars: int = RATE_SCALARS


def sinusoids(value: torch.Tensor, width: int, longest: float = 10_000.0) -> torch.Tensor:
    """Return (…, width) sines and cosines of values (…)."""
    half = width // 2
    rate = torch.exp(-math.log(longest) * torch.arange(half, device=value.device, dtype=torch.float32) / half)
    angle = value[..., None].float() * rate
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, source: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.kv = nn.Linear(width, width), nn.Linear(source or width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, source: torch.Tensor | None = None) -> torch.Tensor:
        source = x if source is None else source
        count, length, width = x.shape
        q = self.q(x).view(count, length, self.heads, -1).transpose(1, 2)
        k, v = self.kv(source).view(count, source.shape[1], 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return self.out(mixed.transpose(1, 2).reshape(count, length, width))


class _Block(nn.Module):
    def __init__(self, config: DitConfig) -> None:
        super().__init__()
        width = config.width
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.temporal = _Attention(width, config.heads)
        self.cross = _Attention(width, config.heads, width)
        self.spatial = _Attention(width, config.heads)
        self.mlp = nn.Sequential(
            nn.Linear(width, config.mlp * width), nn.GELU(approximate="tanh"), nn.Linear(config.mlp * width, width)
        )
        self.modulation = nn.Linear(width, 12 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: torch.Tensor, given: torch.Tensor, ecg: torch.Tensor) -> torch.Tensor:
        """Args: x (B, T, P, width), given (B, width), ecg (B, n, width)."""
        count, frames, places, width = x.shape
        parts = self.modulation(functional.silu(given))[:, None, None].chunk(12, dim=-1)

        def modulated(step: int) -> torch.Tensor:
            return self.norm(x) * (1 + parts[3 * step + 1]) + parts[3 * step]

        inner = modulated(0).transpose(1, 2).reshape(count * places, frames, width)
        inner = self.temporal(inner).view(count, places, frames, width).transpose(1, 2)
        x = x + parts[2] * inner
        inner = self.cross(modulated(1).reshape(count, frames * places, width), ecg).view(x.shape)
        x = x + parts[5] * inner
        inner = self.spatial(modulated(2).reshape(count * frames, places, width)).view(x.shape)
        x = x + parts[8] * inner
        return x + parts[11] * self.mlp(modulated(3))


class VelocityTransformer(nn.Module):
    """Velocity of the latent at flow time t (0 template, 1 data), given the ECG."""

    def __init__(self, config: DitConfig) -> None:
        super().__init__()
        self.config = config
        width, places = config.width, (config.side // config.patch) ** 2
        inside = config.latent * config.patch**2
        self.embed = nn.Linear(inside, width)
        place = 0.02 * torch.randn(places, width)
        self.position = nn.Parameter(0.3 * _harmonics(config.frames, width)[:, None] + place[None])
        self.ecg = nn.Linear(config.ecg, width)
        self.ecg_position = nn.Parameter(0.3 * _harmonics(config.ecg_tokens, width))
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.overall = nn.Sequential(nn.Linear(config.ecg + config.scalars, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.last_modulation, self.last = nn.Linear(width, 2 * width), nn.Linear(width, inside)
        for layer in (self.last_modulation, self.last):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, z: torch.Tensor, t: torch.Tensor, tokens: torch.Tensor, scalars: torch.Tensor) -> torch.Tensor:
        """Return the velocity.

        Args:
            z: (B, latent, T, h, w) latent between template and data.
            t: (B,) flow time.
            tokens: (B, ecg_tokens, ecg) of one cycle; zeros for "no ECG".
            scalars: (B, scalars), see ``Amdf.condition``; zeros for "no ECG".
        """
        config = self.config
        x = self.embed(_patches(z, config.patch)) + self.position
        ecg = self.ecg(tokens) + self.ecg_position
        if config.aligned:
            at = torch.arange(config.frames, device=z.device) * config.ecg_tokens // config.frames
            x = x + ecg[:, at, None]
        given = self.time(sinusoids(TIME_SCALE * t, config.width))
        given = given + self.overall(torch.cat([tokens.mean(dim=1), scalars], dim=1))
        for block in self.blocks:
            x = block(x, given, ecg)
        shift, scale = self.last_modulation(functional.silu(given))[:, None, None].chunk(2, dim=-1)
        return _unpatches(self.last(self.norm(x) * (1 + scale) + shift), config)


def _harmonics(count: int, width: int) -> torch.Tensor:
    """Return (count, width) sines and cosines of the phase of ``count`` steps of one cycle."""
    angle = (2 * math.pi * torch.arange(count) / count)[:, None] * torch.arange(1, width // 4 + 1)
    periodic = torch.cat([angle.cos(), angle.sin()], dim=1)
    return functional.pad(periodic, (0, width - periodic.shape[1]))


def _patches(z: torch.Tensor, patch: int) -> torch.Tensor:
    """(B, C, T, h, w) → (B, T, places, C·patch²)."""
    count, channels, frames, height, width = z.shape
    z = z.view(count, channels, frames, height // patch, patch, width // patch, patch)
    return z.permute(0, 2, 3, 5, 1, 4, 6).reshape(count, frames, -1, channels * patch**2)


def _unpatches(x: torch.Tensor, config: DitConfig) -> torch.Tensor:
    """The inverse of ``_patches``."""
    count, side, patch = len(x), config.side // config.patch, config.patch
    x = x.view(count, config.frames, side, side, config.latent, patch, patch)
    return x.permute(0, 4, 1, 2, 5, 3, 6).reshape(count, config.latent, config.frames, config.side, config.side)
