"""MR images of a phantom case: the stack that was planned over it, at any times of the beat, in one contrast."""

from dataclasses import replace

import numpy as np
import torch

from COFTrainingLib.phantom.appearance import draw_acquisition, form_images
from COFTrainingLib.phantom.cases import PhantomCase
from COFTrainingLib.phantom.heart import BeatingHeart
from COFTrainingLib.phantom.noise import NoiseField
from COFTrainingLib.phantom.stacks import StackGeometry, sample_bodies, sample_tissues
from COFTrainingLib.phantom.subject import PhantomSubject, StackPlan
from COFTrainingLib.phantom.surroundings import Scene
from COFTrainingLib.phantom.varied_shape import TabulatedShape

SLAB = 3
"""Samples through the thickness of a slice."""
LARGEST = 30_000


class CaseRenderer:
    """One scan of a subject: contrast, coil and artefacts stay, the texture of tissue moves with it.

    ``plan`` says where its slices lie; ``slab`` counts samples through a slice's thickness.
    """

    def __init__(self, subject: PhantomSubject, plan: StackPlan, slab: int = SLAB) -> None:
        seed = subject.seed
        rng = np.random.default_rng([seed, 7])
        # images need the shape to a fraction of a pixel only; labels and displacements are never taken from tables
        self._heart = BeatingHeart(TabulatedShape(subject.heart.shape), subject.physiology)
        self._scene = Scene(rng, self._heart, plan.ras_to_heart[:3, :3])
        swap = np.eye(4)[[2, 1, 0, 3]]  # voxel (k, j, i) → (i, j, k)
        pitch = float(np.linalg.norm(plan.ijk_to_ras[:3, 2]))
        self._geometry = StackGeometry(
            plan.shape,
            plan.ras_to_heart @ plan.ijk_to_ras @ swap,
            min(pitch, float(rng.uniform(5.0, 9.0))),
            np.pad(plan.shifts_mm, ((0, 0), (1, 0))),  # breath-holds shift slices in their plane: no k component
        )
        acquisition = draw_acquisition(rng)
        self._noise_level = acquisition.noise
        texture = 0.3 * acquisition.contrast.texture
        self._still = replace(acquisition, noise=0.0, contrast=replace(acquisition.contrast, texture=texture))
        self._relief, self._strength = NoiseField(rng, rng.uniform(4.0, 9.0)), float(rng.uniform(0.02, 0.10))
        self._scale = 10.0 ** rng.uniform(2.3, 3.2)  # scanners' units mean nothing
        self._pixel = float(self._geometry.spacing_mm[1:].mean())
        self._seed, self._slab = seed % 2**31, slab
        self._noise = torch.Generator().manual_seed(self._seed + 1)
        self._bodies = sample_bodies(self._scene, self._geometry)

    def frame(self, time_ms: float, still_mm: np.ndarray) -> np.ndarray:
        """Return the next image of the scan, (D, H, W) int16 in a scanner's arbitrary unit; noise is new in each.

        ``still_mm`` (D, H, W, 3) is where the tissue in every voxel was at the R wave, the phantom's (k, j, i) mm.
        """
        tissues = sample_tissues(self._scene, self._geometry, time_ms, self._slab, self._bodies)
        generator = torch.Generator().manual_seed(self._seed)
        image = form_images(torch.from_numpy(tissues), self._still, self._pixel, generator)
        texture = self._relief(still_mm.reshape(-1, 3).astype(np.float32)).reshape(still_mm.shape[:3])
        image = image * torch.from_numpy(1.0 + self._strength * texture).clamp_min(0.0)
        real, imaginary = torch.randn((2, *image.shape), generator=self._noise) * self._noise_level
        image = ((image + real) ** 2 + imaginary**2).sqrt()
        return (image * self._scale).clamp(0, LARGEST).round().to(torch.int16).numpy()


def render_case(case: PhantomCase, times_ms: np.ndarray, slab: int = SLAB) -> np.ndarray:
    """Return the images of a case, (T, D, H, W) int16 in a scanner's arbitrary unit, as one scan.

    The first time gives the same image whatever times follow.

    Args:
        case: Subject, stack and geometry.
        times_ms: (T,) times from the R wave.
        slab: Samples through the thickness of a slice.
    """
    renderer = CaseRenderer(case.subject, case.plan, slab)
    points, heart = case.plan.heart_points(), case.subject.heart
    times = np.atleast_1d(times_ms).tolist()
    return np.stack([renderer.frame(t, points + heart.pull_mm(points, t) if t else points) for t in times])
