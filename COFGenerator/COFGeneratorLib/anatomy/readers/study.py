"""What a DICOM study holds: its acquisitions, which one would be read, and how to ask for another one."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from COFGeneratorLib.anatomy.readers import open_dicom
from COFGeneratorLib.anatomy.readers.acquisitions import Acquisition
from COFGeneratorLib.anatomy.readers.dicom import read_images
from COFGeneratorLib.anatomy.readers.guard import guarded
from COFGeneratorLib.anatomy.readers.views import judged, name_what_is_there
from COFGeneratorLib.errors import AnatomyError


@dataclass(frozen=True)
class Listed:
    """One acquisition of a study; no word of its files.

    Attributes:
        name: What it is: series, kind and size.
        series: What ``--series`` takes to ask for it.
        slices, phases: How many there are.
        extent_mm: From the first slice to the last, mm.
        why_not: Why it is no short-axis stack, in words; empty where it can be one.
        chosen: Whether it is read where no series is asked for.
    """

    name: str
    series: str
    slices: int
    phases: int
    extent_mm: float
    why_not: str
    chosen: bool

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)


def list_acquisitions(path: str | Path) -> list[Listed]:
    """Return the acquisitions of a DICOM folder or zip, the one that would be read first.

    Raises:
        AnatomyError: If it is no DICOM study, mixes several, or holds no MR images.
    """
    with guarded("image"):
        source = open_dicom(path)
        if source is None:
            raise AnatomyError(
                f"Acquisitions are those of a DICOM folder or zip; {Path(path).name} is another kind of file, or not "
                "there. Give the folder of the study."
            )
        images, refused = read_images(source)
        if not images:
            raise AnatomyError(name_what_is_there([], refused))
        both = judged(images, refused)
    return [_listed(one, why, chosen=place == 0 and not why) for place, (one, why) in enumerate(both)]


def _listed(one: Acquisition, why_not: str, chosen: bool) -> Listed:
    numbers = sorted({round(series.number) for series in one.series})
    return Listed(
        name=one.name,
        series=",".join(map(str, numbers)),
        slices=len(one.planes),
        phases=one.n_phases,
        extent_mm=round(one.extent_mm, 1),
        why_not=why_not,
        chosen=chosen,
    )
