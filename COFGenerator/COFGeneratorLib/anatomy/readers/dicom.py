"""Headers of the DICOM images in a folder or zip, one record a frame."""

import logging
import mmap
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from COFGeneratorLib.anatomy.readers import dicom_fields as fields
from COFGeneratorLib.anatomy.readers.archive import Folder, Zip
from COFGeneratorLib.anatomy.readers.dicom_compressed import is_compressed
from COFGeneratorLib.anatomy.readers.dicom_image import Clocks, Image, Refused, Series, digest
from COFGeneratorLib.anatomy.readers.header import MAX_FRAMES, MAX_SLICES, check_sizes
from COFGeneratorLib.dicom_elements import excess
from COFGeneratorLib.errors import AnatomyError

Dataset = Any  # pydicom's, which is loaded when used

MOST_ELEMENTS = 400_000
"""A multi-frame file of 40 slices and 100 phases has fewer; each costs some microseconds."""
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
DIRECTORY = "1.2.840.10008.1.3.10"
"""Class of DICOMDIR, the table of contents of a disc."""


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
        if not looks_like_dicom(source.start(name, 1024)):
            refused.not_dicom += 1
        else:
            with quiet():
                _read_file(source, name, images, refused)
    return images, refused


def open_dataset(source: Folder | Zip, name: str, tags: list[str | int] | None, pixels: bool = False) -> "Dataset":
    """Parse one file, of named attributes or all.

    Raises:
        ValueError: If it is deflated, which would be inflated without limit, or has too many or too deep elements.
    """
    import pydicom

    syntax = transfer_syntax(source.start(name, 4096))
    if syntax == DEFLATED:
        raise ValueError("deflated")
    if isinstance(source, Folder):
        with Path(name).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = excess(content, syntax == BIG_ENDIAN, MOST_ELEMENTS)
        data: str | BytesIO = name
    else:
        inflated = source.read(name)
        found, data = excess(inflated, syntax == BIG_ENDIAN, MOST_ELEMENTS), BytesIO(inflated)
    if found:
        raise ValueError(found)
    return pydicom.dcmread(data, stop_before_pixels=not pixels, force=True, specific_tags=tags)


def transfer_syntax(start: bytes) -> str:
    """Return the transfer syntax of a file's parsed meta information, "" where it has none."""
    from pydicom.filereader import read_file_meta_info

    if start[128:132] != b"DICM":
        return ""
    try:
        return str(read_file_meta_info(BytesIO(start)).get("TransferSyntaxUID", ""))
    except Exception:  # a meta group that does not parse is not read by pydicom either
        return DEFLATED if DEFLATED.encode() in start else ""


def _read_file(source: Folder | Zip, name: str, images: list[Image], refused: Refused) -> None:
    try:
        dataset = open_dataset(source, name, fields.TAGS)
        part = str(dataset.get("BodyPartExamined", "")).strip().upper()
        modality = str(dataset.get("Modality") or "MR").strip().upper()[:8] or "MR"
        if str(dataset.get("SOPClassUID", "") or _stored_class(dataset)) == DIRECTORY:
            refused.not_dicom += 1
        elif modality != "MR":
            refused.other_modality[modality] = refused.other_modality.get(modality, 0) + 1
        elif int(dataset.get("SamplesPerPixel", 1) or 1) != 1:
            refused.colour += 1
        else:
            found = list(_frames(dataset, name, source.size(name), refused))
            moving = [im for im in found if im.series.part != fields.VELOCITY]
            refused.velocity += len(found) - len(moving)
            images += moving
            refused.body_part = refused.body_part or part
    except AnatomyError:
        raise
    except Exception:  # pydicom raises whatever a damaged element leads it into
        refused.unreadable += 1


def _stored_class(dataset: "Dataset") -> str:
    return str(getattr(dataset, "file_meta", {}).get("MediaStorageSOPClassUID", ""))


def _frames(dataset: "Dataset", name: str, n_bytes: int, refused: Refused) -> Iterator[Image]:
    """Yield the images of one file of a size; those that have no place are counted.

    Raises:
        ValueError: If the header ends before its sizes, or the file is too small for the pixels that it promises.
        AnatomyError: If its sizes are absurd.
    """
    count = int(dataset.get("NumberOfFrames", 1) or 1)
    rows, columns = int(dataset.get("Rows", 0) or 0), int(dataset.get("Columns", 0) or 0)
    if "Rows" not in dataset or "Columns" not in dataset:
        raise ValueError("a header that was cut short")
    if not rows or not columns:
        refused.unplaced["no size"] = refused.unplaced.get("no size", 0) + 1
        return
    check_sizes("DICOM", (min(count, MAX_SLICES), rows, columns), -(-count // MAX_SLICES), 2)
    compressed = is_compressed(dataset)
    if not compressed and rows * columns * count * int(dataset.get("BitsAllocated", 16)) // 8 > n_bytes:
        raise ValueError("truncated")
    shared = fields.first(dataset, "SharedFunctionalGroupsSequence")
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if count > max(len(per_frame), MAX_FRAMES):  # a plain multi-frame file has one place for all
        raise ValueError("more frames than places")
    number, birth, called, study = (
        digest(str(dataset.get(keyword) or "").strip())
        for keyword in ("PatientID", "PatientBirthDate", "PatientName", "StudyInstanceUID")
    )
    inverted = str(dataset.get("PhotometricInterpretation") or "").strip().upper() == "MONOCHROME1"
    known: dict[str, Series] = {}
    for index in range(count):
        own = per_frame[index] if index < len(per_frame) else None
        groups = [g for g in (own, shared, dataset) if g is not None]
        to_lps = fields.place(groups)
        if to_lps is None:
            lacking = fields.lacking(groups)
            refused.unplaced[lacking] = refused.unplaced.get(lacking, 0) + 1
            continue
        slope = fields.number(groups, "PixelValueTransformationSequence", "RescaleSlope", "RescaleSlope")
        shift = fields.number(groups, "PixelValueTransformationSequence", "RescaleIntercept", "RescaleIntercept")
        slope, shift = slope if np.isfinite(slope) and slope != 0 else 1.0, float(np.nan_to_num(shift))
        series = _series(dataset, groups)
        yield Image(
            name=name,
            index=index,
            shape=(rows, columns),
            to_lps=to_lps,
            series=known.setdefault(f"{series.part} {series.settings}", series),
            person=(number, birth, called),
            study=study,
            clocks=_clocks(groups, index),
            rr_ms=fields.interval_ms(groups),
            compressed=compressed,
            slope=-slope if inverted else slope,
            intercept=shift + (slope * _brightest(dataset) if inverted else 0.0),
            inverted=inverted,
            scaled=fields.cosines_off(groups),
            uid=digest(str(dataset.get("SOPInstanceUID") or "")) if count == 1 else "",
        )


def _brightest(dataset: "Dataset") -> float:
    """Return the stored number that black has where bright and dark are exchanged (MONOCHROME1)."""
    if int(dataset.get("PixelRepresentation", 0) or 0):
        return -1.0
    return 2.0 ** int(dataset.get("BitsStored", 0) or dataset.get("BitsAllocated", 16) or 16) - 1.0


def _series(dataset: "Dataset", groups: "list[Dataset]") -> Series:
    text = fields.free_text(dataset)
    echo = fields.number(groups, "MREchoSequence", "EffectiveEchoTime", "EchoTime")
    timing = "MRTimingAndRelatedParametersSequence"
    return Series(
        uid=str(dataset.get("SeriesInstanceUID", "")),
        number=float(np.nan_to_num(fields.number(groups, None, None, "SeriesNumber"))),
        part=fields.component(groups),
        kind=fields.kind_by_words(text),
        view=fields.view_by_words(text),
        text=text,
        look=digest(re.sub(r"[\d ]+", "", text)),
        settings=(
            echo,
            fields.number(groups, timing, "RepetitionTime", "RepetitionTime"),
            fields.number(groups, timing, "FlipAngle", "FlipAngle"),
        ),
        contrast=bool(str(dataset.get("ContrastBolusAgent") or "").strip()),
    )


def _clocks(groups: "list[Dataset]", index: int) -> Clocks:
    sync, content = "CardiacSynchronizationSequence", "FrameContentSequence"
    trigger = fields.number(groups, sync, "NominalCardiacTriggerDelayTime", "TriggerTime")
    if not np.isfinite(trigger):
        trigger = fields.number(groups, sync, "ActualCardiacTriggerDelayTime", None)
    dimension = fields.numbers(groups, content, "DimensionIndexValues", None, None)
    modifier = "MRModifierSequence"
    return Clocks(
        trigger_ms=trigger,
        percent=fields.number(groups, sync, "NominalPercentageOfCardiacPhase", "NominalPercentageOfCardiacPhase"),
        reference_ms=_first_known(
            fields.number(groups, None, None, "FrameReferenceTime"),
            1000.0 * fields.seconds_of_frame(groups, "FrameReferenceDateTime"),
        ),
        position=fields.number(groups, content, "TemporalPositionIndex", "TemporalPositionIdentifier"),
        dimension=() if dimension is None else tuple(float(x) for x in dimension[:16]),
        instance=float(np.nan_to_num(fields.number(groups, None, None, "InstanceNumber"))) + index,
        acquired_s=_first_known(
            fields.seconds_of_frame(groups, "FrameAcquisitionDateTime"),
            fields.seconds_of_day(groups[-1].get("AcquisitionTime")),
        ),
        inversion_ms=fields.number(groups, modifier, "InversionTimes", "InversionTime"),
        echo_ms=fields.number(groups, "MREchoSequence", "EffectiveEchoTime", "EchoTime"),
    )


def _first_known(*values: float) -> float:
    return next((value for value in values if np.isfinite(value)), np.nan)


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
