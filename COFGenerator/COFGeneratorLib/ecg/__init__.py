"""Electrocardiograms: readers, beats, measurements. Nothing heavy is imported before it is used."""

from COFGeneratorLib.lazy import public

__getattr__, __all__ = public(
    __name__,
    {
        "COFGeneratorLib.ecg.beats": "analyse_ecg cycle_from_peaks",
        "COFGeneratorLib.ecg.readers": "read_ecg",
        "COFGeneratorLib.ecg.record": "EcgRecord",
        "COFGeneratorLib.ecg.cycle": "EcgCycle",
    },
)
