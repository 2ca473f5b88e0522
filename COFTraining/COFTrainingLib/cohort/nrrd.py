"""Writing NRRD volumes and cines with their geometry (teem.sourceforge.net/nrrd/format.html)."""

import gzip
from pathlib import Path

import numpy as np
from COFGeneratorLib.anatomy.geometry import LPS_TO_RAS
from COFGeneratorLib.errors import CohortError
from COFGeneratorLib.files import replacing

TYPES = {"uint8": "unsigned char", "int16": "short", "uint16": "unsigned short", "float32": "float"}
LEVEL = 3
"""Of gzip: half the time of the default, a few percent larger."""


def write_nrrd(path: Path, array: np.ndarray, ijk_to_ras: np.ndarray, times_ms: np.ndarray | None = None) -> None:
    """Write a stack (D, H, W), or a cine (T, D, H, W) in the layout of Slicer's ``.seq.nrrd``, atomically.

    Args:
        path: File.
        array: uint8, int16, uint16 or float32.
        ijk_to_ras: (4, 4) geometry, mm; any orientation and handedness.
        times_ms: (T,) times of the frames of a cine.

    Raises:
        CohortError: If the array cannot be written so.
    """
    if array.dtype.name not in TYPES or array.ndim != (3 if times_ms is None else 4):
        raise CohortError(
            f"A stack is written as (D, H, W), a cine as (T, D, H, W) with its times, of the types {', '.join(TYPES)}; "
            f"found {array.shape} {array.dtype}. Convert it first."
        )
    matrix = LPS_TO_RAS @ np.asarray(ijk_to_ras, dtype=np.float64)  # the same diagonal leads both ways
    vectors = [_vector(matrix[:3, axis]) for axis in range(3)]
    cine = times_ms is not None
    if cine:
        array = np.moveaxis(array, 0, -1)  # in Slicer's sequences the frames vary fastest
    sizes = " ".join(str(size) for size in array.shape[::-1])
    lines = [
        "NRRD0005",
        f"type: {TYPES[array.dtype.name]}",
        f"dimension: {array.ndim}",
        "space: left-posterior-superior",
        f"sizes: {sizes}",
        f"space directions: {'none ' if cine else ''}{' '.join(vectors)}",
        f"kinds: {'list ' if cine else ''}domain domain domain",
        "endian: little",
        "encoding: gzip",
        f"space origin: {_vector(matrix[:3, 3])}",
    ]
    if times_ms is not None:
        lines += [
            "axis 0 index type:=numeric",
            f"axis 0 index values:={' '.join(repr(round(float(time), 4)) for time in times_ms)}",
            "axis 0 index unit:=ms",
        ]
    data = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
    with replacing(path) as beside:  # without a time stamp inside, so that equal content gives equal files
        beside.write_bytes("\n".join(lines).encode() + b"\n\n" + gzip.compress(data, LEVEL, mtime=0))


def _vector(numbers: np.ndarray) -> str:
    return f"({','.join(repr(float(number)) for number in numbers)})"
