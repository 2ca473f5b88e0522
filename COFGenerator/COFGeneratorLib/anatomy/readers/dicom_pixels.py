"""The pixels of DICOM images, whatever compression they are in."""

from io import BytesIO

import numpy as np

from COFGeneratorLib.anatomy.readers.archive import Folder, Zip
from COFGeneratorLib.anatomy.readers.dicom import quiet
from COFGeneratorLib.anatomy.readers.dicom_image import Image
from COFGeneratorLib.errors import AnatomyError


def read_pixels(source: Folder | Zip, images: list[Image]) -> list[np.ndarray]:
    """Return (rows, columns) float32 intensities of each image, turned as it says; every file is opened once.

    Raises:
        AnatomyError: If pixels are missing, truncated or in a compression that cannot be read.
    """
    from pydicom.pixels import iter_pixels

    wanted: dict[str, list[int]] = {}
    for number, image in enumerate(images):
        wanted.setdefault(image.name, []).append(number)
    out: dict[int, np.ndarray] = {}
    for name, numbers in wanted.items():
        content = source.read(name)
        first = images[numbers[0]]
        with quiet():
            try:
                found = list(iter_pixels(BytesIO(content), indices=[images[n].index for n in numbers]))
            except Exception:  # no decoder in pydicom, or damaged
                found = (
                    _by_gdcm(content, first, [images[n].index for n in numbers])
                    if first.compressed and not first.inverted
                    else []
                )
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


def _by_gdcm(content: bytes, image: Image, indices: list[int]) -> list[np.ndarray]:
    """Decode what pydicom cannot, such as lossless JPEG, by the GDCM inside SimpleITK; from a private folder."""
    import tempfile
    from pathlib import Path

    import SimpleITK as sitk

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.dcm"
        path.write_bytes(content)
        reader = sitk.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(str(path))
        try:
            reader.ReadImageInformation()
            size = reader.GetSize()
            if tuple(size[:2]) != image.stored_shape[::-1] or int(np.prod(size)) > 2**28:
                return []
            array = sitk.GetArrayFromImage(reader.Execute()).astype(np.float64).reshape(-1, *image.stored_shape)
        except RuntimeError:
            return []
    stored = (array - image.intercept) / image.slope  # GDCM has rescaled already
    return [stored[index] for index in indices if index < len(stored)]
