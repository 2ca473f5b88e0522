"""Latent-flow diffusion of a still image: LFDM (Ni et al., CVPR 2023, arXiv:2303.13744), told by an ECG, not a class.

Stage one, the latent flow auto-encoder, learns from pairs (x_ref, x_dri) of one cine without labels: an encoder Φ, a
flow predictor F with (f, m) = F(x_ref, x_dri), a backward latent flow and an occlusion map, and a decoder Ω:

    z = Φ(x_ref),  z̃ = m ⊙ W(z, f),  x̂ = Ω(z̃),  L = |x̂ − x_dri|₁

Stage two is a diffusion of the sequence s₀ = concat(f₁…f_T, 2m₁…m_T − 1) by a 3-D U-Net that sees z of the still image:

    s_t = √ᾱ_t s₀ + √(1 − ᾱ_t) ε,  L = ‖ε − ε_θ(s_t, t, z, e)‖²,  ε̂ = ε_∅ + g·(ε_e − ε_∅), DDIM

EchoDiffusion (Reynaud et al., MICCAI 2023, arXiv:2303.12644) is of the same family: a diffusion told by the still image
and one number of function. Both are told here by the ECG's embedding e, so that the heart's function has to be heard.
Smaller than the papers': images of one channel, a U-Net for F in place of region-wise affine motion, no perceptual
loss, one cascade. Each channel of s is noised in units of its own spread over the training clips, so that a small
network's errors are small in the occlusion map, which hardly varies.
"""

from dataclasses import dataclass

import torch
from monai.networks.nets import UNet
from monai.networks.schedulers import DDIMScheduler
from torch import nn
from torch.nn import functional

from COFTrainingLib.training.comparators.denoiser import SequenceDenoiser
from COFTrainingLib.training.comparators.frames import FrameCoder, FrameDecoder, FrameEncoder
from COFTrainingLib.training.comparators.told import DROPPED, Heard, guided

CHANNELS = 3
"""Of s: the latent flow's rows and columns, and the occlusion map."""
OPEN = 3.0
"""Logit of the occlusion map at the start: nothing is hidden."""
DIFFUSION_STEPS = 1000
LEAST_SPREAD = 1e-3
"""Of a channel: an untrained first stage moves nothing."""


@dataclass(frozen=True)
class LatentFlowSettings:
    """Size of the family.

    Args:
        latent: Channels of z.
        predictor: Channels of the flow predictor's levels.
        channels: Of the diffusion's levels.
        sampling_steps: DDIM steps; LFDM takes 10.
        guidance: g; 1 is none.
    """

    latent: int = 32
    predictor: tuple[int, ...] = (16, 32, 48, 64)
    channels: tuple[int, ...] = (32, 64)
    sampling_steps: int = 10
    guidance: float = 1.0


class LatentFlowAutoencoder(nn.Module):
    """Φ, F and Ω."""

    def __init__(self, frames: FrameCoder, config: LatentFlowSettings) -> None:
        super().__init__()
        self.factor = frames.factor
        self.encoder, self.decoder = FrameEncoder(frames, config.latent), FrameDecoder(frames, config.latent)
        widths = config.predictor
        self.predictor = UNet(2, 2, widths[0], widths, (2,) * (len(widths) - 1), num_res_units=1)
        self.head = nn.Conv2d(widths[0], CHANNELS, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        self.head.bias.data = torch.tensor([0.0, 0.0, OPEN])

    def flow(self, reference: torch.Tensor, driving: torch.Tensor) -> torch.Tensor:
        """Return the flow in latent pixels and the occlusion's logit, (B, 3, s, s), of images (B, 1, S, S)."""
        features = self.predictor(torch.cat([reference, driving], dim=1))
        return self.head(functional.avg_pool2d(features, self.factor))

    def moved(self, latents: torch.Tensor, flow: torch.Tensor, occlusion: torch.Tensor) -> torch.Tensor:
        """Return images Ω(m ⊙ W(z, f)) of z (B, C, s, s), flow (B, 2, s, s) in latent pixels and m (B, 1, s, s)."""
        side = latents.shape[-1]
        line = torch.linspace(-1.0, 1.0, side, device=latents.device)
        still = torch.stack(torch.meshgrid(line, line, indexing="ij"), dim=-1)
        where = (still + flow.movedim(1, -1) * 2.0 / (side - 1)).flip(-1)  # columns first
        warped = functional.grid_sample(latents, where, padding_mode="border", align_corners=True)
        return self.decoder(occlusion * warped)

    def forward(self, reference: torch.Tensor, driving: torch.Tensor) -> torch.Tensor:
        """Return the driving image as the reference, moved, shows it, (B, 1, S, S)."""
        found = self.flow(reference, driving)
        return self.moved(self.encoder(reference), found[:, :2], torch.sigmoid(found[:, 2:]))


class FlowDenoiser(nn.Module):
    """ε_θ, and centre and spread of each channel, in whose units the sequence is noised.

    Args:
        config: Size of the family.
        heard: Length of the ECG's embedding.
    """

    def __init__(self, config: LatentFlowSettings, heard: int) -> None:
        super().__init__()
        self.network = SequenceDenoiser(CHANNELS + config.latent, CHANNELS, config.channels, heard)
        self.nothing = nn.Parameter(0.02 * torch.randn(heard))
        self.register_buffer("centre", torch.zeros(CHANNELS))
        self.register_buffer("spread", torch.ones(CHANNELS))

    def forward(
        self, noisy: torch.Tensor, step: torch.Tensor, latents: torch.Tensor, told: torch.Tensor
    ) -> torch.Tensor:
        """Return ε of s_t (B, 3, T, s, s) at steps (B,), with z (B, C, s, s) and what is told (B, heard)."""
        still = latents[:, :, None].expand(-1, -1, noisy.shape[2], -1, -1)
        return self.network(torch.cat([noisy, still], dim=1), step, told)


class LatentFlow:
    """The family: what its two stages learn, and how it generates.

    Args:
        frames, config: Sizes.
        heard: Length of the ECG's embedding.
    """

    def __init__(self, frames: FrameCoder, config: LatentFlowSettings, heard: int) -> None:
        self.config = config
        self.autoencoder, self.generator = LatentFlowAutoencoder(frames, config), FlowDenoiser(config, heard)
        self.schedule = DDIMScheduler(DIFFUSION_STEPS, schedule="scaled_linear_beta", clip_sample=False)

    def autoencoder_loss(self, clips: torch.Tensor, rng: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        """Return L of a random pair of each clip (B, T, S, S); the reference is any frame, as in LFDM."""
        rows = torch.arange(len(clips), device=clips.device)
        chosen = torch.randint(clips.shape[1], (2, len(clips)), generator=rng, device=clips.device)
        reference, driving = clips[rows, chosen[0], None], clips[rows, chosen[1], None]
        loss = (self.autoencoder(reference, driving) - driving).abs().mean()
        return loss, {"l1": float(loss.detach())}

    def prepare(self, clips: torch.Tensor) -> None:
        """Measure the flows of some clips (N, T, S, S), once the first stage is learned."""
        measured = self._sequence(clips, raw=True).movedim(1, 0).flatten(1)
        self.generator.centre.copy_(measured.mean(dim=1))
        self.generator.spread.copy_(measured.std(dim=1).clamp_min(LEAST_SPREAD))

    def generator_loss(
        self, clips: torch.Tensor, heard: Heard, rng: torch.Generator
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Return ‖ε − ε_θ‖² of clips (B, T, S, S)."""
        clean, count = self._sequence(clips), len(clips)
        with torch.no_grad():
            latents = self.autoencoder.encoder(clips[:, :1])
        noise = torch.randn(clean.shape, generator=rng, device=clips.device)
        step = torch.randint(DIFFUSION_STEPS, (count,), generator=rng, device=clips.device)
        gone = torch.rand(count, generator=rng, device=clips.device) < DROPPED
        told = torch.where(gone[:, None], self.generator.nothing, heard.embedding)
        found = self.generator(self.schedule.add_noise(clean, noise, step), step, latents, told)
        loss = (found - noise).square().mean()
        return loss, {"noise_mse": float(loss.detach())}

    @torch.no_grad()
    def sample(self, images: torch.Tensor, heard: Heard, frames: int, rng: torch.Generator) -> torch.Tensor:
        """Return clips (B, T, S, S) of still images (B, S, S)."""
        latents = self.autoencoder.encoder(images[:, None])
        sequence = torch.randn((len(images), CHANNELS, frames, *latents.shape[2:]), generator=rng, device=images.device)
        nothing = self.generator.nothing.expand_as(heard.embedding)
        self.schedule.set_timesteps(self.config.sampling_steps)
        for step in self.schedule.timesteps:
            at = step.expand(len(images)).to(images.device)

            def noise(told: torch.Tensor, now: torch.Tensor = sequence, at: torch.Tensor = at) -> torch.Tensor:
                return self.generator(now, at, latents, told)

            found = guided(noise, heard.embedding, nothing, self.config.guidance)
            sequence, _ = self.schedule.step(found, int(step), sequence)
        sequence = sequence * _by_channel(self.generator.spread) + _by_channel(self.generator.centre)
        flow, occlusion = sequence[:, :2], (sequence[:, 2:] + 1.0) / 2.0
        made = [
            self.autoencoder.moved(latents, flow[:, :, n], occlusion[:, :, n].clamp(0.0, 1.0)) for n in range(frames)
        ]
        return torch.cat(made, dim=1)

    @torch.no_grad()
    def _sequence(self, clips: torch.Tensor, raw: bool = False) -> torch.Tensor:
        """Return s₀ (B, 3, T, s, s) of clips (B, T, S, S), told from the first frame; ``raw`` before it is scaled."""
        count, frames = clips.shape[:2]
        reference = clips[:, :1].expand(-1, frames, -1, -1).reshape(count * frames, 1, *clips.shape[2:])
        found = self.autoencoder.flow(reference, clips.reshape(reference.shape))
        found = torch.cat([found[:, :2], 2.0 * torch.sigmoid(found[:, 2:]) - 1.0], dim=1)
        found = found.reshape(count, frames, *found.shape[1:]).transpose(1, 2)
        return found if raw else (found - _by_channel(self.generator.centre)) / _by_channel(self.generator.spread)


def _by_channel(values: torch.Tensor) -> torch.Tensor:
    """Return (C,) so that it goes with (B, C, T, s, s)."""
    return values[:, None, None, None]
