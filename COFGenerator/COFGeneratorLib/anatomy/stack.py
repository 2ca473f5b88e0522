"""A short-axis stack: voxels and where they lie in the patient."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from COFGeneratorLib.anatomy.geometry import spacing_ijk_mm, voxel_volume_ml
from COFGeneratorLib.errors import AnatomyError

LABELS = {"lv": 1, "myo": 2, "rv": 3}
"""Labels inside the product: 0 background, 1 LV cavity, 2 myocardium, 3 RV cavity."""


@dataclass(frozen=True, repr=False)
class SaxStack:
    """One 3-D short-axis volume (the anchor) with its geometry.

    Args:
        voxels: (D, H, W) float32 = (k slices, j rows, i columns), any intensity unit.
        ijk_to_ras: (4, 4) float64, homogeneous (i, j, k, 1) → patient RAS, mm; slice pitch includes the gap.
        source_sha256: SHA-256 of the file read; empty for a stack made in memory.
        frame: Index of the chosen frame where the file held a cine.
        frame_times_ms: (n_frames,) times of all frames of that file, or empty.
        warnings: What the reader had to assume or repair, in words.
        rr_ms: R–R interval that the file states for that cine, NaN where it states none: a prospective cine covers
            only a part of it.
        image_planes: Of a DICOM cine: digest of each image's UID → its frame, and its pixels (column, row, 0, 1) as
            stored → RAS, mm; contours name the images that they were drawn on.

    Raises:
        AnatomyError: If the array is not 3-D and finite, or the matrix is singular.
    """

    voxels: np.ndarray
    ijk_to_ras: np.ndarray
    source_sha256: str = ""
    frame: int = 0
    frame_times_ms: tuple[float, ...] = ()
    warnings: tuple[str, ...] = ()
    rr_ms: float = math.nan
    image_planes: Mapping[str, tuple[int, np.ndarray]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        voxels = np.ascontiguousarray(self.voxels, dtype=np.float32)
        matrix = np.array(self.ijk_to_ras, dtype=np.float64)
        if voxels.ndim != 3 or min(voxels.shape) < 1:
            raise AnatomyError(
                f"A short-axis stack needs a 3-D volume (slices, rows, columns); found shape {voxels.shape}. "
                "Load the whole stack, not one image."
            )
        if not np.isfinite(voxels).all():
            raise AnatomyError(
                f"A short-axis stack needs finite intensities; found {int((~np.isfinite(voxels)).sum())} voxels that "
                "are missing or infinite. Export the volume again."
            )
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:3, :3])) < 1e-9:
            raise AnatomyError(
                f"The volume's geometry must be an invertible 4×4 matrix in mm; found\n{matrix}\n"
                "Check spacing and orientation in the file's header."
            )
        matrix.flags.writeable = False
        object.__setattr__(self, "voxels", voxels)
        object.__setattr__(self, "ijk_to_ras", matrix)

    def __repr__(self) -> str:
        """Return one line: how many slices of which size."""
        (depth, height, width), mm = self.shape, " × ".join(f"{step:.2f}" for step in self.spacing_mm)
        return f"SaxStack({depth} slices of {height}×{width}, {mm} mm)"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(D, H, W)."""
        return self.voxels.shape

    @property
    def spacing_mm(self) -> np.ndarray:
        """(3,) distance between neighbours along k, j, i, mm."""
        return spacing_ijk_mm(self.ijk_to_ras)[::-1].copy()

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel including the slice gap, mL."""
        return voxel_volume_ml(self.ijk_to_ras)
