"""Volumes and cines as NIfTI-1, with what they are in the header."""

import gzip
import os
import struct
import tempfile
from pathlib import Path

import numpy as np

from COFGeneratorLib.anatomy.geometry import LPS_TO_RAS, spacing_ijk_mm

HEADER_BYTES, DATA_AT, OFFSET_AT = 348, 352, 108
DESCRIPTION_AT, DESCRIPTION_BYTES = 148, 80
COMMENT = 6
"""Code of a header extension of plain text."""
EXTENSION_HEAD_BYTES, EXTENSION_STEP_BYTES = 8, 16
COMPRESSION = 1
"""Of gzip: half the time of the default, a few percent larger on images."""


def write_nifti(
    path: str | os.PathLike,
    frames: np.ndarray,
    ijk_to_ras: np.ndarray,
    step_ms: float | None = None,
    *,
    description: str = "",
    comment: str = "",
) -> Path:
    """Write ``.nii.gz`` and return its path.

    Args:
        path: File to write.
        frames: (T, D, H, W), or (D, H, W) of one volume.
        ijk_to_ras: (4, 4) geometry with orthogonal axes, mm.
        step_ms: Time from frame to frame, ms; in the header in s, as other programs expect it.
        description: At most 79 bytes of the header's ``descrip``.
        comment: Text of any length, in a header extension.
    """
    import SimpleITK as sitk

    cine = frames.ndim == 4
    lps = LPS_TO_RAS @ ijk_to_ras
    spacing = spacing_ijk_mm(ijk_to_ras)
    direction = np.eye(4 if cine else 3)
    direction[:3, :3] = lps[:3, :3] / spacing
    image = sitk.GetImageFromArray(np.ascontiguousarray(frames), isVector=False)
    image.SetSpacing([*map(float, spacing), *([(step_ms or 1000.0) / 1000.0] if cine else [])])
    image.SetOrigin([*map(float, lps[:3, 3]), *([0.0] if cine else [])])
    image.SetDirection(direction.ravel().tolist())
    with tempfile.TemporaryDirectory(prefix="cof-nifti-") as folder:
        plain = Path(folder, "plain.nii")
        sitk.WriteImage(image, str(plain))
        content = plain.read_bytes()
    header = bytearray(content[:DATA_AT])
    (offset,) = struct.unpack_from("<f", header, OFFSET_AT)
    words = description.encode("ascii", "replace")[: DESCRIPTION_BYTES - 1]
    header[DESCRIPTION_AT : DESCRIPTION_AT + DESCRIPTION_BYTES] = words.ljust(DESCRIPTION_BYTES, b"\0")
    extension = _extension(comment) if comment else b""
    struct.pack_into("<f", header, OFFSET_AT, float(DATA_AT + len(extension)))
    header[HEADER_BYTES:DATA_AT] = bytes([bool(extension), 0, 0, 0])
    target = Path(path)
    with target.open("wb") as file, gzip.GzipFile("", "wb", COMPRESSION, file, mtime=0) as stream:
        stream.write(header + extension)
        stream.write(memoryview(content)[int(offset) :])
    return target


def _extension(text: str) -> bytes:
    """Return a text as one header extension, padded to whole steps."""
    data = text.encode("utf-8")
    size = -(-(EXTENSION_HEAD_BYTES + len(data)) // EXTENSION_STEP_BYTES) * EXTENSION_STEP_BYTES
    return struct.pack("<ii", size, COMMENT) + data.ljust(size - EXTENSION_HEAD_BYTES, b"\0")
