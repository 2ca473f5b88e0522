"""The VAE's losses beside L1 and KL: a patch critic, and a perceptual distance from a local file of weights."""

from pathlib import Path

import torch
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.weights import read_foreign
from torch import nn
from torch.func import functional_call
from torch.nn import functional

LARGEST_ADAPTIVE = 1e4
_POOL = 0
_VGG = (64, 64, _POOL, 128, 128, _POOL, 256, 256, 256, _POOL, 512, 512, 512, _POOL, 512, 512, 512)
"""Channels of its convolutions, between halvings of the picture."""
_TAPS = (1, 3, 6, 9, 12)
"""VGG-16's convolutions after whose activation LPIPS compares (relu1_2, 2_2, 3_3, 4_3, 5_3)."""


class PatchCritic(nn.Module):
    """3-D PatchGAN: judges patches of a clip (B, 1, T, H, W), real high."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv3d(1, width, (3, 4, 4), (1, 2, 2), 1), nn.LeakyReLU(0.2)]
        for level in range(2):
            inside, out = width * 2**level, width * 2 ** (level + 1)
            layers += [
                nn.Conv3d(inside, out, (3, 4, 4), (1, 2, 2), 1), nn.GroupNorm(8, out), nn.LeakyReLU(0.2),
            ]  # fmt: skip
        self.layers = nn.Sequential(*layers, nn.Conv3d(4 * width, 1, 3, 1, 1))

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        return self.layers(clip)

    def frozen(self, clip: torch.Tensor) -> torch.Tensor:
        """Judge without a gradient for the critic's own weights."""
        weights = {name: value.detach() for name, value in self.named_parameters()}
        return functional_call(self, weights, (clip,))


def hinge(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Return the critic's hinge loss."""
    return 0.5 * (functional.relu(1.0 - real).mean() + functional.relu(1.0 + fake).mean())


def adaptive_weight(reference: torch.Tensor, adversarial: torch.Tensor, last: nn.Parameter) -> torch.Tensor:
    """Return the ratio of both losses' gradients at the decoder's last layer (Esser et al., CVPR 2021)."""
    one = torch.autograd.grad(reference, last, retain_graph=True)[0].norm()
    other = torch.autograd.grad(adversarial, last, retain_graph=True)[0].norm()
    return (one / (other + 1e-4)).clamp(0.0, LARGEST_ADAPTIVE).detach()


class Perceptual(nn.Module):
    """LPIPS-like distance on VGG-16 (Zhang et al., CVPR 2018), from a local file; nothing is ever downloaded.

    Args:
        file: ``.pth`` or ``.safetensors`` with torchvision's names ``features.N.weight``/``bias``; LPIPS' own linear
            weights ``lin0.model.1.weight`` … are used where the file has them, else all channels count alike.

    Raises:
        TrainingError: If the file cannot be read or is not VGG-16.
    """

    def __init__(self, file: Path | str) -> None:
        super().__init__()
        file = Path(file)
        try:
            state = read_foreign(file)
            convolutions, inside, index = [], 3, 0
            for width in _VGG:
                if width == _POOL:
                    index += 1
                    continue
                layer = nn.Conv2d(inside, width, 3, padding=1)
                layer.load_state_dict({key: state[f"features.{index}.{key}"] for key in ("weight", "bias")})
                convolutions.append(layer)
                inside, index = width, index + 2
            self.convolutions = nn.ModuleList(convolutions)
            self.lines = [state.get(f"lin{number}.model.1.weight") for number in range(len(_TAPS))]
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            raise TrainingError(
                f"Perceptual weights are a local file of VGG-16 with torchvision's names; {file} is not ({error}). "
                "Give another, or leave perceptual_weights empty."
            ) from error
        self.requires_grad_(False)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("spread", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """Return the mean distance of clips (B, 1, T, H, W) in [−1, 1], frame by frame."""
        total = 0.0
        for number, (a, b) in enumerate(zip(self._features(one), self._features(other), strict=True)):
            error = (functional.normalize(a, dim=1) - functional.normalize(b, dim=1)).square()
            line = self.lines[number]
            weighed = error.mean(dim=1) if line is None else (error * line.to(error).abs().view(1, -1, 1, 1)).sum(dim=1)
            total = total + weighed.mean()
        return total

    def _features(self, clip: torch.Tensor) -> list[torch.Tensor]:
        flat = clip.transpose(1, 2).flatten(0, 1).expand(-1, 3, -1, -1)
        x, done, out = (0.5 + 0.5 * flat - self.mean) / self.spread, 0, []
        for width in _VGG:
            if width == _POOL:
                x = functional.max_pool2d(x, 2)
                continue
            x = functional.relu(self.convolutions[done](x))
            if done in _TAPS:
                out.append(x)
            done += 1
        return out
