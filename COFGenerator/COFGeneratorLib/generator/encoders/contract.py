"""What every ECG encoder offers, and how weights of others are read: from a local file, by checksum, never unpickled.

No weights and no code of these models are part of this product; their licences bind whoever downloads them (ST-MEM:
CC BY-NC 4.0; ECGFounder and ECG-FM: MIT code). Layouts were taken from the published checkpoints' key names.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from safetensors.torch import load_file
from scipy.signal import butter, iirnotch, resample_poly, sosfiltfilt, tf2sos

from COFGeneratorLib.errors import BundleError

KINDS = ("ecgfounder", "st-mem", "ecg-fm")
WRAPPERS = ("state_dict", "model", "encoder")
"""Keys under which published checkpoints keep their weights."""
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


def load_foreign_encoder(kind: str, file: Path | str, sha256: str | None = None) -> AnyEcgEncoder:
    """Load an encoder of others, frozen.

    Args:
        kind: One of ``KINDS``.
        file: Its weights: safetensors, or a PyTorch checkpoint of plain tensors.
        sha256: What the file must have; the checksum that its publisher states.

    Raises:
        BundleError: If the file is another one, does not read without unpickling, or has another layout.
    """
    from COFGeneratorLib.generator.encoders.ecg_fm import EcgFm
    from COFGeneratorLib.generator.encoders.ecgfounder import EcgFounder
    from COFGeneratorLib.generator.encoders.st_mem import StMem

    encoders = {"ecgfounder": EcgFounder, "st-mem": StMem, "ecg-fm": EcgFm}
    if kind not in encoders:
        raise BundleError(f"ECG encoders of others are {', '.join(KINDS)}; found {kind!r}. Choose one of them.")
    state, digest = _read(Path(file), sha256)
    try:
        encoder = encoders[kind](state)
    except (KeyError, ValueError, IndexError) as error:
        raise BundleError(
            f"The weights of {kind} have a layout of their own; {Path(file).name} lacks {error}. Give the published "
            "checkpoint of the encoder."
        ) from error
    encoder.weights_sha256 = digest
    return encoder


def _read(file: Path, expected: str | None) -> tuple[State, str]:
    try:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"The weights of an ECG encoder are a local file; {file} does not read ({error}).") from error
    if expected is not None and digest != expected.lower():
        raise BundleError(
            f"{file.name} must have SHA-256 {expected[:12]}…; found {digest[:12]}…. Download it again from its "
            "publisher."
        )
    try:
        if file.suffix == ".safetensors":
            content = load_file(file)
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # safetensors and torch each raise their own kinds
        raise BundleError(
            f"Weights are read without running anything in them; {file.name} does not read so "
            f"({type(error).__name__}: {error}). Save its tensors alone, as safetensors."
        ) from error
    return _tensors(content), digest


def _tensors(content) -> State:
    """Return the weights of a checkpoint by name, out of what wraps them."""
    while isinstance(content, dict) and not any(isinstance(value, torch.Tensor) for value in content.values()):
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), dict)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, dict):
        raise BundleError(f"A checkpoint is a table of tensors; found a {type(content).__name__}. Give another file.")
    return {key: value.float() for key, value in content.items() if isinstance(value, torch.Tensor)}


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


def heads_attend(x: torch.Tensor, q, k, v, heads: int) -> torch.Tensor:
    """Return softmax attention of (n, d) tokens with several heads."""
    split = [part.view(len(x), heads, -1).transpose(0, 1) for part in (q, k, v)]
    return torch.nn.functional.scaled_dot_product_attention(*split).transpose(0, 1).reshape(len(x), -1)
