"""The heart's own frame: where the left ventricle lies, which way its apex and its right ventricle point.

Every network of this product sees hearts in this frame, so a stack that is turned, shifted, flipped or stored apex
first gives the same motion. Axes (k, j, i): k from base to apex, j from anterior to inferior, i from the right
ventricle to the lateral wall. Anatomy fixes the handedness: j = i × k, unless the file's geometry is a mirror image.
"""

from dataclasses import dataclass

import numpy as np

from COFGeneratorLib.anatomy.geometry import KJI_AND_IJK, voxel_volume_ml
from COFGeneratorLib.errors import AnatomyError

MIN_CAVITY_ML = 8.0
"""Below this an LV cavity cannot be told from noise, whatever species or age."""
USUAL_APEX_RAS = np.array([-0.6, 0.5, -0.6]) / np.linalg.norm([-0.6, 0.5, -0.6])
"""Left, anterior, inferior: where the apex of a supine patient's heart points."""
USUAL_LATERAL_RAS = np.array([-1.0, -1.0, 0.0]) / np.sqrt(2.0)
"""Left, posterior: away from where the RV lies, for label maps without one."""
MIRROR_TWIST_DEG, MIRROR_TWIST_DEG_LOST_HEADER = 12.0, 6.0
"""How far the RV must turn the wrong way from base to apex for the file to count as a mirror image: clearly where the
header states a scanner's oblique orientation, less so where it states none."""
MIRROR_CORRELATION, MIRROR_SLICES = 0.7, 3
"""How straight that turn must be, and over how many slices it must be seen."""
MIN_RV_SHARE = 0.05
"""Relative to the left ventricle; less is noise of a segmenter, not a right ventricle."""


@dataclass(frozen=True)
class HeartFrame:
    """A frame attached to the heart: a rotation and a shift, with a reflection where the file shows a mirrored heart.

    Args:
        origin_ras: (3,) centre of the LV cavity, RAS mm.
        axes_ras: (3, 3) rows are the unit vectors of k, j, i in RAS.
    """

    origin_ras: np.ndarray
    axes_ras: np.ndarray

    @property
    def mirrored(self) -> bool:
        """Whether the labels show a mirror image of a heart, as files do that lost their orientation on the way."""
        return bool(np.linalg.det(self.axes_ras) < 0)

    def ras_to_heart(self) -> np.ndarray:
        """Return the (4, 4) map from homogeneous RAS mm to heart (k, j, i) mm."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.axes_ras
        matrix[:3, 3] = -self.axes_ras @ self.origin_ras
        return matrix

    def kji_to_heart(self, ijk_to_ras: np.ndarray) -> np.ndarray:
        """Return the (4, 4) map from homogeneous voxel (k, j, i) of a stack to heart (k, j, i) mm."""
        return self.ras_to_heart() @ ijk_to_ras @ KJI_AND_IJK


@dataclass(frozen=True)
class _Slices:
    """What the labels show slice by slice; arrays are (D,), NaN where a slice has no such label.

    Args:
        height_mm: Position along the stack's normal.
        area: Pixels of LV cavity, myocardium and RV cavity, (3, D).
        rv_from_lv_mm: (D, 3) from the LV's centre to the RV's within the slice, RAS.
    """

    height_mm: np.ndarray
    area: np.ndarray
    rv_from_lv_mm: np.ndarray


def heart_frame_from_labels(labels: np.ndarray, ijk_to_ras: np.ndarray) -> HeartFrame:
    """Find the heart's frame from labels (D, H, W) and the (4, 4) geometry of their stack, mm.

    Raises:
        AnatomyError: If there is no plausible LV cavity.
    """
    labels = _main_parts(labels)
    cavity = labels == 1
    found_ml = float(cavity.sum() * voxel_volume_ml(ijk_to_ras))
    if found_ml < MIN_CAVITY_ML:
        raise AnatomyError(
            f"A heart in view needs a left-ventricular cavity of at least {MIN_CAVITY_ML:.0f} mL; found {found_ml:.1f} "
            "mL. Check that the volume is a short-axis stack of the heart, or give labels or an ROI."
        )
    normal = np.cross(ijk_to_ras[:3, 0], ijk_to_ras[:3, 1])
    normal *= np.sign(normal @ ijk_to_ras[:3, 2]) / np.linalg.norm(normal)
    slices = _measure(labels, ijk_to_ras, normal)
    apex = _apex_direction(slices, normal)
    k_axis = normal * apex
    towards_rv, twist_deg = _rv_direction(slices, k_axis, apex * slices.height_mm)
    i_axis = -towards_rv
    wrong_way_deg = MIRROR_TWIST_DEG if _oblique(normal) else MIRROR_TWIST_DEG_LOST_HEADER
    j_axis = np.cross(i_axis, k_axis) * (-1.0 if twist_deg < -wrong_way_deg else 1.0)
    k, j, i = np.nonzero(cavity)
    origin = ijk_to_ras[:3, :3] @ np.array([i.mean(), j.mean(), k.mean()]) + ijk_to_ras[:3, 3]
    return HeartFrame(origin, np.stack([k_axis, j_axis, i_axis]))


def _main_parts(labels: np.ndarray) -> np.ndarray:
    """Drop islands: keep the largest part of the LV cavity, and of the others whatever is a tenth of their largest."""
    from scipy.ndimage import find_objects
    from scipy.ndimage import label as connected

    whole = np.zeros(labels.shape, np.uint8)
    box = (find_objects((labels > 0).astype(np.uint8)) or [()])[0]
    labels, kept = labels[box], whole[box]
    for code, share in ((1, 1.0), (2, 0.1), (3, 0.1)):
        parts, n_parts = connected(labels == code, structure=np.ones((3, 3, 3)))
        if n_parts:
            sizes = np.bincount(parts.ravel())
            sizes[0] = 0
            kept[(sizes >= share * sizes.max())[parts] & (parts > 0)] = code
    return whole


def _measure(labels: np.ndarray, ijk_to_ras: np.ndarray, normal: np.ndarray) -> _Slices:
    """Measure areas and centres in every slice."""
    depth, height, width = labels.shape
    area = np.stack([(labels == code).sum(axis=(1, 2)).astype(float) for code in (1, 2, 3)])
    if area[2].sum() < MIN_RV_SHARE * area[:2].sum():
        area[2] = 0.0
    rows, columns = np.arange(height, dtype=float), np.arange(width, dtype=float)

    def centres(mask: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            count = mask.sum(axis=(1, 2)).astype(float)
            j = (mask.sum(axis=2) @ rows) / count
            i = (mask.sum(axis=1) @ columns) / count
        return np.stack([i, j], axis=1)

    apart = centres(labels == 3) - centres((labels == 1) | (labels == 2))
    positions = (ijk_to_ras[:3, 2] @ normal) * np.arange(depth)
    return _Slices(positions, area, apart @ ijk_to_ras[:3, :2].T)


def _oblique(normal: np.ndarray) -> bool:
    """Whether slices lie as a scanner places them across a heart; along a coordinate axis the header lost its way."""
    return bool(np.abs(normal).max() < 0.9999)


def _trend(position: np.ndarray, value: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Return the weighted linear fit's rise over the covered extent, and the correlation; zeros where undefined."""
    used = weight > 0
    if used.sum() < 2:
        return 0.0, 0.0
    position, value, weight = position[used], value[used], weight[used] / weight[used].sum()
    x, y = position - weight @ position, value - weight @ value
    spread, change = weight @ x**2, weight @ (x * y)
    scatter = weight @ y**2
    rise = change / spread * np.ptp(position)
    return float(rise), float(change / np.sqrt(spread * scatter)) if scatter > 0 else 0.0


def _apex_direction(slices: _Slices, normal: np.ndarray) -> float:
    """Return +1 if the apex lies along `normal`, −1 otherwise.

    Four signs vote with the relative change they show across the covered slices. Towards the apex the RV shrinks
    faster than the LV, the cavity tapers, and the wall fills more of the ventricle; and in a patient the apex points
    left, anterior and inferior. The last counts least, so that labels overrule a wrong header, and not at all for
    slices along a coordinate axis, whose header has lost its orientation.
    """
    lv, wall, rv = slices.area
    position, there = slices.height_mm, lv > 0
    ventricle = np.maximum(lv + wall, 1.0)

    def change(value: np.ndarray, weight: np.ndarray, limit: float) -> float:
        level = weight @ value / weight.sum() if weight.any() else 0.0
        rise = _trend(position, value, weight)[0]
        return float(np.clip(rise / level, -limit, limit)) if level > 0 else 0.0

    score = -change(rv / ventricle, np.where(there & (rv > 0), ventricle, 0.0), 2.0)
    score -= 0.5 * change(lv, there.astype(float), 2.0)
    score += 0.5 * change(np.where(there, wall / np.maximum(lv, 1.0), 0.0), np.where(there, lv, 0.0), 1.0)
    if _oblique(normal):
        score += 0.3 * float(normal @ USUAL_APEX_RAS)
    return 1.0 if score >= 0 else -1.0


def _rv_direction(slices: _Slices, k_axis: np.ndarray, level_mm: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the unit vector from the LV to the RV at mid-ventricle, and how far the RV turns from base to apex.

    The RV lies anterior of the septum's middle at the base, where its outflow tract leaves, and inferior towards the
    apex: seen along j = i × k it turns by +20° to +40° (all human stacks measured for this). A straight line through
    the slices' angles gives its direction at mid-level, which moves little when basal or apical slices are missing.

    Args:
        slices: What the labels show.
        k_axis: (3,) unit vector from base to apex.
        level_mm: (D,) position of the slices along `k_axis`.

    Returns:
        (3,) unit vector in RAS, orthogonal to `k_axis`; and the turn in degrees, 0 where it cannot be told.
    """
    lv, _, rv = slices.area
    weight = np.where((lv > 0) & (rv > 0), rv, 0.0)
    vectors = slices.rv_from_lv_mm
    mean = (weight[weight > 0, None] * vectors[weight > 0]).sum(axis=0)
    if np.linalg.norm(mean) < 1e-6:  # an LV-only label map, or an RV all around
        mean = -USUAL_LATERAL_RAS if abs(k_axis @ USUAL_LATERAL_RAS) < 0.9 else np.array([0.0, 1.0, 0.0])
        weight = np.zeros_like(weight)
    mean = mean - k_axis * (k_axis @ mean)
    mean /= np.linalg.norm(mean)
    inferior = np.cross(-mean, k_axis)
    used = weight > 0
    if not used.any():
        return mean, 0.0
    angle = np.zeros_like(weight)
    angle[used] = np.arctan2(vectors[used] @ inferior, vectors[used] @ mean)
    rise, correlation = _trend(level_mm, angle, weight)
    turn = rise / np.ptp(level_mm[used]) if used.sum() > 1 else 0.0
    middle = 0.5 * (level_mm[lv > 0].min() + level_mm[lv > 0].max())
    at_middle = (weight @ angle) / weight.sum() + turn * (middle - (weight @ level_mm) / weight.sum())
    towards = np.cos(at_middle) * mean + np.sin(at_middle) * inferior
    sure = used.sum() >= MIRROR_SLICES and abs(correlation) >= MIRROR_CORRELATION
    return towards, float(np.degrees(rise)) if sure else 0.0
