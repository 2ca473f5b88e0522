"""What is asked for: a case to generate, with or without an anchor, or a recorded cine to register."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from COFGeneratorLib.results.parts import DEFAULT_PARTS


@dataclass(frozen=True)
class Request:
    """What every request has.

    Attributes:
        out: Folder of the result.
        overwrite: Whether it may hold other files.
        model: Folder of the bundle; the one that ships where None.
        device: ``auto``, ``cpu``, ``cuda:N`` or ``mps``.
    """

    out: str = ""
    overwrite: bool = False
    model: str | None = None
    device: str = "auto"

    @classmethod
    def of(cls, options: object, **more: Any) -> Self:
        """Return the request that options of the same names make, e.g. those of a command line; ``more`` wins."""
        names = (field.name for field in fields(cls))
        return cls(**{name: getattr(options, name) for name in names if hasattr(options, name)} | more)


@dataclass(frozen=True)
class Drawing(Request):
    """What every generation has.

    Attributes:
        ecg: File.
        leads, rate_hz, unit: What the user says of the ECG where its file does not; as in ``read_ecg``.
        frames: Of one R–R interval.
        solver, steps: Of the flow; the bundle's where None.
        samples, seed: Draws, and their seed.
        write: Parts of the result, out of ``results.parts.PARTS``.
    """

    ecg: str = ""
    leads: tuple[str, ...] = ()
    rate_hz: float | None = None
    unit: str | None = None
    frames: int = 50
    solver: str | None = None
    steps: int | None = None
    samples: int = 1
    seed: int = 0
    write: tuple[str, ...] = DEFAULT_PARTS

    @property
    def ecg_told(self) -> dict[str, Any]:
        """What ``read_ecg`` is told of the file, by name."""
        return {"leads": self.leads, "rate_hz": self.rate_hz, "unit": self.unit}

    @property
    def drawing(self) -> dict[str, Any]:
        """What each engine takes of it, by name."""
        names = ("frames", "solver", "steps", "samples", "seed", "device")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Telling(Drawing):
    """What every generation of a whole heart has.

    Attributes:
        draw: Whether the cine is a random draw of the flow; the bundle's own way where None.
        ef_percent, rvef_percent, es_ms, hr_bpm: What is known of the heart, told to the model beside the ECG.
        encoder: File of the weights of the ECG encoder of others that the model names, or None.
    """

    draw: bool | None = None
    ef_percent: float | None = None
    rvef_percent: float | None = None
    es_ms: float | None = None
    hr_bpm: float | None = None
    encoder: str | None = None

    @property
    def telling(self) -> dict[str, Any]:
        """What is known of the heart, and whether to draw, by name as ``generate`` takes it."""
        names = ("draw", "ef_percent", "rvef_percent", "es_ms", "hr_bpm")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class GenerateRequest(Telling):
    """One anchor and one ECG.

    Attributes:
        anchor: File, or folder of a DICOM study.
        series: Number, UID or description of the wanted series of that study.
        spacing: Columns, rows and slices, mm, of a file that has lost it.
        anchor_frame: Frame of that file.
        anchor_phase: When it was taken: a fraction of the R–R interval, ``cine``, or None for the R wave.
        labels: File of the anchor's labels; the segmenter's where None.
        label_map: Codes in it.
        labels_as_given: Whether labels that lack a structure stay so.
        roi: Box that holds the heart, six bounds in RAS mm; found automatically where None.
        beat: Beat of the ECG: an index, a time (float, s), or None for the one that stands best for all.
        segmenter: Folder of one's own segmenter, or None.
        segmenter_labels: Its classes.
    """

    anchor: str = ""
    series: str | None = None
    spacing: tuple[float, float, float] | None = None
    anchor_frame: int = 0
    anchor_phase: float | str | None = None
    labels: str | None = None
    label_map: Mapping[str, int] | None = None
    labels_as_given: bool = False
    roi: tuple[float, ...] | None = None
    beat: int | float | None = None
    segmenter: str | None = None
    segmenter_labels: Mapping[str, int] | None = None


@dataclass(frozen=True)
class TemplateRequest(Telling):
    """One ECG on the population's heart; ``template`` is ``SEX,AGE,CM,KG``."""

    template: str = ""


@dataclass(frozen=True)
class PlaneRequest(Drawing):
    """One ECG and no anatomy: the engine ECGFlowCMR.

    Attributes:
        alpha: Scale of the noise on the template; the bundle's where None.
        guidance: Classifier-free guidance; the bundle's where None.
    """

    alpha: float | None = None
    guidance: float | None = None


@dataclass(frozen=True)
class RegisterRequest(Request):
    """One recorded cine.

    Attributes:
        cine: File, or folder of a DICOM study.
        series: Number, UID or description of the wanted series of that study.
        spacing: Columns, rows and slices, mm, of a file that has lost it.
        anchor_frame: Frame to move.
        labels: File of that frame's labels; the segmenter's where None.
        label_map: Codes in it.
        rr_ms: Length of the cycle; from the file's times where None.
        teacher: Folder of a trained teacher, ``demons``, or None for the model's, if it has one.
    """

    cine: str = ""
    series: str | None = None
    spacing: tuple[float, float, float] | None = None
    anchor_frame: int = 0
    labels: str | None = None
    label_map: Mapping[str, int] | None = None
    rr_ms: float | None = None
    teacher: str | None = None
