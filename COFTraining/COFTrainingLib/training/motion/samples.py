"""Samples that a training of Stage 2 writes while it goes on: the anatomy of one validation subject, beating.

The picture is drawn from the moved anatomy maps alone, on the motion grid; it takes no random numbers of the training.
"""

from pathlib import Path

import numpy as np
import torch
from COFGeneratorLib.generator.model import MotionModel

from COFTrainingLib.cohort.nrrd import write_nrrd
from COFTrainingLib.training.examples.flow_data import FlowData
from COFTrainingLib.training.motion.flow import moved_maps

FOLDER = "samples"
CYCLE_MS = 1000.0
"""Length of the cycle in the file; the examples tell phases, no times."""
GREY = (220.0, 70.0, 180.0)
"""Of LV cavity, wall and RV cavity."""
SEED = 0


def write_sample(path: Path, data: FlowData, maps: torch.Tensor, velocity: torch.Tensor) -> Path:
    """Write a beating anatomy as a ``.seq.nrrd`` on the motion grid.

    ``maps`` (1, 3, D, H, W) are occupancies of LV, wall and RV; ``velocity`` (1, T, 3, D, H, W) is in units of the
    pack.
    """
    moved = moved_maps(data, {"maps": maps, "velocity": velocity})[0].float().cpu().numpy()
    share = np.clip((moved + 1.0) / 2.0, 0.0, 1.0)  # (T, 3, D, H, W)
    frames = np.einsum("c,tcdhw->tdhw", np.array(GREY), share)
    depth_mm, *plane_mm = data.cache.grid.spacing_mm
    geometry = np.diag([plane_mm[1], plane_mm[0], depth_mm, 1.0])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nrrd(path, np.rint(frames.clip(0, 255)).astype(np.uint8), geometry, data.phases.numpy() * CYCLE_MS)
    return path


def write_expected_sample(folder: Path, data: FlowData, maps: torch.Tensor, velocity: torch.Tensor, step: int) -> Path:
    """Write what is expected at a validation; returns the file."""
    return write_sample(folder / f"expected-{step:07d}.seq.nrrd", data, maps[:1], velocity[:1])


@torch.no_grad()
def write_final_sample(folder: Path, data: FlowData, model: MotionModel) -> Path:
    """Write one draw of the finished model, with its own seed; returns the file."""
    batch = data.batch(data.valid[:1])
    anchor = float(batch["anchor"][0]) if data.any_anchor else None
    velocity, _ = model.velocities(
        batch["maps"], batch["condition"], image=batch.get("image"), draws=1, seed=SEED, anchor=anchor
    )
    return write_sample(folder / "final.seq.nrrd", data, batch["maps"], data.scale.normalise(velocity[None, 0]).clone())
