"""ChainOfFlow: a beating heart from one short-axis MRI volume and a 12-lead ECG (research use only)."""

from COFGeneratorLib.lazy import public

__version__ = "0.2.0"

__getattr__, _names = public(
    __name__,
    {
        "COFGeneratorLib.ecg": "read_ecg analyse_ecg",
        "COFGeneratorLib.anatomy": "read_sax read_labels",
        "COFGeneratorLib.generator": "load_bundle generate",
    },
)
__all__ = [*_names, "__version__"]
