"""Small tensors that never change, sent to a device once: each sending makes the processor wait for it."""

from functools import lru_cache

import torch


@lru_cache(maxsize=512)
def constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return numbers as a tensor (n,), the same one each time: it is not to be written to."""
    with torch.inference_mode(False):  # else it would be of no use to a training
        return torch.tensor(values, dtype=dtype, device=device)
