"""DICOM ECG waveform objects (12-lead, general and ambulatory ECG; PS3.3 A.34, C.10.9).

Only the waveform and annotation sequences are decoded; patient, study and institution elements are never looked at.
"""

import io
import re
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from COFGeneratorLib.dicom_elements import DEEPEST, excess
from COFGeneratorLib.ecg.readers.leads import SCP_LEADS, completed, lead_name
from COFGeneratorLib.ecg.readers.source import RawEcg, Source, check_count, measurements, number, unit_mv
from COFGeneratorLib.ecg.record import LEADS
from COFGeneratorLib.errors import EcgError

if TYPE_CHECKING:
    from pydicom import Dataset

FORMAT = "dicom"
MOST_ELEMENTS = 50_000
"""An ECG of 64 channels with 2,000 annotations has fewer; each costs microseconds and hundreds of bytes."""
DEFLATED, BIG_ENDIAN = b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.2\x00"
_SAMPLES = {(8, "SB"): "i1", (8, "UB"): "u1", (16, "SS"): "i2", (16, "US"): "u2", (32, "SL"): "i4", (32, "UL"): "u4"}
_CONCEPTS = {
    "hr_bpm": ("ventricular heart rate", "heart rate", "ventricular rate"),
    "rr_ms": ("rr interval", "rr interval global"),
    "pr_ms": ("pr interval", "pr interval global", "pq interval"),
    "qrsd_ms": ("qrs duration", "qrs duration global"),
    "qt_ms": ("qt interval", "qt interval global"),
    "axis_deg": ("qrs axis",),
}


def matches(source: Source) -> bool:
    """Tell by the DICOM prefix, or by a first element of group 2 or 8 where the prefix was lost."""
    return source.data[128:132] == b"DICM" or source.data[:4] in (b"\x02\x00\x00\x00", b"\x08\x00\x05\x00")


def read(source: Source) -> RawEcg:
    """Read the multiplex group that holds the rhythm of the twelve leads.

    Raises:
        EcgError: If the object has no such waveform or is damaged.
    """
    import pydicom

    if DEFLATED in source.data[128:4096]:
        raise EcgError("An uncompressed DICOM file is expected; found a deflated one. Export it uncompressed.")
    if found := excess(source.data, BIG_ENDIAN in source.data[128:4096], MOST_ELEMENTS):
        raise EcgError(
            f"A DICOM ECG of up to {MOST_ELEMENTS:,} elements, {DEEPEST} deep, is expected; found {found}. Damaged?"
        )
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        # Warnings of the library quote values of the file.
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(
            io.BytesIO(source.data),
            force=True,
            specific_tags=["SOPClassUID", "WaveformSequence", "WaveformAnnotationSequence"],
        )
        groups = list(dataset.get("WaveformSequence") or [])
        if not groups:
            raise EcgError(
                "A DICOM ECG waveform is expected; found a DICOM object without waveforms (an image or a report?). "
                "Export the 12-lead ECG object."
            )
        little = getattr(dataset, "original_encoding", (False, True))[1] is not False
        taken = _together(groups)
        raw = _group(taken[0], little)
        for other in taken[1:]:
            for name, values in _group(other, little).signals_mv.items():
                raw.add(name, values)
        raw.stated = _stated(dataset.get("WaveformAnnotationSequence") or [])
    if len(taken) > 1:
        raw.warnings.append(f"Leads recorded together lie in {len(taken)} parts of the object and were joined.")
    elif len(groups) > 1:
        raw.warnings.append(f"The object holds {len(groups)} recordings; the longest with the most leads was taken.")
    return raw


def _together(groups: "list[Dataset]") -> "list[Dataset]":
    """Return the group with the rhythm, and those that hold the leads it lacks, if they state that they began at once.

    Leads of the printed strips follow one another in time: theirs are not joined.
    """
    ranked = sorted(groups, key=_rank, reverse=True)
    taken, names = [ranked[0]], _names(ranked[0])
    for group in ranked[1:]:
        alike = ("MultiplexGroupTimeOffset", "SamplingFrequency", "NumberOfWaveformSamples")
        same = all(str(group.get(one) or 0) == str(ranked[0].get(one) or 0) and one in group for one in alike)
        if same and completed(names) < len(LEADS) and not names & _names(group):
            taken.append(group)
            names |= _names(group)
    return taken


def _names(group: "Dataset") -> set[str]:
    return {_lead(channel) for channel in group.get("ChannelDefinitionSequence") or []} - {""}


def _rank(group: "Dataset") -> tuple[int, bool, float]:
    """Order by the leads that a group makes, then recorded before derived (the median beat), then by length."""
    recorded = str(group.get("WaveformOriginality") or "").strip().upper() != "DERIVED"
    seconds = float(group.get("NumberOfWaveformSamples") or 0) / max(float(group.get("SamplingFrequency") or 1), 1e-3)
    return completed(_names(group)), recorded, seconds


def _lead(channel: "Dataset") -> str:
    """Return the standard name of a channel, ``""`` if it is none."""
    for code in channel.get("ChannelSourceSequence") or []:
        value, meaning = str(code.get("CodeValue") or ""), str(code.get("CodeMeaning") or "")
        named = lead_name(meaning)
        if named:
            return named[0] if named[1] > 0 else "-" + named[0]
        # Without a meaning: PS3.16 CID 3001 as SCPECG 5.6.3-9-n, as MDC 2:n, or as one number, partition 2 and n.
        coded = re.fullmatch(r"(?:5\.6\.3-9-|2:)(\d{1,3})", value)
        code = int(coded.group(1)) if coded else int(value) & 0xFFFF if value.isdigit() and int(value) >> 16 == 2 else 0
        if code in SCP_LEADS:
            return SCP_LEADS[code]
    named = lead_name(str(channel.get("ChannelLabel") or ""))
    return named[0] if named else ""


def _group(group: "Dataset", little: bool) -> RawEcg:
    channels = list(group.get("ChannelDefinitionSequence") or [])
    count, samples = int(group.get("NumberOfWaveformChannels") or 0), int(group.get("NumberOfWaveformSamples") or 0)
    code = _SAMPLES.get((int(group.get("WaveformBitsAllocated") or 0), str(group.get("WaveformSampleInterpretation"))))
    data = group.get("WaveformData") or b""
    if code is None or not isinstance(data, bytes):
        raise EcgError("Linear 8-, 16- or 32-bit samples are expected; found another coding. Export it uncompressed.")
    if count != len(channels) or not 0 < count <= 64:
        raise EcgError(f"One definition a channel is expected; found {len(channels)} for {count} channels. Damaged?")
    check_count(count * samples)
    kind = np.dtype(code).newbyteorder("<" if little else ">")
    if len(data) < count * samples * kind.itemsize:
        raise EcgError(
            f"{count * samples * kind.itemsize} bytes of samples are announced; found {len(data)}. The file is cut off."
        )
    values = np.frombuffer(data, kind, count * samples).reshape(samples, count)
    absent = _absent(values, group.get("WaveformPaddingValue"), kind)
    raw = RawEcg({}, float(group.get("SamplingFrequency") or 0.0))
    for i, channel in enumerate(channels):
        name = _lead(channel)
        if not name:
            continue
        stored = number(channel.get("WaveformBitsStored"), 1, 8 * kind.itemsize)
        lead = _signed(values[:, i], int(stored or 8 * kind.itemsize)) * _scale_mv(channel)
        baseline = number(channel.get("ChannelBaseline"))
        if baseline:
            lead = lead + baseline * _unit_mv(channel)
        raw.add(name, np.where(absent[:, i], np.nan, lead) if absent is not None else lead)
    return raw


def _signed(values: np.ndarray, bits: int) -> np.ndarray:
    """Read samples (L,) that fill only their lower bits, with zeros above, by the sign of the topmost stored bit."""
    if values.dtype.kind != "i" or bits >= 8 * values.dtype.itemsize or values.min() < 0 or values.max() >> bits:
        return values
    wide = values.astype(np.int64)
    return np.where(wide >> (bits - 1), wide - (1 << bits), wide)


def _absent(values: np.ndarray, padding: object, kind: np.dtype) -> np.ndarray | None:
    """Tell which of (L, channels) samples are padding.

    Exporters declare 0 as the padding value and mean it at the ends only, where all channels have it; a value at the
    end of the range of the numbers stands for itself.
    """
    if not isinstance(padding, bytes) or len(padding) != kind.itemsize:
        return None
    value, limits = np.frombuffer(padding, kind)[0], np.iinfo(kind)
    same = values == value
    if value in (limits.min, limits.max):
        return same
    whole = same.all(axis=1)
    ends = np.logical_and.accumulate(whole) | np.logical_and.accumulate(whole[::-1])[::-1]
    return np.repeat(ends[:, None], values.shape[1], axis=1)


def _unit_mv(channel: "Dataset") -> float:
    for unit in channel.get("ChannelSensitivityUnitsSequence") or []:
        for keyword in ("CodeValue", "CodeMeaning"):
            factor = unit_mv(str(unit.get(keyword) or ""))
            if factor:
                return factor
    raise EcgError("The unit of the leads (µV or mV) must be stated; found none that is a voltage. Export it again.")


def _scale_mv(channel: "Dataset") -> float:
    sensitivity = number(channel.get("ChannelSensitivity"))
    correction = number(channel.get("ChannelSensitivityCorrectionFactor"))
    if not sensitivity:
        raise EcgError("The sensitivity of each channel must be stated; found none. Export the ECG again.")
    return sensitivity * (correction or 1.0) * _unit_mv(channel)


def _stated(annotations: "Iterable[Dataset]") -> dict[str, float]:
    found: dict[str, float | None] = {}
    for item in list(annotations)[:2000]:
        for concept in item.get("ConceptNameCodeSequence") or []:
            meaning = str(concept.get("CodeMeaning") or "").strip().lower()
            for name, spellings in _CONCEPTS.items():
                if meaning in spellings and name not in found and item.get("NumericValue") is not None:
                    value = item.get("NumericValue")
                    found[name] = number(value if not isinstance(value, (list, tuple)) else value[0])
    return measurements(found)
