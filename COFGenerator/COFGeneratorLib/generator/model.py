"""The whole generator as one object: ECG encoder, regression mean, velocity network, and their scales."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field

import torch

from COFGeneratorLib.ecg.cycle import EcgCycle
from COFGeneratorLib.generator.ejection import StatedEf
from COFGeneratorLib.generator.networks.condition import CONDITION_SIZE, cycle_condition, null_condition
from COFGeneratorLib.generator.networks.ecg_encoder import EcgEncoder, encoder_inputs
from COFGeneratorLib.generator.networks.flow_network import PACK_COMPONENTS, VelocityUNet
from COFGeneratorLib.generator.networks.grid import MotionGrid
from COFGeneratorLib.generator.networks.mean_network import MotionMean
from COFGeneratorLib.generator.networks.pack import PackScale, heart_confidence, motion_reach, unpack
from COFGeneratorLib.generator.networks.sampler import integrate
from COFGeneratorLib.motion.fields import exponential, mm_from_voxels, resize, voxels_from_mm
from COFGeneratorLib.motion.relative import at_phase

REFINE = 2
"""Density in-plane of the grid on which velocities are exponentiated, relative to the motion grid.

Where the exponential is taken there are no folds; bringing its result up by splines makes some. On the coarse grid
0.1–0.7 % of the heart's voxels folded on real anchors, on this one 0–0.07 %.
"""
EDGE_NODES = 1.5
"""Width of the rim in which velocities fall to zero; the training's own window has brought them near it."""


@dataclass(frozen=True)
class SamplerDefaults:
    """The sampler's settings that the model was validated with."""

    solver: str = "euler"
    steps: int = 4


@dataclass
class MotionModel:
    """Networks and scales that turn anatomy maps and an ECG into motion.

    Attributes:
        grid: The motion grid.
        encoder: ECG → reading of the heart's state.
        scale: RMS of the velocity components.
        mean: Regression of motion, or None for a model whose flow carries the whole motion (``cof-v2``).
        flow: Velocity network, or None for direct regression.
        spread: RMS of what the mean leaves, per component, in units of the pack.
        gain: Factor on all velocities, fitted on validation subjects: regression shrinks motion.
        sampler: Default sampler settings.
        ef_z90: Half-width of the 90 % interval of the EF that the encoder states, in the SDs that it states. With it
            every motion is given the EF of its ECG; None for a model whose encoder's reading of EF was not trained on
            the hearts that its motion was trained on.
        ef_shift: Added to the EF that the encoder states, 0…1: its median error on validation subjects, taken off.
    """

    grid: MotionGrid
    encoder: EcgEncoder
    scale: PackScale
    mean: MotionMean | None
    flow: VelocityUNet | None
    _: KW_ONLY
    spread: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gain: float = 1.0
    sampler: SamplerDefaults = field(default_factory=SamplerDefaults)
    ef_z90: float | None = None
    ef_shift: float = 0.0

    def to(self, device: torch.device | str) -> "MotionModel":
        """Move all networks to a device, in place."""
        for network in (self.encoder, self.mean, self.flow):
            if network is not None:
                network.to(device).eval()
        return self

    @property
    def phases(self) -> torch.Tensor:
        """(T,) phases 0…1 of the flow pack."""
        return torch.arange(self.grid.phases, dtype=torch.float32) / self.grid.phases

    @property
    def any_anchor(self) -> bool:
        """Whether the networks were trained on anchors of any phase, and are told which."""
        return all(network.config.any_anchor for network in (self.mean, self.flow) if network is not None)

    @torch.inference_mode()
    def condition(self, cycle: EcgCycle | None, device: torch.device) -> torch.Tensor:
        """Return the condition of an ECG, or of none, (1, CONDITION_SIZE)."""
        if cycle is None:
            return null_condition(torch.zeros(1, CONDITION_SIZE, device=device))
        return cycle_condition(self.encoder, cycle, device)

    @torch.inference_mode()
    def stated_ef(self, cycle: EcgCycle | None) -> StatedEf | None:
        """Return the EF that an ECG states; None without one, or where this model does not go by it."""
        if cycle is None or self.ef_z90 is None:
            return None
        embedding, _ = self.encoder(*encoder_inputs(cycle, next(self.encoder.parameters()).device))
        reading = self.encoder.latents(embedding)
        return StatedEf(float(reading.ef) + self.ef_shift, float(reading.ef_log_variance.mul(0.5).exp()), self.ef_z90)

    @torch.inference_mode()
    def velocities(
        self,
        maps: torch.Tensor,
        condition: torch.Tensor,
        *,
        draws: int = 0,
        seed: int = 0,
        solver: str | None = None,
        steps: int | None = None,
        anchor: float | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return stationary velocities in grid voxels and the confidence.

        Args:
            maps: (1, 3, D, H, W) anatomy maps.
            condition: (1, CONDITION_SIZE).
            draws: 0 for the central estimate, else that many random draws. Where there is a regression mean, it *is*
                the centre: what the flow adds has expectation zero. A flow that carries the whole motion is integrated
                from the noise's mean.
            seed: Of the noise.
            solver, steps: The model's own where None.
            anchor: Phase 0…1 at which the maps are, of a model with ``any_anchor``; the R wave where None.

        Returns:
            (max(draws, 1), T, 3, D, H, W) velocities, gain applied, zero at the anchor's phase and beyond the heart's
            surroundings; (…, T, D, H, W) confidence.
        """
        count, phases = max(draws, 1), self.phases.to(maps)
        maps, condition = maps.expand(count, -1, -1, -1, -1), condition.expand(count, -1)
        told = None if anchor is None else torch.full((count,), anchor, device=maps.device)
        mean = None
        if self.mean is not None:
            mean = self.mean(maps[:1], condition[:1], phases, None if told is None else told[:1])
            mean = mean.expand(count, -1, -1, -1, -1, -1)
        shape = (count, len(phases), PACK_COMPONENTS * self.grid.shape[0], *self.grid.shape[1:])
        flow = self.flow
        if mean is not None and (flow is None or not draws):
            normalised = mean
            confidence = heart_confidence(maps)[:, None].expand(-1, len(phases), -1, -1, -1)
            if progress:
                progress(1, 1)
        else:
            assert flow is not None  # a model has a mean, a flow, or both
            generator = torch.Generator().manual_seed(seed)
            noise = torch.randn(shape, generator=generator) if draws else torch.zeros(shape)

            def predict(x: torch.Tensor, tau: torch.Tensor) -> torch.Tensor:
                return flow(x, tau, maps, condition, phases, mean=mean, anchor=told)

            packed = integrate(
                predict,
                noise.to(maps.device),
                steps or self.sampler.steps,
                solver or self.sampler.solver,
                flow.config.prediction,
                progress,
            )
            normalised, confidence = unpack(packed)
            if mean is not None:
                normalised = mean + normalised * torch.tensor(self.spread).to(maps).view(3, 1, 1, 1)
        velocity = self.gain * self.scale.restore(normalised)
        velocity = velocity - (velocity[:, :1] if anchor is None else at_phase(velocity, anchor))  # the anchor's phase
        return velocity * motion_reach(maps)[:, None, None], confidence

    @torch.inference_mode()
    def displacements_mm(self, velocity: torch.Tensor, grid: MotionGrid) -> torch.Tensor:
        """Return exp(v) on ``grid`` refined by ``REFINE``, mm along the heart's axes, (B, T, 3, D, H', W').

        Velocities, not displacements, are brought to zero at the edge: what is exponentiated cannot fold there.

        Args:
            velocity: (B, T, 3, D, H, W) in voxels of the motion grid.
            grid: The motion grid of this heart.
        """
        fine = grid.refined(REFINE)
        velocity = velocity.float() * torch.from_numpy(grid.window(EDGE_NODES * min(grid.spacing_mm[1:]))).to(velocity)
        millimetres = mm_from_voxels(velocity.flatten(0, 1), grid.spacing_mm)
        field = exponential(voxels_from_mm(resize(millimetres, fine.shape), fine.spacing_mm))
        return mm_from_voxels(field, fine.spacing_mm).view(*velocity.shape[:3], *fine.shape)
