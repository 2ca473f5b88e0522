"""A region of interest: the box in which the user says the heart is.

It chooses a heart, it never cuts one: with a margin it limits where the ventricles are looked for, and the left
ventricle that is found, or given by labels, must have its centre inside.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from COFGeneratorLib.anatomy.geometry import corners_ijk, positions_ras
from COFGeneratorLib.errors import AnatomyError

MARGIN_MM = 20.0
"""How far outside the box the heart may reach while it is looked for: a box drawn around the LV still shows its RV."""
LARGEST_MM = 2000.0
MIN_INSIDE = 0.9
"""Share of the heart that should lie inside; with less the box was probably drawn for something else."""
HOW = "Give six numbers in RAS mm, xmin xmax ymin ymax zmin zmax (right, anterior and superior are positive)."


@dataclass(frozen=True)
class Roi:
    """A box in patient space.

    Args:
        centre_ras: (3,) RAS mm.
        size_mm: (3,) full lengths along its axes.
        axes_ras: (3, 3) rows are the unit vectors of its axes; those of RAS by default.

    Raises:
        AnatomyError: If numbers are missing or the box is empty or absurd.
    """

    centre_ras: np.ndarray
    size_mm: np.ndarray
    axes_ras: np.ndarray = field(default_factory=lambda: np.eye(3))

    def __post_init__(self) -> None:
        try:
            centre, size, axes = (
                np.array(value, dtype=float) for value in (self.centre_ras, self.size_mm, self.axes_ras)
            )
        except (TypeError, ValueError):
            raise AnatomyError(f"A region of interest is made of numbers; found something else. {HOW}") from None
        if centre.shape != (3,) or size.shape != (3,) or axes.shape != (3, 3):
            raise AnatomyError(f"A region of interest has a centre and a size of three numbers; found others. {HOW}")
        if not all(np.isfinite(a).all() for a in (centre, size, axes)) or np.abs(centre).max() > LARGEST_MM:
            raise AnatomyError(f"A region of interest has finite numbers within {LARGEST_MM:.0f} mm. {HOW}")
        if size.min() <= 0 or size.max() > LARGEST_MM:
            shown = " × ".join(f"{s:g}" for s in size)
            raise AnatomyError(f"A region of interest must be a box of some size; found {shown} mm. {HOW}")
        if np.abs(axes @ axes.T - np.eye(3)).max() > 1e-3:
            raise AnatomyError("The axes of a region of interest must be unit vectors at right angles. Draw it again.")
        for name, value in (("centre_ras", centre), ("size_mm", size), ("axes_ras", axes)):
            value.flags.writeable = False
            object.__setattr__(self, name, value)

    @classmethod
    def from_bounds(cls, bounds: Sequence[float]) -> "Roi":
        """Return the box of (xmin, xmax, ymin, ymax, zmin, zmax), RAS mm."""
        values = np.asarray(bounds, dtype=float)
        if values.shape != (6,):
            raise AnatomyError(f"A region of interest needs six numbers; found {values.size}. {HOW}")
        low, high = values[::2], values[1::2]
        if not (high > low).all():
            shown = " ".join(f"{v:g}" for v in values)
            raise AnatomyError(
                f"Each upper bound of a region of interest must exceed its lower one; found {shown}. {HOW}"
            )
        return cls((low + high) / 2, high - low)

    def distance_mm(self, points_ras: np.ndarray) -> np.ndarray:
        """Return how far points (…, 3) lie outside, along the axis where it is most; 0 inside."""
        along = np.abs((np.asarray(points_ras, dtype=float) - self.centre_ras) @ self.axes_ras.T) - self.size_mm / 2
        return np.maximum(along.max(axis=-1), 0.0)

    def mask(self, shape: tuple[int, int, int], ijk_to_ras: np.ndarray, margin_mm: float = 0.0) -> np.ndarray:
        """Return (D, H, W) bool: the voxels of a grid that lie inside, or not further outside than a margin."""
        origin = self.axes_ras @ (ijk_to_ras[:3, 3] - self.centre_ras)
        steps = self.axes_ras @ ijk_to_ras[:3, :3]  # columns: one step in i, j, k along the box's axes
        k, j, i = np.ogrid[tuple(slice(0, n) for n in shape)]
        inside = np.ones(shape, dtype=bool)
        for axis in range(3):
            at = origin[axis] + steps[axis, 0] * i + steps[axis, 1] * j + steps[axis, 2] * k
            inside &= np.abs(at) <= self.size_mm[axis] / 2 + margin_mm
        return inside

    def described(self) -> dict[str, Any]:
        """Return the box as plain numbers, for JSON."""
        return {
            "centre_ras_mm": [round(float(v), 3) for v in self.centre_ras],
            "size_mm": [round(float(v), 3) for v in self.size_mm],
            "axes_ras": [[round(float(v), 6) for v in row] for row in self.axes_ras],
        }


def as_roi(value: "Roi | Sequence[float] | None") -> Roi | None:
    """Return a ``Roi`` of one, of six bounds, or of nothing.

    Raises:
        AnatomyError: If it is none of these.
    """
    if value is None or isinstance(value, Roi):
        return value
    try:
        return Roi.from_bounds(value)
    except (TypeError, ValueError) as error:
        if isinstance(error, AnatomyError):
            raise
        raise AnatomyError(f"A region of interest needs six numbers; found something else. {HOW}") from None


def check_on_stack(roi: Roi, shape: tuple[int, int, int], ijk_to_ras: np.ndarray) -> None:
    """Refuse a box that misses the stack.

    Raises:
        AnatomyError: If no voxel of the stack lies inside.
    """
    if roi.mask(shape, ijk_to_ras, 0.5 * float(np.linalg.norm(ijk_to_ras[:3, 2]))).any():
        return
    corners = (ijk_to_ras @ corners_ijk(shape))[:3]
    turned = Roi(roi.centre_ras * (-1, -1, 1), roi.size_mm, roi.axes_ras)
    hint = (
        " With x and y negated it would overlap: was it written in LPS?" if turned.mask(shape, ijk_to_ras).any() else ""
    )
    reach = ", ".join(
        f"{name} {low:.0f} to {high:.0f}"
        for name, low, high in zip("xyz", corners.min(axis=1), corners.max(axis=1), strict=True)
    )
    raise AnatomyError(
        f"A region of interest must overlap the stack, which reaches {reach} mm (RAS); found one around "
        f"{shown_ras(roi.centre_ras)}, outside it.{hint} {HOW}"
    )


def check_heart_in(roi: Roi, labels: np.ndarray, ijk_to_ras: np.ndarray, source: str) -> tuple[str, ...]:
    """Check that a labelled heart is the one the user means.

    Args:
        roi: The box.
        labels: (D, H, W), 0 background, 1 LV cavity, 2 myocardium, 3 RV cavity.
        ijk_to_ras: (4, 4) their geometry.
        source: ``"user"`` or ``"segmenter"``, for the message.

    Returns:
        A warning where part of the heart lies outside.

    Raises:
        AnatomyError: If the LV's centre is outside.
    """
    ras = positions_ras(labels, ijk_to_ras)
    cavity = labels[labels != 0] == 1
    if not cavity.any():
        raise AnatomyError("A region of interest must hold a heart; no LV cavity is labelled. Give other labels.")
    centre = ras[cavity].mean(axis=0)
    if roi.distance_mm(centre) > 0:
        whose = "the labels given" if source == "user" else "the heart found"
        raise AnatomyError(
            f"The region of interest must hold the heart; the LV of {whose} has its centre at {shown_ras(centre)}, "
            f"{float(roi.distance_mm(centre)):.0f} mm outside the box around {shown_ras(roi.centre_ras)}. Move the box "
            "to the heart, or leave it out."
        )
    share = float((roi.distance_mm(ras) <= 0).mean())
    if share < MIN_INSIDE:
        return (f"{100 * (1 - share):.0f} % of the heart lies outside the region of interest; it is used whole.",)
    return ()


def shown_ras(point: np.ndarray) -> str:
    """Return a point as people write it."""
    return "(" + ", ".join(f"{v:.0f}" for v in point) + ") mm"
