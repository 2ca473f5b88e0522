"""What a flow shares with its bundle's registration teacher, the encoder of its reference anatomy, is stored once."""

from pathlib import Path

import torch

from COFGeneratorLib.generator.networks.rea import ENCODER_PREFIX
from COFGeneratorLib.weights import load_weights

TEACHER_WEIGHTS = "model.safetensors"
State = dict[str, torch.Tensor]


def without_the_teachers(state: State, teacher: Path) -> State:
    """Return a flow's weights less those that the teacher in a folder has, too, to the last bit."""
    known = load_weights(teacher / TEACHER_WEIGHTS)

    def shared(name: str, value: torch.Tensor) -> bool:
        there = known.get(name.removeprefix(ENCODER_PREFIX)) if name.startswith(ENCODER_PREFIX) else None
        return there is not None and torch.equal(there, value.cpu())

    return {name: value for name, value in state.items() if not shared(name, value)}


def with_the_teachers(state: State, flow: torch.nn.Module, teacher: Path) -> State:
    """Return the weights of a flow, those that it shares with the teacher in a folder taken from there.

    Raises:
        OSError, KeyError: If the teacher is missing or of another size.
    """
    missing = [name for name in flow.state_dict() if name.startswith(ENCODER_PREFIX) and name not in state]
    if not missing:
        return state
    known = load_weights(teacher / TEACHER_WEIGHTS)
    return state | {name: known[name.removeprefix(ENCODER_PREFIX)] for name in missing}
