"""Options that change how a network computes, not what: compilation, and recomputing activations to save memory."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from COFGeneratorLib.errors import TrainingError
from torch import nn
from torch.utils.checkpoint import checkpoint


def compiled(model: nn.Module, backend: str) -> nn.Module:
    """Return what calls a model through ``torch.compile``, if a backend is named; parameters stay the model's own.

    Raises:
        TrainingError: If there is no such backend.
    """
    if not backend:
        return model
    known = torch.compiler.list_backends(exclude_tags=())
    if backend not in known:
        raise TrainingError(
            f"torch.compile has the backends {', '.join(sorted(known))} here; found {backend!r}. Choose one, or leave "
            "the loop's compile empty."
        )
    return torch.compile(model, backend=backend)


def recompute_blocks(model: nn.Module) -> int:
    """Let every block of a network forget its activations and compute them again in the backward pass.

    A block is a module that stands in a ``ModuleList``, as the residual blocks and levels of our networks do. Random
    numbers (dropout) are drawn alike both times, so the gradients are the same.

    Returns:
        How many blocks there are.
    """
    blocks = [
        child
        for module in model.modules()
        if isinstance(module, nn.ModuleList)
        for child in module
        if not isinstance(child, nn.ModuleList)
    ]
    for block in blocks:
        if "forward" not in vars(block):
            block.forward = functools.partial(_recomputed, type(block).forward.__get__(block))
    return len(blocks)


def _recomputed(forward: Callable[..., Any], *inputs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*inputs)
    return checkpoint(forward, *inputs, use_reentrant=False)
