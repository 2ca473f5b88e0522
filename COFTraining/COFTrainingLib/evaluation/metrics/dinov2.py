"""DINOv2 features from weights that the user has (Oquab et al. 2023): a plain vision transformer, nothing downloaded.

Reads the names of the released ``dinov2_vit{s,b,l}14_pretrain.pth``, or the same as safetensors. Files are read as
tensors only; nothing is unpickled into objects.
"""

import math
from pathlib import Path

import torch
from COFGeneratorLib.errors import CohortError
from COFGeneratorLib.weights import read_foreign
from torch.nn.functional import conv2d, gelu, interpolate, layer_norm, linear, scaled_dot_product_attention

SIDE, PATCH, HEAD_SIZE = 224, 14, 64
MEAN, SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
EPSILON = 1e-6
NEEDED = ("cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias", "norm.weight", "norm.bias")


def load_dinov2(path: Path, device: str = "cpu") -> "DinoV2":
    """Read weights onto a device.

    Raises:
        CohortError: If the file is not that of a DINOv2 backbone.
    """
    path = Path(path)
    try:
        weights = read_foreign(path)
        missing = [name for name in NEEDED if name not in weights]
    except Exception as error:  # torch, safetensors and the file system each raise their own kinds
        raise CohortError(
            f"DINOv2 weights are a .pth or .safetensors file of tensors; reading {path} failed ({error}). Name the "
            "released dinov2_vitb14_pretrain.pth."
        ) from error
    if missing:
        raise CohortError(
            f"A DINOv2 backbone has {', '.join(NEEDED)}; {path.name} lacks {', '.join(missing)}. Name the released "
            "dinov2_vitb14_pretrain.pth."
        )
    return DinoV2({name: tensor.float().to(device) for name, tensor in weights.items()})


class DinoV2:
    """The class token after the last norm, of tensors by their released names."""

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        self.weights = weights
        self.width = weights["cls_token"].shape[-1]
        self.blocks = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks."))

    @torch.inference_mode()
    def __call__(self, slices: torch.Tensor) -> torch.Tensor:
        """Return (N, d) of slices (N, h, w) in 0…1."""
        slices = slices.to(self.weights["cls_token"])
        images = interpolate(slices[:, None], (SIDE, SIDE), mode="bicubic", align_corners=False).clamp(0, 1)
        images = torch.cat([(images - mean) / sd for mean, sd in zip(MEAN, SD, strict=True)], dim=1)
        w = self.weights
        x = conv2d(images, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=PATCH)
        x = torch.cat([w["cls_token"].expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], dim=1)
        x = x + self._positions(x.shape[1] - 1)
        for block in range(self.blocks):
            x = self._block(x, f"blocks.{block}.")
        return self._norm(x[:, 0], "norm")

    def _positions(self, patches: int) -> torch.Tensor:
        """Return the position embedding for this many patches, bicubic from the trained ones."""
        known = self.weights["pos_embed"]
        side, wanted = math.isqrt(known.shape[1] - 1), math.isqrt(patches)
        grid = known[:, 1:].view(1, side, side, self.width).permute(0, 3, 1, 2)
        if side != wanted:
            grid = interpolate(grid, (wanted, wanted), mode="bicubic", align_corners=False)
        return torch.cat([known[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)

    def _norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return layer_norm(x, (self.width,), self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], EPSILON)

    def _linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _block(self, x: torch.Tensor, name: str) -> torch.Tensor:
        batch, tokens, width = x.shape
        heads = width // HEAD_SIZE
        qkv = self._linear(self._norm(x, f"{name}norm1"), f"{name}attn.qkv")
        q, k, v = qkv.view(batch, tokens, 3, heads, HEAD_SIZE).permute(2, 0, 3, 1, 4)
        attended = scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, width)
        x = x + self._linear(attended, f"{name}attn.proj") * self.weights[f"{name}ls1.gamma"]
        hidden = gelu(self._linear(self._norm(x, f"{name}norm2"), f"{name}mlp.fc1"))
        return x + self._linear(hidden, f"{name}mlp.fc2") * self.weights[f"{name}ls2.gamma"]
