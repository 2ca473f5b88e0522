"""Short-axis images and labels: reading, geometry, checks, and the heart's own frame."""

from COFGeneratorLib.lazy import public

__getattr__, __all__ = public(
    __name__,
    {
        "COFGeneratorLib.anatomy.stack": "SaxStack",
        "COFGeneratorLib.anatomy.readers": "CineStack read_sax read_cine",
        "COFGeneratorLib.anatomy.roi": "Roi",
        "COFGeneratorLib.anatomy.readers.labels": "read_labels",
        "COFGeneratorLib.anatomy.heart_frame": "HeartFrame heart_frame_from_labels",
    },
)
