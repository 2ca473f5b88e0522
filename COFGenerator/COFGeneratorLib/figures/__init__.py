"""Pictures of results: the preview sheet and film of a cine, and the 12-lead sheet of an ECG.

matplotlib and pillow are imported when a picture is drawn, not before.
"""

from importlib import import_module
from typing import Any

_PUBLIC = {"write_preview": "COFGeneratorLib.figures.preview", "write_ecg_sheet": "COFGeneratorLib.figures.ecg_sheet"}
__all__ = [*_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
