"""Starting a training from a bundle: what fits is taken over, what is new begins as it would without it."""

from pathlib import Path

import torch
from COFGeneratorLib.ecgflowcmr.bundle import load_ecgflow_bundle
from COFGeneratorLib.errors import TrainingError
from torch import nn

State = dict[str, torch.Tensor]


def states_of(bundle: Path | str) -> tuple[dict[str, State], dict[str, str]]:
    """Return the weights of a bundle by stage, and what to state of where they came from.

    Raises:
        BundleError: If it cannot be used.
    """
    loaded = load_ecgflow_bundle(bundle)
    amdf = loaded.model.amdf
    states = {
        "pa-mae": amdf.pa_mae.state_dict(),
        "vae": {f"vae.{name}": value for name, value in loaded.model.vae.state_dict().items()},
        "amdf": {name: value for name, value in amdf.state_dict().items() if not name.startswith("pa_mae.")},
    }
    if loaded.segmenter is not None:
        states["segmenter"] = loaded.segmenter.state_dict()
    return states, {"model": loaded.model_id, "weights_sha256": loaded.weights_sha256}


def take_over(module: nn.Module, state: State | None) -> list[str]:
    """Load what fits of a state; returns the names of what did not.

    A matrix that has more columns than before (further numbers in a condition) keeps the old ones, and the new ones are
    zero: the network then begins with what it computed before.
    """
    own, left = module.state_dict(), []
    for name, value in own.items():
        old = (state or {}).get(name)
        if old is not None and old.shape == value.shape:
            own[name] = old.to(value)
        elif old is not None and old.ndim == value.ndim == 2 and len(old) == len(value) and old.shape < value.shape:
            own[name] = torch.zeros_like(value)
            own[name][:, : old.shape[1]] = old
        else:
            left.append(name)
    module.load_state_dict(own)
    return left


def taken_whole(module: nn.Module, state: State | None, stage: str) -> State:
    """Return the weights of a module that is taken over without training.

    Raises:
        TrainingError: If something of it is missing.
    """
    left = take_over(module, state)
    if left:
        raise TrainingError(
            f"A stage of no steps is taken over whole from --start; {stage} lacks {left[0]} and {len(left) - 1} more. "
            "Give a bundle of the same size, or train the stage."
        )
    return module.state_dict()
