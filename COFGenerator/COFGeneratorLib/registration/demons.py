"""Registration without a trained network: SimpleITK's diffeomorphic demons (Vercauteren 2009), frame by frame."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import SimpleITK as sitk

ITERATIONS, LEVELS, SIGMA_VOXELS = 60, (2, 1), 1.5
"""Iterations a level, in-plane shrink factors from coarse to fine, Gaussian smoothing of the field."""


def demons(anchor: np.ndarray, target: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """Return how an anchor moves to become a target: pull displacement, (3, D, H, W) mm along (k, j, i).

    Intensities are matched first; the pyramid shrinks in-plane only, because there are few slices.

    Args:
        anchor, target: (D, H, W).
        spacing_mm: (3,) along k, j, i.
    """
    import SimpleITK as sitk

    fixed, moving = _image(target, spacing_mm), _image(anchor, spacing_mm)
    matcher = sitk.HistogramMatchingImageFilter()
    matcher.SetNumberOfHistogramLevels(256)
    matcher.SetNumberOfMatchPoints(12)
    matcher.ThresholdAtMeanIntensityOn()
    moving = matcher.Execute(moving, fixed)
    field = None
    for level in LEVELS:
        small_fixed, small_moving = _shrunk(fixed, level), _shrunk(moving, level)
        demon = sitk.DiffeomorphicDemonsRegistrationFilter()
        demon.SetNumberOfIterations(ITERATIONS)
        demon.SetSmoothDisplacementField(True)
        demon.SetStandardDeviations([SIGMA_VOXELS, SIGMA_VOXELS, 1.0])
        if field is None:
            field = demon.Execute(small_fixed, small_moving)
        else:
            field = demon.Execute(small_fixed, small_moving, sitk.Resample(field, small_fixed))
    return np.moveaxis(sitk.GetArrayFromImage(sitk.Resample(field, fixed)), -1, 0)[::-1].astype(np.float32)


def _image(voxels: np.ndarray, spacing_mm: np.ndarray) -> "sitk.Image":
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels, dtype=np.float32))
    image.SetSpacing([float(value) for value in spacing_mm[::-1]])
    return image


def _shrunk(image: "sitk.Image", level: int) -> "sitk.Image":
    import SimpleITK as sitk

    if level == 1:
        return image
    smooth = sitk.DiscreteGaussian(image, [(0.5 * level * value) ** 2 for value in image.GetSpacing()[:2]] + [0.0])
    return sitk.Shrink(smooth, [level, level, 1])
