"""Elements of DICOM files are counted, and their depth is seen, before a library makes objects of them."""

import io
import struct

import pytest
from COFGeneratorLib.dicom_elements import DEEPEST, excess
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless)


def nested(depth: int) -> Dataset:
    """Return a dataset in which items lie within items; it has three elements and an item a level, at the end one."""
    dataset = Dataset()
    dataset.PatientID = "x"
    if depth:
        inner = nested(depth - 1)
        dataset.ReferencedImageSequence = [inner]
        dataset.SeriesNumber = 3
    return dataset


def written(dataset: Dataset, syntax: str, undefined: bool) -> bytes:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2"
    dataset.BitsAllocated, dataset.Rows, dataset.Columns = 8, 2, 2
    dataset.PixelData = encapsulate([b"\xfe\xff\x00\xe0" * 30]) if syntax == RLELossless else b"\xfe\xff\x00\xe0" * 8
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = syntax == RLELossless
    level = dataset
    while "ReferencedImageSequence" in level:
        level["ReferencedImageSequence"].is_undefined_length = undefined
        level = level.ReferencedImageSequence[0]
        level.is_undefined_length_sequence_item = undefined
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("undefined", [True, False])
def test_what_an_image_has_passes_and_what_is_one_more_does_not(syntax, undefined):
    big = syntax == ExplicitVRBigEndian
    data = written(nested(5), syntax, undefined)
    assert excess(data, big, 1000) == ""
    fewest = next(most for most in range(1000) if not excess(data, big, most))
    assert fewest >= 5 * 4 + 1 + 4  # of the levels, and of the pixels
    assert excess(data, big, fewest - 1) == f"more than {fewest - 1} elements"
    assert excess(written(nested(DEEPEST - 2), syntax, undefined), big, 10_000) == ""
    assert excess(written(nested(DEEPEST + 1), syntax, undefined), big, 10_000) == f"items more than {DEEPEST} deep"


def test_items_one_after_another_are_not_deep():
    dataset = Dataset()
    dataset.ReferencedImageSequence = [nested(1) for _ in range(100)]
    for undefined in (True, False):
        dataset["ReferencedImageSequence"].is_undefined_length = undefined
        for item in dataset.ReferencedImageSequence:
            item.is_undefined_length_sequence_item = undefined
        assert excess(written(dataset, ExplicitVRLittleEndian, undefined), False, 10_000) == ""


@pytest.mark.parametrize("data", [b"", b"DICM", bytes(200), b"\xff" * 200, struct.pack("<HHI", 0xFFFE, 0xE000, 7) * 9])
def test_what_is_no_dicom_ends_the_walk(data):
    assert excess(data, False, 1000) == ""
