"""Attributes of a DICOM image, wherever they stand: in the frame's groups, in the file's, or plainly.

Descriptions are free text and may name a person: they are matched against the words below and never repeated.
"""

import re
from typing import Any

import numpy as np

from COFGeneratorLib.anatomy.geometry import affine

Dataset = Any  # pydicom's, which is loaded when a study is read
MOST_SCALED, MOST_SKEWED = 0.1, 0.03
"""How far direction cosines may be off unit length, and off right angles, and still be read; two digits give 0.02."""
OFF, EXACT = 5e-3, 1e-6
"""How far they may be off without a word, and without being touched."""
TAGS: list[str | int] = [
    "SOPClassUID", "SOPInstanceUID", "ImageType", "Modality", "BodyPartExamined", "PatientID", "PatientName",
    "PatientBirthDate", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription",
    "ProtocolName", "SequenceName", "InstanceNumber", "ComplexImageComponent", "TriggerTime", "NominalInterval",
    "HeartRate", "TemporalPositionIdentifier", "NominalPercentageOfCardiacPhase", "FrameReferenceTime",
    "AcquisitionTime", "InversionTime", "EchoTime", "RepetitionTime", "FlipAngle", "ContrastBolusAgent",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "SamplesPerPixel",
    "NumberOfFrames", "RescaleSlope", "RescaleIntercept", "BitsAllocated", "BitsStored", "PixelRepresentation",
    "PhotometricInterpretation", "CardiacRRIntervalSpecified", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", 0x00430010, 0x0043102F,
]  # fmt: skip
MAGNITUDE, REAL, IMAGINARY, VELOCITY = "magnitude", "real part", "imaginary part", "phase-contrast (velocity)"
TAGGING, PERFUSION, LATE = "tagging", "perfusion", "late enhancement"
INVERTED = f"{LATE} or other images with an inversion pulse"
T1_MAPPING, T2_MAPPING, PHASE_CONTRAST = "T1 mapping", "T2 mapping", "phase contrast"
STRAIN = "displacement or strain encoding"
MOSAIC = "a mosaic of several slices in one picture"
_KINDS = (
    (TAGGING, r"\btag(s|ged|ging)?\b|\bc?spamm\b|\btag grid"),
    (STRAIN, r"\bdense\b|\bf?senc\b"),
    (PHASE_CONTRAST, r"flow\b|\bvenc|phase contrast|velocity|\bpc\b|\bv\d+(in|through)\b"),
    (PERFUSION, r"\bperf|first pass"),
    (LATE, r"\bp?lge\b|\blate (gad|enh)|delayed|\bpsir\b|\bviab|\bmde\b"),
    (T1_MAPPING, r"molli\b|\bsasha\b|\bt1 ?map|\becv\b"),
    (T2_MAPPING, r"\bt2 ?(\*|star|map)"),
    (MOSAIC, r"\bmosaic\b"),
    ("a localiser", r"locali[sz]er|\bloc\b|\bscout|\bsurvey\b"),
)
_VIEWS = (
    ("an outflow-tract view", r"\b(lv|rv)ot\b|outflow"),
    ("a two-chamber view", r"\b2 ?ch|\btwo chamber"),
    ("a three-chamber view", r"\b3 ?ch|\bthree chamber"),
    ("a four-chamber view", r"\b4 ?ch|\bfour chamber"),
    ("a long-axis view", r"\b(v|h)?lax\b|long axis"),
)
_MOVES = (TAGGING, STRAIN, PHASE_CONTRAST, MOSAIC)
"""What is acquired as a cine, and so may be called one."""
_GE_PARTS = {1: VELOCITY, 2: REAL, 3: IMAGINARY}
"""Raw data types of GE's private element (0043,102F), where its image type is the same for all."""
_COMPONENTS = (
    (VELOCITY, r"P|P_\w+|PHASE|PHASE MAP|VELOCITY( MAP)?|PHASE CONTRAST"),
    (REAL, r"R|R_\w+|REAL"),
    (IMAGINARY, r"I|I_\w+|IMAGINARY"),
)


def first(item: "Dataset", keyword: str) -> "Dataset | None":
    """Return the first item of a sequence, or None."""
    sequence = item.get(keyword)
    return sequence[0] if sequence else None


def numbers(
    groups: "list[Dataset]", sequence: str | None, keyword: str | None, plain: str | None, n: int | None
) -> np.ndarray | None:
    """Find `n` finite numbers (any count where None) in a functional group, else as a plain attribute."""
    for item in groups:
        inner = first(item, sequence) if sequence else None
        for where, name in ((inner, keyword), (item, plain)):
            found = where.get(name) if where is not None and name else None
            if found is None:
                continue
            try:
                values = np.atleast_1d(np.asarray(found, dtype=float))
            except (TypeError, ValueError):
                continue
            if (n is None or values.size == n) and np.isfinite(values).all():
                return values
    return None


def number(groups: "list[Dataset]", sequence: str | None, keyword: str | None, plain: str | None) -> float:
    """Find one number; NaN where there is none."""
    found = numbers(groups, sequence, keyword, plain, 1)
    return np.nan if found is None else float(found[0])


def place(groups: "list[Dataset]") -> np.ndarray | None:
    """Return pixel (i, j) → LPS mm, or None where position, orientation or spacing is missing or impossible.

    Cosines that exporters rounded or scaled are brought back to unit length and right angles.
    """
    position, axes, spacing = _stated_place(groups)
    if position is None or axes is None or spacing is None:
        return None
    if not (_usable_axes(axes) and _usable_spacing(spacing)):
        return None
    row, column = (axis / np.linalg.norm(axis) for axis in (axes[:3], axes[3:]))
    normal = np.cross(row, column)
    if abs(row @ column) > EXACT:  # turned apart by the same angle each, in their plane
        half, across = row + column, row - column
        half, across = half / np.linalg.norm(half), across / np.linalg.norm(across)
        row, column = (half + across) / np.sqrt(2.0), (half - across) / np.sqrt(2.0)
    between_rows, between_columns = spacing
    steps = (row * between_columns, column * between_rows)
    return affine(np.stack([*steps, normal / np.linalg.norm(normal)], axis=1), position)


def lacking(groups: "list[Dataset]") -> str:
    """Say why an image has no `place`, as what it states."""
    position, axes, _ = _stated_place(groups)
    if position is None:
        return "no position in the patient"
    if axes is None:
        return "no orientation of rows and columns"
    if not _usable_axes(axes):
        return "an orientation whose rows and columns are not of unit length or not at right angles"
    return "no usable pixel spacing"


def cosines_off(groups: "list[Dataset]") -> bool:
    """Whether the direction cosines are not of unit length or at right angles, by more than rounding."""
    _, axes, _ = _stated_place(groups)
    if axes is None:
        return False
    lengths = np.linalg.norm(axes.reshape(2, 3), axis=1)
    return bool(np.abs(lengths - 1.0).max() > OFF or abs(axes[:3] @ axes[3:]) > OFF)


def _stated_place(groups: "list[Dataset]") -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Return position (3,), cosines of rows and columns (6,), and distances of rows and columns (2,), mm."""
    return (
        numbers(groups, "PlanePositionSequence", "ImagePositionPatient", "ImagePositionPatient", 3),
        numbers(groups, "PlaneOrientationSequence", "ImageOrientationPatient", "ImageOrientationPatient", 6),
        numbers(groups, "PixelMeasuresSequence", "PixelSpacing", "PixelSpacing", 2),
    )


def _usable_axes(axes: np.ndarray) -> bool:
    lengths = np.linalg.norm(axes.reshape(2, 3), axis=1)
    return bool((np.abs(lengths - 1.0) <= MOST_SCALED).all() and abs(axes[:3] @ axes[3:]) <= MOST_SKEWED)


def _usable_spacing(spacing: np.ndarray) -> bool:
    return bool(spacing.min() > 0.01 and spacing.max() <= 20.0)


def interval_ms(groups: "list[Dataset]") -> float:
    """Return the R–R as stated, in ms whatever its unit, else from the heart rate; NaN where neither is there."""
    for sequence, keyword, plain in (
        ("CardiacSynchronizationSequence", "RRIntervalTimeNominal", "NominalInterval"),
        (None, None, "CardiacRRIntervalSpecified"),
    ):
        value = number(groups, sequence, keyword, plain)
        for factor in (1.0, 1e3, 1e-3):
            if 200.0 <= value * factor <= 4000.0:
                return value * factor
    rate = number(groups, None, None, "HeartRate")
    return 60_000.0 / rate if 15 <= rate <= 300 else np.nan


def seconds_of_day(text: object) -> float:
    """Return a DICOM time (HHMMSS.FFF) in seconds; NaN where it is none."""
    found = re.fullmatch(r"(\d\d)(\d\d)(\d\d(?:\.\d+)?)", str(text or "").strip())
    return np.nan if not found else 3600.0 * int(found[1]) + 60.0 * int(found[2]) + float(found[3])


def seconds_of_frame(groups: "list[Dataset]", keyword: str) -> float:
    """Return a time of a frame's content (YYYYMMDDHHMMSS.FFF) in seconds of its day; NaN where there is none."""
    content = next((inner for item in groups if (inner := first(item, "FrameContentSequence")) is not None), None)
    return np.nan if content is None else seconds_of_day(str(content.get(keyword) or "")[8:].partition("+")[0])


def component(groups: "list[Dataset]") -> str:
    """Tell which part of the complex signal an image shows."""
    words = []
    for item in groups:
        frame = first(item, "MRImageFrameTypeSequence")
        told = [where for where in (frame, item) if where is not None]
        for where, keyword in ((where, keyword) for where in told for keyword in ("FrameType", "ImageType")):
            words += np.atleast_1d(where.get(keyword) or []).tolist()[2:]
        words += [where.get("ComplexImageComponent") or "" for where in told]
        if words:
            break
    upper = [str(word).strip().upper() for word in words]
    named = (name for name, pattern in _COMPONENTS if any(re.fullmatch(pattern, word) for word in upper))
    return next(named, "") or _ge_component(groups[-1])


def _ge_component(dataset: "Dataset") -> str:
    if "GEMS_PARM" not in str(dataset.get((0x0043, 0x0010), "")):
        return MAGNITUDE
    value = getattr(dataset.get((0x0043, 0x102F)), "value", None)
    if isinstance(value, bytes):  # of unknown representation, as in implicit files
        value = int.from_bytes(value, "little")
    return _GE_PARTS.get(value, MAGNITUDE) if isinstance(value, int) else MAGNITUDE


def free_text(dataset: "Dataset") -> str:
    """Return what describes a series, in small letters with single spaces; for matching only."""
    words = [dataset.get(keyword) for keyword in ("SeriesDescription", "ProtocolName", "SequenceName")]
    words += np.atleast_1d(dataset.get("ImageType") or []).tolist()[2:]
    return re.sub(r"[^a-z0-9*]+", " ", " ".join(str(word or "") for word in words)[:2000].lower()).strip()


def kind_by_words(text: str) -> str:
    """Name the technique that a description tells, "" where it tells none that is not a plain cine."""
    found = next((kind for kind, pattern in _KINDS if re.search(pattern, text)), "")
    return found if found in _MOVES or not re.search(r"\bcine\b", text) else ""


def view_by_words(text: str) -> str:
    """Name the long-axis view that a description tells, or ""."""
    if re.search(r"\bsax?\b|short|kurz|petit axe|eje corto|asse corto|korte as", text):
        return ""
    return next((view for view, pattern in _VIEWS if re.search(pattern, text)), "")
