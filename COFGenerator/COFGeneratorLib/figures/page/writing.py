"""Writes the page: everything it shows lies in it, and its policy forbids it to load anything."""

import base64
import hashlib
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from COFGeneratorLib.cine import Cine
from COFGeneratorLib.figures.page.curves import WIDTH, bullseye, curves
from COFGeneratorLib.figures.page.grid import PageGrid, atlases, page_grid
from COFGeneratorLib.figures.page.read_outs import ef, notes, origin, read_outs
from COFGeneratorLib.figures.page.surfaces import Surfaces, beating_surfaces
from COFGeneratorLib.figures.palette import EPICARDIUM, LV, MARK, RV

PAGE_FILE = "viewer.html"
"""Name of the page in a result."""
MAX_BYTES = 8_000_000
SETTINGS = ((160, 84), (128, 78), (112, 65), (96, 50), (64, 35))
"""In-plane pixels and WebP quality, best first: the first whose images fit is used."""
HERE = Path(__file__).parent
SCRIPTS = ("viewer.js", "planes.js", "surfaces.js")


def write_page(cine: Cine, path: str | Path) -> list[str]:
    """Write a cine as one HTML file of at most ``MAX_BYTES``.

    Returns:
        What the reader should know of the page, in words: why it has no surfaces.
    """
    surfaces, said = None, []
    if cine.labels is not None:
        grid = page_grid(cine)
        try:
            surfaces = beating_surfaces(grid.labels(cine.labels), grid)
        except ImportError:
            said.append("The page has no beating surfaces: they need vtk, which comes with slicer-core; found none.")
    for size_px, quality in SETTINGS:
        text = _text(cine, page_grid(cine, size_px), quality, surfaces)
        if len(text.encode()) <= MAX_BYTES:
            break
    Path(path).write_text(text, encoding="utf-8")
    return said


def _text(cine: Cine, grid: PageGrid, quality: int, surfaces: Surfaces | None) -> str:
    """Return the page with images of a quality."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    images, intensities = grid.images(cine)
    encoded, across = atlases(images, quality)
    labels = None if cine.labels is None else grid.labels(cine.labels)
    drawn = curves(cine)
    style = (HERE / "viewer.css").read_text(encoding="utf-8")
    script = "\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)
    facts: dict[str, Any] = {
        "mark": MARK,
        "time_ms": [round(float(at), 2) for at in cine.time_ms],
        "rr_ms": float(cine.rr_ms),
        "size": grid.size_px,
        "depth": len(grid.slices),
        "pixel_mm": grid.pixel_mm,
        "slice_mm": grid.slice_mm,
        "across": across,
        "atlas_bytes": [len(atlas) for atlas in encoded],
        "intensities": intensities,
        "grey": grid.view.grey,
        "start": _start(labels, len(grid.slices), grid.size_px),
        "contours": [[[3], RV], [[1, 2], EPICARDIUM], [[1], LV]],
        "cursor": [drawn.x_of_0, drawn.x_of_rr],
        "volumes": [] if cine.function is None else [round(float(v), 1) for v in cine.function.lv_volume_ml],
    }
    blobs = {"images": b"".join(encoded)}
    if labels is not None:
        blobs["labels"] = zlib.compress(labels.tobytes(), 6)
    if surfaces is not None:
        blobs["surfaces"] = zlib.compress(surfaces.data, 6)
        facts["surfaces"] = {
            "structures": surfaces.structures,
            "counts": surfaces.counts.tolist(),
            "low": surfaces.low_mm.tolist(),
            "high": surfaces.high_mm.tolist(),
        }
    value, interval = ef(cine.function)
    return environment.get_template("viewer.html").render(
        mark=MARK, style=Markup(style), script=Markup(script), style_hash=_hash(style), script_hash=_hash(script),
        facts=facts, blobs={name: base64.b64encode(blob).decode("ascii") for name, blob in blobs.items()},
        curves=drawn, width=WIDTH, sectors=bullseye(cine), ef=value, interval=interval, read_outs=read_outs(cine),
        notes=notes(cine), origin=origin(cine),
    )  # fmt: skip


def _start(labels: np.ndarray | None, depth: int, size_px: int) -> list[int]:
    """Return where to look first, (x, y, z): the middle of the LV cavity."""
    if labels is None or not (labels[0] == 1).any():
        return [size_px // 2, size_px // 2, depth // 2]
    return [round(float(axis.mean())) for axis in np.nonzero(labels[0] == 1)][::-1]


def _hash(text: str) -> str:
    """Return a source for the content security policy that allows exactly this text."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
