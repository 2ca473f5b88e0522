"""Electrocardiograms: readers, beats, measurements. Nothing heavy is imported before it is used."""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "analyse_ecg": "COFGeneratorLib.ecg.beats",
    "cycle_from_peaks": "COFGeneratorLib.ecg.beats",
    "read_ecg": "COFGeneratorLib.ecg.readers",
    "EcgRecord": "COFGeneratorLib.ecg.record",
    "EcgCycle": "COFGeneratorLib.ecg.cycle",
}
__all__ = [*_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
