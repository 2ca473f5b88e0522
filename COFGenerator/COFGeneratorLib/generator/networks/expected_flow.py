"""One flow that is both expectation and draw: the expected motion by convolution, what it leaves open in a basis.

A trunk gives the expectation μ of the velocity pack (full field) and, with a head on its features, the spread s of what
it leaves open, in K principal components of cross-fitted residuals. Along the path x_τ = (1 − τ)·x₀ + τ·x₁ from noise
x₁ (τ = 1) to data x₀ (τ = 0), rectified flow (Liu 2023) then has its clean-pack prediction in closed form:

    x̂₀(x, τ) = μ + G(τ, s)·(x − (1 − τ)·μ),   G = (1 − τ)·s² / ((1 − τ)²·s² + τ²),   velocity (x − x̂₀)/τ

At τ = 1 it is μ: one evaluation is the conditional expectation. Followed from noise it is a draw. Outside the basis
s = 0, so the flow is followed in the basis alone, relative to (1 − τ)·μ: K numbers a subject.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from COFGeneratorLib.generator.networks.grid import MotionGrid
from COFGeneratorLib.generator.networks.mean_network import MeanConfig, MotionMean

PLANE_STEP = 2
"""Nodes of the motion grid a node of the patterns, in the plane: residuals are smooth, bundles are small."""
SMALLEST_LOG_SPREAD, LARGEST_LOG_SPREAD = -3.0, 2.0


@dataclass(frozen=True)
class ExpectedFlowConfig(MeanConfig):
    """Size of the trunk (see ``MeanConfig``) and of what is drawn.

    Args:
        components: Number K of principal components of the residuals; a component is a motion over the beat.
        patterns: Number R of spatial patterns of which the components are made.
        spread_hidden: Width of the head that tells how much is left open.
        spread_factors: In how many ways it is more or less of a subject's components; few, as people are few.
    """

    components: int = 96
    patterns: int = 96
    spread_hidden: int = 64
    spread_factors: int = 2


class Expectation(NamedTuple):
    """What the flow knows before any noise.

    Attributes:
        mean: (B, T, 3, D, H, W) expected velocities in units of the pack's RMS.
        spread: (B, K) standard deviation of each component's score.
    """

    mean: torch.Tensor
    spread: torch.Tensor


class ExpectedFlow(nn.Module):
    """Flow matching on a motion grid whose prediction at τ = 1 is the conditional expectation."""

    def __init__(self, grid: MotionGrid, config: ExpectedFlowConfig | None = None) -> None:
        super().__init__()
        self.grid, self.config = grid, config or ExpectedFlowConfig()
        depth, height, width = grid.shape
        plane = (height // PLANE_STEP, width // PLANE_STEP)
        kept, patterns = self.config.components, self.config.patterns
        self.trunk = MotionMean(grid, self.config)
        self.register_buffer("patterns", torch.zeros(patterns, 3, depth, *plane))
        self.register_buffer("courses", torch.zeros(kept, grid.phases, patterns))
        self.register_buffer("temperature", torch.ones(1))
        self.head = nn.Sequential(
            nn.Linear(self.trunk.features, self.config.spread_hidden),
            nn.SiLU(),
            nn.Linear(self.config.spread_hidden, self.config.spread_factors),
        )
        self.loadings = nn.Linear(self.config.spread_factors, kept)
        self.reset_spread()

    def reset_spread(self) -> None:
        """Let the spread be the same for all: the first factor widens all components alike, the others hardly any."""
        self.head[0].reset_parameters()
        for zero in (self.head[-1].weight, self.head[-1].bias, self.loadings.bias):
            nn.init.zeros_(zero)
        nn.init.normal_(self.loadings.weight, std=0.05)
        with torch.no_grad():
            self.loadings.weight[:, 0] = 1.0

    def log_spread(self, features: torch.Tensor) -> torch.Tensor:
        """Return the logarithms of ``spread`` at a temperature of 1, without limits, (B, K)."""
        return self.loadings(self.head(features.float()))

    def expectation(
        self, maps: torch.Tensor, condition: torch.Tensor, phases: torch.Tensor, anchor: torch.Tensor | None = None
    ) -> Expectation:
        """Return the expected pack and the spread of what it leaves open.

        Args:
            maps: (B, 3, D, H, W) anatomy maps.
            condition: (B, CONDITION_SIZE).
            phases: (T,) phases 0…1.
            anchor: (B,) phases at which the maps are, where ``config.any_anchor``; the R wave where None.
        """
        mean, features = self.trunk.with_features(maps, condition, phases, anchor)
        return Expectation(mean, self.spread(features))

    def spread(self, features: torch.Tensor) -> torch.Tensor:
        """Return the standard deviations (B, K) of the components' scores from the trunk's features (B, F)."""
        logarithm = self.log_spread(features).clamp(SMALLEST_LOG_SPREAD, LARGEST_LOG_SPREAD)
        return self.temperature * logarithm.exp()

    def clean(self, scores: torch.Tensor, tau: torch.Tensor, spread: torch.Tensor) -> torch.Tensor:
        """Return the prediction of the clean scores (B, K), those of x̂₀ − μ.

        Args:
            scores: (B, K) of x_τ − (1 − τ)·μ.
            tau: (B,) 1 (noise) … 0 (data).
            spread: (B, K).
        """
        left, variance = (1.0 - tau)[:, None], spread.square()
        # at τ = 0 nothing is open; the small number keeps 0/0 there at the component's own score
        return left * variance / (left.square() * variance + tau[:, None].square()).clamp(min=1e-12) * scores

    def carry(self, scores: torch.Tensor, tau: float, to: float, spread: torch.Tensor) -> torch.Tensor:
        """Return the scores (B, K) at the flow time ``to`` of those at ``tau``: the flow's exact path.

        Along it (x − x̂₀)/τ is linear in the scores, which grow as √((1 − τ)²·s² + τ²).
        """

        def width(at: float) -> torch.Tensor:
            return ((1.0 - at) ** 2 * spread.square() + at**2).sqrt()

        return scores * width(to) / width(tau)

    def motion(self, scores: torch.Tensor) -> torch.Tensor:
        """Return the motion (B, T, 3, D, H, W) of scores (B, K), units of the pack's RMS."""
        weights = torch.einsum("bk,ktr->btr", scores, self.courses)
        planes = torch.einsum("btr,rcdhw->btcdhw", weights, self.patterns)
        batch, phases, components, depth, height, width = planes.shape
        size = (height * PLANE_STEP, width * PLANE_STEP)
        fine = nn.functional.interpolate(planes.flatten(0, 2), size=size, mode="bicubic", align_corners=False)
        return fine.view(batch, phases, components, depth, *size)

    def scores_of(self, planes: torch.Tensor) -> torch.Tensor:
        """Return the scores (B, K) of motions on the patterns' grid (B, T, 3, D, h, w), units of the pack's RMS."""
        weights = torch.einsum("btcdhw,rcdhw->btr", planes, self.patterns)
        power = self.courses.square().sum(dim=(1, 2))
        return torch.einsum("btr,ktr->bk", weights, self.courses) / power.clamp(min=1e-12)

    def forward(
        self,
        scores: torch.Tensor,
        tau: torch.Tensor,
        maps: torch.Tensor,
        condition: torch.Tensor,
        phases: torch.Tensor,
        *,
        anchor: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the clean pack's prediction x̂₀ (B, T, 3, D, H, W); arguments as above."""
        expected = self.expectation(maps, condition, phases, anchor)
        return expected.mean + self.motion(self.clean(scores, tau, expected.spread))
