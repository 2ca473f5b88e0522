"""What is not a short-axis stack is refused in words, before memory is spent on it."""

import bz2
import gzip
import tracemalloc

import numpy as np
import pytest
import SimpleITK as sitk
from COFGeneratorLib.anatomy import read_cine, read_sax
from COFGeneratorLib.errors import AnatomyError

GOOD = {"pixdim": (1.5, 1.5, 10), "qform": True}


def refused(path, match, **options):
    """The error names what was expected, and the memory for it stays small."""
    tracemalloc.start()
    try:
        with pytest.raises(AnatomyError, match=match):
            read_sax(path, **options)
        assert tracemalloc.get_traced_memory()[1] < 50 * 2**20
    finally:
        tracemalloc.stop()


def test_missing_files_folders_and_other_formats_are_named(tmp_path):
    refused(tmp_path / "nothing.nii", "found nothing")
    for content, found in (
        (b"", "empty"),
        (b"hello " * 100, "something else"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "a PNG picture"),
        (b"%PDF-1.7" + bytes(99), "a PDF document"),
        (gzip.compress(b"hello " * 100), "something else"),
    ):
        (tmp_path / "file").write_bytes(content)
        refused(tmp_path / "file", found)


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz", ".mha"])
def test_flat_images_and_colour_are_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(sitk.Image([32, 32], sitk.sitkInt16), str(path))
    refused(path, "2-D|3-D|one slice")
    sitk.WriteImage(sitk.Image([32, 32, 6], sitk.sitkVectorUInt8, 3), str(path))
    refused(path, "3-D|plain numbers|single numbers|RGB")
    sitk.WriteImage(sitk.Image([32, 32, 6], sitk.sitkVectorFloat32, 2), str(path))
    refused(path, "3-D|plain numbers|single numbers|5-D")


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz", ".mha"])
def test_a_single_slice_is_named(tmp_path, write_image, oblique, suffix):
    path = write_image(tmp_path / f"a{suffix}", np.ones((1, 32, 32), np.int16), oblique)
    refused(path, "one slice|2-D")


def test_missing_numbers_and_empty_volumes_are_refused(tmp_path, write_image, oblique):
    array = np.random.default_rng(0).normal(size=(6, 16, 16)).astype(np.float32)
    array[2, 3, 4] = np.nan
    refused(write_image(tmp_path / "a.nrrd", array, oblique), "1 voxels that are missing")
    with pytest.raises(AnatomyError, match="NaN"):
        read_cine(write_image(tmp_path / "c.nrrd", np.stack([np.nan_to_num(array), array]), oblique))
    refused(write_image(tmp_path / "b.nii.gz", np.zeros((6, 16, 16), np.int16), oblique), "every voxel .* is 0")


@pytest.mark.parametrize("spacing", [(0, 1.5, 10), (1.5, -1.5, 10), (float("nan"), 1.5, 10), (1.5, 1.5, 4000)])
def test_impossible_spacing_is_refused_in_every_format(tmp_path, voxels, nifti_bytes, nrrd_bytes, spacing):
    (tmp_path / "a.nii").write_bytes(nifti_bytes(voxels, pixdim=spacing, qform=True))
    refused(tmp_path / "a.nii", "spacing|finite")
    shown = " ".join(map(str, spacing))
    (tmp_path / "a.nrrd").write_bytes(nrrd_bytes(voxels, f"spacings: {shown}"))
    refused(tmp_path / "a.nrrd", "spacing")
    header = f"ObjectType = Image\nNDims = 3\nDimSize = 10 12 5\nElementSpacing = {shown}\nElementType = MET_SHORT\n"
    (tmp_path / "a.mha").write_bytes(header.encode() + b"ElementDataFile = LOCAL\n" + voxels.tobytes())
    refused(tmp_path / "a.mha", "spacing")


def test_axes_that_coincide_are_refused(tmp_path, voxels, nrrd_bytes):
    lines = "space: LPS\nspace origin: (0,0,0)\nspace directions: (1,0,0) (1,0.001,0) (0,0,10)"
    (tmp_path / "a.nrrd").write_bytes(nrrd_bytes(voxels, lines))
    refused(tmp_path / "a.nrrd", "coincide")


@pytest.mark.parametrize("suffix", [".nrrd", ".nii", ".nii.gz", ".mha"])
@pytest.mark.parametrize("share", [0.35, 0.6, 0.95])
def test_a_truncated_file_is_refused(tmp_path, write_image, oblique, suffix, share):
    array = np.random.default_rng(1).integers(0, 999, (6, 40, 40)).astype(np.int16)
    path = write_image(tmp_path / f"a{suffix}", array, oblique, compress=suffix == ".nrrd")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    refused(path, "truncated|damaged|ends early")


def test_damaged_compressed_data_are_noticed_by_their_checksum(tmp_path, voxels, nifti_bytes):
    packed = bytearray(gzip.compress(nifti_bytes(voxels, **GOOD)))
    packed[-6] ^= 0xFF
    (tmp_path / "a.nii.gz").write_bytes(packed)
    refused(tmp_path / "a.nii.gz", "damaged")


def test_gigabytes_claimed_in_a_kilobyte_are_refused_before_allocating(tmp_path, nifti_bytes):
    body = bytes(2000)
    (tmp_path / "a.nii").write_bytes(nifti_bytes(dim=[2000, 2000, 100], data=body, **GOOD))
    refused(tmp_path / "a.nii", "truncated")
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(nifti_bytes(dim=[2000, 2000, 100], data=body, **GOOD)))
    refused(tmp_path / "a.nii.gz", "truncated")
    (tmp_path / "b.nii").write_bytes(nifti_bytes(dim=[32000, 32000, 32000, 32000], data=body, **GOOD))
    refused(tmp_path / "b.nii", "claims")
    (tmp_path / "c.nii").write_bytes(nifti_bytes(dim=[-5, 20, 20], data=body, **GOOD))
    refused(tmp_path / "c.nii", "at least one voxel|3-D")
    sizes = "99999999999999999999 2000 2000"
    nrrd = f"NRRD0004\ntype: short\ndimension: 3\nsizes: {sizes}\nencoding: raw\nspacings: 1 1 1\n\n".encode()
    (tmp_path / "a.nrrd").write_bytes(nrrd + body)
    refused(tmp_path / "a.nrrd", "claims")
    text = f"ObjectType = Image\nNDims = 3\nDimSize = {sizes}\nElementSpacing = 1 1 1\nElementType = MET_SHORT\n"
    (tmp_path / "a.mha").write_bytes(text.encode() + b"ElementDataFile = LOCAL\n" + body)
    refused(tmp_path / "a.mha", "claims")


def test_a_compression_bomb_is_bounded_by_what_the_header_promises(tmp_path, nifti_bytes, voxels):
    bomb = gzip.compress(nifti_bytes(voxels, **GOOD) + bytes(40 * 2**20))
    (tmp_path / "a.nii.gz").write_bytes(bomb)
    tracemalloc.start()
    read_sax(tmp_path / "a.nii.gz")
    assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    tracemalloc.stop()
    head = b"NRRD0004\ntype: short\ndimension: 3\nsizes: 10 12 5\nencoding: bzip2\nspacings: 1.5 1.5 10\n\n"
    (tmp_path / "a.nrrd").write_bytes(head + bz2.compress(voxels.tobytes() + bytes(2**22)))
    np.testing.assert_array_equal(read_sax(tmp_path / "a.nrrd").voxels, voxels)


@pytest.mark.parametrize(
    "name", ["../secret.raw", "/etc/passwd", "LIST", "slice%03d.raw 1 5 1", "..\\x.raw", "gone.raw", "x" * 300]
)
def test_headers_that_point_elsewhere_are_refused(tmp_path, name):
    (tmp_path / "secret.raw").write_bytes(bytes(10_000))
    folder = tmp_path / "in"
    folder.mkdir()
    nrrd = (
        f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 10 12 5\nencoding: raw\nspacings: 1 1 10\ndata file: {name}\n\n"
    )
    (folder / "a.nhdr").write_text(nrrd)
    refused(folder / "a.nhdr", "points elsewhere|no such file")
    text = "ObjectType = Image\nNDims = 3\nDimSize = 10 12 5\nElementSpacing = 1 1 10\nElementType = MET_UCHAR\n"
    (folder / "a.mhd").write_text(f"{text}ElementDataFile = {name}\n")
    refused(folder / "a.mhd", "points elsewhere|no such file")


@pytest.mark.parametrize("name", ["a.nhdr", "a.mhd"])
def test_a_header_is_not_its_own_image(tmp_path, name):
    nrrd = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 10 12 5\nencoding: raw\nspacings: 1 1 10\ndata file: a.nhdr\n\n"
    text = "ObjectType = Image\nNDims = 3\nDimSize = 10 12 5\nElementSpacing = 1 1 10\nElementType = MET_UCHAR\n"
    head = nrrd if name.endswith("nhdr") else f"{text}ElementDataFile = a.mhd\n"
    (tmp_path / name).write_bytes(head.encode() + bytes(range(250)) * 4)
    refused(tmp_path / name, "points elsewhere")


def test_a_frame_that_is_not_there_is_named(tmp_path, voxels, oblique, write_image):
    path = write_image(tmp_path / "a.nrrd", np.stack([voxels] * 4), oblique)
    refused(path, r"0 to 3.*frame 4", frame=4)
    refused(path, r"frame -1", frame=-1)


def test_bytes_that_are_no_text_in_headers_raise_nothing_else(tmp_path, voxels, nrrd_bytes):
    good = nrrd_bytes(voxels, "spacings: 1.5 1.5 10")
    for old, new in ((b"10 12 5", b"10 \xff\xfe 5"), (b"short", b"\xe9\xe9"), (b"1.5 1.5 10", b"1,5 \xb5 10")):
        (tmp_path / "a.nrrd").write_bytes(good.replace(old, new))
        refused(tmp_path / "a.nrrd", "NRRD")


@pytest.mark.parametrize("shape", [(200, 32, 32), (30, 32, 32)])
def test_a_volume_of_a_larger_part_of_the_body_is_named(tmp_path, write_image, oblique, shape):
    array = np.random.default_rng(0).integers(0, 99, shape).astype(np.uint8)
    refused(write_image(tmp_path / "a.nrrd", array, oblique), "seems to be a 3-D volume")


def test_rows_that_lean_on_columns_are_refused(tmp_path, voxels, nrrd_bytes):
    lines = "space: LPS\nspace origin: (0,0,0)\nspace directions: (1.5,0,0) (0.4,1.5,0) (0,0,10)"
    (tmp_path / "a.nrrd").write_bytes(nrrd_bytes(voxels, lines))
    refused(tmp_path / "a.nrrd", "right angles")


def test_a_slicer_segmentation_with_layers_is_named(tmp_path, voxels, nrrd_bytes):
    lines = (
        "space: LPS\nspace origin: (0,0,0)\nspace directions: none (1.5,0,0) (0,1.5,0) (0,0,10)\n"
        "kinds: list domain domain domain\nSegment0_Layer:=0\nSegment1_Layer:=1"
    )
    stored = np.ascontiguousarray(np.moveaxis(np.stack([voxels] * 2), 0, -1))
    (tmp_path / "a.seg.nrrd").write_bytes(nrrd_bytes(stored, lines))
    refused(tmp_path / "a.seg.nrrd", "overlapping segments")
