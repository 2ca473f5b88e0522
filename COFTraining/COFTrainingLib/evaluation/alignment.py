"""Rigid registration of one short-axis stack to another, by the images alone (SimpleITK, mutual information)."""

import numpy as np
import SimpleITK as sitk
from COFGeneratorLib.anatomy.geometry import LPS_TO_RAS
from COFGeneratorLib.anatomy.stack import SaxStack

SAMPLING = 0.2
BINS = 40


def align(moving: SaxStack, fixed: SaxStack, where: np.ndarray | None = None, seed: int = 1) -> np.ndarray:
    """Return the rigid (4, 4) RAS → RAS transform that puts ``moving`` in its place in ``fixed``.

    Starts from the geometries as the scanner states them; two resolutions. Multiply a geometry by it to move a stack.

    Args:
        moving, fixed: Stacks.
        where: (D, H, W) bool on the fixed stack's grid: what must agree; everything where None.
        seed: Of the samples that are compared.
    """
    images = [_image(stack) for stack in (fixed, moving)]
    start = sitk.Euler3DTransform()
    centre = fixed.ijk_to_ras @ np.r_[(np.array(fixed.shape[::-1]) - 1) / 2, 1.0]
    start.SetCenter((LPS_TO_RAS @ centre)[:3].tolist())
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(SAMPLING, seed)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(2.0, 0.05, 60, gradientMagnitudeTolerance=1e-5)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([2, 1])
    method.SetSmoothingSigmasPerLevel([2.0, 1.0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    if where is not None:
        method.SetMetricFixedMask(_image(SaxStack(where, fixed.ijk_to_ras), "uint8"))
    method.SetInitialTransform(start, inPlace=True)
    method.SetNumberOfThreads(1)
    method.Execute(*images)
    matrix = np.eye(4)  # sitk maps points of the fixed image to the moving one, LPS
    matrix[:3, :3] = np.array(start.GetMatrix()).reshape(3, 3)
    middle = np.array(start.GetCenter())
    matrix[:3, 3] = middle + np.array(start.GetTranslation()) - matrix[:3, :3] @ middle
    return LPS_TO_RAS @ np.linalg.inv(matrix) @ LPS_TO_RAS


def _image(stack: SaxStack, kind: str = "float32") -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(stack.voxels.astype(kind)))
    matrix = LPS_TO_RAS @ stack.ijk_to_ras
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(matrix[:3, 3].tolist())
    image.SetDirection((matrix[:3, :3] / spacing).ravel().tolist())
    return image
