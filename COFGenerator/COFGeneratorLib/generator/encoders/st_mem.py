"""ST-MEM (Na et al., ICLR 2024), the encoder that Chain of Flow names: patches of every lead in one transformer.

It z-scores its input over leads and time and normalises every patch, so it cannot see voltage: the scalar side channel
stays needed beside it.
"""

import numpy as np
import torch
from torch.nn import functional

from COFGeneratorLib.generator.encoders.signals import (
    EcgEmbedding,
    State,
    band,
    fitted,
    heads_attend,
    resampled,
    without_prefix,
)

FS_HZ, HEAD_SIZE = 250, 64


class StMem:
    """The frozen encoder, from the published weights (key ``model``); its decoder and head are left aside."""

    weights_sha256 = ""

    def __init__(self, state: State) -> None:
        self.state = without_prefix(state, "to_patch_embedding.2.weight")
        self.size, self.patch = self.state["to_patch_embedding.2.weight"].shape
        self.samples = (self.state["pos_embedding"].shape[1] - 2) * self.patch
        self.leads = sum(key.startswith("lead_embeddings.") for key in self.state)
        self.depth = sum(key.endswith(".attn.fn.to_qkv.weight") for key in self.state)
        if not self.depth or self.leads != 12:
            raise KeyError(f"12 lead embeddings and blocks (it has {self.leads} and {self.depth})")
        self.heads = self.state["block0.attn.fn.to_qkv.weight"].shape[0] // 3 // HEAD_SIZE

    @torch.inference_mode()
    def encode(self, ecg_mv: np.ndarray, fs_hz: float) -> EcgEmbedding:
        """Return the embedding (768,) and the tokens (12 · n, 768) of a record (12, L) mV."""
        state = self.state
        signal = torch.from_numpy(self.prepared(ecg_mv, fs_hz).astype(np.float32))
        x = self._norm(signal.view(self.leads, -1, self.patch), "to_patch_embedding.1")
        x = self._norm(self._linear(x, "to_patch_embedding.2"), "to_patch_embedding.3")
        position = state["pos_embedding"][0]
        count = x.shape[1]
        ends = [(state["sep_embedding"] + position[place]).expand(self.leads, 1, -1) for place in (0, -1)]
        x = torch.cat([ends[0], x + position[1 : count + 1], ends[1]], dim=1)
        x = x + torch.stack([state[f"lead_embeddings.{lead}"] for lead in range(self.leads)])[:, None]
        x = x.flatten(0, 1)
        for number in range(self.depth):
            x = self._block(x, f"block{number}")
        tokens = x.view(self.leads, count + 2, -1)[:, 1:-1].flatten(0, 1)
        return EcgEmbedding(self._norm(tokens.mean(dim=0), "norm"), self._norm(tokens, "norm"))

    def prepared(self, ecg_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """Return the network's input, (12, 2250): 9 s at 250 Hz; of a shorter record all whole patches."""
        signal = band(resampled(ecg_mv, fs_hz, FS_HZ), FS_HZ, 0.67, 40.0)
        signal = (signal - signal.mean()) / (signal.std() + 1e-8)
        return fitted(signal, min(self.samples, max(signal.shape[1] // self.patch, 1) * self.patch))

    def _block(self, x: torch.Tensor, name: str) -> torch.Tensor:
        q, k, v = self._linear(self._norm(x, f"{name}.attn.norm"), f"{name}.attn.fn.to_qkv").chunk(3, dim=1)
        x = x + self._linear(heads_attend(x, q, k, v, self.heads), f"{name}.attn.fn.to_out.0")
        inner = functional.gelu(self._linear(self._norm(x, f"{name}.ff.norm"), f"{name}.ff.fn.net.0"))
        return x + self._linear(inner, f"{name}.ff.fn.net.3")

    def _norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.layer_norm(x, x.shape[-1:], self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def _linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.linear(x, self.state[f"{name}.weight"], self.state.get(f"{name}.bias"))
