"""What in the labels of an anchor makes volumes or segments doubtful: said before anything is measured from them."""

import numpy as np

from COFGeneratorLib.anatomy.geometry import spacing_ijk_mm
from COFGeneratorLib.anatomy.heart_frame import HeartFrame

CUT_SHARE = {"basal": 0.5, "apical": 0.3}
"""Share of a ventricle's largest area that it may have at most in the first or last slice of a stack that covers it."""
FULL_SHARE = 0.3
"""Slices whose LV cavity has less than this share of the largest one's area lie near the apex, or are cut obliquely:
their walls are not compared."""
THIN_SHARE = 0.55
"""Walls of less than this share of the usual thickness are not those of a ventricle's base, which thickens."""


def label_doubts(labels: np.ndarray, ijk_to_ras: np.ndarray, frame: HeartFrame) -> tuple[str, ...]:
    """Return what the user should look at.

    Args:
        labels: (D, H, W), 0 background, 1 LV cavity, 2 myocardium, 3 RV cavity.
        ijk_to_ras: (4, 4) geometry, mm.
        frame: The heart's frame, which tells base from apex.
    """
    apex_last = float(frame.axes_ras[0] @ ijk_to_ras[:3, 2]) > 0
    numbers = np.arange(1, len(labels) + 1)  # as viewers count the slices of the file
    if not apex_last:
        labels, numbers = labels[::-1], numbers[::-1]
    areas = np.stack([(labels == code).sum(axis=(1, 2)) for code in (1, 2, 3)])  # (3, D), base first
    said = [text for end in CUT_SHARE if (text := _cut_off(areas, end, numbers))]
    pixel_mm = float(np.sqrt(np.prod(spacing_ijk_mm(ijk_to_ras)[:2])))
    thin = _thin_base(areas, pixel_mm)
    if thin:
        slices, found_mm, usual_mm = thin
        said.append(
            f"The wall should be about as thick at the base as below it; found {found_mm:.1f} mm against "
            f"{usual_mm:.1f} mm in {_slices(numbers[slices])}, as where a slice lies above the valve. Look at "
            "the outlines there: basal segments may seem to thin, and volumes may be too large."
        )
    return tuple(said)


def _cut_off(areas: np.ndarray, end: str, numbers: np.ndarray) -> str:
    """Return what to say where a ventricle goes on beyond one end of the stack."""
    outermost = 0 if end == "basal" else -1
    names = [
        name
        for name, area in (("left", areas[0]), ("right", areas[2]))
        if area.any() and area[outermost] >= CUT_SHARE[end] * area.max()
    ]
    if not names:
        return ""
    which = f"The {names[0]} ventricle is" if len(names) == 1 else "Both ventricles are"
    return (
        f"{which} labelled up to the stack's {end} end (slice {numbers[outermost]}), so that part of the heart may lie "
        "outside: its volumes are those within the stack. Take a stack that reaches beyond the heart, or compare "
        "volumes with others of the same slices only."
    )


def _thin_base(areas: np.ndarray, pixel_mm: float) -> tuple[list[int], float, float] | None:
    """Return the basal slices whose wall is thin, its mean thickness there, and the usual one, mm."""
    cavity, wall = areas[0], areas[1]
    full = np.flatnonzero(cavity >= FULL_SHARE * cavity.max())
    if len(full) < 3:
        return None
    thickness_mm = (np.sqrt(cavity + wall) - np.sqrt(cavity)) / np.sqrt(np.pi) * pixel_mm
    usual_mm = float(np.median(thickness_mm[full]))
    thin = []
    for k in full[: len(full) // 2]:
        if thickness_mm[k] >= THIN_SHARE * usual_mm:
            break
        thin.append(int(k))
    return (thin, float(thickness_mm[thin].mean()), usual_mm) if thin else None


def _slices(numbers: np.ndarray) -> str:
    return f"slice {numbers[0]}" if len(numbers) == 1 else "slices " + ", ".join(str(n) for n in sorted(numbers))
