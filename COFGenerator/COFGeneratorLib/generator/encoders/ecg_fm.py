"""ECG-FM (McKeen et al., 2024): a convolutional feature extractor and a transformer, as in wav2vec 2.0."""

import numpy as np
import torch
from torch.nn import functional

from COFGeneratorLib.generator.encoders.signals import (
    EcgEmbedding,
    State,
    fitted,
    heads_attend,
    resampled,
    without_prefix,
)

FS_HZ, SEGMENT = 500, 2500
HEAD_SIZE = 64
CONV_STRIDE = 2
"""Of every layer of the extractor, whose kernels are as long."""
NORM_DIRECTION = ("weight_g", "weight_v"), ("parametrizations.weight.original0", "parametrizations.weight.original1")
"""Names of a weight's length and direction, of old and of new checkpoints."""


class EcgFm:
    """The frozen encoder, from the published weights' tensors; quantiser and projection heads are left aside.

    Input: segments of 5 s at 500 Hz, each lead to mean 0 and SD 1. The tokens of all segments are joined.
    """

    weights_sha256 = ""

    def __init__(self, state: State) -> None:
        self.state = without_prefix(state, "feature_extractor.conv_layers.0.0.weight")
        self.convolutions = 0
        while f"feature_extractor.conv_layers.{self.convolutions}.0.weight" in self.state:
            self.convolutions += 1
        self.depth = 0
        while f"encoder.layers.{self.depth}.self_attn.q_proj.weight" in self.state:
            self.depth += 1
        if not self.depth:
            raise KeyError("encoder.layers.0")
        self.size = self.state["encoder.layers.0.self_attn.q_proj.weight"].shape[0]
        self.heads = max(self.size // HEAD_SIZE, 1)
        self.position = self._position_weight()

    @torch.inference_mode()
    def encode(self, ecg_mv: np.ndarray, fs_hz: float) -> EcgEmbedding:
        """Return the embedding (768,) and the tokens (n, 768) of a record (12, L) mV."""
        tokens = torch.cat([self._segment(part) for part in self.prepared(ecg_mv, fs_hz)])
        return EcgEmbedding(tokens.mean(dim=0), tokens)

    @staticmethod
    def prepared(ecg_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """Return the network's inputs, (segments, 12, 2500)."""
        signal = resampled(ecg_mv, fs_hz, FS_HZ)
        count = max(signal.shape[1] // SEGMENT, 1)
        parts = fitted(signal, count * SEGMENT).reshape(len(signal), count, SEGMENT).transpose(1, 0, 2)
        mean, spread = parts.mean(axis=2, keepdims=True), parts.std(axis=2, keepdims=True)
        return (parts - mean) / (spread + 1e-8)

    def _segment(self, part: np.ndarray) -> torch.Tensor:
        state, x = self.state, torch.from_numpy(part.astype(np.float32))[None]
        for layer in range(self.convolutions):
            name = f"feature_extractor.conv_layers.{layer}"
            x = functional.conv1d(x, state[f"{name}.0.weight"], state.get(f"{name}.0.bias"), CONV_STRIDE)
            if f"{name}.2.weight" in state:  # the first one is normalised channel by channel
                x = functional.group_norm(x, x.shape[1], state[f"{name}.2.weight"], state[f"{name}.2.bias"])
            x = functional.gelu(x)
        x = self._norm(x[0].T, "layer_norm")
        if "post_extract_proj.weight" in state:
            x = self._linear(x, "post_extract_proj")
        x = x + self._positions(x)
        x = self._norm(x, "encoder.layer_norm")
        for layer in range(self.depth):
            x = self._layer(x, f"encoder.layers.{layer}")
        return x

    def _layer(self, x: torch.Tensor, name: str) -> torch.Tensor:
        q, k, v = (self._linear(x, f"{name}.self_attn.{part}_proj") for part in "qkv")
        attended = self._linear(heads_attend(x, q, k, v, self.heads), f"{name}.self_attn.out_proj")
        x = self._norm(x + attended, f"{name}.self_attn_layer_norm")
        inner = self._linear(functional.gelu(self._linear(x, f"{name}.fc1")), f"{name}.fc2")
        return self._norm(x + inner, f"{name}.final_layer_norm")

    def _positions(self, x: torch.Tensor) -> torch.Tensor:
        width, bias = self.position.shape[2], self.state["conv_pos.pos_conv.0.bias"]
        groups = self.size // self.position.shape[1]
        found = functional.conv1d(x.T[None], self.position, bias, padding=width // 2, groups=groups)
        return functional.gelu(found[0, :, : len(x)]).T  # an even kernel gives one sample too many

    def _position_weight(self) -> torch.Tensor:
        """Return the positional convolution's kernel; checkpoints store length and direction apart."""
        for length, direction in NORM_DIRECTION:
            name = "conv_pos.pos_conv.0."
            if name + length in self.state:
                vector = self.state[name + direction]
                return self.state[name + length] * vector / vector.norm(dim=(0, 1), keepdim=True)
        return self.state["conv_pos.pos_conv.0.weight"]

    def _norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.layer_norm(x, x.shape[-1:], self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def _linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.linear(x, self.state[f"{name}.weight"], self.state.get(f"{name}.bias"))
