"""The heart's own frame: where the left ventricle lies, which way its apex and its right ventricle point.

Every network of this product sees hearts in this frame, so a stack that is turned, shifted, flipped or stored apex
first gives the same motion. Axes (k, j, i): k from base to apex, j from anterior to inferior, i from the right
ventricle to the lateral wall. Anatomy fixes the handedness: j = i × k.
"""

from dataclasses import dataclass

import numpy as np

from COFGeneratorLib.errors import AnatomyError

MIN_CAVITY_ML = 8.0
"""Below this an LV cavity cannot be told from noise, whatever species or age."""


@dataclass(frozen=True)
class HeartFrame:
    """A rigid frame attached to the heart.

    Args:
        origin_ras: (3,) centre of the LV cavity, RAS mm.
        axes_ras: (3, 3) rows are the unit vectors of k, j, i in RAS.
    """

    origin_ras: np.ndarray
    axes_ras: np.ndarray

    def ras_to_heart(self) -> np.ndarray:
        """Return the (4, 4) map from homogeneous RAS mm to heart (k, j, i) mm."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.axes_ras
        matrix[:3, 3] = -self.axes_ras @ self.origin_ras
        return matrix

    def kji_to_heart(self, ijk_to_ras: np.ndarray) -> np.ndarray:
        """Return the (4, 4) map from homogeneous voxel (k, j, i) of a stack to heart (k, j, i) mm."""
        swap = np.eye(4)[[2, 1, 0, 3]]
        return self.ras_to_heart() @ ijk_to_ras @ swap


def heart_frame_from_labels(labels: np.ndarray, ijk_to_ras: np.ndarray) -> HeartFrame:
    """Find the heart's frame from a label map.

    Args:
        labels: (D, H, W) integers, 0 background, 1 LV cavity, 2 myocardium, 3 RV cavity.
        ijk_to_ras: (4, 4) geometry of the stack, mm.

    Raises:
        AnatomyError: If there is no plausible LV cavity.
    """
    voxel_ml = abs(np.linalg.det(ijk_to_ras[:3, :3])) / 1000.0
    cavity = labels == 1
    found_ml = float(cavity.sum() * voxel_ml)
    if found_ml < MIN_CAVITY_ML:
        raise AnatomyError(
            f"A heart in view needs a left-ventricular cavity of at least {MIN_CAVITY_ML:.0f} mL; found {found_ml:.1f} mL. "
            "Check that the volume is a short-axis stack of the heart, or give labels or an ROI."
        )

    def centre(mask):
        k, j, i = np.nonzero(mask)
        return ijk_to_ras[:3, :3] @ np.array([i.mean(), j.mean(), k.mean()]) + ijk_to_ras[:3, 3]

    origin = centre(cavity)
    normal = np.cross(ijk_to_ras[:3, 0], ijk_to_ras[:3, 1])
    normal /= np.linalg.norm(normal)
    step = float(normal @ ijk_to_ras[:3, 2])
    k_axis = normal * np.sign(step) * _apex_direction(labels)

    rv = labels == 3
    if rv.any():
        towards_lateral = origin - centre(rv)
    else:  # an LV-only label map: patient right-anterior is where an RV lies
        towards_lateral = np.array([-1.0, -1.0, 0.0])
    towards_lateral = towards_lateral - k_axis * (k_axis @ towards_lateral)
    i_axis = towards_lateral / np.linalg.norm(towards_lateral)
    j_axis = np.cross(i_axis, k_axis)
    return HeartFrame(origin, np.stack([k_axis, j_axis, i_axis]))


def _apex_direction(labels: np.ndarray) -> float:
    """Return +1 if the apex lies at high slice indices, −1 otherwise.

    Three signs vote, each weighted by how much it says: where the RV lies relative to the LV (basal), how the cavity
    tapers, and where the wall closes over the cavity.
    """
    slices = np.arange(labels.shape[0], dtype=float)
    area = {name: (labels == code).sum(axis=(1, 2)).astype(float) for name, code in (("lv", 1), ("myo", 2), ("rv", 3))}
    heart = sum(area.values()) > 0
    extent = max(slices[heart].max() - slices[heart].min(), 1.0)

    def centroid(weight):
        return float((slices * weight).sum() / weight.sum())

    score = 0.0
    if area["rv"].any():
        score += 2.0 * (centroid(area["lv"] + area["myo"]) - centroid(area["rv"])) / extent
    used = area["lv"] > 0
    middle = 0.5 * (slices[used].max() + slices[used].min())
    score += 2.0 * (middle - centroid(area["lv"])) / extent
    if area["myo"].any():
        score += (centroid(area["myo"]) - centroid(area["lv"])) / extent
    return 1.0 if score >= 0 else -1.0
