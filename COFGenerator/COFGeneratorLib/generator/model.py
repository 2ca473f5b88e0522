"""The whole generator as one object: ECG encoder, flow, and their scales."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field, replace

import numpy as np
import torch

from COFGeneratorLib.anatomy.heart_frame import HeartFrame
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.ecg.cycle import EcgCycle
from COFGeneratorLib.generator.choices import PostProcessing, SamplerDefaults
from COFGeneratorLib.generator.draw_timing import steadied
from COFGeneratorLib.generator.ef_statement import EfStatement
from COFGeneratorLib.generator.ejection import StatedEf
from COFGeneratorLib.generator.encoders.named import NamedEncoder
from COFGeneratorLib.generator.mean_motion import toward_mean
from COFGeneratorLib.generator.networks.condition import (
    CONDITION_SIZE,
    Stated,
    cycle_condition,
    end_systolic_phase,
    null_condition,
    with_measured,
    with_stated,
    without_regions,
)
from COFGeneratorLib.generator.networks.dynamics import embedding_condition, own_embedding
from COFGeneratorLib.generator.networks.ecg_encoder import EcgEncoder, encoder_inputs
from COFGeneratorLib.generator.networks.expected_flow import ExpectedFlow
from COFGeneratorLib.generator.networks.flow_network import PACK_COMPONENTS, VelocityUNet
from COFGeneratorLib.generator.networks.grid import MotionGrid
from COFGeneratorLib.generator.networks.pack import PackScale, heart_confidence, motion_reach, unpack
from COFGeneratorLib.generator.networks.rea import reference_image
from COFGeneratorLib.generator.networks.sampler import integrate
from COFGeneratorLib.generator.rate import at_rate, es_at_rate_ms
from COFGeneratorLib.motion.fields import exponential, mm_from_voxels, resize, voxels_from_mm
from COFGeneratorLib.motion.relative import at_phase

REFINE = 2
"""Density in-plane of the grid on which velocities are exponentiated, relative to the motion grid.

Where the exponential is taken there are no folds; bringing its result up by splines makes some. On the coarse grid
0.1–0.7 % of the heart's voxels folded on real anchors, on this one 0–0.07 %.
"""
EF_OF_THE_USER = "The EF is the user's."
EDGE_NODES = 1.5
"""Width of the rim in which velocities fall to zero; the training's own window has brought them near it."""


@dataclass
class MotionModel:
    """Networks and scales that turn anatomy maps and an ECG into motion.

    Attributes:
        grid: The motion grid.
        encoder: ECG → reading of the heart's state.
        scale: RMS of the velocity components.
        flow: The flow: one that is both expectation and draw, or the papers' plain one.
        gain: Factor on all velocities, fitted on validation subjects: regression shrinks motion.
        listener: An encoder of others, through which the papers' flow hears the ECG in place of ours; None for ours.
        sampler: Default sampler settings.
        after: What is done to the motion afterwards.
        ef_z90: Half-width of the 90 % interval of the EF that the encoder states, in the SDs that it states. With it
            every motion is given the EF of its ECG; None for a model whose encoder's reading of EF was not trained on
            the hearts that its motion was trained on.
        ef_shift: Added to the EF that the encoder states, 0…1: its median error on validation subjects, taken off.
        statement: What makes EF a joint statement of ECG and anatomy; with it ``ef_z90`` and ``ef_shift`` play no part.
        mean: (T, 3, D, H, W) mean velocity of the training's hearts from the R wave, in voxels of the motion grid and
            in the heart's frame; None where it is not at hand.
    """

    grid: MotionGrid
    encoder: EcgEncoder
    scale: PackScale
    flow: ExpectedFlow | VelocityUNet
    _: KW_ONLY
    gain: float = 1.0
    listener: NamedEncoder | None = None
    sampler: SamplerDefaults = field(default_factory=SamplerDefaults)
    after: PostProcessing = field(default_factory=PostProcessing)
    ef_z90: float | None = None
    ef_shift: float = 0.0
    statement: EfStatement | None = None
    mean: torch.Tensor | None = None

    def to(self, device: torch.device | str) -> "MotionModel":
        """Move all networks to a device, in place."""
        for network in (self.encoder, self.flow, self.statement):
            if network is not None:
                network.eval()
                if any(part.device != torch.device(device) for part in network.parameters()):
                    network.to(device)
        self.mean = None if self.mean is None else self.mean.to(device)
        return self

    @property
    def phases(self) -> torch.Tensor:
        """(T,) phases 0…1 of the flow pack."""
        return torch.arange(self.grid.phases, dtype=torch.float32) / self.grid.phases

    @property
    def any_anchor(self) -> bool:
        """Whether the networks were trained on anchors of any phase, and are told which."""
        return self.flow.config.any_anchor

    @property
    def has_centre(self) -> bool:
        """Whether the flow knows its expectation; the papers' plain one is followed from the noise's mean instead."""
        return isinstance(self.flow, ExpectedFlow)

    @torch.inference_mode()
    def condition(
        self, cycle: EcgCycle | None, device: torch.device | str, stated: Stated | None = None
    ) -> torch.Tensor:
        """Return the condition of an ECG, or of none, and of what is stated beside it.

        Returns:
            (1, CONDITION_SIZE); of the papers' plain flow (1, d + 1), the ECG's embedding and whether there is one: it
            can be told nothing beside the ECG.

        Raises:
            BundleError: If the ECG is heard through an encoder of others whose weights are not at hand.
        """
        if isinstance(self.flow, VelocityUNet):
            if cycle is None:
                return torch.zeros(1, self.flow.config.ecg_size + 1, device=device)
            return embedding_condition(self.embedding(*encoder_inputs(cycle, torch.device(device))))
        if cycle is None:
            condition = null_condition(torch.zeros(1, CONDITION_SIZE, device=device))
            return condition if stated is None else with_stated(condition, stated.values(None))
        condition = cycle_condition(self.encoder, cycle, torch.device(device))
        if stated is None:
            return condition
        if stated.hr_bpm is None:
            return with_stated(condition, stated.values(cycle.rr_ms))
        told = at_rate(cycle, stated.hr_bpm)
        if stated.es_ms is None:
            read_ms = float(end_systolic_phase(condition)) * cycle.rr_ms
            es_ms = es_at_rate_ms(read_ms, cycle.hr_bpm, stated.hr_bpm)
            stated = replace(stated, es_ms=min(max(es_ms, 100.0), 700.0))
        return with_stated(with_measured(condition, told), stated.values(told.rr_ms))

    @property
    def states_ef(self) -> bool:
        """Whether the model says what the EF of an ECG is."""
        return self.statement is not None or self.ef_z90 is not None

    def follows_ef(self, stated: Stated | None) -> bool:
        """Whether motion is scaled to an EF: to the ECG's where the model does so, to the user's always."""
        return self.after.ef_factor or (stated is not None and stated.ef_percent is not None)

    def embedding(self, beat_mv: torch.Tensor, scalars: torch.Tensor) -> torch.Tensor:
        """Return what the papers' flow hears of beats (B, 12, 256) mV with raw scalars (B, 12), (B, d)."""
        if self.listener is not None:
            return self.listener.embedding(beat_mv, scalars)
        return own_embedding(self.encoder, beat_mv, scalars)

    @torch.inference_mode()
    def image_of(
        self, anchor: SaxStack, frame: HeartFrame, grid: MotionGrid, device: torch.device | str
    ) -> torch.Tensor | None:
        """Return the anchor's image as the flow looks at it, (1, D, h, w); None for a flow that sees labels alone.

        Args:
            anchor: The anchor.
            frame: The heart's frame.
            grid: The motion grid of this heart.
            device: Where it is wanted.
        """
        if not isinstance(self.flow, VelocityUNet) or not self.flow.config.needs_image:
            return None
        enlarged = grid.spacing_mm[1] / self.grid.spacing_mm[1]
        return reference_image(anchor, frame, self.grid, self.flow.config.teacher, enlarged)[None].to(device)

    @torch.inference_mode()
    def stated_ef(
        self, cycle: EcgCycle | None, stated: Stated | None = None, measures: np.ndarray | None = None
    ) -> StatedEf | None:
        """Return the EF that the user states, else ECG and anatomy; None without any, or where this model goes by none.

        ``measures`` are ``heart_measures`` of the anchor at end-diastole, where they are known.
        """
        if stated is not None and stated.ef_percent is not None:
            return StatedEf(stated.ef_percent / 100.0, 0.0, 0.0, notes=(EF_OF_THE_USER,))
        if self.statement is not None:
            return None if cycle is None and measures is None else self.statement.state(self.encoder, cycle, measures)
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
        image: torch.Tensor | None = None,
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
            condition: (1, CONDITION_SIZE), see ``condition``.
            image: (1, D, h, w), see ``image_of``.
            draws: 0 for the centre, else that many random draws. The centre is the flow's prediction from pure noise,
                one step from τ = 1; the papers' plain flow is integrated from the noise's mean.
            seed: Of the noise.
            solver, steps: Of draws; the model's own where None.
            anchor: Phase 0…1 at which the maps are, of a model with ``any_anchor``; the R wave where None.
            progress: Called with (steps done, steps).

        Returns:
            (max(draws, 1), T, 3, D, H, W) velocities, gain applied, zero at the anchor's phase and, where the model
            confines them, beyond the heart's surroundings; (…, T, D, H, W) confidence.
        """
        count, phases = max(draws, 1), self.phases.to(maps)
        generator = torch.Generator().manual_seed(seed) if draws else None
        told = None if anchor is None else torch.full((1,), anchor, device=maps.device)
        solver, steps = solver or self.sampler.solver, steps or self.sampler.steps
        centre = None
        flow, confidence = self.flow, heart_confidence(maps)[:, None].expand(count, len(phases), -1, -1, -1)
        if isinstance(flow, ExpectedFlow):
            expected = flow.expectation(maps, condition, phases, told)
            scores = integrate(
                lambda x, tau: flow.clean(x, tau, expected.spread),
                _noise((count, flow.config.components), generator).to(maps.device),
                steps if draws else 1,
                solver if draws else "euler",
                progress=progress,
                carry=lambda x, tau, to: flow.carry(x, tau, to, expected.spread),
            )
            centre = expected.mean
            normalised = centre + flow.motion(scores)
        else:
            shape = (count, len(phases), PACK_COMPONENTS * self.grid.shape[0], *self.grid.shape[1:])
            anatomy = flow.anatomy(maps, image).expand(count, -1, -1, -1)  # once: the same at every step
            maps, condition = maps.expand(count, -1, -1, -1, -1), condition.expand(count, -1)
            told = None if told is None else told.expand(count)
            packed = integrate(
                lambda x, tau: flow(x, tau, maps, condition, phases, anatomy=anatomy, anchor=told),
                _noise(shape, generator).to(maps.device),
                steps,
                solver,
                flow.config.prediction,
                progress,
            )
            normalised, confidence = unpack(packed)
        velocity = self.gain * self.scale.restore(normalised)
        velocity = velocity - (velocity[:, :1] if anchor is None else at_phase(velocity, anchor))  # the anchor's phase
        if isinstance(flow, ExpectedFlow) and self.mean is not None and self.after.of_the_mean:
            velocity = velocity + self._towards_mean(flow, maps[:1], without_regions(condition[:1]), told, anchor)
        if centre is not None and self.mean is not None and draws and anchor is None:
            centre = self.scale.restore(centre)[0]
            velocity = steadied(velocity, centre, maps[0], self.mean.to(velocity), self.after.es_scatter)
        if self.after.confine:
            velocity = velocity * motion_reach(maps)[:, None, None]
        return velocity, confidence

    def _towards_mean(
        self,
        flow: ExpectedFlow,
        maps: torch.Tensor,
        condition: torch.Tensor,
        told: torch.Tensor | None,
        anchor: float | None,
    ) -> torch.Tensor:
        """Return what draws the motion expected under a condition (1, …) towards the mean, (1, T, 3, D, H, W).

        Told of no region, it takes nothing from what infarcts and blocks do to the motion; draws scatter as before.
        """
        assert self.mean is not None
        expected = self.gain * self.scale.restore(flow.expectation(maps, condition, self.phases.to(maps), told).mean)
        expected = (expected - (expected[:, :1] if anchor is None else at_phase(expected, anchor)))[0]
        after = self.after
        drawn = toward_mean(
            expected, maps[0], self.mean.to(expected), after.mean_along, after.mean_in_plane, after.smoothing_nodes
        )
        return (drawn - expected)[None]

    @torch.inference_mode()
    def displacements_mm(self, velocity: torch.Tensor, grid: MotionGrid, refine: bool = True) -> torch.Tensor:
        """Return exp(v) on ``grid`` refined by ``REFINE``, mm along the heart's axes, (B, T, 3, D, H', W').

        Velocities, not displacements, are brought to zero at the edge: what is exponentiated cannot fold there.

        Args:
            velocity: (B, T, 3, D, H, W) in voxels of the motion grid.
            grid: The motion grid of this heart.
            refine: On the grid itself where False: a quarter of the work, for measuring volumes.
        """
        fine = grid.refined(REFINE if refine else 1)
        velocity = velocity.float() * torch.from_numpy(grid.window(EDGE_NODES * min(grid.spacing_mm[1:]))).to(velocity)
        millimetres = mm_from_voxels(velocity.flatten(0, 1), grid.spacing_mm)
        field = exponential(voxels_from_mm(resize(millimetres, fine.shape), fine.spacing_mm))
        return mm_from_voxels(field, fine.spacing_mm).view(*velocity.shape[:3], *fine.shape)


def _noise(shape: tuple[int, ...], generator: torch.Generator | None) -> torch.Tensor:
    """Return N(0, I), or its mean where there is no generator; drawn on the CPU, so that all devices draw alike."""
    return torch.zeros(shape) if generator is None else torch.randn(shape, generator=generator)
