"""The formats of an export, by name."""

import importlib
from pathlib import Path
from types import MappingProxyType

from COFGeneratorLib.errors import ChainOfFlowError
from COFGeneratorLib.export.heart import Heart

FORMATS = MappingProxyType(
    {
        "nifti": "COFGeneratorLib.export.nifti",
        "dicom": "COFGeneratorLib.export.dicom",
        "csv": "COFGeneratorLib.export.tables",
        "mesh": "COFGeneratorLib.export.mesh",
    }
)
"""Name → the file whose ``write(heart, folder)`` writes it, loaded when it is asked for."""


def write_export(heart: Heart, folder: Path, form: str) -> list[Path]:
    """Write a heart in one of ``FORMATS`` into a folder and return the files.

    Raises:
        ChainOfFlowError: If there is no such format, or the heart lacks what it needs.
    """
    if form not in FORMATS:
        raise ChainOfFlowError(f"A heart is exported as {', '.join(FORMATS)}; found {form!r}. Choose one of these.")
    return list(importlib.import_module(FORMATS[form]).write(heart, Path(folder)))
