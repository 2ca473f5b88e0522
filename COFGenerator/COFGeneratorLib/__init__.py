"""ChainOfFlow: a beating heart from one short-axis MRI volume and a 12-lead ECG (research use only).

The names of the public interface are imported on first use, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

_PUBLIC = {
    "read_ecg": "COFGeneratorLib.ecg",
    "analyse_ecg": "COFGeneratorLib.ecg",
    "read_sax": "COFGeneratorLib.anatomy",
    "read_labels": "COFGeneratorLib.anatomy",
    "load_bundle": "COFGeneratorLib.generator",
    "generate": "COFGeneratorLib.generator",
}
__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
