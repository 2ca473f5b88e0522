"""Clips that took minutes to make, kept in a folder so that the next study of the same model finds them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from COFGeneratorLib.errors import CohortError
from COFGeneratorLib.weights import save_exact
from safetensors import SafetensorError, safe_open

Tensors = dict[str, torch.Tensor]


def kept(
    folder: Path | None, name: str, facts: dict[str, Any], count: int, make: Callable[[], Tensors]
) -> Tensors:  # fmt: skip
    """Return the first ``count`` of a set of clips: from ``folder`` where enough of them lie there, else made and kept.

    Args:
        folder: Where sets lie, one safetensors file each; None keeps nothing.
        name: Of the set.
        facts: All that it depends on but its size (weights, plane, first seed); JSON values.
        count: Clips wanted.
        make: Makes them: tensors whose first axis counts clips. Clip i must depend on ``facts`` and i alone.

    Raises:
        CohortError: If the folder's set was made of something else, or does not read.
    """
    if folder is None:
        return make()
    path, told = folder / f"{name}.safetensors", json.dumps(facts, sort_keys=True)
    if path.exists():
        found, tensors = _read(path)
        if found != told:
            raise CohortError(
                f"Kept clips must be of the same model, plane and seeds; {path} was made with {found or 'nothing told'}"
                f", wanted is {told}. Name another folder with --keep."
            )
        if all(len(tensor) >= count for tensor in tensors.values()):
            return {key: tensor[:count] for key, tensor in tensors.items()}
    tensors = make()
    save_exact(tensors, path, {"facts": told})
    return tensors


def _read(path: Path) -> tuple[str, Tensors]:
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("facts", ""), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CohortError(f"Kept clips are safetensors; {path} does not read ({error}). Delete the file.") from error
