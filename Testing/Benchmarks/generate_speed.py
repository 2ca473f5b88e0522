"""How long ``generate`` takes, warm, for 12×128×128 × 50 frames: share of each stage, ratio to the bare warp, memory.

    OMP_NUM_THREADS=2 python Testing/Benchmarks/generate_speed.py [--bundle DIR] [--repeats 3]

The bare warp (50 trilinear warps of the anchor alone, displacements at hand) is the floor. Exit 1 above 5 s or 2 GB on
a machine of two cores.
"""

import argparse
import resource
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "COFGenerator"), str(ROOT / "COFTraining")]
SECONDS_BAR, MEMORY_BAR_GB = 5.0, 2.0
SHAPE, FRAMES = (12, 128, 128), 50


def an_anchor(seed: int):
    """Return a phantom case on a stack of exactly 12×128×128 voxels of 10×1.6×1.6 mm."""
    from COFGeneratorLib.anatomy.stack import SaxStack
    from COFTrainingLib.phantom.cases import draw_case

    case = draw_case(seed, spacing_mm=(10.0, 1.6))
    voxels, labels = np.zeros(SHAPE, np.float32), np.zeros(SHAPE, np.uint8)
    depth, height, width = (min(a, b) for a, b in zip(SHAPE, case.anchor.shape, strict=True))
    voxels[:depth, :height, :width] = case.anchor.voxels[:depth, :height, :width]
    labels[:depth, :height, :width] = case.labels[:depth, :height, :width]
    return SaxStack(voxels, case.anchor.ijk_to_ras), labels, case.record


def bare_warp_s(stack) -> float:
    """Return the seconds of 50 warps of the anchor by displacements that are already there."""
    import torch
    from COFGeneratorLib.motion.fields import warp

    image = torch.from_numpy(stack.voxels)[None, None]
    field = torch.rand(1, 3, *SHAPE)
    warp(image, field)
    start = time.perf_counter()
    for _ in range(FRAMES):
        warp(image, field)
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=ROOT / "Resources" / "Models" / "cof-plus")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=7_500_000)
    options = parser.parse_args()
    from COFGeneratorLib.generator import generate, load_bundle

    bundle = load_bundle(options.bundle)
    stack, labels, record = an_anchor(options.seed)
    total = {}
    for given in (labels, None):
        if given is None and bundle.segmenter is None:
            continue
        seconds = []
        for _ in range(options.repeats + 1):  # the first one warms up
            start = time.perf_counter()
            try:
                cine = generate(stack, record, bundle, labels=given, frames=FRAMES)
            except ValueError as error:
                print(f"with the segmenter: {error}")
                break
            seconds.append(time.perf_counter() - start)
        if len(seconds) < 2:
            continue
        name = "labels given" if given is not None else "labels by the segmenter"
        total[name] = float(np.median(seconds[1:]))
        stages = cine.provenance["seconds"]
        print(f"{name}: {total[name]:.2f} s")
        for stage, value in stages.items():
            print(f"  {stage:10s}{value:7.2f} s {100 * value / sum(stages.values()):5.0f} %")
    floor = bare_warp_s(stack)
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    for name, seconds in total.items():
        print(f"{name}: {seconds / floor:.1f} × the bare warp of {floor:.2f} s")
    print(f"peak memory {peak_gb:.2f} GB")
    return int(max(total.values()) > SECONDS_BAR or peak_gb > MEMORY_BAR_GB)


if __name__ == "__main__":
    sys.exit(main())
