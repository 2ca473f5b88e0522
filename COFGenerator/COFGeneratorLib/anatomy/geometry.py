"""Grids and the maps between them. Matrices are (4, 4), homogeneous voxel (i, j, k, 1) → RAS mm."""

from collections.abc import Sequence

import numpy as np

from COFGeneratorLib.errors import AnatomyError

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
KJI_AND_IJK = np.eye(4)[[2, 1, 0, 3]]
"""Turns homogeneous voxels (k, j, i, 1), the order of arrays, into (i, j, k, 1), and back."""
MAX_SPACING_MM, MIN_SPACING_MM = 100.0, 0.01


def lps_to_ras(ijk_to_lps: np.ndarray) -> np.ndarray:
    """Turn ITK's and DICOM's left-posterior-superior geometry into RAS. The one place where this is done."""
    return LPS_TO_RAS @ ijk_to_lps


def affine(columns: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Return the (4, 4) matrix of three voxel-step vectors (the columns of a (3, 3)) and an origin, mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = columns
    matrix[:3, 3] = origin
    return matrix


def spacing_ijk_mm(ijk_to_ras: np.ndarray) -> np.ndarray:
    """(3,) distance between neighbours along i, j, k, mm."""
    return np.linalg.norm(ijk_to_ras[:3, :3], axis=0)


def voxel_volume_ml(ijk_to_ras: np.ndarray) -> float:
    """Return the volume that one voxel stands for, mL: slice pitch counts, so gaps between slices are filled."""
    return float(abs(np.linalg.det(np.asarray(ijk_to_ras, dtype=float)[:3, :3])) / 1000.0)


def check_spacing(spacing_mm: np.ndarray, format_name: str) -> None:
    """Refuse a stated spacing that is no length.

    Raises:
        AnatomyError: If one of the numbers is not positive.
    """
    if not (spacing_mm > 0).all():
        raise AnatomyError(
            f"Voxel spacing must be positive; the {format_name} header says {spaced(spacing_mm)} mm. "
            "Set the right spacing and export again."
        )


def spaced(spacing_mm: np.ndarray) -> str:
    """Return a spacing as people write it."""
    return "×".join(f"{step:.4g}" for step in spacing_mm)


def check_geometry(ijk_to_ras: np.ndarray, format_name: str) -> None:
    """Refuse a grid that cannot be a scanner's.

    Raises:
        AnatomyError: If numbers are missing, a spacing is zero or absurd, or the axes do not span space.
    """
    if not np.isfinite(ijk_to_ras).all():
        raise AnatomyError(
            f"The geometry must be finite numbers in mm; the {format_name} header holds NaN or infinity. Export again."
        )
    spacing = spacing_ijk_mm(ijk_to_ras)
    if spacing.min() < MIN_SPACING_MM or spacing.max() > MAX_SPACING_MM:
        raise AnatomyError(
            f"Voxel spacing must lie between {MIN_SPACING_MM:g} and {MAX_SPACING_MM:g} mm; the {format_name} header "
            f"says {spaced(spacing)} mm. Set the right spacing (and unit) and export again."
        )
    if abs(np.linalg.det(ijk_to_ras[:3, :3] / spacing)) < 0.1:
        raise AnatomyError(
            f"The three axes must span space; in the {format_name} header they (nearly) coincide. "
            "Set the right orientation and export again."
        )


def same_grid(
    a_to_ras: np.ndarray, a_shape: tuple[int, ...], b_to_ras: np.ndarray, b_shape: tuple[int, ...], share: float = 0.02
) -> bool:
    """Whether two grids agree voxel by voxel: no corner apart by more than `share` of the smallest spacing."""
    if tuple(a_shape) != tuple(b_shape):
        return False
    corners = corners_ijk(a_shape)
    apart = np.linalg.norm((a_to_ras @ corners - b_to_ras @ corners)[:3], axis=0)
    return bool(apart.max() <= share * spacing_ijk_mm(a_to_ras).min())


def positions_ras(mask: np.ndarray, ijk_to_ras: np.ndarray) -> np.ndarray:
    """Return where the voxels of a mask (D, H, W) lie, (n, 3) RAS mm, in the order of the array."""
    k, j, i = np.nonzero(mask)
    return np.stack([i, j, k], axis=1) @ ijk_to_ras[:3, :3].T + ijk_to_ras[:3, 3]


def corners_ijk(shape: Sequence[int]) -> np.ndarray:
    """(4, 8) homogeneous voxel indices (i, j, k, 1) of the corner voxels of a (D, H, W) grid."""
    depth, height, width = shape
    return np.array(
        [(i, j, k, 1.0) for i in (0, width - 1) for j in (0, height - 1) for k in (0, depth - 1)], dtype=float
    ).T


def resample(
    array: np.ndarray,
    array_to_ras: np.ndarray,
    shape: Sequence[int],
    grid_to_ras: np.ndarray,
    order: int = 1,
    outside: float = 0.0,
) -> np.ndarray:
    """Bring an array onto another grid through RAS.

    Args:
        array: (D, H, W) values.
        array_to_ras: (4, 4) its geometry.
        shape: (D', H', W') of the wanted grid.
        grid_to_ras: (4, 4) its geometry.
        order: 0 nearest (labels), 1 linear, 3 cubic.
        outside: Value where the array does not reach. A voxel reaches half a spacing beyond its centre.

    Returns:
        (D', H', W') in the array's type for order 0, else float32.
    """
    from scipy.ndimage import affine_transform

    pull = KJI_AND_IJK @ np.linalg.inv(array_to_ras) @ grid_to_ras @ KJI_AND_IJK
    source = array if order == 0 else array.astype(np.float32)
    pull = np.where(np.abs(pull) < 1e-9, 0.0, pull)
    mode = "grid-constant" if order == 0 else "nearest"
    out = affine_transform(source, pull[:3, :3], pull[:3, 3], tuple(shape), order=order, mode=mode, cval=outside)
    if order:
        inside = np.ones(tuple(shape), bool)
        axes = np.ogrid[tuple(slice(0, n) for n in shape)]
        for axis in range(3):
            where = pull[axis, 3] + sum(pull[axis, a] * axes[a] for a in range(3))
            inside &= (where >= -0.5) & (where <= array.shape[axis] - 0.5)
        out = np.where(inside, out, np.float32(outside))
    return out


def flip(array: np.ndarray, ijk_to_ras: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Reverse the storage order along an array axis (0 k, 1 j, 2 i) with every voxel staying where it lies in RAS."""
    column = 2 - axis
    matrix = ijk_to_ras.copy()
    matrix[:3, 3] += matrix[:3, column] * (array.shape[axis] - 1)
    matrix[:3, column] *= -1.0
    return np.flip(array, axis), matrix


def straighten(array: np.ndarray, ijk_to_ras: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """Move the slices of a sheared stack within their planes, so that they lie above one another.

    A stack whose slices each start a little beside the last has a slice step that is not along its normal. ITK and
    Slicer cannot hold such a grid. The planes stay where they are; each is resampled linearly, within itself.

    Args:
        array: (…, D, H, W) float32 intensities.
        ijk_to_ras: (4, 4) geometry, mm.

    Returns:
        The array and geometry with orthogonal axes, and what was done in words ("" where nothing had to be moved).

    Raises:
        AnatomyError: If rows and columns are not at right angles.
    """
    spacing = spacing_ijk_mm(ijk_to_ras)
    unit = ijk_to_ras[:3, :3] / spacing
    if abs(unit[:, 0] @ unit[:, 1]) > 0.01:
        raise AnatomyError(
            "Rows and columns of a slice must be at right angles; in this header they are "
            f"{np.degrees(np.arccos(unit[:, 0] @ unit[:, 1])):.1f}° apart. Resample the volume onto an orthogonal grid."
        )
    depth, height, width = array.shape[-3:]
    straight = ijk_to_ras.copy()
    straight[:3, 1] = spacing[1] * _unit(unit[:, 1] - unit[:, 0] * (unit[:, 0] @ unit[:, 1]))
    normal = np.cross(unit[:, 0], _unit(straight[:3, 1]))
    straight[:3, 2] = normal * (normal @ ijk_to_ras[:3, 2])
    beside = ijk_to_ras[:3, 2] - straight[:3, 2]
    middle = 0.5 * (depth - 1)
    straight[:3, 3] += middle * beside  # the middle slice stays
    drift_px = float(np.linalg.norm(beside) * middle / spacing[:2].min())
    if drift_px < 0.25:
        return array, straight, ""
    frames = array.reshape(-1, depth, height, width)
    moved = np.stack([resample(frame, ijk_to_ras, frame.shape, straight) for frame in frames]).reshape(array.shape)
    shift = float(np.linalg.norm(beside))
    return moved, straight, f"Each slice lies {shift:.1f} mm beside the last; they are moved in their planes, straight."


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
