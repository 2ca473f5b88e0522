"""NIfTI-1 and NIfTI-2, single file or header and image pair, compressed or not.

Layout: nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h and nifti2.h.
"""

import struct
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from COFGeneratorLib.anatomy.geometry import affine, check_geometry, check_spacing, spaced, spacing_ijk_mm
from COFGeneratorLib.anatomy.readers.header import (
    AS_FRAMES,
    Payload,
    VolumeHeader,
    check_axes,
    check_sizes,
    not_scalar,
    vector_as_frames,
)
from COFGeneratorLib.anatomy.readers.payload import decode
from COFGeneratorLib.anatomy.readers.timing import frame_times_ms
from COFGeneratorLib.errors import AnatomyError

FORMAT = "NIfTI"
TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
NOT_SCALAR = {
    128: "RGB",
    2304: "RGBA",
    32: "complex",
    1792: "complex",
    2048: "complex",
    1: "single-bit",
    1536: "128-bit",
}
MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 1e-3}
TIME_UNIT = {8: "s", 16: "ms", 24: "us"}
SAME_SPACING = 0.01
"""Relative difference below which two statements of a spacing agree (headers store single precision)."""


def matches(start: bytes) -> bool:
    """Whether decompressed leading bytes are a NIfTI header."""
    if len(start) < 348:
        return False
    size = struct.unpack("<i", start[:4])[0], struct.unpack(">i", start[:4])[0]
    return (348 in size and start[344:347] in (b"n+1", b"ni1")) or (540 in size and start[4:7] in (b"n+2", b"ni2"))


def read_header(path: Path, codec: str) -> VolumeHeader:
    """Read geometry, type and timing of a file that `matches`; ``codec`` is ``"raw"`` or ``"gzip"``.

    Raises:
        AnatomyError: If the header describes no scalar volume or cine with sensible geometry.
    """
    start = b"".join(islice(decode(Payload(path, codec=codec), FORMAT), 1))
    field = _fields(start)
    sizes = [int(n) for n in field["dim"][1 : field["dim"][0] + 1]] if 1 <= field["dim"][0] <= 7 else []
    while len(sizes) > 3 and sizes[-1] <= 1:  # a singleton fourth axis is no cine
        sizes.pop()
    said: tuple[str, ...] = ()
    if len(sizes) == 5 and sizes[3] == 1 and vector_as_frames(sizes[:3], sizes[4]):
        sizes, said = [*sizes[:3], sizes[4]], (AS_FRAMES,)
    if field["datatype"] not in TYPES:
        kind = NOT_SCALAR.get(field["datatype"], f"type code {field['datatype']}")
        raise not_scalar(FORMAT, f"{kind} voxels")
    check_axes(FORMAT, sizes)
    n_frames = sizes[3] if len(sizes) == 4 else 1
    dtype = np.dtype(field["endian"] + TYPES[field["datatype"]])
    check_sizes(FORMAT, (sizes[2], sizes[1], sizes[0]), n_frames, dtype.itemsize)
    matrix, warnings = _geometry(field)
    warnings += said
    times: tuple[float, ...] = ()
    if n_frames > 1:
        step, unit = field["pixdim"][4], TIME_UNIT.get(field["xyzt_units"] & 0x38, "")
        times, said = frame_times_ms(field["toffset"] + step * np.arange(n_frames), unit)
        warnings += said
    slope, intercept = field["scl_slope"], field["scl_inter"]
    if not np.isfinite([slope, intercept]).all() or slope == 0:
        slope, intercept = 1.0, 0.0
    payload = Payload(path, codec=codec, inner_offset=field["vox_offset"])
    if field["pair"]:
        payload = _image_of_pair(path)
    return VolumeHeader(
        format=FORMAT,
        shape=(sizes[2], sizes[1], sizes[0]),
        n_frames=n_frames,
        frames_fastest=False,
        dtype=dtype,
        ijk_to_ras=matrix,
        payload=payload,
        slope=slope,
        intercept=intercept,
        frame_times_ms=times,
        warnings=tuple(warnings),
        ours=b"ChainOfFlow" in field["descrip"],
    )


def _fields(start: bytes) -> dict[str, Any]:
    """Unpack what is needed of either version."""
    endian = "<" if struct.unpack("<i", start[:4])[0] in (348, 540) else ">"

    def at(code: str, offset: int) -> Any:
        values = struct.unpack_from(endian + code, start, offset)
        return values if len(values) > 1 else values[0]

    if struct.unpack(endian + "i", start[:4])[0] == 348:
        where = {
            "dim": ("8h", 40), "datatype": ("h", 70), "pixdim": ("8f", 76), "vox_offset": ("f", 108),
            "scl_slope": ("f", 112), "scl_inter": ("f", 116), "xyzt_units": ("B", 123), "toffset": ("f", 136),
            "descrip": ("80s", 148),
            "qform_code": ("h", 252), "sform_code": ("h", 254), "quatern": ("3f", 256), "qoffset": ("3f", 268),
            "srow": ("12f", 280),
        }  # fmt: skip
        pair, least = start[344:347] == b"ni1", 352
    else:
        if len(start) < 540:
            raise AnatomyError("A NIfTI-2 header has 540 bytes; this file is shorter. Copy or export it again.")
        where = {
            "dim": ("8q", 16), "datatype": ("h", 12), "pixdim": ("8d", 104), "vox_offset": ("q", 168),
            "scl_slope": ("d", 176), "scl_inter": ("d", 184), "xyzt_units": ("i", 500), "toffset": ("d", 216),
            "descrip": ("80s", 240),
            "qform_code": ("i", 344), "sform_code": ("i", 348), "quatern": ("3d", 352), "qoffset": ("3d", 376),
            "srow": ("12d", 400),
        }  # fmt: skip
        pair, least = start[4:7] == b"ni2", 544
    field = {name: at(*place) for name, place in where.items()}
    offset = field["vox_offset"]
    if not np.isfinite(offset) or not 0 <= offset < 2**40:
        raise AnatomyError(
            f"The NIfTI header places the voxels at byte {offset}, which cannot be. Export the file again."
        )
    return field | {"endian": endian, "pair": pair, "vox_offset": max(int(offset), least)}


def _image_of_pair(path: Path) -> Payload:
    """Find the .img beside a .hdr, by the same name only."""
    for suffix, codec in ((".img", "raw"), (".img.gz", "gzip")):
        name = path.name.removesuffix(".gz").removesuffix(".hdr") + suffix
        if path.with_name(name).is_file():
            return Payload(path.with_name(name), codec=codec)
    raise AnatomyError(
        "This NIfTI header keeps its voxels in a second file of the same name ending in .img; none lies beside "
        f"{path.name}. Put both files into one folder."
    )


def _geometry(field: dict[str, Any]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Choose between sform, qform and pixdim, and say so where they contradict each other."""
    pixdim = np.abs(np.array(field["pixdim"][1:4], dtype=float))
    unit = MM_PER_UNIT[field["xyzt_units"] & 3] if field["xyzt_units"] & 7 in MM_PER_UNIT else 1.0
    warnings: list[str] = []
    sform = np.vstack([np.reshape(field["srow"], (3, 4)), [0, 0, 0, 1]]).astype(float)
    has_sform = field["sform_code"] > 0 and np.isfinite(sform).all() and abs(np.linalg.det(sform)) > 1e-9
    if not has_sform:
        check_spacing(np.array(field["pixdim"][1:4]), FORMAT)
    has_qform = field["qform_code"] > 0 and np.isfinite(pixdim).all() and pixdim.min() > 0
    qform = _qform(field, pixdim) if has_qform else None
    if has_sform:
        matrix = sform
        scale = spacing_ijk_mm(sform)
        if np.isfinite(pixdim).all() and pixdim.min() > 0 and not np.allclose(scale, pixdim, rtol=SAME_SPACING):
            matrix, said = _contradiction(sform, scale, pixdim, qform)
            warnings.append(said)
        elif qform is not None and not np.allclose(sform, qform, atol=0.1 * pixdim.min()):
            warnings.append("The NIfTI header's qform and sform place the volume differently; the sform is used.")
    elif qform is not None:
        matrix = qform
    else:
        matrix = affine(np.diag(pixdim * [-1.0, 1.0, 1.0]), np.zeros(3))
        warnings.append("The NIfTI header has no orientation; axes are taken as left, anterior, superior.")
    scaled = matrix.copy()
    scaled[:3] *= unit
    if unit != 1.0:
        warnings.append(f"The NIfTI header's lengths are converted to mm (× {unit:g}).")
    check_geometry(scaled, FORMAT)
    return scaled, tuple(warnings)


def _contradiction(
    sform: np.ndarray, scale: np.ndarray, pixdim: np.ndarray, qform: np.ndarray | None
) -> tuple[np.ndarray, str]:
    """Decide where the sform's scale is not pixdim: a side that says 1 mm for everything says nothing."""
    shown = f"spacing {spaced(scale)} in its sform and {spaced(pixdim)} in its pixdim"
    if np.allclose(pixdim, 1.0, rtol=SAME_SPACING):
        return sform, f"The NIfTI header has {shown} mm; the sform is used."
    if qform is not None:
        return qform, f"The NIfTI header has {shown} mm; the qform, which agrees with pixdim, is used."
    fixed = affine(sform[:3, :3] / scale * pixdim, sform[:3, 3])
    return fixed, f"The NIfTI header has {shown} mm; pixdim is used with the sform's directions."


def _qform(field: dict[str, Any], pixdim: np.ndarray) -> np.ndarray:
    """Rotation from the quaternion, spacing from pixdim, handedness from pixdim[0] (nifti1.h, method 2)."""
    b, c, d = field["quatern"]
    a = np.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
    norm = np.sqrt(a * a + b * b + c * c + d * d)
    a, b, c, d = (x / norm for x in (a, b, c, d))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    handed = np.array([1.0, 1.0, -1.0 if field["pixdim"][0] < 0 else 1.0])
    return affine(rotation * (pixdim * handed), np.array(field["qoffset"], dtype=float))
