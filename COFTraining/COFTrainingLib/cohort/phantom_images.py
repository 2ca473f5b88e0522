"""MR images of a phantom case: the stack that was planned over it, at any times of the beat, in one contrast."""

from dataclasses import replace

import numpy as np
import torch

from COFTrainingLib.evaluation.phantom_cases import PhantomCase
from COFTrainingLib.phantom.appearance import draw_acquisition, form_images
from COFTrainingLib.phantom.noise import NoiseField
from COFTrainingLib.phantom.stacks import StackGeometry, sample_tissues
from COFTrainingLib.phantom.surroundings import Scene

SLAB = 3
"""Samples through the thickness of a slice."""
LARGEST = 30_000


def render_case(case: PhantomCase, times_ms: np.ndarray, slab: int = SLAB) -> np.ndarray:
    """Return the images of a case, (T, D, H, W) int16 in a scanner's arbitrary unit.

    All frames are one scan: contrast, coil and artefacts stay, the texture of tissue moves with it, and noise is new in
    every frame. The first time gives the same image whatever times follow.

    Args:
        case: Subject, stack and geometry; ``case.labels`` are the exact labels of the frame at 0 ms.
        times_ms: (T,) times from the R wave.
        slab: Samples through the thickness of a slice.
    """
    seed = case.subject.seed
    rng = np.random.default_rng([seed, 7])
    heart, plan = case.subject.heart, case.plan
    scene = Scene(rng, heart, plan.ras_to_heart[:3, :3])
    swap = np.eye(4)[[2, 1, 0, 3]]  # voxel (k, j, i) → (i, j, k)
    pitch = float(case.anchor.spacing_mm[0])
    geometry = StackGeometry(
        plan.shape,
        plan.ras_to_heart @ plan.ijk_to_ras @ swap,
        min(pitch, float(rng.uniform(5.0, 9.0))),
        np.pad(plan.shifts_mm, ((0, 0), (1, 0))),  # breath-holds shift slices in their plane: no k component
    )
    acquisition = draw_acquisition(rng)
    still = replace(
        acquisition,
        noise=0.0,
        contrast=replace(acquisition.contrast, texture=0.3 * acquisition.contrast.texture),
    )
    relief, strength = NoiseField(rng, rng.uniform(4.0, 9.0)), float(rng.uniform(0.02, 0.10))
    points = plan.heart_points()
    pixel = float(geometry.spacing_mm[1:].mean())
    noise = torch.Generator().manual_seed(seed % 2**31 + 1)
    frames = []
    for time_ms in np.atleast_1d(times_ms):
        tissues = torch.from_numpy(sample_tissues(scene, geometry, float(time_ms), slab))
        image = form_images(tissues, still, pixel, torch.Generator().manual_seed(seed % 2**31))
        moved = points + heart.pull_mm(points, float(time_ms)) if time_ms else points
        texture = relief(moved.reshape(-1, 3).astype(np.float32)).reshape(plan.shape)
        image = image * torch.from_numpy(1.0 + strength * texture).clamp_min(0.0)
        real, imaginary = torch.randn((2, *image.shape), generator=noise) * acquisition.noise
        frames.append(((image + real) ** 2 + imaginary**2).sqrt())
    scale = 10.0 ** rng.uniform(2.3, 3.2)  # scanners' units mean nothing
    return (torch.stack(frames) * scale).clamp(0, LARGEST).round().to(torch.int16).numpy()
