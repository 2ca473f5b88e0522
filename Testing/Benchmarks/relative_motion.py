"""How well velocities of the motion grid hold motion relative to an anchor that is not at the R wave, on phantoms.

    python Testing/Benchmarks/relative_motion.py [--subjects 2] [--seed 7000001]

Anchors at 2, 4 and 7 of 12 phases, motion to five others; the error is the mean over the heart's nodes against the
closed form, mm. Beside it that of the motion from the R wave on the same grid.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "COFGenerator"), str(ROOT / "COFTraining")]

ANCHORS, PHASES = (2, 4, 7), (0, 1, 5, 6, 9)
SWEEPS, STEP = 60, 0.5
"""Of the fixed point that inverts the closed form at the nodes."""


def bracket(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return (D one)·other − (D other)·one of fields (T, 3, D, H, W)."""

    def along(field, direction):
        return sum(torch.gradient(field, dim=2 + axis)[0] * direction[:, axis : axis + 1] for axis in range(3))

    return along(one, other) - along(other, one)


def errors(seed: int, anchor: int) -> dict[str, list[float]]:
    """Return the mean errors of one subject and anchor by method, mm, one value a phase."""
    from COFGeneratorLib.anatomy.heart_frame import heart_frame_from_labels
    from COFGeneratorLib.generator.networks.grid import MotionGrid
    from COFGeneratorLib.motion.fields import exponential, logarithm
    from COFGeneratorLib.motion.relative import relative_velocity
    from COFTrainingLib.phantom.subject import draw_subject, plan_stack
    from COFTrainingLib.training.examples.flow_samples import LOGARITHM_SWEEPS, displacement_on_grid

    grid, subject = MotionGrid(), draw_subject(seed)
    plan = plan_stack(subject, np.random.default_rng(seed), (8.0, 1.6), covers_base=True)
    heart, rr_ms, phases = subject.heart, subject.physiology.rr_ms, np.arange(grid.phases) / grid.phases
    at_ms = phases[anchor] * rr_ms
    frame = heart_frame_from_labels(heart.label_at(plan.heart_points(), at_ms), plan.ijk_to_ras)
    to_phantom = plan.ras_to_heart @ np.linalg.inv(frame.ras_to_heart())
    velocity = logarithm(displacement_on_grid(subject, to_phantom, grid, phases), LOGARITHM_SWEEPS)
    still = velocity[anchor : anchor + 1]
    composed = displacement_on_grid(subject, to_phantom, grid, phases, phases[anchor])
    found = {
        "from the R wave, for comparison": velocity,
        "v_t - v_s": velocity - still,
        "with the bracket, second order": velocity - still + 0.5 * bracket(-still.expand_as(velocity), velocity),
        "logarithm of the composed exponentials": relative_velocity(velocity, still),
        "closed form composed, then fitted": logarithm(composed, LOGARITHM_SWEEPS),
    }
    nodes = (grid.points_mm() @ to_phantom[:3, :3].T + to_phantom[:3, 3]).reshape(-1, 3)
    out: dict[str, list[float]] = {"(size of the motion)": []}
    for phase in PHASES:
        time_ms = phases[phase] * rr_ms
        inside = heart.label_at(nodes, time_ms) > 0
        start = nodes[inside]
        target = start + heart.pull_mm(start, time_ms)
        origin = start.copy()
        for _ in range(SWEEPS):
            origin += STEP * (target - origin - heart.pull_mm(origin, at_ms))
        true = {"R": (target - start) @ to_phantom[:3, :3], "s": (origin - start) @ to_phantom[:3, :3]}
        out["(size of the motion)"].append(float(np.linalg.norm(true["s"], axis=1).mean()))
        for name, candidate in found.items():
            field = exponential(candidate[phase : phase + 1])[0].permute(1, 2, 3, 0).reshape(-1, 3).numpy()[inside]
            off = field * np.array(grid.spacing_mm) - true["R" if candidate is velocity else "s"]
            out.setdefault(name, []).append(float(np.linalg.norm(off, axis=1).mean()))
    return out


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subjects", type=int, default=2)
    parser.add_argument("--seed", type=int, default=7_000_001)
    asked = parser.parse_args()
    seeds = range(asked.seed, asked.seed + asked.subjects)
    columns = [[errors(seed, anchor) for seed in seeds] for anchor in ANCHORS]
    print("| mm | " + " | ".join(f"anchor at {anchor}/12" for anchor in ANCHORS) + " |")
    print("|---" * (len(ANCHORS) + 1) + "|")
    for name in columns[0][0]:
        cells = (np.mean([found[name] for found in column]) for column in columns)
        print(f"| {name} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
