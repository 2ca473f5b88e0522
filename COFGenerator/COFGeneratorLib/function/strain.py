"""How much the wall of the left ventricle lengthens, from its motion: radial, circumferential and longitudinal strain.

A line element that lies along a direction d at frame t had the length |d + ∇u·d| at the anchor's frame, where u is the
pull displacement. Strain is the length of all such elements of a wall together, relative to that of the same elements
at end-diastole (Lagrangian engineering strain), in percent: positive where the wall thickens, negative where it
shortens.

Limits: directions are those of a short-axis stack (about the cavity's centre of each slice, and along the stack's
normal), not those of fibres; derivatives are taken within the labelled wall only, so a wall of one voxel has no radial
strain; longitudinal strain is as coarse as the slices are thick. It is the strain of a generated or registered motion,
whose detail is that of its model, not of tagging.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from COFGeneratorLib.errors import FunctionError
from COFGeneratorLib.function.regional import SEGMENT_NAMES, segment_map

DIRECTIONS = ("radial", "circumferential", "longitudinal")
LEAST_VOXELS = 8
"""Elements that a strain is told of; of fewer it says nothing."""


@dataclass(frozen=True)
class StrainReport:
    """Strain of the LV wall relative to end-diastole, percent; NaN where it cannot be told.

    Attributes:
        radial_percent, circumferential_percent, longitudinal_percent: (T,) of the whole wall.
        segments_percent: (17, 3) of the AHA segments at end-systole, in the order of ``DIRECTIONS``.
        es_frame: Index of end-systole.
    """

    radial_percent: np.ndarray
    circumferential_percent: np.ndarray
    longitudinal_percent: np.ndarray
    segments_percent: np.ndarray
    es_frame: int

    def at_es(self) -> dict[str, float]:
        """Return the strains of the whole wall at end-systole, percent, by direction."""
        return {name: float(getattr(self, f"{name}_percent")[self.es_frame]) for name in DIRECTIONS}

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; what is not known is None."""
        curves = {f"{name}_percent": _plain(getattr(self, f"{name}_percent")) for name in DIRECTIONS}
        return {**{f"es_{name}_percent": _plain([value])[0] for name, value in self.at_es().items()}, **curves}

    def segments(self) -> list[dict[str, Any]]:
        """Return one row a segment, for JSON; what is not known is None."""
        keys = [f"{name}_strain_percent" for name in DIRECTIONS]
        return [dict(zip(keys, _plain(row), strict=True)) for row in self.segments_percent]


def measure_strain(
    labels: np.ndarray,
    displacement_mm: Callable[[int], np.ndarray],
    ijk_to_ras: np.ndarray,
    *,
    ed_frame: int,
    es_frame: int,
) -> StrainReport:
    """Measure strain of a labelled cine whose motion is known.

    Args:
        labels: (T, D, H, W) integers.
        displacement_mm: Frame → (3, D, H, W) pull displacement, mm along the stack's axes (k, j, i).
        ijk_to_ras: (4, 4) geometry, mm.
        ed_frame, es_frame: Indices of end-diastole and end-systole.

    Raises:
        FunctionError: If the labels hold no myocardium around a cavity.
        AnatomyError: If no left ventricle is found.
    """
    if labels.ndim != 4 or not (labels == 2).any() or not (labels == 1).any():
        raise FunctionError(
            f"Strain needs labels (frames, slices, rows, columns) of LV cavity and wall; found {labels.shape} with "
            f"codes {np.unique(labels).tolist()}. Label both (codes 1 and 2)."
        )
    box = _box_of(np.any(np.isin(labels, (1, 2)), axis=0))
    spacing_mm = np.linalg.norm(ijk_to_ras[:3, :3], axis=0)[::-1]
    moved = [np.asarray(displacement_mm(frame), np.float32)[(slice(None), *box)] for frame in range(len(labels))]
    rest = int(np.argmin([np.abs(field).max() for field in moved]))  # the anchor's own frame
    segments = segment_map(labels[rest], ijk_to_ras)[box]
    lengths = np.full((len(labels), 18, 3), np.nan)  # mean length before, of the whole wall (0) and of segments 1…17
    for frame, field in enumerate(moved):
        lengths[frame] = _lengths(labels[frame][box], field, spacing_mm, segments)
    with np.errstate(invalid="ignore"):
        percent = 100.0 * (lengths[ed_frame] / lengths - 1.0)
    radial, circumferential, longitudinal = percent[:, 0].T
    return StrainReport(radial, circumferential, longitudinal, percent[es_frame, 1:], es_frame)


def _lengths(labels: np.ndarray, field: np.ndarray, spacing_mm: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """Return the mean length before of unit elements of one frame, (18, 3): whole wall and segments, by direction."""
    wall = labels == 2
    at = np.nonzero(wall)
    change = np.stack([_derivative(field, wall, at, axis, spacing_mm[axis]) for axis in range(3)], axis=2)  # (n, 3, 3)
    before = np.full((len(at[0]), 3), np.nan)
    for column, towards in enumerate(_directions(labels, at, spacing_mm)):
        used = np.abs(towards) > 0  # a derivative across which nothing is asked may be unknown
        step = np.where(used[:, None, :], change * towards[:, None, :], 0.0).sum(axis=2)
        before[:, column] = np.linalg.norm(towards + step, axis=1)
    came_from = [np.rint(axis + field[place][at] / spacing_mm[place]).astype(int) for place, axis in enumerate(at)]
    inside = tuple(np.clip(axis, 0, size - 1) for axis, size in zip(came_from, labels.shape, strict=True))
    of = segments[inside]
    return np.stack([_mean(before), *(_mean(before[of == segment]) for segment in range(1, len(SEGMENT_NAMES) + 1))])


def _derivative(
    field: np.ndarray, wall: np.ndarray, at: tuple[np.ndarray, ...], axis: int, step_mm: float
) -> np.ndarray:
    """Return the derivative of a field (3, D, H, W) along an axis at wall voxels, (n, 3), from neighbours in the wall.

    NaN where a voxel has no neighbour along the axis: across the wall's edge tissue slides.
    """
    sums, counts = np.zeros((len(at[0]), 3)), np.zeros(len(at[0]))
    here = field[:, at[0], at[1], at[2]].T
    for side in (1, -1):
        beside = list(at)
        beside[axis] = at[axis] + side
        there = (beside[axis] >= 0) & (beside[axis] < wall.shape[axis])
        beside[axis] = np.clip(beside[axis], 0, wall.shape[axis] - 1)
        place = tuple(beside)
        there &= wall[place]
        difference = side * (field[:, place[0], place[1], place[2]].T - here) / step_mm
        sums[there] += difference[there]
        counts += there
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums / counts[:, None]


def _directions(labels: np.ndarray, at: tuple[np.ndarray, ...], spacing_mm: np.ndarray) -> list[np.ndarray]:
    """Return the unit vectors (k, j, i) of ``DIRECTIONS`` at wall voxels, (n, 3) each; NaN in slices without cavity."""
    k, j, i = at
    centre = np.full((labels.shape[0], 2), np.nan)
    for index, plane in enumerate(labels == 1):
        if plane.any():
            centre[index] = np.argwhere(plane).mean(axis=0)
    outwards = (np.stack([j, i], axis=1) - centre[k]) * spacing_mm[1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        outwards /= np.linalg.norm(outwards, axis=1, keepdims=True)
    across = np.zeros((len(k), 1))
    radial = np.concatenate([across, outwards], axis=1)
    around = np.concatenate([across, -outwards[:, 1:], outwards[:, :1]], axis=1)
    along = np.tile([1.0, 0.0, 0.0], (len(k), 1))
    along[np.isnan(outwards[:, 0])] = np.nan
    return [radial, around, along]


def _mean(before: np.ndarray) -> np.ndarray:
    """Return the mean over what is known, (3,); NaN where that is little."""
    known = np.isfinite(before)
    count = known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, before, 0.0).sum(axis=0) / count
    return np.where(count >= LEAST_VOXELS, mean, np.nan)


def _box_of(mask: np.ndarray) -> tuple[slice, slice, slice]:
    spans = []
    for axis in range(3):
        used = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        spans.append(slice(int(used[0]), int(used[-1]) + 1))
    return spans[0], spans[1], spans[2]


def _plain(values: Any) -> list[float | None]:
    return [round(float(value), 2) if np.isfinite(value) else None for value in values]
