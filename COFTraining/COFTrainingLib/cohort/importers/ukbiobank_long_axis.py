"""Import of UK Biobank's long-axis cines (field 20208, a zip of DICOM) with resting ECGs (field 20205) for ECGFlowCMR.

One zip holds the two-, three- and four-chamber series; the four-chamber one is found by its series description.
"""

import io
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from COFGeneratorLib.errors import AnatomyError

from COFTrainingLib.cohort.importers.ukbiobank import import_pairs
from COFTrainingLib.cohort.manifest import Cohort
from COFTrainingLib.cohort.splits import SplitRule

FIELD = "20208"
PLANE = "four-chamber"
_FOUR = re.compile(r"4\s*[-_ ]?\s*ch", re.I)
_LARGEST_MEMBER = 1 << 26


@dataclass(frozen=True)
class PlaneFrames:
    """A cine of one plane: (T, H, W) float32 and the spacing of rows and columns, mm."""

    frames: np.ndarray
    spacing_mm: tuple[float, float]


def import_long_axis(data: Path | str, out: Path | str, *, name: str = "", splits: SplitRule | None = None) -> Cohort:
    """Write the manifest of a folder of downloads; a visit with one of the two files is listed with the reason.

    Raises:
        CohortError: If the folder holds no file of these fields.
    """
    name = name or "ukbiobank four-chamber"
    return import_pairs(data, out, FIELD, {"plane": PLANE}, name=name, splits=splits)


def read_four_chamber(path: Path | str) -> PlaneFrames:
    """Read the four-chamber cine out of a zip of field 20208.

    Raises:
        AnatomyError: If the zip cannot be read or holds no four-chamber series of at least four frames.
    """
    import pydicom

    path, slices = Path(path), []
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.is_dir() or member.file_size > _LARGEST_MEMBER or member.filename.endswith(".cvs"):
                    continue
                try:
                    image = pydicom.dcmread(io.BytesIO(archive.read(member)))
                except pydicom.errors.InvalidDicomError:
                    continue  # the manifest beside the images
                if _FOUR.search(str(image.get("SeriesDescription", ""))) and "PixelData" in image:
                    slices.append(image)
    except (OSError, zipfile.BadZipFile) as error:
        raise AnatomyError(
            f"A zip of DICOM files (field {FIELD}) was expected; {path.name} does not read ({error}). "
            "Download it again."
        ) from error
    series: dict[str, list[Any]] = {}
    for image in slices:
        series.setdefault(str(image.get("SeriesInstanceUID", "")), []).append(image)
    best = max(series.values(), key=len, default=[])
    if len(best) < 4:
        raise AnatomyError(
            f"A four-chamber cine of at least 4 frames was expected in {path.name}; found {len(best)} frames in series "
            "whose description names four chambers. Leave this subject out."
        )
    best.sort(key=lambda image: (float(image.get("TriggerTime", 0) or 0), int(image.get("InstanceNumber", 0) or 0)))
    frames = np.stack([image.pixel_array.astype(np.float32) for image in best])
    rows, columns = (float(value) for value in best[0].PixelSpacing)
    return PlaneFrames(frames, (rows, columns))
