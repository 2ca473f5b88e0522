"""Random weights in the layouts of others' ECG encoders, small."""

import numpy as np
import torch


def normal(*shape):
    return 0.3 * torch.randn(*shape) / np.sqrt(max(np.prod(shape[1:]), 1))


def convolution(name, outputs, inputs, kernel):
    return {f"{name}.weight": normal(outputs, inputs, kernel), f"{name}.bias": normal(outputs)}


def linear(name, outputs, inputs):
    return {f"{name}.weight": normal(outputs, inputs), f"{name}.bias": normal(outputs)}


def norm(name, size):
    return {f"{name}.weight": 1 + normal(size), f"{name}.bias": normal(size)}


def ecgfounder_state(filters=(16, 32), blocks=(2, 1), group=16):
    state = convolution("first_conv.conv", 16, 12, 16) | norm("first_bn", 16)
    inputs = 16
    for stage, (width, count) in enumerate(zip(filters, blocks, strict=True)):
        for block in range(count):
            name = f"stage_list.{stage}.block_list.{block}"
            state |= convolution(f"{name}.conv1.conv", width, inputs, 1)
            state |= convolution(f"{name}.conv2.conv", width, group, 16)
            state |= convolution(f"{name}.conv3.conv", width, width, 1)
            state |= linear(f"{name}.se_fc1", width // 2, width) | linear(f"{name}.se_fc2", width, width // 2)
            state |= norm(f"{name}.bn1", inputs) | norm(f"{name}.bn2", width)
            inputs = width
    return state | linear("dense", 150, inputs)


def st_mem_state(width=64, depth=2, patch=75, patches=30):
    state = norm("to_patch_embedding.1", patch) | linear("to_patch_embedding.2", width, patch)
    state |= norm("to_patch_embedding.3", width) | norm("norm", width)
    state |= {"pos_embedding": normal(1, patches + 2, width), "sep_embedding": normal(width)}
    state |= {f"lead_embeddings.{lead}": normal(width) for lead in range(12)}
    for number in range(depth):
        name = f"block{number}"
        state |= norm(f"{name}.attn.norm", width) | linear(f"{name}.attn.fn.to_qkv", 3 * width, width)
        state |= linear(f"{name}.attn.fn.to_out.0", width, width) | norm(f"{name}.ff.norm", width)
        state |= linear(f"{name}.ff.fn.net.0", 2 * width, width) | linear(f"{name}.ff.fn.net.3", width, 2 * width)
    return state


def ecg_fm_state(width=64, depth=2, features=32):
    state, inputs = {}, 12
    for layer in range(4):
        state[f"feature_extractor.conv_layers.{layer}.0.weight"] = normal(features, inputs, 2)
        inputs = features
    state |= norm("feature_extractor.conv_layers.0.2", features) | norm("layer_norm", features)
    state |= linear("post_extract_proj", width, features) | norm("encoder.layer_norm", width)
    state |= {"conv_pos.pos_conv.0.weight_g": 1 + normal(1, 1, 128).abs(),
              "conv_pos.pos_conv.0.weight_v": normal(width, width // 16, 128),
              "conv_pos.pos_conv.0.bias": normal(width)}  # fmt: skip
    for layer in range(depth):
        name = f"encoder.layers.{layer}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            state |= linear(f"{name}.self_attn.{part}", width, width)
        state |= linear(f"{name}.fc1", 2 * width, width) | linear(f"{name}.fc2", width, 2 * width)
        state |= norm(f"{name}.self_attn_layer_norm", width) | norm(f"{name}.final_layer_norm", width)
    return state


STATES = {"ecgfounder": ecgfounder_state, "st-mem": st_mem_state, "ecg-fm": ecg_fm_state}
