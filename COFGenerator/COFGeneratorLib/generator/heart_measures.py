"""What the anatomy alone says of a heart's function: sizes and proportions of an anchor's labels, as numbers."""

import numpy as np

MEASURES = (
    "lv_ml",
    "myocardium_ml",
    "rv_ml",
    "lv_diameter_mm",
    "wall_mm",
    "lv_length_mm",
    "wall_over_radius",
    "rv_over_lv_area",
)
"""Order of ``heart_measures``; all enter as logarithms."""
LEAST_LV_ML = 15.0
LEAST_SLICES = 3
SMALLEST = 1e-2
"""Of what is missing (no right ventricle labelled): a logarithm needs a number."""


def heart_measures(labels: np.ndarray, ijk_to_ras: np.ndarray) -> np.ndarray | None:
    """Return the logarithms of ``MEASURES`` of labels at end-diastole, or None where too little of a heart is in view.

    Diameter, wall and areas are those of the slices with the larger half of the cavity, so that they hold for a stack
    which does not reach base or apex.

    Args:
        labels: (D, H, W) labels: 1 LV cavity, 2 myocardium, 3 RV cavity.
        ijk_to_ras: (4, 4) geometry, mm.

    Returns:
        (len(MEASURES),) float32.
    """
    axes = np.asarray(ijk_to_ras, dtype=float)[:3, :3]
    pixel_mm2 = float(np.linalg.norm(np.cross(axes[:, 0], axes[:, 1])))
    pitch_mm = abs(float(np.linalg.det(axes))) / pixel_mm2
    lv, wall, rv = (np.count_nonzero(labels == code, axis=(1, 2)) * pixel_mm2 for code in (1, 2, 3))
    volumes = [area.sum() * pitch_mm / 1000.0 for area in (lv, wall, rv)]
    if volumes[0] < LEAST_LV_ML or np.count_nonzero(lv) < LEAST_SLICES or volumes[1] <= 0:
        return None
    middle = lv >= max(float(np.median(lv[lv > 0])), 1.0)
    area, shell, right = (part[middle].mean() for part in (lv, wall, rv))
    radius = np.sqrt(area / np.pi)
    thickness = np.sqrt((area + shell) / np.pi) - radius
    values = (
        *volumes, 2.0 * radius, thickness, np.count_nonzero(lv) * pitch_mm, thickness / radius, right / area,
    )  # fmt: skip
    return np.log(np.maximum(values, SMALLEST)).astype(np.float32)
