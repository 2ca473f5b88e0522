"""Whether an image can be a short-axis stack at all."""

import numpy as np

from COFGeneratorLib.anatomy.geometry import spacing_ijk_mm
from COFGeneratorLib.errors import AnatomyError

MIN_SLICES, MIN_IN_PLANE = 3, 8
MAX_SLICES, MAX_LENGTH_MM = 160, 280.0
"""A short-axis stack, even interpolated to thin slices, reaches from the atria to below the apex; a head or chest in
3-D goes further."""

LEAST_LENGTH_MM = 25.0
"""Shorter than any ventricle's short-axis stack, an infant's included."""
LOST_SPACING, LOST_LENGTH_MM = 1e-3, 60.0
"""A stack of 1×1×1 mm (within this) that is shorter than a ventricle states no spacing: a unit is what exporters write
for want of one."""

MAX_LABELS = 8
LOST_ORIENTATION = 0.9999
"""A short axis is oblique; slices exactly along a coordinate axis come from a header that was not written by one."""


def check_stack(voxels: np.ndarray, ijk_to_ras: np.ndarray) -> tuple[str, ...]:
    """Refuse what cannot be a short-axis stack; return what merely looks odd.

    Args:
        voxels: (D, H, W) intensities.
        ijk_to_ras: (4, 4) geometry, mm.

    Raises:
        AnatomyError: If there are too few slices or pixels, no contrast, or a length or spacing that no heart has.
    """
    depth, height, width = voxels.shape
    if depth == 1 and min(height, width) >= MIN_IN_PLANE:
        raise AnatomyError(
            f"A short-axis stack has at least {MIN_SLICES} slices; found one slice of {width}×{height} pixels, which "
            "seems to be a long-axis view or a single slice. Load the whole short-axis stack."
        )
    if depth < MIN_SLICES or min(height, width) < MIN_IN_PLANE:
        raise AnatomyError(
            f"A short-axis stack has at least {MIN_SLICES} slices of {MIN_IN_PLANE}×{MIN_IN_PLANE} pixels; found "
            f"{depth} of {width}×{height}. Load the whole stack."
        )
    if not np.isfinite(voxels).all():
        bad = int((~np.isfinite(voxels)).sum())
        raise AnatomyError(
            f"A short-axis stack needs finite intensities; found {bad} voxels that are missing or infinite. "
            "Export the volume again."
        )
    if voxels.max() == voxels.min():
        raise AnatomyError(
            f"A short-axis stack shows a heart; every voxel of this volume is {float(voxels.flat[0]):g}. "
            "Check that the right volume and frame were exported."
        )
    spacing = spacing_ijk_mm(ijk_to_ras)
    length = float(spacing[2] * depth)
    if np.abs(spacing - 1.0).max() < LOST_SPACING and length < LOST_LENGTH_MM:
        raise AnatomyError(
            f"A short-axis stack states its spacing; this one says 1×1×1 mm for {depth} slices, as files do that have "
            "lost it, and volumes would be wrong. Give it: --spacing COLUMN,ROW,SLICE in mm, such as 1.4,1.4,10."
        )
    if length < LEAST_LENGTH_MM:
        raise AnatomyError(
            f"A short-axis stack covers at least {LEAST_LENGTH_MM:.0f} mm of the heart; these {depth} slices cover "
            f"{length:.0f} mm. Load the whole stack, or give the spacing that the file has lost: --spacing "
            "COLUMN,ROW,SLICE in mm."
        )
    if depth > MAX_SLICES or length > MAX_LENGTH_MM:
        raise AnatomyError(
            f"A short-axis stack has up to {MAX_SLICES} slices over up to {MAX_LENGTH_MM:.0f} mm; found {depth} slices "
            f"over {length:.0f} mm, which seems to be a 3-D volume of a larger part of the body. Load the short-axis "
            "stack, or crop the volume to the heart along its short axis."
        )
    return _oddities(voxels, ijk_to_ras)


def _oddities(voxels: np.ndarray, ijk_to_ras: np.ndarray) -> tuple[str, ...]:
    """Describe spacing and extent that no usual short-axis stack has."""
    spacing = spacing_ijk_mm(ijk_to_ras)
    depth, height, width = voxels.shape
    extent = spacing * (width, height, depth)
    said = []
    if extent[:2].min() < 60 or extent[:2].max() > 800:
        said.append(
            f"The field of view, {extent[0]:.0f}×{extent[1]:.0f} mm, is unusual for a heart; check the spacing."
        )
    if extent[2] < 40:
        said.append(
            f"The {depth} slices cover only {extent[2]:.0f} mm; a ventricle is longer. If they are frames of one "
            "slice, load the whole cine."
        )
    if spacing[2] > 25:
        said.append(f"Slices lie {spacing[2]:.1f} mm apart; volumes will be coarse.")
    said += _orientation(ijk_to_ras)
    if len(np.unique(voxels.ravel()[:: max(voxels.size // 20_000, 1)])) <= MAX_LABELS:
        said.append("The volume holds only a few different values, as label maps do; an anchor needs an MR image.")
    return tuple(said)


def _orientation(ijk_to_ras: np.ndarray) -> list[str]:
    """Describe axes that scanners do not write: left-handed ones, and slices along the patient's own axes."""
    unit = ijk_to_ras[:3, :3] / spacing_ijk_mm(ijk_to_ras)
    said = []
    if np.linalg.det(unit) < 0:
        said.append(
            "The header's axes are left-handed, as in files that were flipped or mirrored on their way; positions are "
            "taken as the header states them, and whether the heart itself is mirrored is told from its shape."
        )
    if np.abs(unit).max(axis=0).min() > LOST_ORIENTATION:
        said.append(
            "The header places the stack along the patient's own axes, as headers do that have lost the orientation; "
            "which way is left, anterior and superior is not known, and is taken from the heart's shape."
        )
    return said
