"""Drawing of figures as SVG text or PNG: one look, readable in print and in grey."""

import io
import re
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawn

INK, MUTED, GRID = "#1b2230", "#667085", "#d5dae3"
COLOURS = ("#1f6fb2", "#d1495b", "#2e933c", "#8d5a97", "#e08e00", "#00798c", "#7a5c3e", "#5a6172", "#b0508f", "#3d5a80")
MAIN = COLOURS[0]


def new_figure(
    width: float = 7.0, height: float = 4.0, rows: int = 1, columns: int = 1, polar: bool = False, **options: Any
) -> tuple["Drawn", np.ndarray]:
    """Return (figure, axes) in the report's look, without any window; sizes in inches."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    look = {"font.size": 9, "axes.edgecolor": GRID, "axes.labelcolor": INK, "text.color": INK, "xtick.color": MUTED,
            "ytick.color": MUTED, "axes.grid": True, "grid.color": GRID, "grid.linewidth": 0.6,
            "axes.axisbelow": True, "axes.spines.top": False, "axes.spines.right": False}  # fmt: skip
    with rc_context(look):
        figure = Figure(figsize=(width, height), layout="constrained")
        keywords = {"projection": "polar"} if polar else {}
        axes = figure.subplots(rows, columns, subplot_kw=keywords, squeeze=False, **options)
    return figure, axes


def svg(figure: "Drawn") -> bytes:
    """Return a figure as SVG with text as text: small, sharp, searchable."""
    from matplotlib import rc_context

    out = io.BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "report", "font.sans-serif": ["DejaVu Sans"]}):
        figure.savefig(out, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    text = out.getvalue().decode("utf-8")
    return compact(text[text.index("<svg") :]).encode("utf-8")


def compact(drawing: str) -> str:
    """Return an SVG of a third of the size that looks the same: tenths of a point, idle ids gone."""
    drawing = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r' (d|x|y)="([^"]*)"', _tenths, drawing)
    drawing = re.sub(r' style="[^"]*"', lambda found: re.sub(r"([:;]) ", r"\1", found[0]), drawing)
    used = set(re.findall(r"#([\w.-]+)", drawing))
    drawing = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", drawing)
    return re.sub(r' transform="rotate\(-0 [^"]*"|(?<=>)\s+(?=<)', "", drawing)


def _tenths(attribute: re.Match[str]) -> str:
    numbers = re.sub(r"-?\d+\.\d+", lambda found: f"{float(found[0]):.1f}".removesuffix(".0"), attribute[2])
    return f' {attribute[1]}="{" ".join(numbers.split())}"'


def webp(figure: "Drawn", dpi: int = 100, quality: int = 60) -> bytes:
    """Return a figure with pictures as WebP: a quarter of a PNG of few colours, and nothing seen of it."""
    from PIL import Image

    whole, out = io.BytesIO(), io.BytesIO()
    figure.savefig(whole, format="png", bbox_inches="tight", dpi=dpi)
    Image.open(whole).convert("RGB").save(out, format="webp", quality=quality, method=6)
    return out.getvalue()


def radar(names: list[str], values: dict[str, list[float]], lower_is_better: list[bool], title: str) -> bytes:
    """Draw a radar plot after direction-aware min–max: outside is best among those shown, inside worst.

    A method with an unknown number is left out.
    """
    shown = {name: row for name, row in values.items() if np.isfinite(row).all()}
    figure, axes = new_figure(6.4, 5.2, polar=True)
    axis = axes[0, 0]
    table = np.array(list(shown.values()), dtype=float).reshape(len(shown), len(names))
    if len(shown):
        sign = np.where(lower_is_better, -1.0, 1.0)
        good = table * sign
        span = np.ptp(good, axis=0)
        good = (good - good.min(axis=0)) / np.where(span > 0, span, 1.0)
        angles = np.arange(len(names)) / len(names) * 2 * np.pi
        closed = np.append(angles, angles[:1])
        for colour, (name, row) in zip(COLOURS * 4, zip(shown, good, strict=True), strict=False):
            axis.plot(closed, np.append(row, row[:1]), color=colour, linewidth=1.6, label=name)
            axis.fill(closed, np.append(row, row[:1]), color=colour, alpha=0.06)
        axis.set_xticks(angles, [name.replace(" ", "\n") for name in names])
        axis.tick_params(pad=9)
    axis.set_yticks([0.25, 0.5, 0.75, 1.0], [])
    axis.set_title(title, fontsize=10)
    axis.legend(loc="upper left", bbox_to_anchor=(1.08, 1.05), frameon=False, fontsize=8)
    return svg(figure)


def forest(rows: list[tuple[str, float, float, float]], label: str, title: str) -> bytes:
    """Draw values with intervals, one line a row: (name, value, low, high)."""
    figure, axes = new_figure(7.0, 0.9 + 0.27 * len(rows))
    axis = axes[0, 0]
    for place, (_, value, low, high) in enumerate(rows):
        colour = MAIN if place == 0 else INK
        axis.plot([low, high], [place, place], color=colour, linewidth=2.0, solid_capstyle="round")
        axis.plot([value], [place], "o", color=colour, markersize=5)
    axis.set_yticks(range(len(rows)), [row[0] for row in rows])
    axis.invert_yaxis()
    axis.set_xlabel(label)
    axis.set_title(title, fontsize=10, loc="left")
    axis.grid(axis="y", visible=False)
    return svg(figure)


def heat_maps(
    panels: list[tuple[str, np.ndarray]],
    columns: list[str],
    rows: list[str],
    title: str,
    good_high: bool,
    top: float | None = None,
) -> bytes:
    """Draw tables of numbers (rows, columns) as heat-maps side by side, numbers written in; NaN stays white.

    Colours end at ``top`` where given, so that one huge number does not hide all others.
    """
    wide = len(panels)
    figure, axes = new_figure(1.6 + wide * (0.6 + 0.42 * len(columns)), 1.0 + 0.34 * len(rows), columns=wide)
    known = np.concatenate([values.ravel() for _, values in panels])
    known = known[np.isfinite(known)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    digits = 2 if high < 10 else 1
    high = high if top is None else min(high, top)
    for place, (axis, (name, values)) in enumerate(zip(axes[0], panels, strict=True)):
        axis.imshow(values, vmin=low, vmax=high if high > low else low + 1, aspect="auto",
                    cmap="viridis" if good_high else "viridis_r")  # fmt: skip
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                share = (value - low) / max(high - low, 1e-9)
                bright = share > 0.6 if good_high else share < 0.4
                axis.text(column, row, f"{value:.{digits}f}", ha="center", va="center",
                          fontsize=7, color=INK if bright else "white")  # fmt: skip
        axis.set_xticks(range(len(columns)), columns)
        axis.set_yticks(range(len(rows)), rows if place == 0 else [""] * len(rows))
        axis.set_title(name, fontsize=9)
        axis.grid(visible=False)
        axis.tick_params(length=0)
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    return svg(figure)


def scatter_fits(groups: list[tuple[str, np.ndarray, np.ndarray]], x_label: str, y_label: str, title: str) -> bytes:
    """Draw points with a straight fit for each group (name, x, y), side by side."""
    figure, axes = new_figure(2.6 * len(groups) + 0.6, 3.0, columns=len(groups))
    for colour, axis, (name, x, y) in zip(COLOURS, axes[0], groups, strict=False):
        known = np.isfinite(x) & np.isfinite(y)
        x, y = x[known], y[known]
        axis.plot(x, y, "o", color=colour, alpha=0.55, markersize=4, markeredgewidth=0)
        if len(x) > 2 and np.ptp(x) > 0:
            slope, offset = np.polyfit(x, y, 1)
            ends = np.array([x.min(), x.max()])
            axis.plot(ends, slope * ends + offset, color=INK, linewidth=1.2)
            r = np.corrcoef(x, y)[0, 1] if np.ptp(y) > 0 else float("nan")
            axis.set_title(f"{name}\nslope {slope:.3g}, r {r:.2f}, N {len(x)}", fontsize=8)
        else:
            axis.set_title(name, fontsize=8)
        axis.set_xlabel(x_label, fontsize=8)
    axes[0, 0].set_ylabel(y_label, fontsize=8)
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    return svg(figure)


def ridges(rows: list[tuple[str, np.ndarray]], label: str, title: str, line: float | None = None) -> bytes:
    """Draw distributions (bootstrap means) as ridges, one a row."""
    from scipy.stats import gaussian_kde

    rows = [(name, values) for name, values in rows if len(values) > 5]
    figure, axes = new_figure(7.0, 0.9 + 0.36 * max(len(rows), 1))
    axis = axes[0, 0]
    for place, (_, values) in enumerate(rows):
        base = len(rows) - 1 - place
        if np.ptp(values) > 1e-9:
            span = np.linspace(values.min(), values.max(), 120)
            density = gaussian_kde(values)(span)
            axis.fill_between(span, base, base + 0.85 * density / density.max(), color=MAIN, alpha=0.45, linewidth=0)
        axis.plot([values.mean()] * 2, [base, base + 0.85], color=INK, linewidth=1.2)
    if line is not None:
        axis.axvline(line, color=COLOURS[1], linewidth=1.0, linestyle="--")
    axis.set_yticks(range(len(rows)), [name for name, _ in rows][::-1])
    axis.set_xlabel(label)
    axis.set_title(title, fontsize=10, loc="left")
    return svg(figure)
