"""Makers of image files, heart labels and anchors for the tests of this room."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from support import dicom_writer

sitk.ProcessObject.SetGlobalWarningDisplay(False)


@pytest.fixture(scope="session")
def voxels() -> np.ndarray:
    """A small volume in which every voxel differs: (D, H, W) = (5, 12, 10) int16."""
    return (np.arange(5 * 12 * 10).reshape(5, 12, 10) * 7 % 601).astype(np.int16)


@pytest.fixture(scope="session")
def oblique() -> np.ndarray:
    """A scanner's oblique short-axis geometry, voxel (i, j, k, 1) → RAS mm; 1.4×1.4×10 mm."""
    k = np.array([-0.6, 0.5, -0.6]) / np.linalg.norm([-0.6, 0.5, -0.6])
    i = np.cross(k, [0.0, 0.0, 1.0])
    i /= np.linalg.norm(i)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([1.4 * i, 1.4 * np.cross(k, i), 10.0 * k], axis=1)
    matrix[:3, 3] = (31.0, -22.0, 47.0)
    return matrix


@pytest.fixture(scope="session")
def write_image():
    """Return a writer of (…, D, H, W) arrays with geometry by SimpleITK, an implementation that is not ours."""

    def write(path: Path, array: np.ndarray, ijk_to_ras: np.ndarray, step_t: float = 1.0, compress=False) -> Path:
        lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ ijk_to_ras
        spacing = np.linalg.norm(lps[:3, :3], axis=0)
        direction, origin = lps[:3, :3] / spacing, lps[:3, 3]
        if array.ndim == 4:
            image = sitk.JoinSeries([sitk.GetImageFromArray(a) for a in array])
            image.SetSpacing([*spacing, step_t])
            image.SetOrigin([*origin, 0.0])
            four = np.eye(4)
            four[:3, :3] = direction
            image.SetDirection(four.ravel().tolist())
        else:
            image = sitk.GetImageFromArray(array)
            image.SetSpacing(spacing.tolist())
            image.SetOrigin(origin.tolist())
            image.SetDirection(direction.ravel().tolist())
        sitk.WriteImage(image, str(path), useCompression=compress)
        return path

    return write


@pytest.fixture(scope="session")
def nifti_bytes():
    """Return a maker of NIfTI-1 files from raw header fields, for what no library would write."""

    def make(
        array=None, dim=None, pixdim=(1, 1, 1, 1), datatype=4, units=2, sform=None, qform=False, slope=0, data=None
    ):
        header = bytearray(352)
        sizes = dim or list(array.shape[::-1])
        struct.pack_into("<i", header, 0, 348)
        struct.pack_into("<8h", header, 40, len(sizes), *(list(sizes) + [1] * 7)[:7])
        struct.pack_into("<hh", header, 70, datatype, 16)
        struct.pack_into("<8f", header, 76, 1.0, *(list(pixdim) + [1] * 7)[:7])
        struct.pack_into("<fff", header, 108, 352, slope, 0)
        header[123] = units
        struct.pack_into("<hh", header, 252, int(qform), 0 if sform is None else 1)
        if sform is not None:
            struct.pack_into("<12f", header, 280, *np.ravel(sform)[:12])
        header[344:348] = b"n+1\0"
        return bytes(header) + (array.tobytes() if data is None else data)

    return make


@pytest.fixture(scope="session")
def nrrd_bytes():
    """Return a maker of NRRD files from header lines."""

    def make(array: np.ndarray, lines: str, encoding="raw") -> bytes:
        kind = {"int16": "short", "uint8": "uchar", "float32": "float"}[str(array.dtype)]
        sizes = " ".join(map(str, array.shape[::-1]))
        head = (
            f"NRRD0005\ntype: {kind}\ndimension: {array.ndim}\nsizes: {sizes}\nencoding: {encoding}\nendian: little\n"
        )
        body = array.tobytes()
        return (head + lines + "\n\n").encode() + (gzip.compress(body) if encoding == "gzip" else body)

    return make


@pytest.fixture(scope="session")
def heart_labels():
    """Return a maker of a heart's labels on any grid: a truncated ellipsoid, its wall, a crescent that turns.

    The heart sits at the RAS origin with its apex left, anterior and inferior. From base to apex the RV turns from
    anterior to inferior, as a real one does.
    """

    def make(shape, ijk_to_ras, k_axis=(-0.6, 0.5, -0.6), lateral=(-1.0, -1.0, 0.0), turn_deg=28.0):
        k_axis = np.asarray(k_axis, float) / np.linalg.norm(k_axis)
        i_axis = np.asarray(lateral, float)
        i_axis = i_axis - k_axis * (k_axis @ i_axis)
        i_axis /= np.linalg.norm(i_axis)
        j_axis = np.cross(i_axis, k_axis)
        kji = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
        ras = kji[..., ::-1] @ ijk_to_ras[:3, :3].T + ijk_to_ras[:3, 3]
        k, j, i = (ras @ axis for axis in (k_axis, j_axis, i_axis))
        inside = (k > -35.0) & (k < 45.0)
        taper = np.sqrt(np.clip(1.0 - np.clip((k + 35.0) / 80.0, 0.0, 1.0) ** 2.4, 0.0, None))
        outer_taper = np.sqrt(np.clip(1.0 - np.clip((k + 35.0) / 90.0, 0.0, 1.0) ** 2.4, 0.0, None))
        radius = np.hypot(i, j)
        angle = np.angle(np.exp(1j * (np.arctan2(j, -i) - np.deg2rad(turn_deg) * k / 80.0)))
        reach = 34.0 * outer_taper + 30.0 * np.clip(1 - ((k + 35.0) / 75.0) ** 2, 0, None) * np.cos(angle * 1.3)
        labels = np.zeros(shape, np.uint8)
        labels[inside & (abs(angle) < 1.15) & (radius < reach)] = 3
        labels[(k > -35.0) & (radius < 34.0 * outer_taper)] = 2
        labels[inside & (radius < 25.0 * taper)] = 1
        return labels, np.stack([k_axis, j_axis, i_axis])

    return make


@pytest.fixture(scope="session")
def private() -> dict[str, str]:
    """What a DICOM file knows about a person and a place, planted in every file that `dicom_dataset` makes."""
    return dicom_writer.PRIVATE


@pytest.fixture(scope="session")
def dicom_dataset():
    """Return a maker of MR datasets: one image, in its place and time."""
    return dicom_writer.dicom_dataset


@pytest.fixture(scope="session")
def dicom_cine():
    """Return a maker of short-axis cines as lists of datasets, by default one series a slice, in slice order."""
    return dicom_writer.dicom_cine


@pytest.fixture(scope="session")
def save_dicom():
    """Return a writer of datasets into a folder, under names and in an order that say nothing."""
    return dicom_writer.save_dicom
