"""What every ECG encoder offers, and the steps of signal processing that several of them share."""

from typing import NamedTuple, Protocol

import numpy as np
import torch
from scipy.signal import butter, iirnotch, resample_poly, sosfiltfilt, tf2sos

State = dict[str, torch.Tensor]


class EcgEmbedding(NamedTuple):
    """What an encoder makes of a record: ``overall`` (d,) and ``tokens`` (n, d)."""

    overall: torch.Tensor
    tokens: torch.Tensor


class AnyEcgEncoder(Protocol):
    """The contract of every ECG encoder, ours included."""

    def encode(self, ecg_mv: np.ndarray, fs_hz: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the embedding (d,) and the tokens (n, d) of a raw record (12, L) mV in the order of ``LEADS``."""
        ...


class ForeignEcgEncoder(AnyEcgEncoder, Protocol):
    """An encoder of others: the SHA-256 of the file that its weights are from, the length of its embedding."""

    weights_sha256: str
    size: int


def without_prefix(state: State, marker: str) -> State:
    """Return a state with the prefix removed that stands before the key ``marker``.

    Raises:
        KeyError: If no key ends so.
    """
    found = next((key for key in state if key == marker or key.endswith(f".{marker}")), None)
    if found is None:
        raise KeyError(marker)
    prefix = found[: -len(marker)]
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}


def resampled(ecg_mv: np.ndarray, fs_hz: float, to_hz: int) -> np.ndarray:
    """Return a record at another whole rate, (12, L')."""
    ratio = round(fs_hz * 1000), to_hz * 1000
    common = np.gcd(*ratio)
    return resample_poly(np.asarray(ecg_mv, dtype=np.float64), ratio[1] // common, ratio[0] // common, axis=1)


def band(signal: np.ndarray, fs_hz: float, low_hz: float, high_hz: float, order: int = 5) -> np.ndarray:
    """Return a signal between two frequencies, without shift in time (Butterworth)."""
    for kind, edge in (("highpass", low_hz), ("lowpass", high_hz)):
        signal = sosfiltfilt(butter(order, edge, kind, fs=fs_hz, output="sos"), signal, axis=1)
    return signal


def without_hum(signal: np.ndarray, fs_hz: float, hum_hz: float = 50.0) -> np.ndarray:
    """Return a signal without the mains' frequency."""
    return sosfiltfilt(tf2sos(*iirnotch(hum_hz, 30.0, fs=fs_hz)), signal, axis=1)


def fitted(signal: np.ndarray, samples: int) -> np.ndarray:
    """Return the middle of a signal in a fixed length; a shorter one is followed by zeros."""
    extra = signal.shape[1] - samples
    if extra >= 0:
        return signal[:, extra // 2 : extra // 2 + samples]
    return np.pad(signal, ((0, 0), (0, -extra)))


def heads_attend(x: torch.Tensor, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int) -> torch.Tensor:
    """Return softmax attention of (n, d) tokens with several heads."""
    split = [part.view(len(x), heads, -1).transpose(0, 1) for part in (q, k, v)]
    return torch.nn.functional.scaled_dot_product_attention(*split).transpose(0, 1).reshape(len(x), -1)
