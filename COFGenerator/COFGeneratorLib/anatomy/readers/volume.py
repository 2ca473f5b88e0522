"""Files of one volume or cine, recognised by content: NIfTI, NRRD and MetaImage."""

from pathlib import Path

import numpy as np

from COFGeneratorLib.anatomy.readers import metaimage, nifti, nrrd
from COFGeneratorLib.anatomy.readers.header import Payload, VolumeHeader
from COFGeneratorLib.anatomy.readers.payload import CHUNK, decode
from COFGeneratorLib.errors import AnatomyError

FORMATS = "NIfTI, NRRD (.nrrd, .seq.nrrd), MetaImage, DICOM or a Slicer scene (.mrb, .mrml)"
LABEL_FORMATS = "NIfTI, NRRD (also .seg.nrrd, .seq.nrrd), MetaImage, a DICOM segmentation or a Slicer scene"
_NOT_A_STACK = {
    b"\x89PNG": "a PNG picture", b"\xff\xd8\xff": "a JPEG picture", b"GIF8": "a GIF picture", b"BM": "a bitmap picture",
    b"II*\0": "a TIFF picture", b"MM\0*": "a TIFF picture", b"%PDF": "a PDF document", b"<?xml": "an XML file",
    b"\x89HDF": "an HDF5 file",
}  # fmt: skip


def open_volume(path: str | Path, wanted: str = "a short-axis stack") -> tuple[Path, VolumeHeader]:
    """Recognise a file by its content and read its header; `wanted` is what messages say it should be.

    Raises:
        AnatomyError: If the file is missing, empty, or of no known format.
    """
    path = Path(path)
    if path.suffix == ".img" and path.with_suffix(".hdr").is_file():  # the voxels of a pair: its header knows the rest
        path = path.with_suffix(".hdr")
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing"
        raise AnatomyError(
            f"Expected {wanted} as {_formats(wanted)}; found {found} at {path.name or 'the path given'}. Check the "
            "path."
        )
    with path.open("rb") as file:
        start = file.read(1024)
    codec = "raw"
    if start[:2] == b"\x1f\x8b":
        codec = "gzip"
        start = next(decode(Payload(path, codec=codec), "gzip"), b"")[:CHUNK]
    with np.errstate(all="ignore"):  # headers may hold NaN and infinity; what comes of them is refused in words
        if nifti.matches(start):
            return path, nifti.read_header(path, codec)
        if codec == "raw" and nrrd.matches(start):
            return path, nrrd.read_header(path)
        if codec == "raw" and metaimage.matches(start):
            return path, metaimage.read_header(path)
    found = next((name for magic, name in _NOT_A_STACK.items() if start.startswith(magic)), "something else")
    raise AnatomyError(
        f"Expected {wanted} as {_formats(wanted)}; {path.name} is {found if start else 'empty'}. "
        "Export the whole of it in one of these formats."
    )


def _formats(wanted: str) -> str:
    return LABEL_FORMATS if wanted == "labels" else FORMATS
