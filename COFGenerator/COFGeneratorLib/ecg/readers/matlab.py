"""MATLAB arrays of 12 leads (12 × N or N × 12, in the order of the standard leads), as ECG data sets share them.

The rate must be stated in the file (a number ``fs``, ``sampling_rate``, ``curr_sample_rate`` …). The unit may be (a
text ``unit``); otherwise it is inferred from the size of the waves, and the record says so.
"""

import numpy as np

from COFGeneratorLib.ecg.readers.matlab_file import is_level_4, is_level_5, read_arrays
from COFGeneratorLib.ecg.readers.source import MV_PER_UNIT, RawEcg, Source, check_count
from COFGeneratorLib.ecg.record import LEADS
from COFGeneratorLib.errors import EcgError

FORMAT = "matlab"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_RATES = (
    "curr_sample_rate", "fs_hz", "fs", "sampling_rate", "sample_rate", "samplingrate", "samplerate", "sfreq", "srate",
    "freq", "frequency", "hz", "samplefrequency", "sampling_frequency",
)  # fmt: skip
_PREFERRED = ("ecg", "val", "feats", "data", "signal", "signals", "tracing", "tracings", "x")
_INFERRED = ((0.0, 0.04, 1e3, "V"), (0.04, 40.0, 1.0, "mV"), (40.0, 60000.0, 1e-3, "µV"), (60000.0, 6e7, 1e-6, "nV"))
"""Median over the leads of their range → unit it must be in. Human ECGs have 0.3–8 mV: the bands are wide apart."""


def matches(source: Source) -> bool:
    """Tell by the header of MATLAB files (HDF5 of version 7.3 is recognised to refuse it by name)."""
    return is_level_5(source.data) or source.data.startswith(_HDF5) or is_level_4(source.data)


def read(source: Source) -> RawEcg:
    """Read the one array that has twelve rows or columns.

    Raises:
        EcgError: If there is none, or several, or no rate is stated.
    """
    if source.data.startswith(_HDF5):
        raise EcgError("A MATLAB file of version 7 or older is expected; found 7.3 (HDF5). Save it with '-v7'.")
    arrays, texts = read_arrays(source.data)
    values = _leads(arrays)
    check_count(values.size)
    raw = RawEcg({}, _rate(arrays))
    factor = _stated_unit(texts)
    if factor is None:
        factor, warning = _inferred_unit(values)
        raw.warnings.append(warning)
    raw.signals_mv = {lead: values[i] * factor for i, lead in enumerate(LEADS)}
    raw.warnings.append("The array names no leads; the standard order I, II, III, aVR, aVL, aVF, V1–V6 was taken.")
    return raw


def _leads(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return (12, L), the array of leads."""
    fitting = {
        name: values if values.shape[0] == 12 else values.T
        for name, values in arrays.items()
        if values.ndim == 2 and 12 in values.shape and max(values.shape) > 12
    }
    if not fitting:
        shapes = [values.shape for values in arrays.values() if values.ndim == 2 and values.size > 1000]
        found = f"arrays {shapes[:3]}" if shapes else "none"
        raise EcgError(f"An array of 12 leads (12 × N) is expected; found {found}. Save all twelve leads in one array.")
    if len(fitting) > 1:
        preferred = [name for name in fitting if name.lower().split(".")[-1] in _PREFERRED]
        if len(preferred) != 1:
            raise EcgError(f"One array of 12 leads is expected; found {len(fitting)}. Save the ECG alone.")
        return fitting[preferred[0]].astype(np.float64)
    return next(iter(fitting.values())).astype(np.float64)


def _rate(arrays: dict[str, np.ndarray]) -> float:
    stated = {name.lower().split(".")[-1]: float(v.ravel()[0]) for name, v in arrays.items() if v.size == 1}
    for key in _RATES:
        if stated.get(key, 0.0) > 0:
            return stated[key]
    raise EcgError("The sampling rate must be in the file; found none. Save it as a number named fs beside the array.")


def _stated_unit(texts: dict[str, str]) -> float | None:
    """Return the factor to mV of a stated unit, None where none is stated."""
    for name, text in texts.items():
        if name.lower().split(".")[-1] in ("unit", "units"):
            factor = MV_PER_UNIT.get(text.strip().lower())
            if factor is None:
                raise EcgError("The unit must be V, mV, uV or nV; found another. Correct it in the file.")
            return factor
    return None


def _inferred_unit(values: np.ndarray) -> tuple[float, str]:
    """Infer the factor to mV from the median range of the leads."""
    if not np.isfinite(values).all():
        return 1.0, "The unit is not stated."
    spread = float(np.median(np.ptp(values, axis=1)))
    for low, high, factor, unit in _INFERRED:
        if low <= spread < high:
            return factor, f"The unit is not stated; {unit} was inferred from the size of the waves."
    raise EcgError(f"Leads in V, mV, µV or nV are expected; found a median range of {spread:.3g}. State the unit.")
