"""The ECG-conditioned motion generator."""

from importlib import import_module
from typing import Any

_PUBLIC = {"Bundle": "bundle", "generate": "pipeline", "load_bundle": "bundle", "save_bundle": "bundle"}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(f"COFGeneratorLib.generator.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
