"""How each of the AHA-17 segments of the left ventricle moves and thickens.

Segments and their numbers: Cerqueira et al., Circulation 2002;105:539–542. Walls are measured the way a reader of a
short-axis cine does it: about the cavity's centre, slice by slice, in the plane of the slice.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from COFGeneratorLib.anatomy.heart_frame import HeartFrame, heart_frame_from_labels
from COFGeneratorLib.errors import FunctionError

SEGMENT_NAMES = (
    "basal anterior", "basal anteroseptal", "basal inferoseptal", "basal inferior", "basal inferolateral",
    "basal anterolateral", "mid anterior", "mid anteroseptal", "mid inferoseptal", "mid inferior", "mid inferolateral",
    "mid anterolateral", "apical anterior", "apical septal", "apical inferior", "apical lateral", "apex",
)  # fmt: skip
"""Names of segments 1…17, in order."""

TERRITORIES = {"anterior": (1, 2, 7, 8, 13, 14, 17), "inferior": (3, 4, 9, 10, 15), "lateral": (5, 6, 11, 12, 16)}
"""Segments by the coronary territory that usually feeds them: LAD, RCA, LCX."""

_SIX = (2, 1, 6, 5, 4, 3)  # 60° each, from the septum's middle over the anterior wall round to the septum
_FOUR = (14, 13, 16, 15)  # 90° each, centred on septum, anterior, lateral, inferior


@dataclass(frozen=True)
class RegionalReport:
    """Regional function between end-diastole and end-systole; NaN where a segment is not covered by the stack.

    Attributes:
        wall_ed_mm, wall_es_mm: (17,) wall thickness, mm.
        thickening_percent: (17,) systolic thickening, percent of the end-diastolic wall.
        excursion_mm: (17,) inward motion of the endocardium, mm; negative where the wall bulges (dyskinesis).
    """

    wall_ed_mm: np.ndarray
    wall_es_mm: np.ndarray
    thickening_percent: np.ndarray
    excursion_mm: np.ndarray

    def territory(self, name: str) -> dict[str, float]:
        """Return mean thickening and excursion over one of ``TERRITORIES``."""
        rows = np.array(TERRITORIES[name]) - 1
        return {
            "thickening_percent": _mean(self.thickening_percent[rows]),
            "excursion_mm": _mean(self.excursion_mm[rows]),
        }

    def as_dict(self) -> list[dict[str, Any]]:
        """Return one row a segment, for JSON; what is not known is None."""
        columns = ("wall_ed_mm", "wall_es_mm", "thickening_percent", "excursion_mm")
        return [
            {"segment": index + 1, "name": name}
            | {
                column: None if np.isnan(value := getattr(self, column)[index]) else round(float(value), 3)
                for column in columns
            }
            for index, name in enumerate(SEGMENT_NAMES)
        ]


def measure_regional(
    labels_ed: np.ndarray, labels_es: np.ndarray, ijk_to_ras: np.ndarray, frame: HeartFrame | None = None
) -> RegionalReport:
    """Measure wall thickness and motion in the AHA-17 segments.

    Args:
        labels_ed, labels_es: (D, H, W) integers, labels at end-diastole and end-systole on one grid.
        ijk_to_ras: (4, 4) geometry, mm.
        frame: The heart's frame; found from ``labels_ed`` if not given.

    Raises:
        FunctionError: If the label maps do not share a grid or hold no myocardium.
        AnatomyError: If no left ventricle is found.
    """
    if labels_ed.shape != labels_es.shape or labels_ed.ndim != 3:
        raise FunctionError(
            f"Both label maps must share one 3-D grid; found {labels_ed.shape} and {labels_es.shape}. "
            "Resample one onto the other."
        )
    if not (labels_ed == 2).any():
        raise FunctionError("Regional function needs labelled myocardium; found none. Label the LV wall (code 2).")
    frame = frame or heart_frame_from_labels(labels_ed, ijk_to_ras)
    area_mm2 = float(np.linalg.norm(np.cross(ijk_to_ras[:3, 0], ijk_to_ras[:3, 1])))
    levels = _slice_levels(labels_ed, ijk_to_ras, frame)

    cells: dict[int, list[tuple[float, float, float]]] = {segment: [] for segment in range(1, 18)}
    for k, level in enumerate(levels):
        if level == "":
            continue
        if level == "apex":
            cells[17].append(_cap(labels_ed, labels_es, k, ijk_to_ras))
            continue
        sectors, width = _sectors(labels_ed[k], k, ijk_to_ras, frame, level)
        for segment in np.unique(sectors):
            inside = sectors == segment
            cells[int(segment)].append(_cell(labels_ed[k], labels_es[k], inside, area_mm2, width))

    table = np.array([_column_means(cells[segment]) for segment in range(1, 18)])  # (17, 3)
    wall_ed, wall_es, excursion = table.T
    with np.errstate(invalid="ignore", divide="ignore"):
        thickening = 100.0 * (wall_es - wall_ed) / wall_ed
    return RegionalReport(wall_ed, wall_es, thickening, excursion)


def segment_map(labels: np.ndarray, ijk_to_ras: np.ndarray, frame: HeartFrame | None = None) -> np.ndarray:
    """Return the AHA segment, 1…17, of every voxel of the slices that cut the left ventricle, (D, H, W) uint8; else 0.

    Args:
        labels: (D, H, W) integers.
        ijk_to_ras: (4, 4) geometry, mm.
        frame: The heart's frame; found from ``labels`` if not given.

    Raises:
        AnatomyError: If no left ventricle is found.
    """
    frame = frame or heart_frame_from_labels(labels, ijk_to_ras)
    segments = np.zeros(labels.shape, np.uint8)
    for k, level in enumerate(_slice_levels(labels, ijk_to_ras, frame)):
        if level:
            segments[k] = 17 if level == "apex" else _sectors(labels[k], k, ijk_to_ras, frame, level)[0]
    return segments


def _slice_levels(labels: np.ndarray, ijk_to_ras: np.ndarray, frame: HeartFrame) -> list[str]:
    """Name each slice basal, mid, apical, apex, or "" (no full ring): thirds of the cavity's length, base to apex."""
    to_heart = frame.kji_to_heart(ijk_to_ras)
    depth = np.arange(labels.shape[0]) * to_heart[0, 0]  # mm towards the apex, up to a constant
    cavity, wall = (labels == 1).any(axis=(1, 2)), (labels == 2).any(axis=(1, 2))
    ring = cavity & wall
    if not ring.any():
        return [""] * len(depth)
    top, bottom = depth[ring].min(), depth[ring].max()
    names = []
    for k, at in enumerate(depth):
        if ring[k]:
            part = (at - top) / max(bottom - top, 1e-6)
            names.append("basal" if part < 1 / 3 else "mid" if part < 2 / 3 else "apical")
        else:
            names.append("apex" if wall[k] and at > bottom else "")
    return names


def _sectors(
    labels: np.ndarray, k: int, ijk_to_ras: np.ndarray, frame: HeartFrame, level: str
) -> tuple[np.ndarray, float]:
    """Return the segment number of every pixel of a slice, (H, W), and the angular width of a sector, rad."""
    rows, columns = np.nonzero(labels == 1)
    to_heart = frame.kji_to_heart(ijk_to_ras)
    grid = np.stack(np.meshgrid(np.arange(labels.shape[0]), np.arange(labels.shape[1]), indexing="ij"))
    offset = grid - np.array([rows.mean(), columns.mean()])[:, None, None]
    inferior, lateral = np.tensordot(to_heart[1:3, 1:3], offset, axes=1)  # mm about the cavity's centre
    from_septum = np.arctan2(-inferior, -lateral)  # 0 at the middle of the septum, positive over the anterior wall
    if level == "apical":
        index = np.floor((from_septum + np.pi / 4) / (np.pi / 2)).astype(int) % 4
        return np.asarray(_FOUR)[index], np.pi / 2
    index = np.floor(from_septum / (np.pi / 3)).astype(int) % 6
    return np.asarray(_SIX)[index] + (6 if level == "mid" else 0), np.pi / 3


def _cell(
    ed: np.ndarray, es: np.ndarray, inside: np.ndarray, area_mm2: float, width: float
) -> tuple[float, float, float]:
    """Return wall at ED, wall at ES and endocardial excursion of one sector of one slice, mm.

    Radii come from areas (r = √(2A/Δθ)), which is finer than a pixel.
    """

    def radii(labels: np.ndarray) -> tuple[float, float]:
        cavity = area_mm2 * float((labels[inside] == 1).sum())
        wall = area_mm2 * float((labels[inside] == 2).sum())
        endo, epi = np.sqrt(2.0 * cavity / width), np.sqrt(2.0 * (cavity + wall) / width)
        return (endo, epi) if wall > 0 else (endo, np.nan)

    (endo_ed, epi_ed), (endo_es, epi_es) = radii(ed), radii(es)
    # A slice that the base has left at ES holds no wall there any more: it says nothing about thickening.
    return epi_ed - endo_ed, epi_es - endo_es, endo_ed - endo_es if np.isfinite(epi_es) else np.nan


def _cap(ed: np.ndarray, es: np.ndarray, k: int, ijk_to_ras: np.ndarray) -> tuple[float, float, float]:
    """Return the apical cap's wall at ED and ES, mm along the slice axis; its excursion is not seen in short axis."""
    rows, columns = (np.rint(axis.mean()).astype(int) for axis in np.nonzero(ed[k] == 2))
    pitch = float(np.linalg.norm(ijk_to_ras[:3, 2]))
    thickness = [pitch * float((labels[:, rows, columns] == 2).sum()) for labels in (ed, es)]
    return thickness[0] or np.nan, thickness[1] or np.nan, np.nan


def _column_means(rows: list[tuple[float, float, float]]) -> np.ndarray:
    """Return the mean over slices, (3,), of those where all three are known (the cap: where walls are)."""
    if not rows:
        return np.full(3, np.nan)
    table = np.array(rows)
    known = table[np.isfinite(table[:, :2]).all(axis=1)]
    return known.mean(axis=0) if len(known) else np.full(3, np.nan)


def _mean(values: np.ndarray) -> float:
    """Return the mean of what is known, or NaN."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
