"""The velocity network of flow matching, over (T, H, W): 1×3×3 convolutions with FiLM, attention over time.

The flow pack enters as channels (component·D + slice) at every phase; the anatomy maps, the regression mean where one
is given, coordinates and an image of the constant τ are concatenated (COF v2, §3.4; LFDM's layout where v2 is silent).
Time is never down-sampled, so any number of phases works.
"""

from dataclasses import dataclass

import torch
from torch import nn

from COFGeneratorLib.errors import BundleError
from COFGeneratorLib.generator.networks.condition import (
    CLOCK_SIZE,
    CONDITION_SIZE,
    anchor_features,
    clock_features,
    null_condition,
)
from COFGeneratorLib.generator.networks.grid import MotionGrid
from COFGeneratorLib.generator.networks.mean_network import FilmBlock, plane_coordinates

PACK_COMPONENTS = 4
"""v_k, v_j, v_i, confidence: channel = component·D + slice."""
PREDICTIONS = ("x0", "v", "noise", "rate")
ECG_ROUTES, TARGETS = ("time", "space"), ("motion", "frames")
ECG_CHANNELS = 16


@dataclass(frozen=True)
class FlowConfig:
    """Size and objective of the velocity network.

    Args:
        widths: Channels at full, half and quarter resolution.
        blocks: Residual blocks a level.
        heads: Attention heads over time.
        hidden: Width of the condition.
        prediction: ``"x0"`` (the clean pack; better with few examples), ``"v"`` (x1 − x0, the paper's), ``"noise"``
            (the DDPM objective of COF-w/Diffusion) or ``"rate"`` (the motion's rate of change over the beat, given the
            motion so far: the physical time of COF v1, without noise and without attention between phases).
        residual: Whether the pack is what the regression mean leaves, or the whole motion (the paper's).
        anatomy: Whether the network sees the anatomy maps; without, "w/o REA" of the paper's ablation.
        ecg_route: ``"time"``, through FiLM and the clock, or ``"space"``, as channels of the input alone, the same at
            all phases: "w/o temporal ECG".
        target: ``"motion"``, or ``"frames"``: the anatomy maps of every phase themselves, with no registration behind
            them and no warp after: "w/o TOPPR". A network of frames is for the ablation; it moves no anchor.
        any_anchor: Whether the network is told at which phase the anchor was taken; else it is that of the R wave.
    """

    widths: tuple[int, ...] = (48, 64, 96)
    blocks: int = 1
    heads: int = 4
    hidden: int = 128
    prediction: str = "x0"
    residual: bool = True
    anatomy: bool = True
    ecg_route: str = "time"
    target: str = "motion"
    any_anchor: bool = False

    def __post_init__(self) -> None:
        for value, known in ((self.prediction, PREDICTIONS), (self.ecg_route, ECG_ROUTES), (self.target, TARGETS)):
            if value not in known:
                raise BundleError(f"A velocity network has one of {', '.join(known)}; found {value!r}. Correct it.")


class TimeAttention(nn.Module):
    """Self-attention along T at every pixel, with the phase embedding added: periodic, no order of frames."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm, self.heads = nn.GroupNorm(8, width), heads
        self.clock = nn.Linear(hidden, width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: torch.Tensor, clock: torch.Tensor) -> torch.Tensor:
        batch, phases = clock.shape[:2]
        _, width, height, columns = x.shape
        tokens = self.norm(x).view(batch, phases, width, -1).permute(0, 3, 1, 2)  # (B, HW, T, C)
        tokens = tokens + self.clock(clock)[:, None]
        parts = self.qkv(tokens).view(batch, height * columns, phases, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(3, 0, 1, 4, 2, 5)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        mixed = mixed.transpose(2, 3).reshape(batch, height * columns, phases, width)
        return x + self.out(mixed).permute(0, 2, 3, 1).reshape(x.shape)


class VelocityUNet(nn.Module):
    """Predict x0 or v of a noisy flow pack on a motion grid."""

    def __init__(self, grid: MotionGrid, config: FlowConfig | None = None) -> None:
        super().__init__()
        self.grid, self.config = grid, config or FlowConfig()
        if self.config.residual and (self.config.prediction in ("noise", "rate") or self.config.target == "frames"):
            raise BundleError(
                "A flow on what the mean leaves predicts x0 or v of motion; found "
                f"{self.config.prediction} of {self.config.target}. Leave the mean out (mean = false)."
            )
        depth, widths, hidden = grid.shape[0], self.config.widths, self.config.hidden
        self.register_buffer("coordinates", plane_coordinates(grid), persistent=False)
        pack = PACK_COMPONENTS * depth
        inputs = pack + 3 * depth + len(self.coordinates) + 1 + (3 * depth if self.config.residual else 0)
        if self.config.ecg_route == "space":
            self.ecg_image = nn.Linear(CONDITION_SIZE, ECG_CHANNELS)
            inputs += ECG_CHANNELS
        self.clock = nn.Sequential(nn.Linear(CLOCK_SIZE, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.embed = nn.Sequential(nn.Linear(CONDITION_SIZE + 8, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.stem = nn.Conv2d(inputs, widths[0], 3, padding=1)
        self.down, self.shrink, self.up, self.grow = (nn.ModuleList() for _ in range(4))
        for level, width in enumerate(widths):
            self.down.append(self._level(width, width, attend=level > 0))
            if level + 1 < len(widths):
                self.shrink.append(nn.Conv2d(width, widths[level + 1], 3, stride=2, padding=1))
        for level in range(len(widths) - 2, -1, -1):
            self.grow.append(nn.Conv2d(widths[level + 1], widths[level], 1))
            self.up.append(self._level(2 * widths[level], widths[level], attend=level > 0))
        self.out = nn.Conv2d(widths[0], pack, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        if self.config.any_anchor:
            self.anchor = nn.Linear(CLOCK_SIZE, hidden, bias=False)
            nn.init.zeros_(self.anchor.weight)

    def _level(self, inputs: int, width: int, attend: bool) -> nn.ModuleList:
        hidden = self.config.hidden
        blocks = [FilmBlock(inputs, width, hidden)]
        blocks += [FilmBlock(width, width, hidden) for _ in range(self.config.blocks - 1)]
        if attend and self.config.prediction != "rate":
            blocks.append(TimeAttention(width, self.config.heads, hidden))
        return nn.ModuleList(blocks)

    @staticmethod
    def _run(chain: nn.ModuleList, x: torch.Tensor, film: torch.Tensor, clock: torch.Tensor) -> torch.Tensor:
        for block in chain:
            x = block(x, clock) if isinstance(block, TimeAttention) else block(x, film)
        return x

    def forward(
        self,
        pack: torch.Tensor,
        tau: torch.Tensor,
        maps: torch.Tensor,
        condition: torch.Tensor,
        phases: torch.Tensor,
        *,
        mean: torch.Tensor | None = None,
        anchor: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the prediction, (B, T, C, H, W).

        Args:
            pack: (B, T, C, H, W) noisy pack x_τ, C = PACK_COMPONENTS·D.
            tau: (B,) 0 (data) … 1 (noise).
            maps: (B, 3, D, H, W) anatomy maps.
            condition: (B, CONDITION_SIZE).
            phases: (T,) phases 0…1.
            mean: (B, T, 3, D, H, W) regression mean, where ``config.residual``.
            anchor: (B,) phases at which the maps are, where ``config.any_anchor``; the R wave where None.
        """
        batch, count, _, height, width = pack.shape
        still = [(maps if self.config.anatomy else torch.zeros_like(maps)).flatten(1, 2)]
        still += [self.coordinates.expand(batch, -1, -1, -1), tau.view(batch, 1, 1, 1).expand(-1, 1, height, width)]
        if self.config.ecg_route == "space":
            still.append(self.ecg_image(condition)[:, :, None, None].expand(-1, -1, height, width))
            condition = null_condition(condition)
        scales = 2.0 ** torch.arange(4, device=tau.device, dtype=tau.dtype) * torch.pi / 2
        waves = torch.cat([torch.sin(tau[:, None] * scales), torch.cos(tau[:, None] * scales)], dim=1)
        clock = self.clock(clock_features(condition, phases))
        told = self.embed[0](torch.cat([condition, waves], dim=1))
        if anchor is not None:
            told = told + self.anchor(anchor_features(condition, anchor))
        film = nn.functional.silu(self.embed[1:](told)[:, None] + clock).flatten(0, 1)

        parts = [pack, torch.cat(still, dim=1)[:, None].expand(-1, count, -1, -1, -1)]
        if self.config.residual:
            assert mean is not None  # what the mean leaves is not known without it
            parts.append(mean.flatten(2, 3))
        x, skips = self.stem(torch.cat(parts, dim=2).flatten(0, 1)), []
        for level, chain in enumerate(self.down):
            x = self._run(chain, x, film, clock)
            if level < len(self.shrink):
                skips.append(x)
                x = self.shrink[level](x)
        for grow, chain in zip(self.grow, self.up, strict=True):
            x = torch.cat([nn.functional.interpolate(grow(x), scale_factor=2.0, mode="nearest"), skips.pop()], dim=1)
            x = self._run(chain, x, film, clock)
        return self.out(nn.functional.silu(x)).view(pack.shape)
