"""Surfaces of labels, in RAS mm, by VTK."""

from typing import Any

import numpy as np

SMOOTHING, PASS_BAND = 25, 0.02
FEATURE_ANGLE_DEG = 80.0


def label_surface(labels: np.ndarray, code: int, ijk_to_ras: np.ndarray) -> Any:
    """Return the smoothed surface of one label as vtkPolyData with normals; empty where the label does not occur.

    Args:
        labels: (D, H, W) uint8.
        code: The label.
        ijk_to_ras: (4, 4) geometry, mm.
    """
    import vtk
    from vtk.util import numpy_support

    padded = np.pad(labels == code, 1).astype(np.uint8)  # so that it closes at base and apex
    image = vtk.vtkImageData()
    image.SetDimensions(*padded.shape[::-1])
    image.SetOrigin(-1.0, -1.0, -1.0)
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(padded.ravel(), deep=True))
    edges = vtk.vtkDiscreteMarchingCubes()
    edges.SetInputData(image)
    edges.SetValue(0, 1)
    smooth = vtk.vtkWindowedSincPolyDataFilter()
    smooth.SetInputConnection(edges.GetOutputPort())
    smooth.SetNumberOfIterations(SMOOTHING)
    smooth.SetPassBand(PASS_BAND)
    smooth.NonManifoldSmoothingOn()
    smooth.NormalizeCoordinatesOn()
    to_ras = vtk.vtkTransform()
    to_ras.SetMatrix([float(value) for value in np.asarray(ijk_to_ras).ravel()])
    place = vtk.vtkTransformPolyDataFilter()
    place.SetInputConnection(smooth.GetOutputPort())
    place.SetTransform(to_ras)
    normals = vtk.vtkPolyDataNormals()
    normals.SetInputConnection(place.GetOutputPort())
    normals.SetFeatureAngle(FEATURE_ANGLE_DEG)
    normals.AutoOrientNormalsOn()  # a left-handed grid turns surfaces inside out
    normals.Update()
    return normals.GetOutput()
