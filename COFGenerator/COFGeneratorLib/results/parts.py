"""The parts of a result, by the names of ``--write``."""

from collections.abc import Collection

from COFGeneratorLib.export import FORMATS

SCENE_PARTS = ("cine", "labels", "motion", "scene")
PICTURES = ("preview", "film")
PAGE = "page"
"""Part that is one file for a browser."""
PARTS = (*SCENE_PARTS, "function", *PICTURES, PAGE, *FORMATS)
DEFAULT_PARTS = (*SCENE_PARTS, "function", *PICTURES, PAGE)
BATCH_PARTS = tuple(part for part in DEFAULT_PARTS if part not in ("film", PAGE))
"""A film takes as long as the rest of the pictures, and nobody watches ten thousand."""


def in_order(parts: Collection[str]) -> tuple[str, ...]:
    """Return parts in the order in which they are written, each once."""
    return tuple(part for part in PARTS if part in parts)
