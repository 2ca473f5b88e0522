"""A GPU without a GPU: tensors on ``meta`` that compute on the CPU, and meet tensors of the CPU as a GPU's would.

Inside ``pretended_device()`` all that is sent or made on ``DEVICE`` holds its numbers on the CPU but says that it is
elsewhere. Where it meets a tensor of the CPU the operation is refused, as a GPU's would be; where the processor would
have to wait for the GPU (a number read, a tensor sent either way, an index of unknown length) the wait is counted.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

DEVICE = torch.device("meta")
WAITS = {"_local_scalar_dense", "item", "is_nonzero", "nonzero", "equal", "masked_select", "_unique2", "unique_dim"}
"""Operations whose result the processor must know."""
FROM_HOST = {torch.tensor, torch.as_tensor}


class DevicesMeet(AssertionError):
    """Raised where a tensor of the pretended device meets one of the CPU."""


class Pretended(torch.Tensor):
    """A tensor that says it is on ``DEVICE``; its numbers are in ``held``, on the CPU."""

    held: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> "Pretended":
        made = torch.Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            device=DEVICE,
        )  # fmt: skip
        made.held = held
        return made

    def __repr__(self) -> str:
        return f"Pretended({tuple(self.shape)})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise RuntimeError("A tensor of the pretended device is used outside pretended_device().")


class Guard(TorchDispatchMode):
    """Runs operations, refuses those in which devices meet, and counts waits by what they are."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = func._schema.name.split("::")[1]
        tensors = [item for item in tree_flatten((args, kwargs))[0] if isinstance(item, torch.Tensor)]
        there = [tensor for tensor in tensors if isinstance(tensor, Pretended)]
        here = [tensor for tensor in tensors if not isinstance(tensor, Pretended)]
        wanted = kwargs.get("device") or next((item for item in args if isinstance(item, torch.device)), None)
        if not there and (wanted is None or torch.device(wanted) != DEVICE):
            return func(*args, **kwargs)
        args, kwargs = tree_map_only(torch.device, lambda _: torch.device("cpu"), (args, kwargs))
        held_args, held_kwargs = tree_map_only(Pretended, lambda tensor: tensor.held, (args, kwargs))
        stays = bool(there) if wanted is None else torch.device(wanted) == DEVICE
        if name in ("_to_copy", "to", "copy_"):
            self._sent(name, args, bool(there), stays)
        else:
            self._met(name, there, here)
            if name in WAITS or (name.startswith("index") and _has_mask(args)):
                self.waits[name] += 1
        with torch.inference_mode(False), torch.no_grad():  # what is held is held for any mode
            out = func(*held_args, **held_kwargs)
            if func._schema.is_mutable and not name.startswith("_foreach") and isinstance(out, torch.Tensor):
                return args[0]  # in place: the tensor itself, whatever it holds
            return tree_map_only(torch.Tensor, Pretended, out) if stays else out

    def _sent(self, name: str, args: tuple, there: bool, stays: bool) -> None:
        """Count what is copied between the devices."""
        if name == "copy_":
            into, out_of = (isinstance(tensor, Pretended) for tensor in args[:2])
            there, stays = out_of, into
        if there != stays:
            self.waits["sent to the device" if stays else "sent to the CPU"] += 1

    @staticmethod
    def _met(name: str, there: list, here: list) -> None:
        strangers = [tensor for tensor in here if tensor.dim()]
        if there and strangers:
            shapes = [tuple(tensor.shape) for tensor in strangers]
            raise DevicesMeet(f"{name}: tensors {shapes} of the CPU meet {[tuple(one.shape) for one in there]}")


def _has_mask(args: tuple) -> bool:
    """Whether something is indexed by booleans, whose number must be counted first."""
    indices = [item for item in tree_flatten(args[1:2])[0] if isinstance(item, torch.Tensor)]
    return any(index.dtype in (torch.bool, torch.uint8) for index in indices)


class _FromHost(TorchFunctionMode):
    """Tensors made of the processor's own numbers are made there and sent."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.new_tensor and isinstance(args[0], Pretended):
            device = kwargs.pop("device", DEVICE)
            kwargs.setdefault("dtype", args[0].dtype)
            return torch.tensor(*args[1:], **kwargs).to(device)
        made = func in FROM_HOST and not isinstance(args[0], torch.Tensor)
        if made and torch.device(kwargs.get("device") or "cpu") == DEVICE:
            return func(*args, **kwargs | {"device": "cpu"}).to(DEVICE)
        return func(*args, **kwargs)


@contextlib.contextmanager
def pretended_device() -> Iterator[Guard]:
    """Give the guard; inside, ``DEVICE`` is one that computes, and modules go there by ``to``."""
    before, autocast = torch.__future__.get_overwrite_module_params_on_conversion(), torch.autocast
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    torch.autocast = _autocast(autocast)  # type: ignore[misc]
    try:
        with _FromHost(), Guard() as guard:
            yield guard
    finally:
        torch.autocast = autocast  # type: ignore[misc]
        torch.__future__.set_overwrite_module_params_on_conversion(before)


def _autocast(real: Any) -> Any:
    """Return ``torch.autocast``, which knows no device of that name."""

    def autocast(device_type: str, *options: Any, **named: Any) -> Any:
        return contextlib.nullcontext() if device_type == DEVICE.type else real(device_type, *options, **named)

    return autocast
