"""A study sorted into acquisitions before any plane is built: what was taken together, and what it is.

One series may hold a whole stack, one slice, or one phase of all slices; several acquisitions may share their planes.
Series are joined where they complete one another and look alike, never because they lie at the same place.
"""

from dataclasses import dataclass, field

import numpy as np

from COFGeneratorLib.anatomy.readers import dicom_fields as fields
from COFGeneratorLib.anatomy.readers.dicom_clocks import technique_by_clocks
from COFGeneratorLib.anatomy.readers.dicom_image import Image, Series

PARALLEL = np.cos(np.deg2rad(3.0))
SAME_PLANE_MM = 0.5
ALIKE = 0.1
"""Relative difference of settings below which two series can be one acquisition."""


@dataclass(eq=False)
class Acquisition:
    """Images that were taken together, in parallel planes.

    Args:
        images: All of them.
        series: The series they come from.
        technique: What it is where it is no plain cine or volume, in words; else "".
    """

    images: list[Image]
    series: list[Series]
    technique: str = ""
    planes: list[list[Image]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.planes = planes_of(self.images)

    @property
    def n_phases(self) -> int:
        """Images a plane, where each was taken once."""
        return phases_of(self.planes)

    @property
    def extent_mm(self) -> float:
        """Distance from the first plane to the last."""
        level = levels_of(self.planes)
        return float(level[-1] - level[0])

    @property
    def name(self) -> str:
        """What it is, by number, technique and size; no word of the files."""
        numbers = sorted({round(one.number) for one in self.series})
        which = f"series {numbers[0]}" if len(numbers) == 1 else f"series {numbers[0]} to {numbers[-1]}"
        kind = self.technique or ("cine" if self.n_phases > 1 else "single images")
        slices, phases = len(self.planes), self.n_phases
        return f"{which} ({kind}, {slices} slice{'s' * (slices > 1)}" + (
            f" × {phases} {'images' if self.technique else 'phases'})" if phases > 1 else ")"
        )


def planes_of(images: list[Image]) -> list[list[Image]]:
    """Group parallel images that lie in one plane, in order along the first one's normal."""
    normal = images[0].normal
    level = np.array([float(normal @ im.centre) for im in images])
    order = np.argsort(level, kind="stable")
    cuts = np.flatnonzero(np.diff(level[order]) > SAME_PLANE_MM) + 1
    return [[images[n] for n in group] for group in np.split(order, cuts)]


def levels_of(planes: list[list[Image]]) -> np.ndarray:
    """Return where planes lie along the first one's normal, mm."""
    normal = planes[0][0].normal
    return np.array([float(np.median([normal @ im.centre for im in plane])) for plane in planes])


def phases_of(planes: list[list[Image]]) -> int:
    """Return the usual number of images of one plane and series; of series that hold one each, their number."""
    return round(float(np.median([max(_runs(plane)) for plane in planes])))


def _runs(plane: list[Image]) -> list[int]:
    counts = _counts(plane)
    return [len(plane)] if max(counts) == 1 else counts


def _counts(plane: list[Image]) -> list[int]:
    """Return how many images of a plane each series has."""
    counts: dict[str, int] = {}
    for image in plane:
        counts[image.series.uid] = counts.get(image.series.uid, 0) + 1
    return list(counts.values())


def sort_into_acquisitions(images: list[Image]) -> list[Acquisition]:
    """Sort MR images of one study."""
    return [one for group in by_normal(images) for one in _join(_alike(_by_series(group)))]


def _technique(planes: list[list[Image]]) -> str:
    """Name what a series is where it is no plain cine or volume: by words, by clocks, by the part of the signal."""
    series = planes[0][0].series
    shown = "" if series.part == fields.MAGNITUDE else f"complex images ({series.part})"
    return series.kind or technique_by_clocks(planes) or shown


def by_normal(images: list[Image]) -> list[list[Image]]:
    """Group images whose planes are parallel, whatever their position and turn; a fan of small steps is one group."""
    normals = np.array([im.normal for im in images])
    distinct, inverse = np.unique(np.round(normals, 4), axis=0, return_inverse=True)
    near = np.abs(distinct @ distinct.T) > PARALLEL
    group = np.full(len(distinct), -1)
    for start in range(len(distinct)):
        if group[start] >= 0:
            continue
        group[start], edge = start, [start]
        while edge:
            found = np.flatnonzero(near[edge.pop()] & (group < 0))
            group[found] = start
            edge += found.tolist()
    member = group[inverse.ravel()]
    return [[images[n] for n in np.flatnonzero(member == one)] for one in dict.fromkeys(member.tolist())]


def _by_series(images: list[Image]) -> list[Acquisition]:
    """Return one acquisition a series and part of the signal."""
    groups: dict[tuple[str, str], list[Image]] = {}
    for image in images:
        groups.setdefault((image.series.uid, image.series.part), []).append(image)
    return [Acquisition(group, [group[0].series], _technique(planes_of(group))) for group in groups.values()]


def _alike(parts: list[Acquisition]) -> list[Acquisition]:
    """Join series of one slice each that are alike in everything that is stated: one stack, taken slice by slice."""
    groups: dict[tuple[object, ...], list[Acquisition]] = {}
    for number, part in enumerate(parts):
        series = part.series[0]
        settings = tuple(f"{value:.2g}" for value in series.settings)
        alone = number if len(part.planes) > 1 else -1
        key = (alone, part.technique, series.part, series.contrast, series.look, settings, part.n_phases)
        groups.setdefault(key, []).append(part)
    return [_together(group) for group in groups.values()]


def _together(parts: list[Acquisition]) -> Acquisition:
    images = [image for part in parts for image in part.images]
    return Acquisition(images, [one for part in parts for one in part.series], parts[0].technique)


def _join(parts: list[Acquisition]) -> list[Acquisition]:
    """Join what completes another acquisition to it, the largest first."""
    joined: list[Acquisition] = []
    for part in sorted(parts, key=lambda one: (-len(one.planes), -len(one.images), one.series[0].number)):
        home = next((n for n, one in enumerate(joined) if _belongs(part, one)), None)
        if home is None:
            joined.append(part)
        else:
            joined[home] = _together([joined[home], part])
    return joined


def _belongs(part: Acquisition, whole: Acquisition) -> bool:
    """Whether a series completes an acquisition: other slices, another phase, or one slice once more."""
    a, b = part.series[0], whole.series[0]
    if (part.technique, a.part, a.contrast) != (whole.technique, b.part, b.contrast):
        return False
    if not _near(a.settings, b.settings):
        return False
    moving = part.n_phases > 1
    theirs = levels_of(whole.planes)
    normal = whole.planes[0][0].normal
    mine = np.array([float(normal @ plane[0].centre) for plane in part.planes])
    apart = np.abs(mine[:, None] - theirs[None]).min(axis=1) > SAME_PLANE_MM
    if not moving and all(max(_counts(plane)) == 1 for plane in whole.planes):
        return bool(apart.all()) or (a.look == b.look and _another_phase(part, whole))
    if moving != (whole.n_phases > 1) or not 0.5 <= part.n_phases / whole.n_phases <= 2.0:
        return False
    if apart.all():
        return len(mine) == 1 or a.look == b.look
    return a.look == b.look and len(mine) == 1 and abs(part.n_phases - whole.n_phases) <= 1


def _another_phase(part: Acquisition, whole: Acquisition) -> bool:
    """Whether single images at the same places were taken at another time of the beat, by any clock."""
    mine, theirs = part.images[0].clocks, whole.images[0].clocks
    return any(
        abs(a - b) > 1e-6
        for a, b in (
            (mine.trigger_ms, theirs.trigger_ms),
            (mine.percent, theirs.percent),
            (mine.position, theirs.position),
            (mine.reference_ms, theirs.reference_ms),
        )
    )


def _near(mine: tuple[float, ...], theirs: tuple[float, ...]) -> bool:
    """Whether settings agree where both are stated."""
    pairs = [(a, b) for a, b in zip(mine, theirs, strict=True) if np.isfinite([a, b]).all()]
    return all(abs(a - b) <= ALIKE * max(abs(a), abs(b)) for a, b in pairs)
