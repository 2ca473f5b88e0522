"""Compressed frames of a DICOM image, checked before a decoder allocates what their own headers claim.

A codestream states its size a second time: a JPEG of a kilobyte may claim 65,535 × 65,535 pixels in an image whose
DICOM header says 64 × 64. Layouts: ITU-T T.81 B.2, T.87 C.2 (JPEG, JPEG-LS), T.800 A.5 (JPEG 2000), DICOM PS3.5 A.4, G.
"""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

Dataset = Any  # pydicom's, which is loaded when used

MOST_OVER, MOST_EXTRA_BYTES = 2, 1 << 16
"""A compressed frame has up to this many times its pixels' bytes, and so many more of headers and profiles."""
MOST_TILES = 4096
"""Of a JPEG 2000 frame; each costs a decoder memory of its own."""
_RLE = "1.2.840.10008.1.2.5"
_JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.20")
_FRAME_HEADERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
_SIZE_OF_2000 = b"\xff\x4f\xff\x51"


def is_compressed(dataset: Dataset) -> bool:
    """Whether the pixels of a parsed file are; one that states no transfer syntax is plain."""
    return "TransferSyntaxUID" in dataset.file_meta and bool(dataset.file_meta.TransferSyntaxUID.is_compressed)


def frames(dataset: Dataset, indices: Sequence[int]) -> list[bytes]:
    """Return compressed frames that are what the DICOM header says.

    Raises:
        ValueError: If one claims other sizes, or is larger than its pixels could be.
    """
    from pydicom.encaps import get_frame

    offsets = None
    if "ExtendedOffsetTable" in dataset and "ExtendedOffsetTableLengths" in dataset:
        offsets = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    count = int(dataset.get("NumberOfFrames", 1) or 1)
    out = [get_frame(dataset.PixelData, at, number_of_frames=count, extended_offsets=offsets) for at in indices]
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    most = MOST_OVER * rows * columns * -(-int(dataset.BitsAllocated) // 8) + MOST_EXTRA_BYTES
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    for frame in out:
        if len(frame) > most or not _is_of_size(frame, syntax, rows, columns):
            raise ValueError("a compressed frame of another size than the header says")
    return out


def _is_of_size(frame: bytes, syntax: str, rows: int, columns: int) -> bool:
    if syntax == _RLE:  # has no size of its own, and expands 64-fold at most
        return True
    if syntax.startswith(_JPEG_2000):
        return _claimed_by_2000(frame) == {(rows, columns)}
    return _claimed_by_jpeg(frame) == (rows, columns)


def _claimed_by_jpeg(frame: bytes) -> tuple[int, int] | None:
    """Return (rows, columns) of the first frame header of a JPEG or JPEG-LS of one component; None without one."""
    at = 2 if frame[:2] == b"\xff\xd8" else len(frame)
    while at + 10 <= len(frame):
        marker = frame[at + 1]
        if frame[at] != 0xFF or marker in (0x00, 0xFF):
            at += 1
        elif marker in _FRAME_HEADERS:
            height, width, components = struct.unpack_from(">HHB", frame, at + 5)
            return (height, width) if components == 1 else None
        elif marker in _WITHOUT_LENGTH:
            at += 2
        else:
            at += 2 + struct.unpack_from(">H", frame, at + 2)[0]
    return None


def _claimed_by_2000(frame: bytes) -> set[tuple[int, int]]:
    """Return all (rows, columns) that codestreams in a frame claim, (0, 0) for what no image of ours has."""
    found, at = set(), frame.find(_SIZE_OF_2000)
    while at >= 0:
        if len(frame) < at + 45:
            return {(0, 0)}
        # Sizes and offsets of the image, sizes and offsets of tiles, number of components and their subsampling.
        x, y, x0, y0, tile_x, tile_y, tile_x0, tile_y0, components = struct.unpack_from(">8IH", frame, at + 8)
        tiles = -(-(x - tile_x0) // max(tile_x, 1)) * -(-(y - tile_y0) // max(tile_y, 1))
        plain = components == 1 and frame[at + 43 : at + 45] == b"\x01\x01" and 0 < tiles <= MOST_TILES
        found.add((y - y0, x - x0) if plain else (0, 0))
        at = frame.find(_SIZE_OF_2000, at + 1)
    return found


def decoded_by_gdcm(dataset: Dataset, frame: bytes) -> np.ndarray | None:
    """Decode what pydicom cannot, such as lossless JPEG, by the GDCM inside SimpleITK, from a private folder.

    GDCM sees a file of this one frame alone, and none of the other elements.

    Returns:
        (rows, columns) numbers as stored, or None.
    """
    import tempfile
    from pathlib import Path

    import SimpleITK as sitk
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate

    alone = Dataset()
    alone.file_meta = FileMetaDataset()
    alone.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    alone.SOPClassUID = alone.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    alone.SOPInstanceUID = alone.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    alone.Modality, alone.PhotometricInterpretation, alone.SamplesPerPixel = "MR", "MONOCHROME2", 1
    for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        setattr(alone, keyword, dataset.get(keyword))
    alone.PixelData = encapsulate([frame])
    alone["PixelData"].is_undefined_length = True
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.dcm"
        alone.save_as(path, enforce_file_format=True)
        reader = sitk.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(str(path))
        try:
            reader.ReadImageInformation()
            if tuple(reader.GetSize()[:2]) != (int(dataset.Columns), int(dataset.Rows)):
                return None
            array = sitk.GetArrayFromImage(reader.Execute())
        except RuntimeError:
            return None
    return array.reshape(array.shape[-2:]) if array.size == array.shape[-2] * array.shape[-1] else None
