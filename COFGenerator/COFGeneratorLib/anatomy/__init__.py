"""Short-axis images and labels: reading, geometry, checks, and the heart's own frame.

The public names are imported on first use, so that importing the room costs nothing.
"""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "SaxStack": "COFGeneratorLib.anatomy.stack",
    "CineStack": "COFGeneratorLib.anatomy.readers",
    "read_sax": "COFGeneratorLib.anatomy.readers",
    "read_cine": "COFGeneratorLib.anatomy.readers",
    "Roi": "COFGeneratorLib.anatomy.roi",
    "read_labels": "COFGeneratorLib.anatomy.readers.labels",
    "HeartFrame": "COFGeneratorLib.anatomy.heart_frame",
    "heart_frame_from_labels": "COFGeneratorLib.anatomy.heart_frame",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
