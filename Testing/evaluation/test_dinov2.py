"""The DINOv2 reader against torch's own transformer layers, on random weights of the released names."""

import pytest
import torch
from COFGeneratorLib.errors import CohortError
from COFTrainingLib.evaluation.metrics.dinov2 import MEAN, SD, DinoV2, load_dinov2

WIDTH, BLOCKS = 128, 2


def random_weights():
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return 0.1 * torch.randn(shape, generator=generator)

    weights = {"cls_token": draw(1, 1, WIDTH), "pos_embed": draw(1, 1 + 16 * 16, WIDTH), "mask_token": draw(1, WIDTH),
               "patch_embed.proj.weight": draw(WIDTH, 3, 14, 14), "patch_embed.proj.bias": draw(WIDTH),
               "norm.weight": 1 + draw(WIDTH), "norm.bias": draw(WIDTH)}  # fmt: skip
    for block in range(BLOCKS):
        shapes = {"norm1.weight": (WIDTH,), "norm1.bias": (WIDTH,), "attn.qkv.weight": (3 * WIDTH, WIDTH),
                  "attn.qkv.bias": (3 * WIDTH,), "attn.proj.weight": (WIDTH, WIDTH), "attn.proj.bias": (WIDTH,),
                  "ls1.gamma": (WIDTH,), "norm2.weight": (WIDTH,), "norm2.bias": (WIDTH,),
                  "mlp.fc1.weight": (4 * WIDTH, WIDTH), "mlp.fc1.bias": (4 * WIDTH,),
                  "mlp.fc2.weight": (WIDTH, 4 * WIDTH), "mlp.fc2.bias": (WIDTH,), "ls2.gamma": (WIDTH,)}  # fmt: skip
        weights |= {f"blocks.{block}.{name}": draw(*shape) for name, shape in shapes.items()}
    return weights


def independent(weights, slices):
    """The same network from torch.nn layers, the layer scales folded into the projections."""
    images = slices[:, None].repeat(1, 3, 1, 1)
    images = (images - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(SD).view(1, 3, 1, 1)
    patch = torch.nn.Conv2d(3, WIDTH, 14, stride=14)
    patch.load_state_dict({k: weights[f"patch_embed.proj.{k}"] for k in ("weight", "bias")})
    x = patch(images).flatten(2).transpose(1, 2)
    x = torch.cat([weights["cls_token"].expand(len(x), -1, -1), x], dim=1) + weights["pos_embed"]
    for block in range(BLOCKS):
        w = {name.split(".", 2)[2]: value for name, value in weights.items() if name.startswith(f"blocks.{block}.")}
        layer = torch.nn.TransformerEncoderLayer(
            WIDTH, WIDTH // 64, 4 * WIDTH, 0.0, "gelu", 1e-6, batch_first=True, norm_first=True
        ).eval()
        one, two = w["ls1.gamma"], w["ls2.gamma"]
        layer.load_state_dict({
            "self_attn.in_proj_weight": w["attn.qkv.weight"], "self_attn.in_proj_bias": w["attn.qkv.bias"],
            "self_attn.out_proj.weight": one[:, None] * w["attn.proj.weight"],
            "self_attn.out_proj.bias": one * w["attn.proj.bias"],
            "linear1.weight": w["mlp.fc1.weight"], "linear1.bias": w["mlp.fc1.bias"],
            "linear2.weight": two[:, None] * w["mlp.fc2.weight"], "linear2.bias": two * w["mlp.fc2.bias"],
            "norm1.weight": w["norm1.weight"], "norm1.bias": w["norm1.bias"],
            "norm2.weight": w["norm2.weight"], "norm2.bias": w["norm2.bias"],
        })  # fmt: skip
        x = layer(x)
    return torch.nn.functional.layer_norm(x[:, 0], (WIDTH,), weights["norm.weight"], weights["norm.bias"], 1e-6)


def test_features_equal_those_of_torch_s_own_layers(tmp_path):
    weights = random_weights()
    slices = torch.rand(2, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = independent(weights, slices)
    torch.save(weights, tmp_path / "w.pth")
    assert torch.allclose(load_dinov2(tmp_path / "w.pth")(slices), expected, atol=2e-4)
    small = DinoV2(weights)(torch.rand(1, 96, 96))
    assert small.shape == (1, WIDTH)


def test_other_files_are_refused(tmp_path):
    torch.save({"x": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(CohortError, match="lacks cls_token"):
        load_dinov2(tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(CohortError, match="failed"):
        load_dinov2(tmp_path / "text.pth")
