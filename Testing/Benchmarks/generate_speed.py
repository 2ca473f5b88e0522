"""How much work ``generate`` is, warm: ratio to the bare warp, share of each stage, peak memory, and exactness.

    OMP_NUM_THREADS=1 python Testing/Benchmarks/generate_speed.py [--bundle DIR] [--repeats 5] [--only labels …]

The floor is 50 warps of 12×128×128 by torch's own 3-D sampler, displacements at hand. Ratios are of CPU time, of one
process each, floor and ``generate`` by turns: a busy machine slows both. Memory is the peak of a process that does
nothing else. ``write`` tells what every part of a result costs to write; starts from cold are ``batch_speed.py``'s.
Exit 1 where a bar is missed.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "COFGenerator"), str(ROOT / "COFTraining")]
SHAPE, FRAMES = (12, 128, 128), 50
FLOOR_WARPS = 50
LARGE = (20, 320, 320)

RATIO_BARS = {"labels": 3.0, "segmenter": 6.0}
MEMORY_BARS_GB = {"labels": 1.0, "large": 2.0}
GROWTH_BAR = 1.1
"""Peak memory at 200 frames, of that at 50."""
EF_BAR_POINTS, MOTION_BAR_MM = 0.05, 0.02
RUNS = ("labels", "segmenter", "many", "large", "write")
WRITTEN = (("function",), ("cine",), ("cine", "labels", "motion", "scene"), ("preview",), ("film",), ("page",))


def an_anchor(seed: int, shape: tuple[int, int, int] = SHAPE, pixel_mm: float = 1.6):
    """Return a phantom case on a stack of exactly that many voxels, 10 mm apart."""
    from COFGeneratorLib.anatomy.stack import SaxStack
    from COFTrainingLib.phantom.cases import draw_case

    case = draw_case(seed, spacing_mm=(10.0, pixel_mm))
    voxels, labels = np.zeros(shape, np.float32), np.zeros(shape, np.uint8)
    depth, height, width = (min(a, b) for a, b in zip(shape, case.anchor.shape, strict=True))
    voxels[:depth, :height, :width] = case.anchor.voxels[:depth, :height, :width]
    labels[:depth, :height, :width] = case.labels[:depth, :height, :width]
    return SaxStack(voxels, case.anchor.ijk_to_ras), labels, case.record


def bare_warp_s(stack) -> float:
    """Return the CPU seconds of the floor."""
    import torch
    from COFGeneratorLib.motion.fields import warp

    image = torch.from_numpy(stack.voxels)[None, None]
    field = torch.rand(1, 3, *stack.shape)
    warp(image, field)
    start = time.process_time()
    for _ in range(FLOOR_WARPS):
        warp(image, field)
    return time.process_time() - start


def one_run(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return what one process measures of ``generate``: CPU seconds, ratios to the floor, stages, memory."""
    from COFGeneratorLib.generator import generate, load_bundle

    bundle = load_bundle(options.bundle)
    large = name == "large"
    stack, labels, record = an_anchor(options.seed, LARGE, 0.8) if large else an_anchor(options.seed)
    frames = 200 if name == "many" else FRAMES
    given = None if name == "segmenter" else labels
    if given is None and bundle.segmenter is None:
        return {"error": "the bundle has no segmenter"}
    if name == "write":
        return {"seconds_by_part": writing(generate(stack, record, bundle, labels=labels, frames=frames, device="cpu"))}
    seconds, floors, cine = [], [], None
    for _ in range(options.repeats + 1 if name in RATIO_BARS else 2):  # the first one warms up
        del cine  # else its frames would count into the memory of the next
        start = time.process_time()
        try:
            cine = generate(stack, record, bundle, labels=given, frames=frames, device="cpu")
        except ValueError as error:
            return {"error": str(error)}
        seconds.append(time.process_time() - start)
        peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        if name in RATIO_BARS:
            floors.append(bare_warp_s(stack))
    found: dict[str, Any] = {
        "seconds": float(np.min(seconds[1:])),
        "peak_gb": peak_gb,
        "stages": cine.provenance["seconds"],
    }
    if floors:
        found |= {"floor_s": float(np.min(floors)), "ratio": float(np.min(seconds[1:]) / np.min(floors))}
    if name == "labels":
        found |= exactness(bundle, stack, labels, cine)
    return found


def writing(cine) -> dict[str, float]:
    """Return the CPU seconds of writing each part of a result, the smaller of two."""
    from COFGeneratorLib.jobs.stopwatch import Stopwatch
    from COFGeneratorLib.results import write_result

    spent: dict[str, float] = {}
    for parts in WRITTEN * 2:
        with tempfile.TemporaryDirectory() as folder:
            start = time.process_time()
            write_result(cine, Path(folder), Stopwatch(), parts=parts)
            name = "+".join(parts)
            spent[name] = min(time.process_time() - start, spent.get(name, float("inf")))
    return spent


def exactness(bundle, stack, labels, cine) -> dict[str, float]:
    """Return how far motion and EF are from the same computed slowly: 2^10 steps, 64 bits, torch's 3-D sampler."""
    import torch
    from COFGeneratorLib.function import report_from_curves, volume_curves
    from COFGeneratorLib.generator.conditioned import prepare_anchor
    from COFGeneratorLib.generator.networks.grid import label_fractions
    from COFGeneratorLib.generator.settled import settled
    from COFGeneratorLib.motion.fields import compose, exponential, voxels_from_mm, warp

    ready = prepare_anchor(stack, cine.cycle, bundle, labels, torch.device("cpu"))
    model = bundle.model
    velocity = settled(model, model.velocities(ready.maps, ready.condition)[0][0], ready, stack, ready.wanted_ef)
    slow = velocity.double() / 2**10
    for _ in range(10):
        slow = compose(slow, slow)
    apart = (exponential(velocity) - slow) * torch.tensor(ready.grid.spacing_mm).view(3, 1, 1, 1)
    inside = torch.from_numpy(label_fractions(labels)).double()[None]
    spacing = torch.from_numpy(stack.spacing_mm.copy())
    moved = [
        warp(inside, voxels_from_mm(torch.from_numpy(cine.displacement_mm(frame))[None].double(), spacing))[0].numpy()
        for frame in range(len(cine.frames))
    ]
    curves = volume_curves(np.stack(moved).astype(np.float32), stack.ijk_to_ras)
    report = report_from_curves(
        curves, cine.time_ms, cine.rr_ms, 60000.0 / cine.rr_ms, labels_from="user", folded_fraction=0.0
    )
    return {
        "motion_error_mm": float(apart.abs().max()),
        "ef_error_points": abs(report.ef_percent - cine.function.ef_percent),
    }


def judged(found: dict[str, dict[str, Any]]) -> bool:
    """Print what was found against its bars; return whether all are met."""
    met = True

    def say(what: str, value: float, bar: float, unit: str) -> None:
        nonlocal met
        met &= value <= bar
        print(f"{what:34s}{value:9.3f} {unit:7s} bar {bar:g}{'' if value <= bar else '   MISSED'}")

    for name, run in found.items():
        if "error" in run:
            print(f"{name}: {run['error']}")
            met = False
            continue
        if "seconds_by_part" in run:
            print("write: " + ", ".join(f"{part} {value:.2f} s" for part, value in run["seconds_by_part"].items()))
            continue
        total = sum(run["stages"].values())
        stages = ", ".join(f"{stage} {100 * value / total:.0f} %" for stage, value in run["stages"].items())
        print(f"{name}: {run['seconds']:.2f} s of CPU, {run['peak_gb']:.2f} GB ({stages})")
        if name in RATIO_BARS:
            say(f"  × the floor of {run['floor_s']:.2f} s", run["ratio"], RATIO_BARS[name], "")
        if name in MEMORY_BARS_GB:
            say("  peak memory", run["peak_gb"], MEMORY_BARS_GB[name], "GB")
        if name == "labels":
            say("  exponential, largest error", run["motion_error_mm"], MOTION_BAR_MM, "mm")
            say("  EF by the slow way", run["ef_error_points"], EF_BAR_POINTS, "points")
    if "peak_gb" in found.get("many", {}) and "peak_gb" in found.get("labels", {}):
        say("memory, 200 frames over 50", found["many"]["peak_gb"] / found["labels"]["peak_gb"], GROWTH_BAR, "")
    return met


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=ROOT / "Resources" / "Models" / "cof-plus")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=7_500_000)
    parser.add_argument("--only", nargs="+", choices=RUNS, default=RUNS)
    parser.add_argument("--run", choices=RUNS, help="one run in this process, as JSON")
    options = parser.parse_args()
    if options.run:
        print(json.dumps(one_run(options.run, options)))
        return 0
    found = {}
    for name in options.only:
        command = [sys.executable, __file__, "--run", name, "--bundle", str(options.bundle)]
        command += ["--repeats", str(options.repeats), "--seed", str(options.seed)]
        finished = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
        if finished.returncode:
            print(finished.stderr, file=sys.stderr)
            return 1
        found[name] = json.loads(finished.stdout.splitlines()[-1])
    return int(not judged(found))


if __name__ == "__main__":
    sys.exit(main())
