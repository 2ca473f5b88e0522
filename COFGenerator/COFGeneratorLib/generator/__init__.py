"""The ECG-conditioned motion generator."""

from COFGeneratorLib.lazy import public

__getattr__, __all__ = public(
    __name__,
    {
        "COFGeneratorLib.generator.bundle": "Bundle load_bundle save_bundle",
        "COFGeneratorLib.generator.pipeline": "generate",
    },
)
