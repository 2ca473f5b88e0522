"""ECGFounder (Li et al., NEJM AI 2025): a residual 1-D network with squeeze-and-excitation, 1024 features."""

import numpy as np
import torch
from scipy.ndimage import median_filter
from torch.nn import functional

from COFGeneratorLib.generator.encoders.signals import (
    EcgEmbedding,
    State,
    band,
    fitted,
    resampled,
    without_hum,
    without_prefix,
)

FS_HZ, SAMPLES = 500, 5000
BASELINE_SAMPLES = 201
"""0.4 s: the running median that is taken off as baseline."""
STRIDE = 2


class EcgFounder:
    """The frozen encoder, from the published weights ``12_lead_ECGFounder.pth``.

    Input: 10 s at 500 Hz, all leads scaled together, so that relative amplitudes stay. The published network leaves its
    batch normalisation out; so does this.
    """

    weights_sha256 = ""

    def __init__(self, state: State) -> None:
        state = without_prefix(state, "first_conv.conv.weight")
        self.state = {key: value for key, value in state.items() if not key.startswith("dense.")}
        self.blocks = []
        stage = 0
        while f"stage_list.{stage}.block_list.0.conv1.conv.weight" in state:
            block = 0
            while f"stage_list.{stage}.block_list.{block}.conv1.conv.weight" in state:
                self.blocks.append((f"stage_list.{stage}.block_list.{block}", STRIDE if block == 0 else 1))
                block += 1
            stage += 1
        if not self.blocks:
            raise KeyError("stage_list.0.block_list.0")
        self.size = state[f"{self.blocks[-1][0]}.conv3.conv.weight"].shape[0]

    @torch.inference_mode()
    def encode(self, ecg_mv: np.ndarray, fs_hz: float) -> EcgEmbedding:
        """Return the embedding (1024,) and the tokens (n, 1024) of a record (12, L) mV."""
        x = torch.from_numpy(self.prepared(ecg_mv, fs_hz).astype(np.float32))[None]
        x = _swish(self._convolve(x, "first_conv", 2))
        for number, (name, stride) in enumerate(self.blocks):
            x = self._block(x, name, stride, first=number == 0)
        return EcgEmbedding(x[0].mean(dim=1), x[0].T)

    @staticmethod
    def prepared(ecg_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """Return the network's input, (12, 5000)."""
        signal = band(without_hum(resampled(ecg_mv, fs_hz, FS_HZ), FS_HZ), FS_HZ, 0.67, 40.0, order=4)
        signal = signal - median_filter(signal, size=(1, BASELINE_SAMPLES))
        signal = (signal - signal.mean()) / (signal.std() + 1e-8)
        return fitted(signal, SAMPLES)

    def _block(self, x: torch.Tensor, name: str, stride: int, first: bool) -> torch.Tensor:
        y = self._convolve(x if first else _swish(x), f"{name}.conv1", 1)
        y = self._convolve(_swish(y), f"{name}.conv2", stride)
        y = self._convolve(_swish(y), f"{name}.conv3", 1)
        weight = _swish(self._linear(y.mean(dim=2), f"{name}.se_fc1"))
        y = y * torch.sigmoid(self._linear(weight, f"{name}.se_fc2"))[:, :, None]
        if name.endswith("block_list.0"):
            x = functional.max_pool1d(functional.pad(x, ((stride - 1) // 2, stride // 2)), stride)
        more = y.shape[1] - x.shape[1]
        return y + functional.pad(x, (0, 0, more // 2, more - more // 2))

    def _convolve(self, x: torch.Tensor, name: str, stride: int) -> torch.Tensor:
        """Convolve with zeros on both sides, so that the output has ⌈length / stride⌉ samples."""
        weight = self.state[f"{name}.conv.weight"]
        outputs = -(-x.shape[2] // stride)
        extra = max(0, (outputs - 1) * stride + weight.shape[2] - x.shape[2])
        x = functional.pad(x, (extra // 2, extra - extra // 2))
        groups = x.shape[1] // weight.shape[1]
        return functional.conv1d(x, weight, self.state[f"{name}.conv.bias"], stride, groups=groups)

    def _linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])


def _swish(x: torch.Tensor) -> torch.Tensor:
    return functional.silu(x)
