"""The AHA-17 bull's-eye: one value per segment, base outside, apex inside, anterior on top."""

from typing import TYPE_CHECKING

import numpy as np

from COFGeneratorLib.figures.palette import BACKGROUND, FAINT, MUTED, TEXT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RINGS = ((6, 0.76, 1.02, 60.0), (6, 0.5, 0.76, 60.0), (4, 0.22, 0.5, 45.0))
"""(number of sectors, inner and outer radius, start angle in degrees) of basal, mid and apical ring; sectors run
counter-clockwise from the anterior wall as the segments' numbers do."""


def draw_bullseye(axes: "Axes", values: np.ndarray, low: float, high: float) -> None:
    """Draw the 17 values as colours with their numbers.

    Args:
        axes: Where to draw.
        values: (17,) by segment number; NaN is left empty.
        low, high: Values of the ends of the colour scale.
    """
    from matplotlib import colormaps
    from matplotlib.patches import Wedge

    colours = colormaps["inferno"]
    axes.set_xlim(-1.3, 1.3)
    axes.set_ylim(-1.3, 1.3)
    axes.set_aspect("equal")
    axes.axis("off")
    segment = 0
    places = []
    for count, inner, outer, start in RINGS:
        width = 360.0 / count
        for sector in range(count):
            places.append((start + sector * width, start + (sector + 1) * width, inner, outer))
    places.append((0.0, 360.0, 0.0, 0.22))
    for segment, (first, last, inner, outer) in enumerate(places):
        value = values[segment]
        known = np.isfinite(value)
        share = np.clip((value - low) / (high - low), 0.0, 1.0) if known else 0.0
        colour = colours(0.12 + 0.8 * share) if known else FAINT
        axes.add_patch(
            Wedge(
                (0, 0), outer, first, last, width=outer - inner, facecolor=colour, edgecolor=BACKGROUND, linewidth=1.6
            )
        )
        if known:
            angle, radius = np.deg2rad(0.5 * (first + last)), 0.5 * (inner + outer) if inner else 0.0
            dark = share > 0.62
            axes.text(
                radius * np.cos(angle), radius * np.sin(angle), f"{value:.0f}", ha="center", va="center_baseline",
                fontsize=7.5, color=BACKGROUND if dark else TEXT,
            )  # fmt: skip
    for text, x, y in (("anterior", 0.0, 1.17), ("inferior", 0.0, -1.17)):
        axes.text(x, y, text, ha="center", va="center", fontsize=8, color=MUTED)
    for text, x, turn in (("septal", -1.17, 90), ("lateral", 1.17, -90)):
        axes.text(x, 0, text, ha="center", va="center", fontsize=8, color=MUTED, rotation=turn)
