"""Training over several processes: ``torchrun`` starts them, each takes its shards of every batch.

A step's batch is divided into ``shards``; each shard has its random numbers and its mean loss, and the step's gradient
is the mean of the shards' gradients. Who computes a shard does not matter, so two ranks with a shard each and one rank
with both give the same gradients, whatever the loss is.
"""

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from COFGeneratorLib.errors import TrainingError

PATIENCE = timedelta(hours=4)
"""How long a rank waits for another, e.g. while the first one makes examples or validates."""


@dataclass(frozen=True)
class Ranks:
    """This process among the ``size`` that train together; the first one, of rank 0, alone writes."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def wait(self) -> None:
        """Return when every rank has come here."""
        if self.size > 1:
            torch.distributed.barrier()

    def total(self, value: float, device: torch.device) -> float:
        """Return the sum of a number over all ranks."""
        if self.size == 1:
            return value
        number = torch.tensor([value], dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)
        torch.distributed.all_reduce(number)
        return float(number)

    def mean(self, value: Any, device: torch.device) -> float:
        """Return the mean of a number, or 0-d tensor, over all ranks."""
        return self.total(float(value), device) / self.size

    def add_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace every gradient by its sum over all ranks, in one exchange."""
        if self.size == 1:
            return
        grown = [parameter for parameter in parameters if parameter.requires_grad]
        for parameter in grown:
            if parameter.grad is None:  # all ranks must exchange the same tensors
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([parameter.grad.flatten() for parameter in grown])
        torch.distributed.all_reduce(flat)
        parts = flat.split([parameter.numel() for parameter in grown])
        for parameter, part in zip(grown, parts, strict=True):
            parameter.grad.copy_(part.view_as(parameter))

    def of(self, shards: int) -> range:
        """Return the shards that this rank computes.

        Raises:
            TrainingError: If they cannot be shared out evenly.
        """
        if shards % self.size:
            raise TrainingError(
                f"The shards of a batch must be a multiple of the ranks; found {shards} shards and {self.size} ranks. "
                f"Set the loop's shards to a multiple of {self.size}, or start another number of processes."
            )
        return range(self.rank, shards, self.size)


def current_ranks() -> Ranks:
    """Return this process's place, from the environment that ``torchrun`` sets; joins the others on first use."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return Ranks()
    if not torch.distributed.is_available():
        raise TrainingError(
            f"{size} processes were started to train together; this build of torch has no torch.distributed. Use one."
        )
    if not torch.distributed.is_initialized():
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        torch.distributed.init_process_group(backend, timeout=PATIENCE)
    return Ranks(torch.distributed.get_rank(), torch.distributed.get_world_size())


def own_device(name: str) -> str:
    """Return the device of this rank: GPU number LOCAL_RANK where several processes are to use GPUs."""
    local = os.environ.get("LOCAL_RANK")
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if several and local is not None and torch.cuda.is_available() and name in ("auto", "cuda"):
        torch.cuda.set_device(int(local))
        return f"cuda:{local}"
    return name


@contextlib.contextmanager
def first_rank_first() -> Iterator[Ranks]:
    """Let the first rank do something before the others do it, who then find it done."""
    ranks = current_ranks()
    if not ranks.first:
        ranks.wait()
    yield ranks
    if ranks.first:
        ranks.wait()


def shards_of(batch: Any, shards: int) -> list[Any]:
    """Return a batch in parts: every tensor and list as long as the batch is divided, the rest is in every part.

    Raises:
        TrainingError: If the batch is smaller than the number of shards.
    """
    if shards == 1:
        return [batch]
    size = rows_of(batch)
    if size < shards:
        raise TrainingError(f"A batch must have at least as many examples as shards; found {size} and {shards}.")
    edges = [round(size * part / shards) for part in range(shards + 1)]
    return [_rows(batch, slice(low, high), size) for low, high in itertools.pairwise(edges)]


def _rows(value: Any, rows: slice, size: int) -> Any:
    if isinstance(value, torch.Tensor):
        return value[rows] if value.ndim and len(value) == size else value
    if isinstance(value, dict):
        return {key: _rows(entry, rows, size) for key, entry in value.items()}
    if isinstance(value, list) and len(value) == size and not any(isinstance(entry, torch.Tensor) for entry in value):
        return value[rows]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_rows(entry, rows, size) for entry in value))
    if isinstance(value, list | tuple):
        return type(value)(_rows(entry, rows, size) for entry in value)
    return value


def rows_of(batch: Any) -> int:
    """Return the number of examples of a batch: the length of its first tensor, wherever it is; 1 where it has none."""
    return _first_length(batch) or 1


def _first_length(value: Any) -> int | None:
    if isinstance(value, torch.Tensor):
        return len(value) if value.ndim else None
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return next((length for part in parts if (length := _first_length(part))), None)
