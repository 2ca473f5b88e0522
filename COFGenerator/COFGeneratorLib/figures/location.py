"""Where the heart is: the whole field of view, in the slice through the heart's centre and across the slices.

The other pictures show the heart alone; whether it is the right one, and where the user's box was, is seen here.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from COFGeneratorLib.anatomy.roi import Roi
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.cine import Cine
from COFGeneratorLib.figures.palette import ECG, FAINT, MUTED
from COFGeneratorLib.figures.sheet import Sheet
from COFGeneratorLib.figures.view import CONTOURS, GREY_PERCENTILES, HeartView

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT_SHARE = 0.62
"""Of the height for the slice; the rest is for the view across the slices."""
REGION = ECG
"""Colour of the region of interest: that of nothing else among the contours."""
FINER = 8
"""Rows of a cut across the slices that contours are drawn from, a slice."""
LETTERS = (("R", "L"), ("A", "P"), ("S", "I"))


def draw_location(sheet: Sheet, cine: Cine, view: HeartView, box_px: tuple[float, float, float, float]) -> None:
    """Draw both pictures, the heart's centre, what the other pictures show, and the region of interest.

    ``box_px`` is (left, top, width, height) on the sheet.
    """
    left, top, width, height = box_px
    anchor = cine.anchor
    centre = heart_centre_ijk(cine)
    i, j, k = np.clip(np.round(centre), 0, np.array(anchor.shape[::-1]) - 1).astype(int)
    roi = region_of(cine)
    away = _outside_mm(roi, anchor)
    labels = None if cine.labels is None else cine.labels[0]

    along, down, right = anchor.spacing_mm[0], *_in_plane(view, anchor.spacing_mm)
    column = anchor.shape[1] - 1 - j if view.flip_columns and view.swap else j if view.swap else None
    if column is None:
        column = anchor.shape[2] - 1 - i if view.flip_columns else i
    row_index = i if view.swap else j
    row = (anchor.shape[2 if view.swap else 1] - 1 - row_index) if view.flip_rows else row_index

    slices = np.stack([view.turned(anchor.voxels[n]) for n in range(anchor.shape[0])])
    marks = None if labels is None else np.stack([view.turned(one) for one in labels])
    outside = None if away is None else np.stack([view.turned(one) for one in away])
    base_first = len(view.slices) < 2 or view.slices[0] < view.slices[-1]
    order = slice(None) if base_first else slice(None, None, -1)
    level = k if base_first else anchor.shape[0] - 1 - k

    black, white = np.percentile(slices, GREY_PERCENTILES)
    grey = {"cmap": "gray", "vmin": black, "vmax": max(white, black + 1e-6)}
    part = round(height * HEIGHT_SHARE)
    pick = (lambda stack: stack[k]), (lambda stack: stack[order, row])
    spots = ((column, row), (column, level))
    steps = ((right, down), (right, along))
    places = ((left, top, width, part), (left, top + part + 8, width, height - part - 8))
    for number in range(2):
        axes = sheet.axes(*places[number])
        step = steps[number]
        image = pick[number](slices)
        _picture(axes, image, step, grey)
        if marks is not None:
            _outline(axes, pick[number](marks), step, slices=number == 1)
        if outside is not None:
            _level(axes, pick[number](outside), step)
        at = spots[number][0] * step[0], spots[number][1] * step[1]
        axes.plot(*at, marker="+", markersize=9, markeredgewidth=1.1, color="white")
        if number == 0:
            shown = view.box
            x = np.array([shown[0], shown[2], shown[2], shown[0], shown[0]]) - 0.5
            y = np.array([shown[1], shown[1], shown[3], shown[3], shown[1]]) - 0.5
            axes.plot(x * step[0], y * step[1], color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)))


def heart_centre_ijk(cine: Cine) -> np.ndarray:
    """Return the centre of the LV cavity (of the stack where nothing is labelled), voxels (i, j, k)."""
    if cine.labels is not None and (cine.labels[0] == 1).any():
        return np.array([axis.mean() for axis in np.nonzero(cine.labels[0] == 1)])[::-1]
    return (np.array(cine.anchor.shape[::-1]) - 1) / 2


def location_words(cine: Cine) -> str:
    """Return where the heart's centre is, as people write it."""
    ras = (cine.anchor.ijk_to_ras @ [*heart_centre_ijk(cine), 1.0])[:3]
    shown = [f"{positive if value >= 0 else negative} {abs(value):.0f}"
             for value, (positive, negative) in zip(ras, LETTERS, strict=True)]  # fmt: skip
    return " · ".join(shown) + " mm"


def region_of(cine: Cine) -> Roi | None:
    """Return the region of interest that a cine was made with."""
    said = cine.provenance.get("roi")
    return Roi(said["centre_ras_mm"], said["size_mm"], said["axes_ras"]) if said else None


def _outside_mm(roi: Roi | None, anchor: SaxStack) -> np.ndarray | None:
    """Return (D, H, W): signed mm beyond the faces of the box, negative inside; None without one."""
    if roi is None:
        return None
    k, j, i = np.indices(anchor.shape)
    ras = np.stack([i, j, k], axis=-1) @ anchor.ijk_to_ras[:3, :3].T + anchor.ijk_to_ras[:3, 3]
    return (np.abs((ras - roi.centre_ras) @ roi.axes_ras.T) - roi.size_mm / 2).max(axis=-1)


def _in_plane(view: HeartView, spacing_kji_mm: np.ndarray) -> tuple[float, float]:
    """Return mm per row and per column of the screen."""
    rows, columns = (2, 1) if view.swap else (1, 2)
    return float(spacing_kji_mm[rows]), float(spacing_kji_mm[columns])


def _picture(axes: "Axes", image: np.ndarray, step: tuple[float, float], grey: dict[str, Any]) -> None:
    """Show a slice in true proportion, centred in its place, with the first row on top."""
    height, width = image.shape
    x, y = step
    axes.imshow(
        image, extent=(-0.5 * x, (width - 0.5) * x, (height - 0.5) * y, -0.5 * y), interpolation="bilinear", **grey
    )
    axes.set_aspect("equal", adjustable="box", anchor="N")
    axes.set_xlim(-0.5 * x, (width - 0.5) * x)
    axes.set_ylim((height - 0.5) * y, -0.5 * y)
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_color(FAINT)


def _outline(axes: "Axes", labels: np.ndarray, step: tuple[float, float], slices: bool) -> None:
    """Draw the contours of the heart; ``slices``: rows are slices, between which contours slope instead of stepping."""
    x, y = np.arange(labels.shape[1]) * step[0], np.arange(labels.shape[0]) * step[1]
    for codes, colour in CONTOURS:
        mask = np.isin(labels, codes)
        if not mask.any() or min(mask.shape) < 2:
            continue
        if slices:
            inside_mm, finer = between_slices(mask, step)
            axes.contour(x, finer, inside_mm, levels=[0.0], colors=[colour], linewidths=0.9)
        else:
            axes.contour(x, y, mask.astype(float), levels=[0.5], colors=[colour], linewidths=0.9)


def between_slices(mask: np.ndarray, step: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return how far points of a cut across slices lie within a mask, and where its rows are.

    Args:
        mask: (D, W), rows are slices.
        step: mm per column and per row.

    Returns:
        Distances to the nearest edge in the row, mm, positive inside, at most a slice either way, interpolated along a
        smooth curve from slice to slice, (D', W); places of the rows, mm, (D',).
    """
    from scipy.interpolate import PchipInterpolator

    column_mm, slice_mm = step
    columns = np.arange(mask.shape[1])
    signed_mm = np.full(mask.shape, slice_mm)
    for row, line in zip(signed_mm, mask, strict=True):
        edges = np.flatnonzero(np.diff(line.astype(int))) + 0.5
        if len(edges):
            row[:] = np.minimum(np.abs(columns[:, None] - edges).min(axis=1) * column_mm, slice_mm)
    signed_mm[~mask] *= -1
    rows = np.linspace(0, len(mask) - 1, (len(mask) - 1) * FINER + 1)
    return PchipInterpolator(np.arange(len(mask)), signed_mm)(rows), rows * slice_mm


def _level(axes: "Axes", outside_mm: np.ndarray, step: tuple[float, float]) -> None:
    """Draw the section through the faces of the box."""
    x, y = np.arange(outside_mm.shape[1]) * step[0], np.arange(outside_mm.shape[0]) * step[1]
    if outside_mm.min() < 0 < outside_mm.max() and min(outside_mm.shape) > 1:
        axes.contour(x, y, outside_mm, levels=[0.0], colors=[REGION], linewidths=1.3)
