"""DICOM and zips that hold no short-axis cine, or mean harm, are refused by what they seem to be."""

import io
import struct
import tracemalloc
import zipfile
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
from COFGeneratorLib.anatomy import read_cine, read_sax
from COFGeneratorLib.anatomy.readers.archive import Folder
from COFGeneratorLib.errors import AnatomyError


@pytest.fixture(scope="module")
def cine() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 900, (4, 5, 16, 18)).astype(np.uint16)


def turned(plane: str) -> np.ndarray:
    """Geometry of a patient plane: pixels 1.5 mm, slices 8 mm apart."""
    columns = {"axial": np.diag([-1.5, -1.5, 8.0]), "coronal": np.array([[-1.5, 0, 0], [0, 0, 8.0], [0, -1.5, 0]]),
               "sagittal": np.array([[0, 0, 8.0], [-1.5, 0, 0], [0, -1.5, 0]])}[plane]  # fmt: skip
    matrix = np.eye(4)
    matrix[:3, :3] = columns
    return matrix


def long_axis_of(oblique: np.ndarray) -> np.ndarray:
    """A plane that holds the heart's long axis."""
    matrix = oblique.copy()
    matrix[:3, :3] = oblique[:3, [2, 1, 0]] * (0.14, 1, 5)
    return matrix


def test_a_single_long_axis_cine_is_named(tmp_path, cine, oblique, dicom_cine, save_dicom):
    folder = save_dicom(tmp_path / "d", dicom_cine(cine[:, :1], long_axis_of(oblique)))
    with pytest.raises(AnatomyError, match=r"1 slice with 4 phases each \(a long-axis view or a single"):
        read_sax(folder)
    with pytest.raises(AnatomyError, match="long-axis view or a single"):
        read_sax(sorted(folder.iterdir())[0])


def test_three_long_axis_views_are_named(tmp_path, cine, oblique, dicom_cine, save_dicom):
    datasets = []
    for angle in (0.0, 1.0, 2.1):
        turn = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
        view = long_axis_of(oblique)
        view[:3, :3] = turn @ view[:3, :3]
        datasets += dicom_cine(cine[:, :1], view)
    with pytest.raises(AnatomyError, match=r"3 views in different directions.*long-axis"):
        read_sax(save_dicom(tmp_path / "d", datasets))


def test_a_long_axis_stack_is_named(tmp_path, cine, oblique, dicom_cine, save_dicom):
    with pytest.raises(AnatomyError, match="a long-axis stack of 5 slices"):
        read_sax(save_dicom(tmp_path / "d", dicom_cine(cine, long_axis_of(oblique))))


def test_a_localiser_is_named(tmp_path, cine, dicom_cine, save_dicom):
    datasets = [d for plane in ("axial", "coronal", "sagittal") for d in dicom_cine(cine[:1, :2], turned(plane))]
    with pytest.raises(AnatomyError, match="a localiser"):
        read_sax(save_dicom(tmp_path / "d", datasets))


def test_other_modalities_body_parts_and_volumes_are_named(tmp_path, cine, oblique, dicom_cine, save_dicom):
    datasets = dicom_cine(cine, oblique)
    for dataset in datasets:
        dataset.Modality = "CT"
    with pytest.raises(AnatomyError, match="20 files of computed tomography"):
        read_sax(save_dicom(tmp_path / "ct", datasets))
    datasets = dicom_cine(cine, oblique)
    for dataset in datasets:
        dataset.BodyPartExamined = "HEAD"
    with pytest.raises(AnatomyError, match=r"another part of the body \(head\)"):
        read_sax(save_dicom(tmp_path / "head", datasets))
    volume = np.repeat(cine[:1], 30, axis=1)[:, :60]
    thin = oblique @ np.diag([1, 1, 0.15, 1])
    with pytest.raises(AnatomyError, match="volume of 60 slices"):
        read_sax(save_dicom(tmp_path / "volume", dicom_cine(volume, thin, timed=False)))


def test_an_axial_cine_is_read_with_a_warning_since_headers_lose_orientation(tmp_path, cine, dicom_cine, save_dicom):
    stack = read_sax(save_dicom(tmp_path / "d", dicom_cine(cine, turned("axial"))))
    assert any("axial plane" in w for w in stack.warnings)


def test_colour_and_folders_without_dicom_are_named(tmp_path, cine, oblique, dicom_dataset):
    (tmp_path / "a").mkdir()
    with pytest.raises(AnatomyError, match="found no files"):
        read_sax(tmp_path / "a")
    (tmp_path / "a" / "x.txt").write_text("hello")
    with pytest.raises(AnatomyError, match="1 files, none of them DICOM"):
        read_sax(tmp_path / "a")
    dataset = dicom_dataset(
        cine[0, 0], oblique, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0
    )
    dataset.save_as(tmp_path / "a" / "c.dcm", enforce_file_format=True)
    with pytest.raises(AnatomyError, match="1 colour pictures"):
        read_sax(tmp_path / "a")


@pytest.mark.parametrize(
    ("keyword", "value", "said"),
    [
        ("ImagePositionPatient", None, "no position in the patient"),
        ("PixelSpacing", [0, 0], "no usable pixel spacing"),
        ("PixelSpacing", None, "no usable pixel spacing"),
        ("ImageOrientationPatient", None, "no orientation"),
        ("ImageOrientationPatient", [1, 0, 0, 1, 0, 0], "an orientation whose rows and columns are not"),
        ("ImageOrientationPatient", [0.5, 0, 0, 0, 0.5, 0], "an orientation whose rows and columns are not"),
        ("ImageOrientationPatient", [1, 0, 0, 0.05, 0.999, 0], "an orientation whose rows and columns are not"),
        ("Rows", 0, "no size"),
    ],
)
def test_images_without_a_place_are_named_by_what_they_lack(
    tmp_path, cine, oblique, dicom_cine, save_dicom, keyword, value, said
):
    datasets = dicom_cine(cine, oblique)
    for dataset in datasets:
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    with pytest.raises(AnatomyError, match=f"images that state {said}"):
        read_sax(save_dicom(tmp_path / "d", datasets))


def test_truncated_pixels_and_lying_sizes_are_refused(tmp_path, cine, oblique, dicom_cine, save_dicom):
    folder = save_dicom(tmp_path / "d", dicom_cine(cine, oblique))
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(AnatomyError, match=r"pixels that its header promises|damaged"):
        read_cine(folder)
    datasets = dicom_cine(cine, oblique)
    for dataset in datasets:
        dataset.Rows = dataset.Columns = 2000
    folder = save_dicom(tmp_path / "e", datasets)
    tracemalloc.start()
    with pytest.raises(AnatomyError, match="damaged or unreadable"):
        read_cine(folder)
    assert tracemalloc.get_traced_memory()[1] < 100 * 2**20
    tracemalloc.stop()
    datasets[0].Rows = datasets[0].Columns = 60_000
    with pytest.raises(AnatomyError, match="claims"):
        read_cine(save_dicom(tmp_path / "f", datasets[:1]))


def archive(path, members, **options):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as out:
        for name, content in members:
            out.writestr(name, content)
    return path


@pytest.mark.parametrize("name", ["../evil.dcm", "/etc/evil.dcm", "a/../../b", "C:/evil.dcm", "..\\evil.dcm"])
def test_names_that_leave_a_zip_are_refused(tmp_path, name):
    with pytest.raises(AnatomyError, match="lead elsewhere"):
        read_sax(archive(tmp_path / "a.zip", [(name, b"x")]))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip"]


def test_links_bombs_encrypted_and_damaged_zips_are_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with pytest.raises(AnatomyError, match="links"):
        read_sax(archive(tmp_path / "l.zip", [(link, "/etc/passwd")]))
    bomb = archive(tmp_path / "b.zip", [(f"{n}.dcm", bytes(20 << 20)) for n in range(5)])
    tracemalloc.start()
    with pytest.raises(AnatomyError, match="claims"):
        read_sax(bomb)
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()
    good = archive(tmp_path / "g.zip", [("a.dcm", bytes(1000))]).read_bytes()
    (tmp_path / "h.zip").write_bytes(good[: len(good) // 2])
    with pytest.raises(AnatomyError, match="damaged"):
        read_sax(tmp_path / "h.zip")
    at = good.index(b"PK\x01\x02") + 8
    (tmp_path / "e.zip").write_bytes(good[:at] + struct.pack("<H", 1) + good[at + 2 :])
    with pytest.raises(AnatomyError, match="encrypted"):
        read_sax(tmp_path / "e.zip")


def test_a_member_that_is_larger_than_its_listing_is_bounded(tmp_path):
    """The central directory says 1,000 bytes; the stream would inflate to 300 MB."""
    content = b"\0" * 128 + b"DICM" + bytes(300 << 20)
    path = archive(tmp_path / "a.zip", [("a.dcm", content)])
    raw = bytearray(path.read_bytes())
    at = raw.index(b"PK\x01\x02") + 24
    raw[at : at + 4] = struct.pack("<I", 1000)
    path.write_bytes(raw)
    del content
    tracemalloc.start()
    with pytest.raises(AnatomyError):
        read_sax(path)
    assert tracemalloc.get_traced_memory()[1] < 50 << 20
    tracemalloc.stop()


def test_folders_that_lead_round_in_a_circle_or_lie_deep_are_walked_once(tmp_path):
    folders = list(accumulate(["d"] * 1200, Path.__truediv__, initial=tmp_path))
    for folder in folders[1:]:
        folder.mkdir()
    deep = folders[-1]
    for path in (deep / "x", tmp_path / "y", tmp_path / ".hidden"):
        path.write_bytes(b"x")
    (tmp_path / "loop").symlink_to(tmp_path)
    found = Folder(tmp_path).names
    (deep / "x").unlink()
    for folder in reversed(folders[1:]):  # what clears away after tests would go as deep as it lies
        folder.rmdir()
    assert [name[-2:] for name in found] == ["/x", "/y"]


def test_deflated_dicom_is_not_inflated(tmp_path, cine, oblique, dicom_dataset):
    import pydicom.uid

    dataset = dicom_dataset(np.zeros((2000, 2000), np.uint16), oblique)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    (tmp_path / "a.dcm").write_bytes(buffer.getvalue())
    with pytest.raises(AnatomyError, match="unreadable"):
        read_sax(tmp_path / "a.dcm")
