"""How exactly to compute: automatic mixed precision and its full-precision islands."""

import contextlib
import os
from collections.abc import Mapping
from typing import Any

import torch
from COFGeneratorLib.errors import TrainingError

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def mixed_precision(device: torch.device, precision: str) -> contextlib.AbstractContextManager:
    """Return the autocast context of ``fp32`` (none), ``bf16`` or ``fp16``; none where a device cannot do it well."""
    if precision not in PRECISIONS:
        raise TrainingError(f"Precision is one of {', '.join(PRECISIONS)}; found {precision!r}.")
    dtype = None if hindrance(device, precision) else PRECISIONS[precision]
    return contextlib.nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)


def hindrance(device: torch.device, precision: str) -> str:
    """Return why a device should not compute in this precision; empty where it may.

    Processors without AVX-512 emulate half-precision convolutions: 27 times slower than fp32 (AVX2, torch 2.13). On
    those with AMX, oneDNN's bf16 convolutions of torch 2.13 write beyond their memory in the backward pass and end the
    process, unless ``ONEDNN_MAX_CPU_ISA`` keeps it off AMX from the start.
    """
    if precision == "fp32" or device.type != "cpu":
        return ""
    if torch.backends.cpu.get_cpu_capability() == "AVX2":
        return "this processor would only emulate it, many times slower than fp32"
    can: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    if can.get("amx_bf16", False) and "AMX" in os.environ.get("ONEDNN_MAX_CPU_ISA", "AMX"):
        return (
            "on processors with AMX torch can crash in it (start with ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 in the "
            "environment to have it all the same)"
        )
    return ""


def fallback(device: torch.device, precision: str) -> str:
    """Return words for the user where a run computes in another precision than it asks for, else an empty string."""
    why = hindrance(device, precision)
    if not why:
        return ""
    return f"{precision} was asked for; {why}. Computing in fp32; on a GPU the same configuration runs as written."


def full_precision(device: torch.device | str) -> contextlib.AbstractContextManager:
    """Return a context in which autocast is off: for warps, local correlation, integrals and other differences of
    large numbers. Cast inputs with ``.float()``."""
    return torch.autocast(torch.device(device).type, enabled=False)


def pinned(batch: Any) -> Any:
    """Return a nested dict, list or tuple with its tensors in pinned memory, from which a GPU fetches by itself."""
    if isinstance(batch, torch.Tensor):
        return batch.pin_memory()
    if isinstance(batch, Mapping):
        return {key: pinned(value) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*map(pinned, batch))
    return type(batch)(map(pinned, batch)) if isinstance(batch, list | tuple) else batch


def to_device(batch: Any, device: torch.device) -> Any:
    """Move every tensor of a nested dict, list or tuple; leave the rest (names, numbers) as it is."""
    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(to_device(value, device) for value in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(to_device(value, device) for value in batch)
    return batch
