"""Results as real MRML: built, written and read back, inside Slicer and without it.

Nothing of ``slicer`` or ``vtk`` is imported until a function needs it.
"""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "write_scene": "files",
    "load_result": "files",
    "read_scene": "files",
    "build_result": "result",
    "find_results": "result",
    "ResultNodes": "result",
    "standalone_scene": "bootstrap",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
