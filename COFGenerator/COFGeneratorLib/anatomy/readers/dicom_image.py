"""One DICOM image: where it lies, what its clocks say, what it belongs to.

Of attributes that name a person or describe in free text, a digest or a technique is kept, and nothing is shown.
"""

import hashlib
from dataclasses import dataclass, field

import numpy as np

UNTURNED = (False, False, False)


@dataclass(frozen=True)
class Clocks:
    """What an image says about when it was taken; NaN (or empty) where it says nothing.

    Args:
        trigger_ms: From the R wave, as stated.
        percent: Of the R–R.
        reference_ms: Frame reference time, from some start.
        position: Temporal position, a number in order.
        dimension: Dimension index values.
        instance: Instance number, then frame of the file.
        acquired_s: Acquisition time of the day.
        inversion_ms, echo_ms: Contrast times, which maps vary.
    """

    trigger_ms: float = np.nan
    percent: float = np.nan
    reference_ms: float = np.nan
    position: float = np.nan
    dimension: tuple[float, ...] = ()
    instance: float = 0.0
    acquired_s: float = np.nan
    inversion_ms: float = np.nan
    echo_ms: float = np.nan


@dataclass(frozen=True)
class Series:
    """What the images of one series share.

    Args:
        uid: For grouping only.
        number: A later acquisition has a higher one.
        part: Of the complex signal.
        kind: Technique by its description, "" for a plain cine or volume.
        view: Long-axis view by its description, or "".
        text: Its description, for matching with what the user asked for; never shown.
        look: Digest of the description without digits, for grouping.
        settings: Echo time, repetition time and flip angle, NaN where not stated.
        contrast: Whether a contrast agent is stated.
    """

    uid: str
    number: float
    part: str
    kind: str
    view: str
    text: str = field(repr=False)
    look: str
    settings: tuple[float, float, float]
    contrast: bool


@dataclass(frozen=True, eq=False)
class Image:
    """One image (a frame of a multi-frame file, or a whole file).

    Args:
        name: Key of its file in the folder or zip.
        index: Frame within the file.
        shape: (rows, columns), after turning.
        to_lps: (4, 4) pixel (i, j, 0, 1) → LPS mm, after turning; the third column is the unit normal.
        series: What it belongs to.
        person, study: Digests, to tell two apart; of a person number, date of birth and name.
        clocks: When it was taken, as stated.
        rr_ms: R–R interval, NaN where not stated.
        trigger_ms: Time from the R wave, once the clocks were judged; NaN where unknown.
        order: What sorts the images of one place.
        compressed: Whether its pixels are.
        slope, intercept: Stored number to intensity.
        inverted: Whether it is stored with bright and dark exchanged.
        scaled: Whether its direction cosines had to be brought to unit length or right angles.
        uid: Digest of its own UID, by which contours name it; "" of a frame of a multi-frame file.
        turn: Whether the stored pixels are transposed, then reversed along rows, then along columns.
    """

    name: str = field(repr=False)
    index: int
    shape: tuple[int, int]
    to_lps: np.ndarray
    series: Series
    person: tuple[str, str, str]
    study: str
    clocks: Clocks
    rr_ms: float
    compressed: bool
    slope: float
    intercept: float
    inverted: bool = False
    scaled: bool = False
    trigger_ms: float = np.nan
    order: float = 0.0
    uid: str = ""
    turn: tuple[bool, bool, bool] = UNTURNED

    @property
    def normal(self) -> np.ndarray:
        """(3,) unit normal, LPS."""
        return self.to_lps[:3, 2]

    @property
    def position(self) -> np.ndarray:
        """(3,) centre of the first pixel, LPS mm."""
        return self.to_lps[:3, 3]

    @property
    def centre(self) -> np.ndarray:
        """(3,) middle of the image, LPS mm: it stays where a slice is turned."""
        rows, columns = self.shape
        return (self.to_lps @ [(columns - 1) / 2, (rows - 1) / 2, 0.0, 1.0])[:3]

    @property
    def stored_shape(self) -> tuple[int, int]:
        """(rows, columns) in the file."""
        return self.shape[::-1] if self.turn[0] else self.shape


@dataclass
class Refused:
    """How many files were left out, and why; in words that hold nothing about a patient."""

    not_dicom: int = 0
    unreadable: int = 0
    unplaced: dict[str, int] = field(default_factory=dict)
    other_modality: dict[str, int] = field(default_factory=dict)
    colour: int = 0
    velocity: int = 0
    body_part: str = ""


def digest(text: str) -> str:
    """Return a short digest that tells texts apart without holding them; "" of nothing."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16] if text else ""
