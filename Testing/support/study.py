"""A whole study around a recorded short-axis cine: what a scanner leaves in one folder on a day.

The cine's own voxels, as DICOM, and drawn beside them: tagging and perfusion on its planes, late enhancement between
them, a T1 map, flow, long-axis cines and a localiser.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from COFGeneratorLib.anatomy import read_cine
from pydicom.dataset import Dataset

from support.dicom_writer import dicom_dataset

RR_MS = 830.0
CINE_SERIES = 30
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
FOREIGN = 20_000
"""What is added to every drawn pixel: no pixel of the cine is so bright."""


def study(cine_file: Path) -> Iterator[Dataset]:
    """Yield the images of the study, in an order that says nothing."""
    cine = read_cine(cine_file)
    frames, lps = cine.frames.astype(np.uint16), RAS_TO_LPS @ cine.ijk_to_ras
    found = [*_cine(frames, lps), *_drawn(frames, lps)]
    for dataset in found:
        dataset.StudyInstanceUID, dataset.PatientID = "1.2.826.0.1.4711", "P1"
    for place in np.random.default_rng(0).permutation(len(found)):
        yield found[place]


def _cine(frames: np.ndarray, lps: np.ndarray) -> Iterator[Dataset]:
    """Yield the cine, one series a slice, as scanners do."""
    for k in range(frames.shape[1]):
        for t in range(len(frames)):
            yield _image(frames[t, k], lps, k, CINE_SERIES + k, t, f"CINE_SAX_B{k + 1}", RR_MS * t / len(frames))


def _drawn(frames: np.ndarray, lps: np.ndarray) -> Iterator[Dataset]:
    depth, rows, columns = frames.shape[1:]
    j, i = np.indices((rows, columns))
    grid = ((i + j) % 8 < 2) | ((i - j) % 8 < 2)
    for k in (1, 3, 4):
        for t in range(20):
            lines = np.where(grid, 0, frames[t, k]) + FOREIGN
            yield _image(lines, lps, k, 50, t, "fl2d_tag_sax", RR_MS * t / 20)
        for t in range(50):
            yield _image(frames[0, k] // 2 + 20 * t + FOREIGN, lps, k, 60, t, "dyn SR first pass", 120.0)
    for k in range(depth):
        late = frames[8, k] // 3 + FOREIGN
        yield _image(late, lps, k + 0.5, 70, 0, "LGE PSIR sax", 620.0, InversionTime=320.0, EchoTime=3.2)
    for k in (1, 3, 5):
        for n in range(8):
            image = abs(frames[0, k].astype(int) - 90 * n) + FOREIGN
            yield _image(image, lps, k, 75, n, "", 600.0, InversionTime=110.0 + 80.0 * n)
    for t in range(30):
        yield _image(frames[t % len(frames), 5] + FOREIGN, lps, 5, 80, t, "flow venc150 AO", RR_MS * t / 30)
    for number, axis, words in ((20, 0, "CINE_4CH"), (21, 1, "CINE_2CH")):
        plane = _across(lps, depth, axis)
        for t in range(25):
            yield _image(frames[t, 2] + FOREIGN, plane, 0, number, t, words, RR_MS * t / 25)
    for axis in range(3):
        plane = np.roll(np.eye(4)[:, :3], axis, axis=1) * 2.0
        whole = np.column_stack([plane, [-150.0, -150.0, -100.0, 1.0]])
        for k in range(3):
            yield _image(frames[0, 2] + FOREIGN, whole, 15 * k, 1, 3 * axis + k, "localizer", None)


def _across(lps: np.ndarray, depth: int, axis: int) -> np.ndarray:
    """Return a plane along the stack's normal and one of its axes, through the middle."""
    steps = np.linalg.norm(lps[:3, :3], axis=0)
    unit = lps[:3, :3] / steps
    plane = np.eye(4)
    plane[:3, 0], plane[:3, 1] = 1.4 * unit[:, axis], 1.4 * unit[:, 2]
    plane[:3, 2] = np.cross(unit[:, axis], unit[:, 2])
    plane[:3, 3] = (lps @ [100.0, 100.0, depth / 2, 1.0])[:3] - plane[:3, :2] @ [100.0, 100.0]
    return plane


def _image(pixels, lps, level: float, series: int, number: int, words: str, trigger_ms, **more) -> Dataset:
    """Return one image ``level`` steps along the stack."""
    plane = lps.copy()
    plane[:3, 3] += level * lps[:3, 2]
    rr_ms = None if trigger_ms is None else RR_MS
    dataset = dicom_dataset(np.asarray(pixels).astype(np.uint16), plane, trigger_ms, rr_ms, str(series), number + 1)
    dataset.SeriesDescription = words
    for keyword, value in more.items():
        setattr(dataset, keyword, value)
    return dataset
