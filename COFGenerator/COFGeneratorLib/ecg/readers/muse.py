"""GE MUSE ``RestingECG`` XML: base64 16-bit samples of eight leads, the other four derived on reading.

The file holds the device's median beat and the rhythm as separate ``Waveform`` elements; the rhythm is read.
"""

from xml.etree.ElementTree import Element

import numpy as np

from COFGeneratorLib.ecg.readers.source import RawEcg, Source, check_count, decode_base64, measurements, number, unit_mv
from COFGeneratorLib.ecg.readers.xml_tree import parse, text_of
from COFGeneratorLib.errors import EcgError

FORMAT = "muse"
_SIZES = {1: "i1", 2: "<i2", 4: "<i4"}


def matches(source: Source) -> bool:
    """Tell by the root element."""
    return source.xml_root() == "RestingECG"


def read(source: Source) -> RawEcg:
    """Read the rhythm waveform.

    Raises:
        EcgError: If there is none, or its samples are damaged.
    """
    root = parse(source.data)
    waves = root.findall(".//Waveform")
    named = [(text_of(wave, "WaveformType") or "").lower() for wave in waves]
    rhythm = [wave for wave, name in zip(waves, named, strict=True) if name == "rhythm"]
    rhythm = rhythm or [wave for wave, name in zip(waves, named, strict=True) if not name]
    if not rhythm:
        found = "the device's median beat only" if waves else "no waveform"
        raise EcgError(f"A MUSE file with a rhythm waveform is expected; found {found}. Export the full resting ECG.")
    wave = max(rhythm, key=lambda one: len(one.findall("LeadData")))
    base, exponent = number(text_of(wave, "SampleBase"), 1e-6), number(text_of(wave, "SampleExponent"), -12, 12)
    if base is None:
        raise EcgError("A MUSE waveform must state its SampleBase (Hz); found none. Export the file again.")
    raw = RawEcg({}, base * 10.0 ** (exponent or 0.0), _stated(root))
    off = 0
    for lead in wave.findall("LeadData"):
        name = text_of(lead, "LeadID") or ""
        raw.add(name, _samples(lead))
        off += (text_of(lead, "LeadOff") or "").upper() == "TRUE"
    if off:
        raw.warnings.append(f"The device marks {off} lead(s) as off the skin.")
    return raw


def _samples(lead: Element) -> np.ndarray:
    """Decode one ``LeadData``, (L,) mV."""
    kind = _SIZES.get(int(number(text_of(lead, "LeadSampleSize"), 1, 8) or 2))
    scale = number(text_of(lead, "LeadAmplitudeUnitsPerBit"), 1e-9, 1e9)
    unit = unit_mv(text_of(lead, "LeadAmplitudeUnits") or "MICROVOLTS")
    if kind is None or scale is None or unit is None:
        raise EcgError("Each MUSE lead must state sample size, unit and scale; found some missing. Export it again.")
    data = decode_base64(text_of(lead, "WaveFormData") or "")
    count = len(data) // np.dtype(kind).itemsize
    stated = number(text_of(lead, "LeadSampleCountTotal"), 0, 1e12)
    if stated is not None and int(stated) != count:
        if stated > count:
            raise EcgError(f"{stated:.0f} samples are announced for a lead; found {count}. The file is cut off.")
        count = int(stated)
    check_count(count)
    return np.frombuffer(data, kind, count) * (scale * unit)


def _stated(root: Element) -> dict[str, float]:
    part = root.find("RestingECGMeasurements")
    names = {"hr_bpm": "VentricularRate", "pr_ms": "PRInterval", "qrsd_ms": "QRSDuration", "qt_ms": "QTInterval"}
    found = {ours: number(text_of(part, theirs)) for ours, theirs in names.items()}
    found["axis_deg"] = number(text_of(part, "RAxis"))
    found["rr_ms"] = number(text_of(root, "QRSTimesTypes/GlobalRR"))
    return measurements(found)
