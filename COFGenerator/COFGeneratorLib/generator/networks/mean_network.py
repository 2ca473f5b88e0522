"""The trunk of the expected flow: spatial modes of motion from a 2-D network, their time courses from the condition.

v(t, x) = Σ_m (a_m(t) − a_m(0))·B_m(x). Cardiac motion is nearly separable, so a handful of modes carries it; the
spatial network runs once for all phases, which makes the regression an order of magnitude cheaper than a network over
(T, H, W), continuous in time, and exactly zero at the R wave.
"""

from dataclasses import dataclass

import torch
from torch import nn

from COFGeneratorLib.generator.networks.condition import CLOCK_SIZE, CONDITION_SIZE, anchor_features, clock_features
from COFGeneratorLib.generator.networks.grid import MotionGrid


@dataclass(frozen=True)
class MeanConfig:
    """Size of the trunk.

    Args:
        widths: Channels at full, half and quarter resolution of the motion grid.
        blocks: Residual blocks a level.
        modes: Number M of spatial modes.
        hidden: Width of the condition and of the time-course network.
        any_anchor: Whether the network is told at which phase the anchor was taken; else it is that of the R wave.
    """

    widths: tuple[int, ...] = (96, 128, 192)
    blocks: int = 2
    modes: int = 8
    hidden: int = 192
    any_anchor: bool = False


class FilmBlock(nn.Module):
    """Residual block of two 3×3 convolutions, scaled and shifted by the condition (FiLM, Perez 2018)."""

    def __init__(self, inputs: int, outputs: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, inputs), nn.GroupNorm(8, outputs)
        self.conv1, self.conv2 = nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.film = nn.Linear(hidden, 2 * outputs)
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        scale, shift = self.film(condition)[:, :, None, None].chunk(2, dim=1)
        h = self.conv1(nn.functional.silu(self.norm1(x)))
        h = self.norm2(h) * (1 + scale) + shift
        return self.skip(x) + self.conv2(nn.functional.silu(h))


class PlaneUNet(nn.Module):
    """U-Net over one plane (B, C, H, W) with FiLM; H and W divisible by 2^(levels − 1)."""

    def __init__(self, inputs: int, outputs: int, widths: tuple[int, ...], blocks: int, hidden: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(inputs, widths[0], 3, padding=1)
        self.down, self.shrink, self.up, self.grow = (nn.ModuleList() for _ in range(4))
        for level, width in enumerate(widths):
            self.down.append(nn.ModuleList([FilmBlock(width, width, hidden) for _ in range(blocks)]))
            if level + 1 < len(widths):
                self.shrink.append(nn.Conv2d(width, widths[level + 1], 3, stride=2, padding=1))
        for level in range(len(widths) - 2, -1, -1):
            self.grow.append(nn.Conv2d(widths[level + 1], widths[level], 1))
            chain = [FilmBlock(2 * widths[level], widths[level], hidden)]
            chain += [FilmBlock(widths[level], widths[level], hidden) for _ in range(blocks - 1)]
            self.up.append(nn.ModuleList(chain))
        self.out = nn.Conv2d(widths[0], outputs, 3, padding=1)

    def encode(self, x: torch.Tensor, condition: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return the features of the coarsest level (B, widths[-1], h, w), and those of the finer ones."""
        x, finer = self.stem(x), []
        for level, chain in enumerate(self.down):
            for block in chain:
                x = block(x, condition)
            if level < len(self.shrink):
                finer.append(x)
                x = self.shrink[level](x)
        return x, finer

    def decode(self, x: torch.Tensor, finer: list[torch.Tensor], condition: torch.Tensor) -> torch.Tensor:
        """Return the plane (B, outputs, H, W) of what ``encode`` gives."""
        for grow, chain, skip in zip(self.grow, self.up, reversed(finer), strict=True):
            x = torch.cat([nn.functional.interpolate(grow(x), scale_factor=2.0, mode="nearest"), skip], dim=1)
            for block in chain:
                x = block(x, condition)
        return self.out(nn.functional.silu(x))


def plane_coordinates(grid: MotionGrid) -> torch.Tensor:
    """Return where each in-plane node lies, (6, H, W): j, i in units of 40 mm, radius and direction from the LV axis.

    FiLM acts alike everywhere; with these channels it can act on a territory.
    """
    _, j, i = (torch.as_tensor(axis, dtype=torch.float32) / 40.0 for axis in grid.axes_mm())
    j, i = torch.meshgrid(j, i, indexing="ij")
    radius = torch.hypot(j, i)
    away = radius.clamp(min=0.1)
    return torch.stack([j, i, radius, j / away, i / away, torch.exp(-(radius**2))])


class MotionMean(nn.Module):
    """Expected stationary velocity of every phase on a motion grid, given anatomy and ECG."""

    def __init__(self, grid: MotionGrid, config: MeanConfig | None = None) -> None:
        super().__init__()
        self.grid, self.config = grid, config or MeanConfig()
        depth, hidden = grid.shape[0], self.config.hidden
        self.register_buffer("coordinates", plane_coordinates(grid), persistent=False)
        self.embed = nn.Sequential(nn.Linear(CONDITION_SIZE, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU())
        self.space = PlaneUNet(
            3 * depth + len(self.coordinates),
            3 * depth * self.config.modes,
            self.config.widths,
            self.config.blocks,
            hidden,
        )
        self.time = nn.Sequential(
            nn.Linear(hidden + CLOCK_SIZE, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, self.config.modes),
        )
        nn.init.normal_(self.space.out.weight, std=1e-2)
        if self.config.any_anchor:
            self.anchor = nn.Linear(CLOCK_SIZE, hidden, bias=False)
            nn.init.zeros_(self.anchor.weight)

    def forward(
        self, maps: torch.Tensor, condition: torch.Tensor, phases: torch.Tensor, anchor: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return velocities in units of the pack's RMS, (B, T, 3, D, H, W); arguments as for ``with_features``."""
        return self.with_features(maps, condition, phases, anchor)[0]

    @property
    def features(self) -> int:
        """Number of features of a subject that ``with_features`` returns."""
        return self.config.widths[-1] + self.config.hidden

    def with_features(
        self, maps: torch.Tensor, condition: torch.Tensor, phases: torch.Tensor, anchor: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return velocities as ``forward`` does, and what the trunk knows of each subject, (B, features).

        Args:
            maps: (B, 3, D, H, W) anatomy maps.
            condition: (B, CONDITION_SIZE).
            phases: (T,) phases 0…1 of the cycle.
            anchor: (B,) phases at which the maps are, where ``config.any_anchor``; the R wave where None.
        """
        batch, _, depth, height, width = maps.shape
        embedded = self._embedded(condition, anchor)
        coarse, finer = self.space.encode(self._planes(maps), embedded)
        modes = self.space.decode(coarse, finer, embedded).reshape(batch, self.config.modes, -1)
        start = torch.zeros(1, device=phases.device, dtype=phases.dtype)
        if anchor is not None:
            start, phases = anchor[:, None].to(phases), phases.expand(batch, -1)
        clock = clock_features(condition, torch.cat([start, phases], dim=-1))
        courses = self.time(torch.cat([embedded[:, None].expand(-1, clock.shape[1], -1), clock], dim=-1))
        courses = courses[:, 1:] - courses[:, :1]  # zero at the anchor, exactly
        velocity = torch.bmm(courses, modes).view(batch, -1, 3, depth, height, width)
        return velocity, self._features(coarse, embedded)

    def features_of(
        self, maps: torch.Tensor, condition: torch.Tensor, anchor: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the features alone, (B, features), at a third of the cost; arguments as above."""
        embedded = self._embedded(condition, anchor)
        return self._features(self.space.encode(self._planes(maps), embedded)[0], embedded)

    def _embedded(self, condition: torch.Tensor, anchor: torch.Tensor | None) -> torch.Tensor:
        told = self.embed[0](condition)
        if anchor is not None:
            told = told + self.anchor(anchor_features(condition, anchor))
        return self.embed[1:](told)

    def _planes(self, maps: torch.Tensor) -> torch.Tensor:
        return torch.cat([maps.flatten(1, 2), self.coordinates.expand(len(maps), -1, -1, -1)], dim=1)

    @staticmethod
    def _features(coarse: torch.Tensor, embedded: torch.Tensor) -> torch.Tensor:
        return torch.cat([nn.functional.silu(coarse).mean(dim=(2, 3)), embedded], dim=1)
