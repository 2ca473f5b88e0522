"""Surfaces of a heart, frame by frame: ``mesh/heart-tTTT.vtp`` in RAS mm, ``heart.pvd`` over them, ``heart.glb``."""

import json
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np

from COFGeneratorLib.cine import SYNTHETIC_MARK
from COFGeneratorLib.errors import FunctionError, MachineError
from COFGeneratorLib.export.gltf import Surface, write_glb
from COFGeneratorLib.export.heart import Heart
from COFGeneratorLib.figures.surfaces import label_surface
from COFGeneratorLib.files import write_text

STRUCTURES = ((1, "LV cavity", (0.86, 0.24, 0.24, 1.0)), (2, "LV myocardium", (0.36, 0.72, 0.36, 0.35)),
              (3, "RV cavity", (0.27, 0.51, 0.87, 0.6)))  # fmt: skip
"""Label, words and colour; the wall is seen through."""


def write(heart: Heart, folder: Path) -> list[Path]:
    """Write the surfaces of every frame.

    Raises:
        FunctionError: If there are no labels.
        MachineError: If VTK is missing.
    """
    if heart.labels is None:
        raise FunctionError("Surfaces are those of labels; found none in this result. Generate with --labels.")
    try:
        import vtk
    except ImportError as error:
        raise MachineError(
            "Surfaces need the package vtk; it is not installed. Install it (pip install 'chainofflow[slicer]')."
        ) from error
    target = folder / "mesh"
    target.mkdir(parents=True)
    written, frames = [], []
    for phase, labels in enumerate(heart.labels):
        made = {code: label_surface(labels, code, heart.ijk_to_ras) for code, _, _ in STRUCTURES}
        written.append(target / f"heart-t{phase:03d}.vtp")
        _write_vtp(vtk, made, heart, phase, written[-1])
        frames.append([_arrays(made[code], words, colour) for code, words, colour in STRUCTURES])
    written += [_write_collection(heart, target, written), target / "heart.glb"]
    write_glb(written[-1], frames, heart.time_ms, heart.rr_ms, SYNTHETIC_MARK, heart.statement())
    return written


def _write_vtp(vtk: Any, made: dict[int, Any], heart: Heart, phase: int, path: Path) -> None:
    """Write all surfaces of a frame as one file: which is which says the array ``label`` of its cells."""
    together = vtk.vtkAppendPolyData()
    for code, surface in made.items():
        label = vtk.vtkUnsignedCharArray()
        label.SetName("label")
        label.SetNumberOfTuples(surface.GetNumberOfCells())
        label.Fill(code)
        surface.GetCellData().AddArray(label)
        together.AddInputData(surface)
    together.Update()
    result = together.GetOutput()
    for name, text in (("mark", SYNTHETIC_MARK), ("facts", json.dumps(heart.statement()))):
        words = vtk.vtkStringArray()
        words.SetName(name)
        words.InsertNextValue(text)
        result.GetFieldData().AddArray(words)
    time = vtk.vtkDoubleArray()
    time.SetName("TimeValue")
    time.InsertNextValue(float(heart.time_ms[phase]))
    result.GetFieldData().AddArray(time)
    writer = vtk.vtkXMLPolyDataWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(result)
    writer.SetDataModeToAppended()
    writer.EncodeAppendedDataOff()
    if writer.Write() != 1:
        raise OSError(f"{path.name} could not be written. Check free space and permissions.")


def _arrays(surface: Any, words: str, colour: tuple[float, float, float, float]) -> Surface:
    from vtk.util import numpy_support

    if surface.GetNumberOfCells() == 0:
        return Surface(words, colour, np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32), np.zeros((0, 3), int))
    points = numpy_support.vtk_to_numpy(surface.GetPoints().GetData()).astype(np.float32)
    normals = numpy_support.vtk_to_numpy(surface.GetPointData().GetNormals()).astype(np.float32)
    triangles = numpy_support.vtk_to_numpy(surface.GetPolys().GetConnectivityArray()).reshape(-1, 3)
    return Surface(words, colour, points, normals, triangles)


def _write_collection(heart: Heart, folder: Path, files: list[Path]) -> Path:
    """Write the list of frames and times, ms, that ParaView plays."""
    rows = "\n".join(
        f'    <DataSet timestep="{time:.3f}" part="0" file={quoteattr(file.name)}/>'
        for time, file in zip(heart.time_ms, files, strict=True)
    )
    path = folder / "heart.pvd"
    write_text(
        path,
        f'<?xml version="1.0"?>\n<!-- {SYNTHETIC_MARK} -->\n<VTKFile type="Collection" version="0.1">\n'
        f"  <Collection>\n{rows}\n  </Collection>\n</VTKFile>\n",
    )
    return path
