"""Network weights on disk, as safetensors: exact in runs, in half precision or in eight bits in bundles.

Nothing is unpickled. Eight bits keep one scale an output channel (symmetric, rounding error at most 1/254 of the
channel's largest weight); vectors (biases, norms) stay in half precision.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from COFGeneratorLib.files import replacing

if TYPE_CHECKING:
    import torch

SCALE_SUFFIX = "::scale"


def save_exact(state: "dict[str, torch.Tensor]", path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a state dictionary as it is, complete or not at all."""
    from safetensors.torch import save

    on_cpu = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    with replacing(path) as beside:
        beside.write_bytes(save(on_cpu, metadata))  # save_file would make it its owner's alone


def save_weights(state: "dict[str, torch.Tensor]", path: Path, eight_bits: bool = False) -> None:
    """Write a state dictionary as safetensors in half precision, matrices and kernels in eight bits where asked."""
    import torch
    from safetensors.torch import save

    stored = {}
    for name, value in state.items():
        value = value.detach().cpu()
        if not value.is_floating_point():
            stored[name] = value.contiguous()
        elif eight_bits and value.ndim >= 2:
            flat = value.float().flatten(1)
            scale = (flat.abs().amax(dim=1) / 127.0).clamp(min=1e-12)
            rounded = (flat / scale[:, None]).round().clamp(-127, 127)
            stored[name] = rounded.to(torch.int8).view(value.shape).contiguous()
            stored[name + SCALE_SUFFIX] = scale
        else:
            stored[name] = value.to(torch.float16).contiguous()
    path.write_bytes(save(stored))


def read_foreign(path: Path) -> Any:
    """Read what others stored, ``.safetensors`` or a PyTorch checkpoint, as tensors alone: nothing in it is run.

    Raises:
        Exception: Of the file system's, safetensors' and torch's own kinds, if the file does not read so.
    """
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)


def load_weights(path: Path) -> "dict[str, torch.Tensor]":
    """Read a state dictionary in single precision, in whichever form it was stored.

    Raises:
        OSError, safetensors.SafetensorError: If the file cannot be read.
        ValueError: If a number in it is not finite.
    """
    import torch
    from safetensors.torch import load_file

    stored = load_file(path)
    state = {}
    for name, value in stored.items():
        if name.endswith(SCALE_SUFFIX):
            continue
        if name + SCALE_SUFFIX in stored:
            scale = stored[name + SCALE_SUFFIX].view(-1, *[1] * (value.ndim - 1))
            value = value.float() * scale
        state[name] = value.float() if value.is_floating_point() else value
        if value.is_floating_point() and not torch.isfinite(state[name]).all():
            raise ValueError(f"weights must be finite; those of {name} are not")
    return state
