"""DICOM images, one record a frame: where it lies, when in the heart beat it was taken, how to get its pixels.

Only the attributes named here are read; none of them identifies a patient, a place or a date.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from COFGeneratorLib.anatomy.geometry import affine
from COFGeneratorLib.anatomy.readers.archive import Folder, Zip
from COFGeneratorLib.anatomy.readers.header import check_sizes
from COFGeneratorLib.errors import AnatomyError

if TYPE_CHECKING:
    from pydicom import Dataset

DEFLATED = b"1.2.840.10008.1.2.1.99"
DIRECTORY = "1.2.840.10008.1.3.10"
"""Class of DICOMDIR, the table of contents of a disc."""
TAGS = [
    "SOPClassUID", "ImageType", "Modality", "BodyPartExamined", "SeriesInstanceUID", "SeriesNumber", "InstanceNumber",
    "TriggerTime", "NominalInterval", "HeartRate", "TemporalPositionIdentifier", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "SamplesPerPixel", "NumberOfFrames", "RescaleSlope",
    "RescaleIntercept", "BitsAllocated", "CardiacRRIntervalSpecified",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Image:
    """One image (a frame of a multi-frame file, or a whole file).

    Args:
        name: Key of its file in the folder or zip.
        index: Frame within the file.
        shape: (rows, columns).
        to_lps: (4, 4) pixel (i, j, 0, 1) → LPS mm; the third column is the unit normal.
        trigger_ms: Time from the R wave, NaN where not stated.
        rr_ms: R–R interval, NaN where not stated.
        order: Numbers that sort the images of one place where no trigger time is stated.
        series: Series UID, for grouping only.
        series_number: A later acquisition has a higher one.
        compressed: Whether its pixels are.
        slope, intercept: Stored number to intensity.
    """

    name: str
    index: int
    shape: tuple[int, int]
    to_lps: np.ndarray
    trigger_ms: float
    rr_ms: float
    order: tuple[float, float]
    series: str
    series_number: float
    compressed: bool
    slope: float
    intercept: float

    @property
    def normal(self) -> np.ndarray:
        """(3,) unit normal, LPS."""
        return self.to_lps[:3, 2]

    @property
    def position(self) -> np.ndarray:
        """(3,) centre of the first pixel, LPS mm."""
        return self.to_lps[:3, 3]


@dataclass
class Refused:
    """How many files were left out, and why; in words that hold nothing about a patient."""

    not_dicom: int = 0
    unreadable: int = 0
    without_place: int = 0
    other_modality: dict[str, int] = field(default_factory=dict)
    colour: int = 0
    velocity: int = 0
    body_part: str = ""


def looks_like_dicom(start: bytes) -> bool:
    """Whether leading bytes are a DICOM file's, with its preamble or, as old exports are, without."""
    return start[128:132] == b"DICM" or start[:4] in (b"\x08\x00\x00\x00", b"\x08\x00\x05\x00", b"\x08\x00\x08\x00")


def read_images(source: Folder | Zip) -> tuple[list[Image], Refused]:
    """Read the headers of all MR images in a folder or zip.

    Raises:
        AnatomyError: If a header claims absurd sizes.
    """
    images: list[Image] = []
    refused = Refused()
    for name in source.names:
        start = source.start(name, 1024)
        if not looks_like_dicom(start):
            refused.not_dicom += 1
        elif DEFLATED in start:  # would be inflated without limit
            refused.unreadable += 1
        else:
            with quiet():
                _read_file(source, name, images, refused)
    return images, refused


def _read_file(source: Folder | Zip, name: str, images: list[Image], refused: Refused) -> None:
    import pydicom

    try:
        file = name if isinstance(source, Folder) else BytesIO(source.read(name))
        dataset = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=TAGS)
        part = str(dataset.get("BodyPartExamined", "")).strip().upper()
        modality = str(dataset.get("Modality") or "MR").strip().upper()[:8] or "MR"
        kind = {str(word).upper() for word in np.atleast_1d(dataset.get("ImageType", [])).tolist()}
        if str(dataset.get("SOPClassUID", "") or _stored_class(dataset)) == DIRECTORY:
            refused.not_dicom += 1
        elif modality != "MR":
            refused.other_modality[modality] = refused.other_modality.get(modality, 0) + 1
        elif int(dataset.get("SamplesPerPixel", 1) or 1) != 1:
            refused.colour += 1
        elif kind & {"P", "PHASE", "PHASE MAP", "VELOCITY", "PHASE CONTRAST"}:
            refused.velocity += 1
        else:
            found = list(_frames(dataset, name, source.size(name)))
            refused.without_place += not found
            images += found
            refused.body_part = refused.body_part or part
    except AnatomyError:
        raise
    except Exception:  # pydicom raises whatever a damaged element leads it into
        refused.unreadable += 1


def _stored_class(dataset: "Dataset") -> str:
    return str(getattr(dataset, "file_meta", {}).get("MediaStorageSOPClassUID", ""))


def _frames(dataset: "Dataset", name: str, n_bytes: int) -> Iterator[Image]:
    """Yield the images of one file of a size.

    Raises:
        ValueError: If the file is too small for the pixels that its header promises.
    """
    count = int(dataset.get("NumberOfFrames", 1) or 1)
    rows, columns = int(dataset.get("Rows", 0) or 0), int(dataset.get("Columns", 0) or 0)
    if not rows or not columns:
        return
    check_sizes("DICOM", (1, rows, columns), count, 2)
    compressed = (
        dataset.file_meta.TransferSyntaxUID.is_compressed if "TransferSyntaxUID" in dataset.file_meta else False
    )
    if not compressed and rows * columns * count * int(dataset.get("BitsAllocated", 16)) // 8 > n_bytes:
        raise ValueError("truncated")
    shared = _first(dataset, "SharedFunctionalGroupsSequence")
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    for index in range(count):
        own = per_frame[index] if index < len(per_frame) else None
        groups = [g for g in (own, shared, dataset) if g is not None]
        to_lps = _place(groups)
        if to_lps is None:
            continue
        trigger = _number(groups, "CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime", "TriggerTime")
        interval = _number(groups, "CardiacSynchronizationSequence", "RRIntervalTimeNominal", "NominalInterval")
        rate = _number(groups, None, None, "HeartRate")
        if not np.isfinite(trigger):
            trigger = _number(groups, "CardiacSynchronizationSequence", "ActualCardiacTriggerDelayTime", "TriggerTime")
        if not 200 <= interval <= 4000:
            interval = _number(groups, None, None, "CardiacRRIntervalSpecified")
        if not 200 <= interval <= 4000:
            interval = 60_000.0 / rate if 15 <= rate <= 300 else np.nan
        phase = _number(groups, "FrameContentSequence", "TemporalPositionIndex", "TemporalPositionIdentifier")
        slope = _number(groups, "PixelValueTransformationSequence", "RescaleSlope", "RescaleSlope")
        shift = _number(groups, "PixelValueTransformationSequence", "RescaleIntercept", "RescaleIntercept")
        instance = _number(groups, None, None, "InstanceNumber")
        yield Image(
            name=name,
            index=index,
            shape=(rows, columns),
            to_lps=to_lps,
            trigger_ms=trigger,
            rr_ms=interval,
            order=(float(np.nan_to_num(phase)), float(np.nan_to_num(instance)) + index),
            series=str(dataset.get("SeriesInstanceUID", "")),
            series_number=float(np.nan_to_num(_number(groups, None, None, "SeriesNumber"))),
            compressed=compressed,
            slope=slope if np.isfinite(slope) and slope != 0 else 1.0,
            intercept=float(np.nan_to_num(shift)),
        )


def _first(item: "Dataset", keyword: str) -> "Dataset | None":
    """Return the first item of a sequence, or None."""
    sequence = item.get(keyword)
    return sequence[0] if sequence else None


def _value(groups: "list[Dataset]", sequence: str | None, keyword: str | None, plain: str, n: int) -> np.ndarray | None:
    """Find `n` numbers: in a functional group of the frame or of the file, else as a plain attribute."""
    for item in groups:
        inner = _first(item, sequence) if sequence else None
        for where, name in ((inner, keyword), (item, plain)):
            found = where.get(name) if where is not None and name else None
            if found is None:
                continue
            try:
                numbers = np.atleast_1d(np.asarray(found, dtype=float))
            except (TypeError, ValueError):
                continue
            if numbers.size == n and np.isfinite(numbers).all():
                return numbers
    return None


def _number(groups: "list[Dataset]", sequence: str | None, keyword: str | None, plain: str) -> float:
    found = _value(groups, sequence, keyword, plain, 1)
    return np.nan if found is None else float(found[0])


def _place(groups: "list[Dataset]") -> np.ndarray | None:
    """Return pixel (i, j) → LPS mm, or None where position, orientation or spacing is missing or impossible."""
    position = _value(groups, "PlanePositionSequence", "ImagePositionPatient", "ImagePositionPatient", 3)
    axes = _value(groups, "PlaneOrientationSequence", "ImageOrientationPatient", "ImageOrientationPatient", 6)
    spacing = _value(groups, "PixelMeasuresSequence", "PixelSpacing", "PixelSpacing", 2)
    if position is None or axes is None or spacing is None:
        return None
    along_row, along_column = axes[:3], axes[3:]
    lengths = np.linalg.norm(along_row), np.linalg.norm(along_column)
    if abs(lengths[0] - 1) > 0.01 or abs(lengths[1] - 1) > 0.01 or abs(along_row @ along_column) > 0.01:
        return None
    if spacing.min() <= 0.01 or spacing.max() > 20:
        return None
    normal = np.cross(along_row, along_column)
    between_rows, between_columns = spacing
    steps = (along_row / lengths[0] * between_columns, along_column / lengths[1] * between_rows)
    return affine(np.stack([*steps, normal / np.linalg.norm(normal)], axis=1), position)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom's and ITK's remarks, which may quote a file, off the user's screen and logs."""
    import SimpleITK as sitk

    logger = logging.getLogger("pydicom")
    level, shown = logger.level, sitk.ProcessObject.GetGlobalWarningDisplay()
    logger.setLevel(logging.CRITICAL + 1)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)
