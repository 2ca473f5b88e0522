"""How large a flow network is: parameters, work, and memory, found without computing anything.

    python Testing/Benchmarks/network_size.py [--config cof-v2-large …] [--batch N]

Tensors are on torch's ``meta`` device, which knows shapes alone, so that this takes seconds for any size. Told are: the
parameters; the work of one evaluation for one heart, and of one training step of the batch (forward and twice as much
backward); what the forward pass keeps for the backward one, in bf16; and the least time of both on a GPU of a given
speed, at a given share of it.
"""

import argparse
import sys
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "COFGenerator"), str(ROOT / "COFTraining")]
SPEED_TFLOPS, SHARE = 989.0, 0.4
"""Of an H200 in bf16 without sparsity (its data sheet), and what convolutions reach of it as a rule."""


def measure(name: str, batch: int | None) -> dict[str, float]:
    """Return the figures of the plain flow, or of the trunk, of a configuration."""
    from COFGeneratorLib.generator.networks.condition import CONDITION_SIZE
    from COFGeneratorLib.generator.networks.flow_network import PACK_COMPONENTS, VelocityUNet
    from COFGeneratorLib.generator.networks.mean_network import MotionMean
    from COFTrainingLib.training.configurations import read_configuration

    config = read_configuration("flow", name)
    grid, count, network = config.grid, batch or config.stage.batch, config.flow_config
    phases = torch.arange(grid.phases, device="meta") / grid.phases
    maps = torch.empty(1, 3, *grid.shape, device="meta", dtype=torch.bfloat16)
    with torch.device("meta"):
        model = (VelocityUNet if config.expected is None else MotionMean)(grid, network).to(torch.bfloat16)
    if isinstance(model, VelocityUNet):
        pack = maps.new_empty(1, grid.phases, PACK_COMPONENTS * grid.shape[0], *grid.shape[1:])
        heard = maps.new_empty(1, network.ecg_size + 1)
        seen = maps.new_empty(1, model.seen, *grid.shape[1:])
        inputs, named = (pack, maps.new_empty(1), maps, heard, phases), {"anatomy": seen}
    else:
        inputs, named = (maps, maps.new_empty(1, CONDITION_SIZE), phases), {}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage.nbytes()
        return tensor

    own = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    with FlopCounterMode(display=False) as work, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        held = model(*inputs, **named)  # the result holds what is kept, so that no storage is counted twice
    del held
    flops = float(work.get_total_flops())
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "tflop": flops / 1e12,
        "batch": count,
        "step_tflop": 3.0 * count * flops / 1e12,
        "kept_gb": count * sum(size for storage, size in kept.items() if storage not in own) / 1e9,
    }


def main() -> None:
    """Print a line a configuration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", nargs="+", default=["cof-plus", "cof-v2", "cof-v2-large"])
    parser.add_argument("--batch", type=int, help="instead of the configuration's own")
    options = parser.parse_args()
    for name in options.config:
        found = measure(name, options.batch)
        seconds = found["step_tflop"] / (SPEED_TFLOPS * SHARE)
        print(
            f"{name}: {found['parameters'] / 1e6:.2f} M parameters; {found['tflop']:.4f} TFLOP an evaluation of one "
            f"heart; a step of batch {found['batch']:.0f} {found['step_tflop']:.2f} TFLOP, {found['kept_gb']:.1f} GB "
            f"kept for the backward pass, {1000 * seconds:.1f} ms at {100 * SHARE:.0f} % of {SPEED_TFLOPS:.0f} TFLOP/s"
        )


if __name__ == "__main__":
    main()
