"""AMDF: from the ECG's cycles to a latent cine, by flow matching from the population's template.

z_t = (1 − t)·z_0 + t·z_1 with z_0 = template + α·ε and z_1 the cine's latent; the network learns z_1 − z_0. Time runs
from the template (t = 0) to the data (t = 1), against the τ of the rest of the product: τ = 1 − t.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from COFGeneratorLib.ecg.record import EcgRecord
from COFGeneratorLib.ecgflowcmr.contraction import Contraction, matched
from COFGeneratorLib.ecgflowcmr.cycles import Cycles, find_cycles, padded_bounds, resample_cycles
from COFGeneratorLib.ecgflowcmr.pa_mae import TOKEN_MS, PaMae, prepare_record
from COFGeneratorLib.ecgflowcmr.plane_segmenter import PlaneSegmenter
from COFGeneratorLib.ecgflowcmr.transformer import VelocityTransformer
from COFGeneratorLib.ecgflowcmr.video_vae import VideoVae
from COFGeneratorLib.generator.networks.sampler import integrate

MOST_CYCLES = 32
"""More cycles of a long record than this are not looked at: memory, and nothing more to learn from them."""


@dataclass(frozen=True)
class PlaneGrid:
    """The one image plane that a model draws.

    Args:
        plane: ``"sax"`` (mid-ventricular short axis) or ``"four-chamber"``.
        frames: Frames of one R–R.
        size: Rows and columns.
        pixel_mm: Pixel size, mm.
    """

    plane: str = "sax"
    frames: int = 50
    size: int = 96
    pixel_mm: float = 1.8


@dataclass(frozen=True)
class FlowDefaults:
    """How a model samples unless told otherwise.

    Args:
        alpha: Scale of the noise on the template (the paper's best is 1).
        guidance: Classifier-free guidance; 1 is none.
        steps: Steps of the solver (the paper: 10).
        solver: One of the sampler's.
    """

    alpha: float = 1.0
    guidance: float = 1.0
    steps: int = 10
    solver: str = "euler"


class Amdf(nn.Module):
    """The fine-tuned ECG encoder, the pooling over beats and the velocity network: what the flow stage trains."""

    def __init__(self, pa_mae: PaMae, velocity: VelocityTransformer) -> None:
        super().__init__()
        self.pa_mae, self.velocity = pa_mae, velocity
        self.beat = nn.Linear(pa_mae.config.tokens, 1)
        nn.init.zeros_(self.beat.weight)  # all beats count alike until training says otherwise
        nn.init.zeros_(self.beat.bias)

    def condition(
        self, signal: torch.Tensor, bounds: torch.Tensor, real: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Read records with all their complete cycles.

        Args:
            signal: (B, 12, L) as ``pa_mae.prepare_record`` gives it.
            bounds: (B, M, 2) cycles, tokens.
            real: (B, M) bool, which of them are there.

        Returns:
            (B, n, d) tokens of the pooled cycle; (B, 2 + phenotypes) rate, its variation, and what the phenotype head
            reads (standard units); (B, 2, N) predicted phase.
        """
        tokens, phase = self.pa_mae.encode(signal)
        cycles = resample_cycles(tokens, bounds, self.velocity.config.ecg_tokens)  # (B, M, n, d)
        score = self.beat(cycles.mean(dim=2))[..., 0].masked_fill(~real, -torch.inf)
        pooled = (score.softmax(dim=1)[..., None, None] * cycles).sum(dim=1)
        scalars = rate_scalars(bounds, real).to(pooled)
        if self.pa_mae.phenotype is not None:
            scalars = torch.cat([scalars, self.pa_mae.phenotype(pooled, scalars[:, :1])], dim=1)
        return pooled, scalars, phase

    def forward(self, z: torch.Tensor, t: torch.Tensor, tokens: torch.Tensor, scalars: torch.Tensor) -> torch.Tensor:
        """Return the velocity, see ``VelocityTransformer``."""
        return self.velocity(z, t, tokens, scalars)


def rate_scalars(bounds: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Return (B, 2): log of the mean R–R over one second, × 4, and its coefficient of variation, × 5.

    Resampling every cycle to the same number of tokens deletes the rate; it comes back here.
    """
    rr_s = (bounds[..., 1] - bounds[..., 0]) * TOKEN_MS / 1000.0
    count = real.sum(dim=1).clamp_min(1)
    mean = torch.where(real, rr_s, 0.0).sum(dim=1) / count
    spread = (torch.where(real, (rr_s - mean[:, None]) ** 2, 0.0).sum(dim=1) / count).sqrt()
    return torch.stack([4.0 * mean.clamp_min(0.2).log(), 5.0 * spread / mean.clamp_min(0.2)], dim=1)


class EcgFlowModel(nn.Module):
    """Everything that turns an ECG into a cine.

    Args:
        grid: The plane.
        amdf: Encoder and velocity network.
        vae: Of the cines.
        template: (1, C, 1, h, w) mean latent of the training cines, in units of ``scale``.
        scale: Standard deviation of the latents; the flow works on latent / scale.
        defaults: Of the sampler.
        contraction: What EF lets expect of the plane, see ``contraction.matched``; None where that step is not taken.
    """

    def __init__(
        self, grid: PlaneGrid, amdf: Amdf, vae: VideoVae, template: torch.Tensor, *, scale: float,
        defaults: FlowDefaults, contraction: Contraction | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.contraction = contraction
        self.grid, self.amdf, self.vae, self.scale, self.defaults = grid, amdf, vae, float(scale), defaults
        self.register_buffer("template", template)

    def cycles(self, signal: np.ndarray) -> Cycles:
        """Find the complete cycles of one prepared record (12, L)."""
        device = self.template.device
        with torch.no_grad():
            _, phase = self.amdf.pa_mae.encode(torch.from_numpy(signal)[None].to(device))
        return find_cycles(phase[0].cpu().numpy())

    @torch.no_grad()
    def read(self, records: Iterable[EcgRecord]) -> tuple[torch.Tensor, torch.Tensor, list[Cycles]]:
        """Return the conditions of records, (B, n, d) and (B, 2 + phenotypes), and their cycles.

        Raises:
            EcgError: If a record is too short or has no complete cycle.
        """
        tokens, scalars, found = [], [], []
        for record in records:
            signal = prepare_record(record)
            cycles = self.cycles(signal)
            bounds, real = padded_bounds([cycles], MOST_CYCLES)
            device = self.template.device
            parts = self.amdf.condition(torch.from_numpy(signal)[None].to(device), bounds.to(device), real.to(device))
            tokens.append(parts[0])
            scalars.append(parts[1])
            found.append(cycles)
        return torch.cat(tokens), torch.cat(scalars), found

    @torch.no_grad()
    def sample(
        self,
        tokens: torch.Tensor,
        scalars: torch.Tensor,
        *,
        seed: int = 0,
        alpha: float | None = None,
        guidance: float | None = None,
        steps: int | None = None,
        solver: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> torch.Tensor:
        """Draw one latent for each condition.

        Args:
            tokens, scalars: From ``read``.
            seed: Of the noise on the template; the same for the same seed whatever the ECG.
            alpha, guidance, steps, solver: The model's own where None.
            progress: Called with (steps done, steps).

        Returns:
            (B, C, T, h, w) latents, in units of ``scale``.
        """
        own = asdict(self.defaults)
        asked = {"alpha": alpha, "guidance": guidance, "steps": steps, "solver": solver}
        own |= {name: value for name, value in asked.items() if value is not None}
        config = self.amdf.velocity.config
        shape = (len(tokens), config.latent, config.frames, config.side, config.side)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(self.template)
        start = self.template + own["alpha"] * noise
        none = torch.zeros_like(tokens), torch.zeros_like(scalars)

        def predict(z: torch.Tensor, tau: torch.Tensor) -> torch.Tensor:
            slope = self.amdf(z, 1.0 - tau, tokens, scalars)
            if own["guidance"] != 1.0:
                free = self.amdf(z, 1.0 - tau, *none)
                slope = free + own["guidance"] * (slope - free)
            return -slope  # the sampler's velocity points from data to noise

        return integrate(predict, start, own["steps"], own["solver"], prediction="v", progress=progress)

    def draw(
        self, tokens: torch.Tensor, scalars: torch.Tensor, segmenter: PlaneSegmenter | None, *, seed: int = 0,
        alpha: float | None = None, **options: Any,
    ) -> torch.Tensor:  # fmt: skip
        """Return latents as ``sample`` does, their contraction matched where model and segmenter allow it."""
        latent = self.sample(tokens, scalars, seed=seed, alpha=alpha, **options)
        rule, head = self.contraction, self.amdf.pa_mae.phenotype
        if rule is None or head is None or segmenter is None:
            return latent

        def areas(latent: torch.Tensor) -> np.ndarray:
            return segmenter.segment(self.decode(latent))[1][..., 0]

        alpha = self.defaults.alpha if alpha is None else alpha
        return matched(latent, scalars, rule=rule, head=head, areas=areas, seed=seed, alpha=alpha)

    @torch.no_grad()
    def decode(self, latent: torch.Tensor, frames: int | None = None) -> torch.Tensor:
        """Return cines (B, T, H, W) in [0, 1]; another number of frames comes from the latent's periodic interpolation,
        never from images."""
        latent = latent if frames is None else periodic(latent, frames)
        return (0.5 + 0.5 * self.vae.decode(self.scale * latent)[:, 0]).clamp(0.0, 1.0)


def periodic(latent: torch.Tensor, frames: int) -> torch.Tensor:
    """Resample (B, C, T, h, w) over one period by its Fourier series; unchanged where ``frames`` is T."""
    count = latent.shape[2]
    if frames == count:
        return latent
    spectrum = torch.fft.rfft(latent.float(), dim=2)
    kept = min(spectrum.shape[2], frames // 2 + 1)
    spectrum = spectrum[:, :, :kept].clone()
    if count % 2 == 0 and kept == count // 2 + 1 and frames > count:
        spectrum[:, :, -1] *= 0.5  # the Nyquist term stands for both its signs
    return torch.fft.irfft(spectrum, n=frames, dim=2) * (frames / count)
