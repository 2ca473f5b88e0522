"""Import of UK Biobank's long-axis cines (field 20208, a zip of DICOM) with resting ECGs (field 20205) for ECGFlowCMR.

One zip holds the two-, three- and four-chamber series; the four-chamber one is found by its series description.
"""

import io
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from COFGeneratorLib import __version__
from COFGeneratorLib.errors import AnatomyError, CohortError

from COFTrainingLib.cohort.manifest import Cohort, CohortHeader, Subject, write_cohort
from COFTrainingLib.cohort.splits import SplitRule
from COFTrainingLib.cohort.table import relative_root

FIELD, ECG_FIELD = "20208", "20205"
LICENCE = "UK Biobank material transfer agreement; not to be passed on"
PLANE = "four-chamber"
_NAME = re.compile(r"^(?P<person>\d+)_(?P<field>20208|20205)_(?P<visit>\d+)_(?P<array>\d+)\.(?:zip|xml)$", re.I)
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
    data, out, splits = Path(data), Path(out), splits or SplitRule()
    found: dict[tuple[str, str], dict[str, tuple[int, str]]] = {}
    for path in sorted(data.rglob("*")):
        match = _NAME.match(path.name)
        if match is None:
            continue
        role = "cine" if match["field"] == FIELD else "ecg"
        visit = found.setdefault((match["person"], match["visit"]), {})
        entry = (int(match["array"]), path.relative_to(data).as_posix())
        visit[role] = min(visit.get(role, entry), entry)
    if not found:
        raise CohortError(
            f"Files named like 1234567_{FIELD}_2_0.zip and 1234567_{ECG_FIELD}_2_0.xml were expected; found none in "
            f"{data}. Name the folder of the downloads."
        )
    subjects = []
    for (person, visit), files in sorted(found.items()):
        missing = [words for role, words in (("cine", "no cine"), ("ecg", "no ECG")) if role not in files]
        subjects.append(
            Subject(
                f"{person}-{visit}",
                person,
                splits.split_of(person),
                {role: file for role, (_, file) in files.items()},
                {"visit": int(visit), "plane": PLANE},
                excluded=f"{missing[0]} of the same visit" if missing else "",
            )
        )
    header = CohortHeader(
        name=name or "ukbiobank four-chamber", kind="ukbiobank", licence=LICENCE, root=relative_root(data, out),
        needs=("cine", "ecg"), splits=splits, settings={"fields": [FIELD, ECG_FIELD]}, made_with=__version__,
    )  # fmt: skip
    cohort = Cohort(out, header, tuple(subjects))
    write_cohort(cohort)
    return cohort


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
    series: dict[str, list] = {}
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
