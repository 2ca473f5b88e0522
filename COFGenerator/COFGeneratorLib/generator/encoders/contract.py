"""What every ECG encoder offers, and how weights of others are read: from a local file, by checksum, never unpickled.

No weights and no code of these models are part of this product; their licences bind whoever downloads them (ST-MEM:
CC BY-NC 4.0; ECGFounder and ECG-FM: MIT code). Layouts were taken from the published checkpoints' key names.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from COFGeneratorLib.errors import BundleError
from COFGeneratorLib.files import sha256_of
from COFGeneratorLib.generator.encoders.signals import ForeignEcgEncoder, State
from COFGeneratorLib.weights import read_foreign

KINDS = ("ecgfounder", "st-mem", "ecg-fm")
WRAPPERS = ("state_dict", "model", "encoder")
"""Keys under which published checkpoints keep their weights."""


def load_foreign_encoder(kind: str, file: Path | str, sha256: str | None = None) -> ForeignEcgEncoder:
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

    encoders: dict[str, Callable[[State], ForeignEcgEncoder]] = {
        "ecgfounder": EcgFounder,
        "st-mem": StMem,
        "ecg-fm": EcgFm,
    }
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
        digest = sha256_of(file)
    except OSError as error:
        raise BundleError(f"The weights of an ECG encoder are a local file; {file} does not read ({error}).") from error
    if expected is not None and digest != expected.lower():
        raise BundleError(
            f"{file.name} must have SHA-256 {expected[:12]}…; found {digest[:12]}…. Download it again from its "
            "publisher."
        )
    try:
        content = read_foreign(file)
    except Exception as error:  # safetensors and torch each raise their own kinds
        raise BundleError(
            f"Weights are read without running anything in them; {file.name} does not read so "
            f"({type(error).__name__}: {error}). Save its tensors alone, as safetensors."
        ) from error
    return _tensors(content), digest


def _tensors(content: Any) -> State:
    """Return the weights of a checkpoint by name, out of what wraps them."""
    while isinstance(content, dict) and not any(isinstance(value, torch.Tensor) for value in content.values()):
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), dict)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, dict):
        raise BundleError(f"A checkpoint is a table of tensors; found a {type(content).__name__}. Give another file.")
    return {key: value.float() for key, value in content.items() if isinstance(value, torch.Tensor)}
