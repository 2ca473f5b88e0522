"""Labels of a cine on the cine's own grid: a segmentation may store slices, rows or columns the other way round."""

import numpy as np
from COFGeneratorLib.anatomy.geometry import resample, same_grid
from COFGeneratorLib.anatomy.readers import CineStack
from COFGeneratorLib.errors import CohortError

MOST_LOST = 0.1
"""Share of the labelled volume that may lie outside of the grid, or change by another grid of about the same place."""


def onto_grid(labelled: CineStack, ijk_to_ras: np.ndarray, shape: tuple[int, int, int], name: str) -> CineStack:
    """Return labels on a grid, through RAS by nearest neighbour; exact where only the order of voxels differs.

    Args:
        labelled: (T, D, H, W) codes, 0 for background.
        ijk_to_ras, shape: Geometry and (D, H, W) of the wanted grid.
        name: Whose labels, for the message.

    Raises:
        CohortError: If they lie elsewhere.
    """
    if same_grid(ijk_to_ras, shape, labelled.ijk_to_ras, labelled.frames.shape[1:]):
        return labelled
    codes = labelled.frames.astype(np.uint8)
    frames = np.stack([resample(frame, labelled.ijk_to_ras, shape, ijk_to_ras, order=0) for frame in codes])
    before, after = (
        (array > 0).sum() * abs(np.linalg.det(matrix[:3, :3])) / 1000.0
        for array, matrix in ((codes, labelled.ijk_to_ras), (frames, ijk_to_ras))
    )
    if abs(after - before) > MOST_LOST * before:
        raise CohortError(
            f"Cine and labels must lie on one grid, but for the order of voxels; of {before / len(codes):.0f} mL a "
            f"frame {after / len(codes):.0f} mL are found on the cine's in {name}. Export both from one series."
        )
    return CineStack(frames, ijk_to_ras, labelled.frame_times_ms)
