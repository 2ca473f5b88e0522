"""GE CardioSoft ``CardiologyXML``, the layout of UK Biobank field 20205 (resting ECG).

A file may hold the 10-s rhythm (``StripData``), the device's median beats (``MedianSamples``) and, from exercise tests,
a full disclosure of few leads (``FullDisclosure``, samples interleaved by lead). The rhythm is what we want; the
others are told apart and used only where they do as well.
"""

import re
from xml.etree.ElementTree import Element

import numpy as np

from COFGeneratorLib.ecg.readers.source import (
    LONGEST_NAME,
    MAX_VALUES,
    RawEcg,
    Source,
    check_count,
    measurements,
    number,
    unit_mv,
)
from COFGeneratorLib.ecg.readers.xml_tree import parse, text_of
from COFGeneratorLib.errors import EcgError

FORMAT = "cardiosoft"


def matches(source: Source) -> bool:
    """Tell by the root element."""
    return source.xml_root() == "CardiologyXML"


def read(source: Source) -> RawEcg:
    """Read the rhythm strip.

    Raises:
        EcgError: If there is none, or its numbers are damaged.
    """
    root = parse(source.data)
    strip, disclosure = root.find(".//StripData"), root.find(".//FullDisclosure")
    if strip is not None and strip.find("WaveformData") is not None:
        signals = [(wave.get("lead", ""), _integers(wave.text)) for wave in strip.findall("WaveformData")]
        part = strip
    elif disclosure is not None and text_of(disclosure, "FullDisclosureData"):
        signals, part = _disclosed(disclosure), disclosure
    elif root.find(".//MedianSamples/WaveformData") is not None:
        raise EcgError(
            "A rhythm recording is needed; found the device's median beats only. Export the file with its 10-s strip."
        )
    else:
        raise EcgError("A CardioSoft file with StripData is expected; found no waveform. Export it with waveforms.")
    fs = number(text_of(part, "SampleRate"))
    resolution = _resolution_mv(part.find("Resolution"))
    if fs is None:
        raise EcgError("A CardioSoft file must state its sampling rate; found none. Export the file again.")
    raw = RawEcg({}, fs, _stated(root))
    for name, values in signals:
        raw.add(name, values * resolution)
    return raw


def _integers(text: str | None) -> np.ndarray:
    """Parse comma-separated samples, (L,) float64."""
    fields = (text or "").replace("\n", "").replace("\t", "").strip().strip(",").split(",", MAX_VALUES)
    check_count(len(fields))
    try:
        return np.array([float(field) for field in fields])
    except ValueError:
        raise EcgError("Samples must be numbers separated by commas; found other text. The file is damaged.") from None


def _disclosed(part: Element) -> list[tuple[str, np.ndarray]]:
    """Split the interleaved full disclosure by its lead order."""
    names = [name.strip() for name in (text_of(part, "LeadOrder") or "").split(",") if name.strip()]
    values = _integers(text_of(part, "FullDisclosureData"))
    if not names:
        raise EcgError("A full disclosure must state its lead order; found none. Export the resting ECG instead.")
    values = values[: len(values) // len(names) * len(names)].reshape(-1, len(names))
    return [(name, values[:, i]) for i, name in enumerate(names)]


def _resolution_mv(element: Element | None) -> float:
    value = number(element.text if element is not None else None, 1e-9, 1e6)
    if element is None or value is None:
        raise EcgError("The resolution (µV per LSB) must be stated; found none. Export the file again.")
    unit = unit_mv(re.split(r"[\s/]|per", (element.get("units") or "uVperLsb")[:LONGEST_NAME], maxsplit=1)[0])
    if unit is None:
        raise EcgError("The resolution must be in µV, mV or V per step; found another unit. Export the file again.")
    return value * unit


def _stated(root: Element) -> dict[str, float]:
    part = root.find(".//RestingECGMeasurements")
    names = {
        "hr_bpm": "VentricularRate",
        "rr_ms": "RRInterval",
        "pr_ms": "PQInterval",
        "qrsd_ms": "QRSDuration",
        "qt_ms": "QTInterval",
        "axis_deg": "RAxis",
    }
    return measurements({ours: number(text_of(part, theirs)) for ours, theirs in names.items()})
