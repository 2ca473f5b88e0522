"""Compressed frames are decoded where they are what the header says, and nothing is allocated where they are not."""

import io
import struct

import numpy as np
import pytest
from COFGeneratorLib.anatomy import read_cine, read_sax
from COFGeneratorLib.errors import AnatomyError
from PIL import Image
from pydicom.encaps import encapsulate

BASELINE, LOSSLESS, NEAR_2000, LS = (f"1.2.840.10008.1.2.4.{n}" for n in (50, 70, 90, 80))
ROWS, COLUMNS = 48, 64


def codestream(kind, rows=ROWS, columns=COLUMNS):
    """Return a grey picture as JPEG or JPEG 2000, and where it states its size."""
    stream = io.BytesIO()
    ramp = np.add.outer(np.arange(rows), np.arange(columns)).astype(np.uint8)
    Image.fromarray(ramp).save(stream, kind, **({"quality": 95} if kind == "JPEG" else {"no_jp2": True}))
    content = bytearray(stream.getvalue())
    return content, content.find(b"\xff\xc0") + 5 if kind == "JPEG" else content.find(b"\xff\x4f\xff\x51") + 8


@pytest.fixture
def stack(tmp_path, oblique, dicom_cine, save_dicom):
    """Return a writer of a stack of one compressed frame a slice."""

    def make(frame, syntax, **values):
        datasets = dicom_cine(np.zeros((1, 4, ROWS, COLUMNS), np.uint16), oblique, one_series=True)
        for dataset in datasets:
            dataset.file_meta.TransferSyntaxUID = syntax
            dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
            dataset.PixelData = encapsulate([bytes(frame)])
            dataset["PixelData"].is_undefined_length = True
            for keyword, value in values.items():
                setattr(dataset, keyword, value)
        return save_dicom(tmp_path / "d", datasets)

    return make


@pytest.mark.parametrize(("kind", "syntax"), [("JPEG", BASELINE), ("JPEG2000", NEAR_2000)])
def test_lossy_frames_are_decoded(stack, kind, syntax):
    content, _ = codestream(kind)
    frames = read_cine(stack(content, syntax)).frames
    ramp = np.add.outer(np.arange(ROWS), np.arange(COLUMNS))
    np.testing.assert_allclose(frames[0], np.broadcast_to(ramp, (4, ROWS, COLUMNS)), atol=4)


def _jpeg(height, width):
    content, at = codestream("JPEG")
    struct.pack_into(">HH", content, at, height, width)
    return content


def _jpeg_2000(height, width, tile=None):
    content, at = codestream("JPEG2000")
    struct.pack_into(">II", content, at, width, height)
    if tile:
        struct.pack_into(">II", content, at + 16, tile, tile)
    return content


def _bare(marker, height, width):
    """Return the beginning of a lossless JPEG or JPEG-LS."""
    return b"\xff\xd8\xff" + bytes([marker]) + struct.pack(">HBHHB", 11, 8, height, width, 1) + bytes(64) + b"\xff\xd9"


CLAIMS = {
    "JPEG": (_jpeg(65_000, 65_000), BASELINE), "JPEG, one row more": (_jpeg(ROWS + 1, COLUMNS), BASELINE),
    "JPEG 2000": (_jpeg_2000(60_000, 60_000), NEAR_2000), "JPEG 2000, tiles": (_jpeg_2000(ROWS, COLUMNS, 0), NEAR_2000),
    "JPEG 2000, twice": (_jpeg_2000(ROWS, COLUMNS) + _jpeg_2000(9_000, 9_000), NEAR_2000),
    "lossless": (_bare(0xC3, 65_000, 65_000), LOSSLESS), "JPEG-LS": (_bare(0xF7, 65_000, 65_000), LS),
    "a large picture": (codestream("JPEG", 2000, 2000)[0], BASELINE),
    "another format": (b"\x89PNG" + bytes(99), BASELINE),
    "no header": (b"\xff\xd8" + b"\xff\xe0\x00\x02" * 40, BASELINE), "nothing": (bytes(2), BASELINE),
    "run lengths without end": (struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\x00" * 500_000, "1.2.840.10008.1.2.5"),
}  # fmt: skip


@pytest.mark.parametrize("kind", CLAIMS)
def test_frames_of_another_size_are_refused_before_they_are_decoded(stack, kind, monkeypatch):
    def decoded(*_arguments, **_options):
        raise AssertionError("a decoder was asked")

    monkeypatch.setattr("pydicom.pixels.iter_pixels", decoded)
    monkeypatch.setattr("COFGeneratorLib.anatomy.readers.dicom_compressed.decoded_by_gdcm", decoded)
    with pytest.raises(AnatomyError, match="the pixels that its header promises"):
        read_sax(stack(*CLAIMS[kind]))
