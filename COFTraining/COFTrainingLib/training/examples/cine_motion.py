"""Motion of a real cine: how its first frame moves to become every other one, by the trained teacher or by demons.

Whatever finds it, motion comes as a ``MotionField``: displacements on a heart-centred grid, asked for at points in RAS.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from COFGeneratorLib.anatomy.heart_frame import HeartFrame
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.motion.fields import sample_at
from COFGeneratorLib.registration.similarity import confidence_map
from COFGeneratorLib.registration.teacher import Refinement, RegistrationTeacher
from COFGeneratorLib.registration.teacher_grid import FINE, heart_centred_grid, scale_intensity
from COFGeneratorLib.registration.teacher_network import REDUCTION, TeacherConfig

SOURCES = ("teacher", "demons", "truth")
DEMONS_GRID = TeacherConfig()
DEMONS_ITERATIONS, DEMONS_LEVELS, DEMONS_SIGMA = 60, (4, 2, 1), 1.5


@dataclass(frozen=True)
class CineMotion:
    """How the motion of a cohort's own cines is found.

    Args:
        source: ``"teacher"``, a finished run of ``cof train teacher``; ``"demons"``, diffeomorphic demons of SimpleITK,
            which need no training; ``"truth"``, the files of the role ``displacement`` that synthetic cines have.
        frames: Most frames of a cine that are registered, evenly chosen; between them motion is interpolated.
        refinement_steps: Adam steps of instance optimisation after the teacher (Balakrishnan 2019); 0 for its first
            answer alone, which is below that of demons.
        copies: Examples a training subject: the first in the heart's frame as found, further ones turned and shifted
            a little, which is all that can be varied of a recorded heart.
    """

    source: str = "teacher"
    frames: int = 24
    refinement_steps: int = 40
    copies: int = 1

    def __post_init__(self) -> None:
        if self.source not in SOURCES or self.frames < 4 or self.copies < 1 or self.refinement_steps < 0:
            raise TrainingError(
                f"Motion of cines comes from {', '.join(SOURCES)}, with at least 4 frames and 1 copy; found "
                f"{self.source!r}, {self.frames} and {self.copies}. Correct the settings flow.cines."
            )


@dataclass(frozen=True)
class MotionField:
    """Pull displacements of some frames on a grid.

    Attributes:
        displacement_mm: (T, 3, D, H, W) mm along the grid's own axes (k, j, i).
        kji_to_ras: (4, 4) grid voxel (k, j, i) → RAS mm.
        agreement: (T, D, h, w) 0…1, how well warped anchor and frame agree around each pixel: local correlation; None
            where motion is known.
        agreement_to_ras: (4, 4) pixel (k, j, i) of ``agreement`` → RAS mm; of the field's own grid where None.
    """

    displacement_mm: torch.Tensor
    kji_to_ras: np.ndarray
    agreement: torch.Tensor | None = None
    agreement_to_ras: np.ndarray | None = None

    @property
    def confidence(self) -> np.ndarray:
        """(T,) mean agreement of warped anchor and frame, 0…1; 1 where motion is known."""
        if self.agreement is None:
            return np.ones(len(self.displacement_mm))
        return self.agreement.flatten(1).mean(dim=1).numpy()

    def at(self, points_ras: np.ndarray) -> np.ndarray:
        """Return displacements, (T, N, 3) RAS mm, at points (N, 3) RAS mm; beyond the grid they go on as at its rim."""
        axes = self.kji_to_ras[:3, :3] / np.linalg.norm(self.kji_to_ras[:3, :3], axis=0)
        return np.moveaxis(_sampled(self.displacement_mm, self.kji_to_ras, points_ras), 1, -1) @ axes.T

    def agreement_at(self, points_ras: np.ndarray) -> np.ndarray | None:
        """Return the agreement, (T, N) 0…1, at points (N, 3) RAS mm; None where motion is known."""
        if self.agreement is None:
            return None
        to_ras = self.kji_to_ras if self.agreement_to_ras is None else self.agreement_to_ras
        return _sampled(self.agreement[:, None], to_ras, points_ras)[:, 0]


def _sampled(fields: torch.Tensor, kji_to_ras: np.ndarray, points_ras: np.ndarray) -> np.ndarray:
    """Return fields (T, C, D, H, W) at points (N, 3) RAS mm, linear, (T, C, N); beyond the grid as at its rim."""
    to_grid = np.linalg.inv(kji_to_ras)
    positions = torch.as_tensor(points_ras @ to_grid[:3, :3].T + to_grid[:3, 3], dtype=torch.float32)
    positions = positions.T.reshape(1, 3, -1, 1, 1)
    return np.stack([sample_at(field[None].float(), positions)[0, :, :, 0, 0].numpy() for field in fields])


def teacher_motion(
    teacher: RegistrationTeacher,
    anchor: SaxStack,
    targets: np.ndarray,
    frame: HeartFrame,
    refinement_steps: int = 0,
    prior: float = 0.0,
) -> MotionField:
    """Return the motion from an anchor to frames (T, D, H, W) of its cine as the registration teacher sees it.

    ``prior`` is that of the refinement, see ``teacher.Refinement``.
    """
    refinement = Refinement(steps=refinement_steps, prior=prior) if refinement_steps else None
    found = teacher.register(anchor, targets, frame, refinement=refinement)
    fine = torch.cat([found.fine_displacement_mm(frame) for frame in range(len(found.velocity_mm))])
    step = np.eye(4)  # fine pixel → pixel of the grid; both are centres of blocks of the same plane
    step[1, 1] = step[2, 2] = REDUCTION / FINE
    step[1:3, 3] = 0.5 * (REDUCTION / FINE - 1.0)
    return MotionField(fine, found.grid.kji_to_ras @ step, found.confidence, found.grid.kji_to_ras)


def demons_motion(anchor: SaxStack, targets: np.ndarray, frame: HeartFrame) -> MotionField:
    """Return the motion as diffeomorphic demons (Vercauteren 2009) see it, on the teacher's heart-centred grid.

    The pyramid halves in-plane only: slices lie too far apart to be averaged.
    """
    import SimpleITK as sitk

    grid = heart_centred_grid(DEMONS_GRID, anchor.shape, anchor.ijk_to_ras, frame)
    still = grid.from_stack(anchor.voxels[None])[0]
    moving = scale_intensity(grid.from_stack(np.asarray(targets, dtype=np.float32)), still).numpy()
    still = scale_intensity(still, still).numpy()
    spacing = [float(value) for value in grid.spacing_mm[::-1]]

    def image(voxels: np.ndarray) -> Any:
        out = sitk.GetImageFromArray(voxels.astype(np.float32))
        out.SetSpacing(spacing)
        return out

    found, agreement = [], []
    for target in moving:
        fixed, source, field = image(target), image(still), None
        for level in DEMONS_LEVELS:
            shrunk = [sitk.Shrink(one, [level, level, 1]) for one in (fixed, source)]
            demon = sitk.DiffeomorphicDemonsRegistrationFilter()
            demon.SetNumberOfIterations(DEMONS_ITERATIONS)
            demon.SetSmoothDisplacementField(True)
            demon.SetStandardDeviations([DEMONS_SIGMA, DEMONS_SIGMA, 1.0])
            start = () if field is None else (sitk.Resample(field, shrunk[0]),)
            field = demon.Execute(*shrunk, *start)
        field = sitk.Resample(field, fixed)
        xyz = sitk.GetArrayFromImage(field)  # (D, H, W, 3) mm along i, j, k
        found.append(np.moveaxis(xyz[..., ::-1], -1, 0))
        warped = sitk.GetArrayFromImage(
            sitk.Warp(source, sitk.Cast(field, sitk.sitkVectorFloat64), outputSpacing=spacing)
        )
        pair = (torch.as_tensor(image[None, None], dtype=torch.float32) for image in (warped, target))
        agreement.append(confidence_map(*pair)[0, 0])
    return MotionField(torch.as_tensor(np.stack(found).copy()), grid.kji_to_ras, torch.stack(agreement))


def true_motion(file: Path, anchor: SaxStack, frames: list[int]) -> MotionField:
    """Return the known motion of a synthetic cine, stored along the stack's own axes.

    Raises:
        TrainingError: If the file does not fit the cine.
    """
    stored = np.load(file, mmap_mode="r", allow_pickle=False)
    if stored.ndim != 5 or stored.shape[1:] != (3, *anchor.shape) or len(stored) <= max(frames):
        raise TrainingError(
            f"A true displacement is (T, 3, {', '.join(map(str, anchor.shape))}); found {stored.shape} in {file.name}. "
            "Synthesise the cohort again."
        )
    swap = np.eye(4)[[2, 1, 0, 3]]
    values = torch.from_numpy(np.stack([stored[frame] for frame in frames]).astype(np.float32))
    return MotionField(values, anchor.ijk_to_ras @ swap)


@lru_cache(maxsize=2)
def load_teacher(folder: str) -> RegistrationTeacher:
    """Load a teacher once a process."""
    return RegistrationTeacher.load(folder)
