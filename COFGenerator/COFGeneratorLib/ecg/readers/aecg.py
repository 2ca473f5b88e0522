"""HL7 version 3 annotated ECG (``AnnotatedECG``, FDA aECG).

The rhythm series is read (not the derived representative beat): a time sequence (``GLIST_TS`` or ``GLIST_PQ``) gives
the rate, each lead is an ``SLIST_PQ`` with origin, scale and digits.
"""

import unicodedata
from collections.abc import Callable
from xml.etree.ElementTree import Element

import numpy as np

from COFGeneratorLib.ecg.readers.leads import completed, lead_name
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
from COFGeneratorLib.ecg.readers.xml_tree import parse
from COFGeneratorLib.errors import EcgError

FORMAT = "aecg"
MOST_SETS = 256
_UNITS_S = {"": 1.0, "s": 1.0, "sec": 1.0, "ms": 1e-3, "us": 1e-6, "μs": 1e-6, "ns": 1e-9}
"""Without a unit: seconds, as the standard's."""
_STATED = {
    "MDC_ECG_HEART_RATE": "hr_bpm",
    "MDC_ECG_TIME_PD_RR": "rr_ms",
    "MDC_ECG_TIME_PD_PR": "pr_ms",
    "MDC_ECG_TIME_PD_QRS": "qrsd_ms",
    "MDC_ECG_TIME_PD_QT": "qt_ms",
    "MDC_ECG_ANGLE_QRS_FRONT": "axis_deg",
}


def matches(source: Source) -> bool:
    """Tell by the root element."""
    return source.xml_root() == "AnnotatedECG"


def read(source: Source) -> RawEcg:
    """Read the sequence set of the rhythm series that holds the most leads.

    Raises:
        EcgError: If there is no rhythm, or its numbers are damaged.
    """
    root = parse(source.data)
    series = [one for one in root.iter("series") if "BEAT" not in _code(one)]
    rhythm = [one for one in series if _code(one) in ("RHYTHM", "")] or series
    beats = {id(inner) for derived in root.iter("derivedSeries") for inner in derived.iter("sequenceSet")}
    sets = [found for one in rhythm for found in one.iter("sequenceSet") if id(found) not in beats]
    if not sets:
        raise EcgError("An annotated ECG with a rhythm series is expected; found none. Export it with waveforms.")
    if len(sets) > MOST_SETS:
        raise EcgError(f"Up to {MOST_SETS} sets of leads are expected; found {len(sets)}. The file is damaged.")
    raw = RawEcg({}, 0.0, _stated(root))
    best = _joined(sets) if len(sets) > 1 else sets
    for sequence in (one for part in best for one in part.iter("sequence")):
        value = sequence.find("value")
        if value is None:
            continue
        if lead_name(_code(sequence)):
            raw.add(_code(sequence), _samples(value))
        elif value.find("increment") is not None and not raw.fs_hz:
            raw.fs_hz = _rate(value)
    if not raw.fs_hz:
        raise EcgError("The time between samples must be stated; found none. Export the recording again.")
    return raw


def _joined(sets: list[Element]) -> list[Element]:
    """Return the set with the most leads, and those recorded together with it that hold the leads it lacks.

    Raises:
        EcgError: If the leads were recorded one after another, or their times are not stated.
    """
    best = max(sets, key=_rank)
    together = [one for one in sets if _begin(one) is not None and _begin(one) == _begin(best)]
    taken, found = [best], _leads(best)
    for one in sorted(together, key=_rank, reverse=True):
        if not _leads(one) & found and _leads(one):
            taken.append(one)
            found |= _leads(one)
    if len(found) < 8:
        raise EcgError(
            f"Leads recorded together are needed; found {len(sets)} groups of at most {len(_leads(best))} leads. "
            "Export the simultaneous 12-lead rhythm."
        )
    return taken


def _leads(sequence_set: Element) -> set[str]:
    names = (lead_name(_code(one)) for one in sequence_set.iter("sequence"))
    return {name[0] for name in names if name}


def _begin(sequence_set: Element) -> tuple[str, str, str] | None:
    """Return when a set begins and its step, as written; None where it states no time."""
    for value in sequence_set.iter("value"):
        step, head = value.find("increment"), value.find("head")
        if step is not None:
            unit = step.get("unit", "")
            return (head.get("value", "") if head is not None else "", step.get("value", ""), unit)
    return None


def _rank(sequence_set: Element) -> tuple[int, int]:
    """Count the leads that a set makes and the characters of their digits: several sets may hold all leads."""
    leads = [one for one in sequence_set.iter("sequence") if lead_name(_code(one))]
    return completed(_leads(sequence_set)), sum(
        len(digits.text or "") for one in leads for digits in one.iter("digits")
    )


def _code(element: Element) -> str:
    code = element.find("code")
    return code.get("code", "") if code is not None else ""


def _quantity(element: Element | None, unit: Callable[[str], float | None]) -> float | None:
    if element is None:
        return None
    value, factor = number(element.get("value")), unit(element.get("unit", ""))
    return None if value is None or factor is None else value * factor


def _seconds(unit: str) -> float | None:
    return _UNITS_S.get(unicodedata.normalize("NFKC", unit[:LONGEST_NAME]).strip().lower())  # µ becomes μ


def _samples(value: Element) -> np.ndarray:
    """Decode one ``SLIST_PQ``, (L,) mV."""
    scale, origin = _quantity(value.find("scale"), unit_mv), _quantity(value.find("origin"), unit_mv)
    if not scale:
        raise EcgError("Each lead must state its scale in µV or mV; found none. Export the recording again.")
    digits = value.find("digits")
    # Blanks separate the digits; some exporters write commas.
    fields = ((digits.text if digits is not None else None) or "").replace(",", " ").split(None, MAX_VALUES)
    check_count(len(fields))
    try:
        return np.array(fields, dtype=np.float64) * scale + (origin or 0.0)
    except ValueError:
        raise EcgError("Samples must be numbers; found other text. The file is damaged.") from None


def _rate(value: Element) -> float:
    step = _quantity(value.find("increment"), _seconds)
    if not step or step <= 0:
        raise EcgError("The time between samples must be in s or ms; found none. Export the recording again.")
    rate = 1.0 / step
    return float(round(rate)) if abs(rate - round(rate)) < 1e-6 * rate else rate


def _stated(root: Element) -> dict[str, float]:
    found: dict[str, float | None] = {}
    for annotation in root.iter("annotation"):
        name = _STATED.get(_code(annotation))
        value = annotation.find("value")
        if name and value is not None and name not in found:
            stated = number(value.get("value"))
            if name.endswith("_ms") and value.get("unit") == "s" and stated is not None:
                stated *= 1000.0
            found[name] = stated
    return measurements(found)
