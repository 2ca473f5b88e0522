"""Cardiac function of a labelled cine: volumes over time, EDV, ESV, EF, cardiac output, regional walls."""

from COFGeneratorLib.function.curve import EndSystole, end_systole
from COFGeneratorLib.function.regional import RegionalReport, measure_regional
from COFGeneratorLib.function.report import (
    FunctionReport,
    findings,
    measure_function,
    report_from_curves,
    summarise,
    write_function,
)
from COFGeneratorLib.function.strain import StrainReport, measure_strain
from COFGeneratorLib.function.volumes import VolumeCurves, curves_from_sums, volume_curves

__all__ = [
    "EndSystole",
    "FunctionReport",
    "RegionalReport",
    "StrainReport",
    "VolumeCurves",
    "curves_from_sums",
    "end_systole",
    "findings",
    "measure_function",
    "measure_regional",
    "measure_strain",
    "report_from_curves",
    "summarise",
    "volume_curves",
    "write_function",
]
