"""A heart as DICOM: one MR image a slice and phase, derived, marked as synthetic, of nobody and under new UIDs."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from COFGeneratorLib import __version__
from COFGeneratorLib.anatomy.geometry import LPS_TO_RAS, spacing_ijk_mm
from COFGeneratorLib.cine import SYNTHETIC_MARK
from COFGeneratorLib.export.heart import Heart
from COFGeneratorLib.export.segmentation import MANUFACTURER, MODEL, segmentations

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

NOBODY = "SYNTHETIC^RESEARCH ONLY"
CINE_SERIES = 1
LARGEST_STORED = 65535
TEXT_LENGTH = 64
"""Of DICOM's long strings (LO)."""


class Stored(NamedTuple):
    """Intensities as whole numbers: ``values * slope + intercept``; ``values`` is (T, D, H, W) uint16."""

    values: np.ndarray
    slope: float
    intercept: float


def write(heart: Heart, folder: Path) -> list[Path]:
    """Write ``dicom/cine-tTTT-sSS.dcm`` and, with labels, one SEG a phase beside (``labels-tTTT.dcm``).

    Raises:
        MachineError: If there are labels and the package highdicom is missing.
    """
    target = folder / "dicom"
    target.mkdir(parents=True)
    written = []
    images = list(images_of(heart))
    for phase, slices in enumerate(images):
        for place, image in enumerate(slices):
            written.append(target / f"cine-t{phase:03d}-s{place:02d}.dcm")
            image.save_as(written[-1], enforce_file_format=True)
    for phase, labels in enumerate(segmentations(heart, images)):
        written.append(target / f"labels-t{phase:03d}.dcm")
        labels.save_as(written[-1], enforce_file_format=True)
    return written


def images_of(heart: Heart) -> Iterator[list["Dataset"]]:
    """Yield the images of each phase, slice by slice."""
    from pydicom.uid import generate_uid

    stored = whole_numbers(heart.frames)
    study, series, frame_of_reference = (generate_uid(prefix=None) for _ in range(3))
    now = time.gmtime()
    for phase, planes in enumerate(stored.values):
        images = []
        for place, pixels in enumerate(planes):
            image = _image(heart, stored, pixels, phase, place)
            image.StudyInstanceUID, image.SeriesInstanceUID = study, series
            image.FrameOfReferenceUID = frame_of_reference
            image.PatientID = f"COF-{study.rpartition('.')[2][-12:]}"
            image.StudyDate = image.SeriesDate = image.ContentDate = time.strftime("%Y%m%d", now)
            image.StudyTime = image.SeriesTime = image.ContentTime = time.strftime("%H%M%S", now)
            images.append(image)
        yield images


def whole_numbers(frames: np.ndarray) -> Stored:
    """Return intensities as DICOM stores them: those of an integer anchor unchanged, else 16 bits over their range."""
    low, high = float(frames.min()), float(frames.max())
    if np.issubdtype(frames.dtype, np.integer) and high - low <= LARGEST_STORED:
        low = min(low, 0.0)
        return Stored((frames.astype(np.int32) - int(low)).astype(np.uint16), 1.0, low)
    slope = float(f"{max(high - low, 1e-6) / LARGEST_STORED:.9e}")  # as exact as DICOM's decimal strings can say
    low = float(f"{low:.8e}")
    return Stored(np.clip(np.rint((frames - low) / slope), 0, LARGEST_STORED).astype(np.uint16), slope, low)


def _image(heart: Heart, stored: Stored, pixels: np.ndarray, phase: int, place: int) -> "Dataset":
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

    depth = heart.frames.shape[1]
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SpecificCharacterSet = "ISO_IR 192"
    image.SOPClassUID, image.SOPInstanceUID = MRImageStorage, generate_uid(prefix=None)
    image.PatientName, image.PatientBirthDate, image.PatientSex = NOBODY, "", ""
    image.AccessionNumber = image.ReferringPhysicianName = image.StudyID = ""
    image.StudyDescription = image.SeriesDescription = f"{SYNTHETIC_MARK}: cine"
    image.ImageType = ["DERIVED", "SECONDARY", "OTHER", "SYNTHETIC"]
    image.DerivationDescription = f"{SYNTHETIC_MARK}. Generated; not an acquisition, and must not guide care."
    image.ImageComments = _facts(heart)
    image.ContentQualification = "RESEARCH"
    image.Modality, image.BodyPartExamined = "MR", "HEART"
    image.Manufacturer, image.ManufacturerModelName = MANUFACTURER, MODEL
    image.SoftwareVersions, image.DeviceSerialNumber = __version__, "0"
    image.PatientPosition = "HFS"
    image.PositionReferenceIndicator = ""
    image.ScanningSequence, image.SequenceVariant, image.ScanOptions = "RM", "NONE", ""
    image.MRAcquisitionType, image.EchoTime, image.RepetitionTime, image.EchoTrainLength = "2D", None, None, None
    image.SeriesNumber, image.AcquisitionNumber = CINE_SERIES, 1
    image.InstanceNumber = phase * depth + place + 1
    _place(image, heart.ijk_to_ras, place)
    _time(image, heart, phase)
    _pixels(image, stored, pixels)
    return image


def _facts(heart: Heart) -> str:
    """Return model, weights and seed in words; nothing of a person or a file."""
    return "; ".join(f"{name} {str(value)[:TEXT_LENGTH]}" for name, value in heart.facts.items())


def _place(image: "Dataset", ijk_to_ras: np.ndarray, place: int) -> None:
    lps = LPS_TO_RAS @ ijk_to_ras
    spacing = spacing_ijk_mm(ijk_to_ras)
    axes = lps[:3, :3] / spacing
    position = lps[:3, 3] + place * lps[:3, 2]
    image.ImageOrientationPatient = [_decimal(value) for value in (*axes[:, 0], *axes[:, 1])]
    image.ImagePositionPatient = [_decimal(value) for value in position]
    image.PixelSpacing = [_decimal(spacing[1]), _decimal(spacing[0])]
    image.SliceThickness = image.SpacingBetweenSlices = _decimal(spacing[2])
    image.SliceLocation = _decimal(float(position @ np.cross(axes[:, 0], axes[:, 1])))


def _time(image: "Dataset", heart: Heart, phase: int) -> None:
    image.TriggerTime = _decimal(heart.time_ms[phase])
    image.NominalInterval = image.LowRRValue = image.HighRRValue = round(heart.rr_ms)
    image.HeartRate = round(60000.0 / heart.rr_ms)
    image.CardiacNumberOfImages = len(heart.time_ms)
    image.NumberOfTemporalPositions = len(heart.time_ms)
    image.TemporalPositionIdentifier = phase + 1
    image.TemporalResolution = _decimal(heart.step_ms)


def _pixels(image: "Dataset", stored: Stored, pixels: np.ndarray) -> None:
    image.Rows, image.Columns = pixels.shape
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit, image.PixelRepresentation = 15, 0
    image.RescaleSlope, image.RescaleIntercept, image.RescaleType = (
        _decimal(stored.slope),
        _decimal(stored.intercept),
        "US",
    )
    low, high = np.percentile(stored.values[0], (1.0, 99.5)) * stored.slope + stored.intercept
    image.WindowCenter, image.WindowWidth = _decimal((low + high) / 2.0), _decimal(max(high - low, stored.slope))
    image.LossyImageCompression = image.BurnedInAnnotation = "NO"
    image.LossyImageCompression = "00"
    image.PixelData = pixels.tobytes()


def _decimal(value: float) -> str:
    """Return a number in the sixteen letters of a decimal string (DS)."""
    for digits in range(15, 5, -1):
        text = f"{float(value) + 0.0:.{digits}g}"
        if len(text) <= 16:
            return text
    return f"{float(value):.6g}"
