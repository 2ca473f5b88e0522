"""ECG-conditioned video tokens: ECHOPulse (Li et al., ICLR 2025, arXiv:2410.03143), on cines.

Step one, the tokenizer: an encoder gives each place of a frame b numbers z, whose signs are its code (lookup-free
quantisation, Yu et al. 2024, arXiv:2310.05737, which ECHOPulse takes), and a decoder the image of the codes:

    q = sign(z),  code = Σ 2^i [z_i > 0],
    L = |x̂ − x|₁ + β ‖z − sg(q)‖² + λ (E[H(p(z))] − H(E[p(z)]))

Step two, masked visual token modelling (MaskGIT, Chang et al. 2022, arXiv:2202.04200): the tokens of the still image
are given, a share cos(πr/2), r ~ U(0, 1), of all others is masked, and a transformer that attends to the ECG's tokens c
tells them:

    L = − E Σ_{masked} log p(y_i | y_unmasked, y_still, c)

Generation begins with all but the still image masked and keeps the surest tokens in a few steps, by the same cosine.
CardioNets (Ding et al., arXiv:2411.13602) also tells an image's tokens by masked autoregression from an ECG; its
alignment of ECG and image by contrast is left out, because all comparators hear the same frozen encoder. Smaller than
the papers': tokens of single frames, attention in space and in time by turns, no pre-training on natural videos.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from COFTrainingLib.training.comparators.frames import FrameCoder, FrameDecoder, FrameEncoder
from COFTrainingLib.training.comparators.told import DROPPED, Heard, guided

COMMITMENT, ENTROPY = 0.25, 0.05
HARMONICS = 3


@dataclass(frozen=True)
class EcgTokensSettings:
    """Size of the family.

    Args:
        bits: Of a code; there are 2^bits codes.
        width, depth, heads: Of the transformer.
        sampling_steps: In which the tokens are filled in.
        temperature: Of the first step's draw; it falls to 0 with the steps.
        guidance: g; 1 is none.
    """

    bits: int = 8
    width: int = 96
    depth: int = 3
    heads: int = 4
    sampling_steps: int = 8
    temperature: float = 1.0
    guidance: float = 1.0


class FrameTokenizer(nn.Module):
    """Images to codes and back."""

    def __init__(self, frames: FrameCoder, config: EcgTokensSettings) -> None:
        super().__init__()
        self.encoder, self.decoder = FrameEncoder(frames, config.bits), FrameDecoder(frames, config.bits)
        self.register_buffer("powers", 2 ** torch.arange(config.bits))

    def codes(self, images: torch.Tensor) -> torch.Tensor:
        """Return codes (B, s, s) of images (B, 1, S, S)."""
        return ((self.encoder(images) > 0) * self.powers.view(1, -1, 1, 1)).sum(dim=1)

    def images(self, codes: torch.Tensor) -> torch.Tensor:
        """Return images (B, 1, S, S) of codes (B, s, s)."""
        bits = (codes[:, None] // self.powers.view(1, -1, 1, 1)) % 2
        return self.decoder(2.0 * bits.float() - 1.0)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the images through their codes, what binds z to them, and the entropies' difference."""
        z = self.encoder(images)
        q = torch.where(z > 0, 1.0, -1.0)
        share = torch.sigmoid(2.0 * z)
        sure, used = _entropy(share).mean(), _entropy(share.mean(dim=(0, 2, 3))).mean()
        return self.decoder(z + (q - z).detach()), (z - q.detach()).square().mean(), sure - used


def _entropy(share: torch.Tensor) -> torch.Tensor:
    """Return the entropy of bits that are set with a probability."""
    share = share.clamp(1e-5, 1.0 - 1e-5)
    return -(share * share.log() + (1.0 - share) * (1.0 - share).log())


class TokenTransformer(nn.Module):
    """Tells codes from codes, some of which are masked, and the ECG's tokens.

    Args:
        config: Size of the family.
        side: Tokens along an image.
        heard: Length of the ECG's embedding and tokens.
    """

    def __init__(self, config: EcgTokensSettings, side: int, heard: int) -> None:
        super().__init__()
        self.mask = 2**config.bits
        width, options = config.width, {"dropout": 0.0, "batch_first": True, "norm_first": True}
        self.code = nn.Embedding(self.mask + 1, width)
        self.place = nn.Parameter(0.02 * torch.randn(side * side, width))
        self.phase = nn.Linear(2 * HARMONICS, width)
        self.listen = nn.Linear(heard, width)
        self.nothing = nn.Parameter(0.02 * torch.randn(width))
        self.space = nn.ModuleList(
            nn.TransformerDecoderLayer(width, config.heads, 2 * width, **options) for _ in range(config.depth)
        )
        self.time = nn.ModuleList(
            nn.TransformerEncoderLayer(width, config.heads, 2 * width, **options) for _ in range(config.depth)
        )
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, self.mask))

    def told(self, heard: Heard) -> torch.Tensor:
        """Return what is attended to, (B, 1 + n, width): the ECG's embedding and tokens."""
        return self.listen(torch.cat([heard.embedding[:, None], heard.tokens], dim=1))

    def forward(self, codes: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """Return logits (B, T, n, 2^bits) of codes (B, T, n), masked ones ``mask``."""
        count, frames, places = codes.shape
        angle = 2.0 * math.pi * torch.arange(frames, device=codes.device) / frames
        turns = torch.cat([f(k * angle[:, None]) for k in range(1, HARMONICS + 1) for f in (torch.sin, torch.cos)], 1)
        x = self.code(codes) + self.place + self.phase(turns)[None, :, None]
        context = told[:, None].expand(-1, frames, -1, -1).flatten(0, 1)
        for space, time in zip(self.space, self.time, strict=True):
            x = space(x.flatten(0, 1), context).view(count, frames, places, -1)
            x = time(x.transpose(1, 2).flatten(0, 1)).view(count, places, frames, -1).transpose(1, 2)
        return self.out(x)


class EcgTokens:
    """The family: what its two stages learn, and how it generates.

    Args:
        frames, config: Sizes.
        heard: Length of the ECG's embedding.
        size: Pixels of an image's side.
    """

    def __init__(self, frames: FrameCoder, config: EcgTokensSettings, heard: int, size: int) -> None:
        self.config = config
        self.autoencoder = FrameTokenizer(frames, config)
        self.generator = TokenTransformer(config, size // frames.factor, heard)

    def autoencoder_loss(self, clips: torch.Tensor, rng: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        """Return L of a random frame of each clip (B, T, S, S)."""
        rows = torch.arange(len(clips), device=clips.device)
        chosen = torch.randint(clips.shape[1], (len(clips),), generator=rng, device=clips.device)
        images = clips[rows, chosen, None]
        rebuilt, bound, entropies = self.autoencoder(images)
        error = (rebuilt - images).abs().mean()
        return error + COMMITMENT * bound + ENTROPY * entropies, {"l1": float(error.detach())}

    def prepare(self, clips: torch.Tensor) -> None:
        """Nothing is measured between the stages."""

    def generator_loss(
        self, clips: torch.Tensor, heard: Heard, rng: torch.Generator
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the masked tokens' cross-entropy of clips (B, T, S, S)."""
        codes, device = self._codes(clips), clips.device
        share = torch.cos(0.5 * math.pi * torch.rand(len(clips), generator=rng, device=device))
        masked = torch.rand(codes.shape, generator=rng, device=device) < share[:, None, None]
        masked[:, 0] = False  # the still image is given
        masked[:, -1, 0] = True  # something is always asked for
        gone = torch.rand(len(clips), generator=rng, device=device) < DROPPED
        told = self.generator.told(heard)
        told = torch.where(gone[:, None, None], self.generator.nothing, told)
        logits = self.generator(torch.where(masked, self.generator.mask, codes), told)
        loss = functional.cross_entropy(logits[masked], codes[masked])
        right = (logits[masked].argmax(dim=1) == codes[masked]).float().mean()
        return loss, {"cross_entropy": float(loss.detach()), "right": float(right)}

    @torch.no_grad()
    def sample(self, images: torch.Tensor, heard: Heard, frames: int, rng: torch.Generator) -> torch.Tensor:
        """Return clips (B, T, S, S) of still images (B, S, S)."""
        still = self._codes(images[:, None])  # (B, 1, n)
        count, _, places = still.shape
        codes = torch.full((count, frames, places), self.generator.mask, device=images.device)
        codes[:, 0] = still[:, 0]
        told = self.generator.told(heard)
        nothing = self.generator.nothing.expand_as(told)
        hidden, steps = (frames - 1) * places, self.config.sampling_steps
        for step in range(steps):

            def logits(told: torch.Tensor, now: torch.Tensor = codes) -> torch.Tensor:
                return self.generator(now, told)

            open_ = codes == self.generator.mask
            found = guided(logits, told, nothing, self.config.guidance).log_softmax(dim=-1)
            heat = self.config.temperature * (1.0 - (step + 1) / steps)
            drawn = (found + heat * _gumbel(found.shape, rng, found.device)).argmax(dim=-1)
            sure = found.gather(-1, drawn[..., None])[..., 0] + heat * _gumbel(drawn.shape, rng, found.device)
            sure = torch.where(open_, sure, torch.inf).flatten(1)
            left = int(hidden * math.cos(0.5 * math.pi * (step + 1) / steps)) if step < steps - 1 else 0
            codes = torch.where(open_, drawn, codes)
            if left:
                again = sure.argsort(dim=1)[:, :left]
                codes = codes.flatten(1).scatter(1, again, self.generator.mask).view(count, frames, places)
        side = math.isqrt(places)
        return self.autoencoder.images(codes.view(-1, side, side)).view(count, frames, *images.shape[1:])

    @torch.no_grad()
    def _codes(self, clips: torch.Tensor) -> torch.Tensor:
        """Return the codes (B, T, n) of clips (B, T, S, S)."""
        count, frames = clips.shape[:2]
        return self.autoencoder.codes(clips.flatten(0, 1)[:, None]).view(count, frames, -1)


def _gumbel(shape: torch.Size, rng: torch.Generator, device: torch.device) -> torch.Tensor:
    """Return Gumbel noise: its addition to log probabilities makes an argmax a draw."""
    return -torch.log(-torch.log(torch.rand(shape, generator=rng, device=device).clamp(1e-9, 1.0 - 1e-7)))
