"""One generation on a GPU: its time, and whether it is the CPU's; or, without a GPU, an estimate by counting.

    python Testing/Benchmarks/gpu_speed.py [--device cuda:0] [--repeats 10]
    python Testing/Benchmarks/gpu_speed.py --estimate

With a GPU: the smallest time of ``generate`` with labels, 50 frames of 12×128×128, its stages, the GPU's peak memory,
and how far motion, EF and grey values are from the CPU's. Exit 1 where it takes more than 50 ms, or they are further
than the tolerances. The estimate runs on the CPU and counts the kernels that a GPU would launch and the bytes that they
would read and write, and takes what the processor does itself (ECG, labels, read-outs) as it is timed.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "COFGenerator"), str(ROOT / "COFTraining"), str(ROOT / "Testing" / "Benchmarks")]
GOAL_MS = 50.0
MOTION_MM, EF_POINTS, GREY_SHARE = 0.02, 0.05, 0.002
"""Tolerances: the CPU's own sampler in two dimensions loses 1e-4 voxels; grey values are a mean of the range."""
LAUNCH_US, BANDWIDTH_TB_S = 5.0, 4.8
"""Of an H200: what a launch costs from Python, and its memory's bandwidth (data sheet)."""
OWN_STAGES = ("ecg", "anatomy", "function")


def a_generation(seed: int):
    """Return what generates the benchmark's heart on a device."""
    from COFGeneratorLib.generator import generate, load_bundle
    from generate_speed import an_anchor

    stack, labels, record = an_anchor(seed)
    bundle = load_bundle(ROOT / "Resources" / "Models" / "cof-plus")
    return lambda device: generate(stack, record, bundle, labels=labels, frames=50, device=device)


def measure(device: str, repeats: int, seed: int) -> int:
    """Print time and equality on a GPU; return the exit code."""
    import torch

    run = a_generation(seed)
    expected = run("cpu")
    spent = []
    for _ in range(repeats + 2):  # two warm up
        torch.cuda.reset_peak_memory_stats(device)
        torch.cuda.synchronize(device)
        start = time.perf_counter()
        found = run(device)
        torch.cuda.synchronize(device)
        spent.append(1000.0 * (time.perf_counter() - start))
    moved = max(float(np.abs(found.displacement_mm(t) - expected.displacement_mm(t)).max()) for t in range(0, 50, 5))
    apart = {
        "time, ms": (min(spent[2:]), GOAL_MS),
        "motion, mm": (moved, MOTION_MM),
        "EF, points": (abs(found.function.ef_percent - expected.function.ef_percent), EF_POINTS),
        "grey values, of their range": (
            float(np.abs(found.frames - expected.frames).mean() / np.ptp(expected.frames)), GREY_SHARE
        ),
    }  # fmt: skip
    print(
        "stages, ms: " + ", ".join(f"{name} {1000 * value:.1f}" for name, value in found.provenance["seconds"].items())
    )
    print(f"peak memory of the GPU {torch.cuda.max_memory_allocated(device) / 1e6:.0f} MB")
    for name, (value, bar) in apart.items():
        print(f"{name:30s}{value:10.4f}  bar {bar:g}{'' if value <= bar else '   MISSED'}")
    return int(any(value > bar for value, bar in apart.values()))


def estimate(seed: int) -> int:
    """Print what a GPU would have to do; returns 0."""
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_flatten

    class Counting(TorchDispatchMode):
        kernels, moved = 0, 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            given = [item for item in tree_flatten((args, kwargs))[0] if hasattr(item, "untyped_storage")]
            made = [item for item in tree_flatten(out)[0] if hasattr(item, "untyped_storage")]
            known = {item.untyped_storage()._cdata for item in given}
            changes = func._schema.is_mutable
            if changes or any(item.untyped_storage()._cdata not in known for item in made):  # else it is a view
                self.kernels += 1
                self.moved += sum(item.numel() * item.element_size() for item in (*given, *made))
            return out

    run = a_generation(seed)
    run("cpu")
    with Counting() as counted:
        cine = run("cpu")
    own_ms = 1000.0 * sum(cine.provenance["seconds"].get(stage, 0.0) for stage in OWN_STAGES)
    launch_ms, memory_ms = counted.kernels * LAUNCH_US / 1000.0, counted.moved / (BANDWIDTH_TB_S * 1e9)
    print(
        f"{counted.kernels} kernels ({launch_ms:.0f} ms of launches), {counted.moved / 1e9:.1f} GB read and written "
        f"({memory_ms:.1f} ms), {own_ms:.0f} ms of the processor's own stages {', '.join(OWN_STAGES)}"
    )
    return 0


def main() -> int:
    """Measure or estimate; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--seed", type=int, default=7_500_000)
    parser.add_argument("--estimate", action="store_true")
    options = parser.parse_args()
    return estimate(options.seed) if options.estimate else measure(options.device, options.repeats, options.seed)


if __name__ == "__main__":
    sys.exit(main())
