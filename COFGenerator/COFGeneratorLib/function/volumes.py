"""Volumes over time from labels: how many millilitres each structure fills in each frame."""

from dataclasses import dataclass

import numpy as np

from COFGeneratorLib.anatomy.geometry import voxel_volume_ml
from COFGeneratorLib.anatomy.stack import LABELS
from COFGeneratorLib.errors import FunctionError

MYOCARDIAL_DENSITY_G_PER_ML = 1.05
"""SCMR's convention for converting myocardial volume to mass."""
WALL_GROWTH = (0.20, 0.42)
"""Least and most growth of the wall's volume in slices, by the share of the cavity that is ejected: its shortening
packs tissue into them (0.31 ± 0.06 in phantoms)."""


@dataclass(frozen=True)
class VolumeCurves:
    """Volume of each structure in each frame.

    Attributes:
        lv_ml: (T,) LV cavity, mL.
        myocardium_ml: (T,) LV myocardium, mL.
        rv_ml: (T,) RV cavity, mL; zeros where no RV was labelled.
    """

    lv_ml: np.ndarray
    myocardium_ml: np.ndarray
    rv_ml: np.ndarray

    @property
    def myocardial_mass_g(self) -> np.ndarray:
        """(T,) mass of the LV myocardium, g."""
        return self.myocardium_ml * MYOCARDIAL_DENSITY_G_PER_ML


def volume_curves(labels: np.ndarray, ijk_to_ras: np.ndarray) -> VolumeCurves:
    """Measure the volumes of a labelled cine.

    Args:
        labels: Either (T, D, H, W) integers with the codes of ``anatomy.stack.LABELS``, or (T, 3, D, H, W) fractions
            0…1 of LV cavity, myocardium and RV cavity in each voxel (partial volume counts as such).
        ijk_to_ras: (4, 4) geometry of the stack, mm.

    Raises:
        FunctionError: If the array has neither of the two forms.
    """
    labels = np.asarray(labels)
    scale = voxel_volume_ml(ijk_to_ras)
    if labels.ndim == 5 and labels.shape[1] == len(LABELS) and np.issubdtype(labels.dtype, np.floating):
        sums = labels.sum(axis=(2, 3, 4), dtype=np.float64)  # (T, 3)
        if not np.isfinite(sums).all():
            raise FunctionError("Label fractions must be finite; found missing values. Warp the labels again.")
        return curves_from_sums(sums, ijk_to_ras)
    if labels.ndim == 4 and (np.issubdtype(labels.dtype, np.integer) or labels.dtype == bool):
        counts = [(labels == code).sum(axis=(1, 2, 3)).astype(np.float64) for code in LABELS.values()]
        return VolumeCurves(*(count * scale for count in counts))
    raise FunctionError(
        "Labels must be (frames, slices, rows, columns) integers or (frames, 3, slices, rows, columns) fractions; "
        f"found shape {labels.shape} of {labels.dtype}. Give every frame its own label map."
    )


def curves_from_sums(voxels: np.ndarray, ijk_to_ras: np.ndarray) -> VolumeCurves:
    """Return the volumes of structures that fill so many voxels, (T, 3) of LV cavity, myocardium and RV cavity."""
    return VolumeCurves(*(np.asarray(voxels, dtype=np.float64).T * voxel_volume_ml(ijk_to_ras)))
