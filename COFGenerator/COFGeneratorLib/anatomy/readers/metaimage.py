"""MetaImage: .mha, and .mhd with its voxels in one file beside it.

Format: itk.org/Wiki/ITK/MetaIO/Documentation.
"""

from pathlib import Path

import numpy as np

from COFGeneratorLib.anatomy.geometry import affine, check_geometry, check_spacing, lps_to_ras
from COFGeneratorLib.anatomy.readers.header import (
    AS_FRAMES,
    Payload,
    VolumeHeader,
    check_axes,
    check_sizes,
    detached,
    not_scalar,
    vector_as_frames,
)
from COFGeneratorLib.anatomy.readers.timing import frame_times_ms
from COFGeneratorLib.errors import AnatomyError

FORMAT = "MetaImage"
MAX_HEADER_BYTES = 1 << 16
TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip


def matches(start: bytes) -> bool:
    """Whether leading bytes are a MetaImage header."""
    words = start[:512].lstrip()
    return words.startswith((b"ObjectType", b"NDims")) and b"=" in words


def read_header(path: Path) -> VolumeHeader:
    """Read geometry, type, timing and where the voxels are.

    Raises:
        AnatomyError: If the header describes no scalar volume or cine with sensible geometry.
    """
    fields, offset = _parse(path)
    sizes = _integers(fields, "DimSize", [])
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    channels = _integers(fields, "ElementNumberOfChannels", [1])[0]
    kind = fields.get("ElementType", "")
    vector = vector_as_frames(sizes, channels)
    if (channels != 1 and not vector) or kind not in TYPES:
        of = "a known" if kind in TYPES else "another"
        raise not_scalar(FORMAT, f"{channels if abs(channels) < 1000 else 'many'} of {of} type each")
    check_axes(FORMAT, sizes)
    n_frames = channels if vector else sizes[3] if len(sizes) == 4 else 1
    check_sizes(FORMAT, (sizes[2], sizes[1], sizes[0]), n_frames, np.dtype(TYPES[kind]).itemsize)
    matrix, step_time = _geometry(fields)
    times, warnings = frame_times_ms(step_time * np.arange(n_frames), "") if n_frames > 1 else ((), ())
    warnings = (AS_FRAMES, *warnings) if vector else warnings
    msb = fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False")).lower() == "true"
    shape = (sizes[2], sizes[1], sizes[0])
    dtype = np.dtype((">" if msb else "<") + TYPES[kind])
    total = int(np.prod(shape, dtype=object)) * n_frames * dtype.itemsize
    payload = _payload(path, fields, offset, total)
    return VolumeHeader(
        format=FORMAT,
        shape=shape,
        n_frames=n_frames,
        frames_fastest=vector,
        dtype=dtype,
        ijk_to_ras=matrix,
        payload=payload,
        frame_times_ms=times,
        warnings=warnings,
    )


def _parse(path: Path) -> tuple[dict[str, str], int]:
    """Read "name = value" lines up to ElementDataFile, which ends the header."""
    fields, offset = {}, 0
    with path.open("rb") as file:
        while offset < MAX_HEADER_BYTES and (line := file.readline(MAX_HEADER_BYTES)):
            offset += len(line)
            name, found, value = line.decode("utf-8", "replace").partition("=")
            if not found:
                break
            fields[name.strip()] = value.strip()
            if name.strip() == "ElementDataFile":
                return fields, offset
    raise AnatomyError("A MetaImage header ends with ElementDataFile; none was found. Copy or export the file again.")


def _numbers(fields: dict[str, str], *names: str, default: list[float]) -> list[float]:
    for name in names:
        if name in fields:
            try:
                return [float(x) for x in fields[name].split()]
            except ValueError:
                break
    else:
        return default
    raise AnatomyError(f"{name} in a MetaImage header must be numbers; found other text. Export again.")


def _integers(fields: dict[str, str], name: str, default: list[int]) -> list[int]:
    try:
        return [int(x) for x in fields[name].split()] or default if name in fields else default
    except ValueError:
        raise AnatomyError(
            f"{name} in a MetaImage header must be whole numbers; found other text. Export again."
        ) from None


def _geometry(fields: dict[str, str]) -> tuple[np.ndarray, float]:
    """Return voxel → RAS mm, and the step along a fourth axis (NaN without one)."""
    n = _integers(fields, "NDims", [3])[0]
    flat = np.eye(min(max(n, 0), 4)).ravel().tolist()
    spacing = np.array(_numbers(fields, "ElementSpacing", "ElementSize", default=[]))
    rows = np.array(_numbers(fields, "TransformMatrix", "Rotation", "Orientation", default=flat))
    origin = np.array(_numbers(fields, "Offset", "Position", "Origin", default=[0.0] * min(max(n, 0), 4)))
    if n not in (3, 4) or rows.size != n * n or origin.size != n or spacing.size not in (0, n):
        raise AnatomyError(
            f"A MetaImage header needs spacing, matrix and offset of one dimension, 3 or 4; found NDims {n}, "
            f"{spacing.size} spacings, {rows.size} matrix elements, {origin.size} offsets. Export again."
        )
    if spacing.size == 0:
        raise AnatomyError("A MetaImage header needs ElementSpacing in mm; this one has none. Set it and export again.")
    check_spacing(spacing[:3], FORMAT)
    directions = rows.reshape(n, n).T[:3, :3]  # the file lists the axes one after another
    matrix = lps_to_ras(affine(directions * spacing[:3], origin[:3]))
    check_geometry(matrix, FORMAT)
    return matrix, float(spacing[3]) if n == 4 else np.nan


def _payload(path: Path, fields: dict[str, str], offset: int, total: int) -> Payload:
    """Say where the voxels are; a detached file must lie beside its header.

    Raises:
        AnatomyError: If the data file is elsewhere, several, or missing.
    """
    name = fields["ElementDataFile"]
    if name.upper() != "LOCAL":
        path, offset = detached(path, name, FORMAT, ".mha"), 0
    if fields.get("CompressedData", "False").lower() == "true":
        return Payload(path, offset, "gzip")
    if fields.get("BinaryData", "True").lower() == "false":
        return Payload(path, offset, "ascii")
    skip = _integers(fields, "HeaderSize", [0])[0]
    if skip == -1:
        skip = max(path.stat().st_size - offset - total, 0)
    return Payload(path, offset + max(skip, 0))
