"""Results in the formats of other programs: NIfTI, DICOM, tables, surfaces; each says that it is synthetic."""

from COFGeneratorLib.lazy import public

__getattr__, __all__ = public(
    __name__,
    {"COFGeneratorLib.export.heart": "Heart read_heart", "COFGeneratorLib.export.writers": "FORMATS write_export"},
)
