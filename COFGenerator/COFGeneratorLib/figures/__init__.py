"""Pictures of results: the preview sheet and film of a cine, and the 12-lead sheet of an ECG.

matplotlib and pillow are imported when a picture is drawn, not before.
"""

from COFGeneratorLib.lazy import public

__getattr__, __all__ = public(
    __name__,
    {"COFGeneratorLib.figures.preview": "write_preview", "COFGeneratorLib.figures.ecg_sheet": "write_ecg_sheet"},
)
