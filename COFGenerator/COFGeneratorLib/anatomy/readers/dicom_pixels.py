"""The pixels of DICOM images, whatever compression they are in."""

from io import BytesIO

import numpy as np

from COFGeneratorLib.anatomy.readers import dicom_compressed
from COFGeneratorLib.anatomy.readers.archive import Folder, Zip
from COFGeneratorLib.anatomy.readers.dicom import quiet
from COFGeneratorLib.anatomy.readers.dicom_image import Image
from COFGeneratorLib.errors import AnatomyError


def read_pixels(source: Folder | Zip, images: list[Image]) -> list[np.ndarray]:
    """Return (rows, columns) float32 intensities of each image, turned as it says; every file is opened once.

    Raises:
        AnatomyError: If pixels are missing, truncated or in a compression that cannot be read.
    """
    wanted: dict[str, list[int]] = {}
    for number, image in enumerate(images):
        wanted.setdefault(image.name, []).append(number)
    out: dict[int, np.ndarray] = {}
    for name, numbers in wanted.items():
        content = source.read(name)
        first = images[numbers[0]]
        with quiet():
            try:
                found = _decoded(content, [images[n].index for n in numbers], first.compressed)
            except Exception:  # damaged, in a compression without a decoder, or not what the header says
                found = []
        for number, pixels in zip(numbers, found, strict=False):
            if pixels.shape == first.stored_shape:
                image = images[number]
                values = (pixels * np.float32(image.slope) + np.float32(image.intercept)).astype(np.float32)
                out[number] = _turned(values, image.turn)
    if len(out) < len(images):
        raise AnatomyError(
            "Every DICOM image needs the pixels that its header promises; some are missing, truncated or in a "
            "compression that cannot be read. Export the series again, uncompressed if possible."
        )
    return [out[number] for number in range(len(images))]


def _turned(pixels: np.ndarray, turn: tuple[bool, bool, bool]) -> np.ndarray:
    transpose, along_rows, along_columns = turn
    pixels = pixels.T if transpose else pixels
    return np.ascontiguousarray(pixels[:: -1 if along_columns else 1, :: -1 if along_rows else 1])


def _decoded(content: bytes, indices: list[int], compressed: bool) -> list[np.ndarray]:
    """Return (rows, columns) numbers as stored, of frames of a file.

    Raises:
        Exception: Of any kind, where there are none.
    """
    import pydicom
    from pydicom.pixels import iter_pixels

    if not compressed:
        return list(iter_pixels(BytesIO(content), indices=indices))
    dataset = pydicom.dcmread(BytesIO(content), force=True)
    frames = dicom_compressed.frames(dataset, indices)
    try:
        return list(iter_pixels(dataset, indices=indices))
    except Exception:  # no decoder in pydicom, or damaged
        found = [dicom_compressed.decoded_by_gdcm(dataset, frame) for frame in frames]
    return [pixels for pixels in found if pixels is not None]
