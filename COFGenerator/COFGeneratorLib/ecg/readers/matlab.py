"""MATLAB arrays of 12 leads (12 × N or N × 12), as ECG data sets share them.

The rate must be stated in the file (a number ``fs``, ``sampling_rate``, ``curr_sample_rate`` …) or by the user. The
unit may be (a text ``unit``); otherwise it is inferred from the size of the waves, and the record says so. Which row
is which lead is the user's word, a text or cells of the file that list all twelve, or the standard order if the limb
leads bear it out.
"""

import re
from dataclasses import replace

import numpy as np

from COFGeneratorLib.ecg.readers.leads import lead_name
from COFGeneratorLib.ecg.readers.limb_relations import named_rows
from COFGeneratorLib.ecg.readers.matlab_file import is_level_4, is_level_5, read_arrays
from COFGeneratorLib.ecg.readers.source import RawEcg, Source, Told, check_count, unit_mv
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
    values = _leads(arrays, len(source.told.leads) or 12)
    check_count(values.size)
    rate = source.told.rate_hz or _rate(arrays)
    stated = _stated_unit(texts)
    told = source.told if source.told.leads else replace(source.told, leads=_named(texts))
    steps = stated is None and not told.unit and np.array_equal(values, np.round(values))
    gain = _gain(arrays, len(values)) if steps else None
    if gain is None:
        return from_array(values, rate, stated, told)
    raw = from_array(values / gain, rate, 1.0, told)
    raw.warnings.append("The gain of the file is taken as steps of its numbers for each mV.")
    return raw


def from_array(values: np.ndarray, rate_hz: float, stated_mv: float | None, told: Told) -> RawEcg:
    """Make leads of an array that names none.

    Args:
        values: (leads, L); twelve rows unless the user names them.
        rate_hz: Hz.
        stated_mv: mV of its unit, None where the file states none.
        told: What the user says.

    Raises:
        EcgError: If neither the user nor the limb leads tell which row is which, or no unit fits.
    """
    raw = RawEcg({}, rate_hz)
    factor = (unit_mv(told.unit) if told.unit else None) or stated_mv
    if factor is None:
        factor, warning = _inferred_unit(values)
        raw.warnings.append(warning)
    names, note = (told.leads, None) if told.leads else named_rows(values)
    for name, row in zip(names, values, strict=True):
        raw.add(name, row * factor)
    if not told.leads:
        raw.warnings.append(
            note or "The array names no leads; the standard order I, II, III, aVR, aVL, aVF, V1–V6 was taken, which "
            "its limb leads bear out."
        )  # fmt: skip
    return raw


def _leads(arrays: dict[str, np.ndarray], count: int) -> np.ndarray:
    """Return (count, L), the array of leads."""
    fitting = {
        name: values if values.shape[0] == count else values.T
        for name, values in arrays.items()
        if values.ndim == 2 and count in values.shape and max(values.shape) > count
    }
    if not fitting:
        shapes = [values.shape for values in arrays.values() if values.ndim == 2 and values.size > 1000]
        found = f"arrays {shapes[:3]}" if shapes else "none"
        raise EcgError(
            f"An array of {count} leads ({count} × N) is expected; found {found}. Save all twelve leads in one array, "
            "or name those of another with --leads I,II,…"
        )
    if len(fitting) > 1:
        preferred = [name for name in fitting if name.lower().split(".")[-1] in _PREFERRED]
        if len(preferred) != 1:
            raise EcgError(f"One array of {count} leads is expected; found {len(fitting)}. Save the ECG alone.")
        return fitting[preferred[0]].astype(np.float64)
    return next(iter(fitting.values())).astype(np.float64)


def _rate(arrays: dict[str, np.ndarray]) -> float:
    stated = {name.lower().split(".")[-1]: float(v.ravel()[0]) for name, v in arrays.items() if v.size == 1}
    for key in _RATES:
        if stated.get(key, 0.0) > 0:
            return stated[key]
    raise EcgError(
        "The sampling rate must be in the file; found none. Save it as a number named fs beside the array, or state "
        "it: --rate-hz 500."
    )


def _named(texts: dict[str, str]) -> tuple[str, ...]:
    """Return the names of the leads in the order of the rows, where a text of the file lists all twelve."""
    for text in texts.values():
        names = tuple(re.split(r"[,;\s]+", text.strip()))
        found = [lead_name(name) for name in names]
        if len(names) == len(LEADS) and {name for name, _ in filter(None, found)} == set(LEADS):
            return names
    return ()


def _gain(arrays: dict[str, np.ndarray], count: int) -> np.ndarray | None:
    """Return the steps per mV that the file states, one or one for each lead, (1 or count, 1)."""
    for name, values in arrays.items():
        if name.lower().split(".")[-1] in ("gain", "adc_gain", "adcgain", "gains"):
            gain = np.asarray(values, dtype=np.float64).reshape(-1, 1)
            if gain.size in (1, count) and np.isfinite(gain).all() and (gain > 0).all():
                return gain
    return None


def _stated_unit(texts: dict[str, str]) -> float | None:
    """Return the factor to mV of a stated unit, None where none is stated."""
    for name, text in texts.items():
        if name.lower().split(".")[-1] in ("unit", "units"):
            factor = unit_mv(text.split(",")[0]) if len(set(text.split(","))) == 1 else None  # one, or one a lead
            if factor is None:
                raise EcgError("The unit must be V, mV, uV or nV; found another. Correct it in the file.")
            return factor
    return None


def _inferred_unit(values: np.ndarray) -> tuple[float, str]:
    """Infer the factor to mV from the median range of the leads."""
    there = np.isfinite(values)
    spread = np.where(there, values, -np.inf).max(axis=1) - np.where(there, values, np.inf).min(axis=1)
    spread = float(np.median(spread[there.any(axis=1)])) if there.any() else np.nan
    for low, high, factor, unit in _INFERRED:
        if low <= spread < high:
            return factor, f"The unit is not stated; {unit} was inferred from the size of the waves."
    raise EcgError(
        f"Leads in V, mV, µV or nV are expected; found a median range of {spread:.3g}. State the unit: --unit mV."
    )
