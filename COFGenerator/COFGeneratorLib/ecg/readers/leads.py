"""From whatever a file calls its leads to the twelve standard ones."""

import re
import unicodedata
from collections.abc import Collection

import numpy as np

from COFGeneratorLib.ecg.readers.gaps import bridged, without_padding
from COFGeneratorLib.ecg.readers.limb_relations import LIMB, put_right
from COFGeneratorLib.ecg.readers.source import LONGEST_NAME, RawEcg, Source, check_count
from COFGeneratorLib.ecg.record import LEADS, Doubt, EcgRecord
from COFGeneratorLib.errors import EcgError

_SPELT = {name.lower(): name for name in LEADS}
_SPELT |= {"1": "I", "2": "II", "3": "III", "l1": "I", "l2": "II", "l3": "III"}
_SPELT |= {"d1": "I", "d2": "II", "d3": "III", "di": "I", "dii": "II", "diii": "III"}
_SPELT |= {"vr": "aVR", "vl": "aVL", "vf": "aVF"}
_SPELT |= {f"c{k}": f"V{k}" for k in range(1, 7)}
_NOISE = re.compile(
    r"\([^)]*\)|\[[^\]]*\]|\b(mdc|ecg|ekg|lead|leads|elec|potl|ableitung|derivation|derivacion|derivazione|derivacao|afleiding|avledning|standard|std|ref)\b"
)
SCP_LEADS = {1: "I", 2: "II", 61: "III", 62: "aVR", 63: "aVL", 64: "aVF", **{k + 2: f"V{k}" for k in range(1, 7)}}
"""Codes of SCP-ECG, which ISO/IEEE 11073 (MDC) and DICOM took over."""
MAX_RANGE_MV = 60.0
"""No human surface ECG comes near; a larger range means a wrong unit or gain."""


def lead_name(spelt: str) -> tuple[str, float] | None:
    """Return the standard lead and its sign for a spelling (``"MDC_ECG_LEAD_AVR"``, ``"Lead I (Einthoven)"``, …).

    Returns:
        (name in ``LEADS``, +1 or −1), or None for anything else. ``"-aVR"`` (Cabrera) is (``"aVR"``, −1).
    """
    text = spelt.strip().strip("'\"").strip().lower()
    if len(text) > LONGEST_NAME:
        return None
    sign = -1.0 if text.startswith("-") else 1.0
    text = text.split(",")[0]  # "aVR, augmented voltage, right"
    text = "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))
    text = _NOISE.sub(" ", re.sub(r"[_\-:./]", " ", text))
    text = re.sub(r"\b[mμu]v\b", " ", text)  # a unit beside the name, not "aVR"
    name = _SPELT.get("".join(text.split()).removeprefix("lead"))
    return (name, sign) if name else None


def completed(names: Collection[str]) -> int:
    """Return how many of the twelve leads those of standard names make: two of I, II and III give all six."""
    limb = len(set(names) & {"I", "II", "III"}) >= 2
    return len(set(names) & set(LEADS) | (set(LIMB) if limb else set()))


def assemble(raw: RawEcg, source: Source, source_format: str) -> EcgRecord:
    """Order, complete and check the leads of a reader.

    Raises:
        EcgError: If a lead is missing and cannot be derived, lengths differ, or voltages make no sense.
    """
    found: dict[str, np.ndarray] = {}
    warnings = list(raw.warnings)
    if source.told.leads:
        _rename(raw, source.told.leads, warnings)
    for spelt, values in raw.signals_mv.items():
        named = lead_name(spelt)
        if named is None:
            continue
        if named[0] in found:
            raise EcgError(
                f"Each lead is expected once; found {named[0]} twice. Export the twelve standard leads only."
            )
        with np.errstate(over="ignore"):  # too large becomes infinite, which is refused below
            found[named[0]] = named[1] * np.asarray(values).astype(np.float32)
    if not found:
        raise EcgError(
            "Twelve standard leads (I … V6) are needed; found none by these names. Name the leads in the file."
        )
    _same_length(found, warnings)
    check_count(sum(values.size for values in found.values()))
    stored = set(found)
    _derive(found, warnings)
    missing = [name for name in LEADS if name not in found]
    if missing:
        raise EcgError(
            f"Twelve standard leads are needed; found {len(stored)}, and {', '.join(missing)} can not be derived from "
            "them. Export all twelve leads."
        )
    fs_hz = _rate(raw.fs_hz, source.told.rate_hz, warnings)
    signal = without_padding(np.stack([found[name] for name in LEADS]), fs_hz, warnings)
    signal = bridged(signal, fs_hz, warnings)
    doubts = set(raw.doubts)
    # Checked before the record is built, so that a wrong unit is named as such.
    if np.isfinite(signal).all() and signal.shape[1]:
        _check_voltages(signal)
        if set(LIMB) <= stored:
            signal[:6], note, doubted = put_right(signal[:6])
            warnings += [note] if note else []
            doubts |= {Doubt.LEADS} if doubted else set()
    return EcgRecord(
        signal,
        fs_hz,
        source_format=source_format,
        source_sha256=raw.sha256 or source.sha256,
        stated=dict(raw.stated),
        warnings=tuple(warnings),
        doubts=tuple(sorted(doubts)),
    )


def _rename(raw: RawEcg, told: tuple[str, ...], warnings: list[str]) -> None:
    """Give the leads of the file the names that the user gave, in the order in which the file holds them.

    Raises:
        EcgError: If there are not as many, or one is no lead.
    """
    held = [name for name in raw.signals_mv if lead_name(name)]
    if len(held) != len(told) or not all(map(lead_name, told)):
        raise EcgError(
            f"Standard names for the {len(held)} leads of the file, in its order, are expected; found {len(told)}"
            f"{'' if all(map(lead_name, told)) else ', some of them no lead'}. Name them all, as I,II,III,…"
        )
    if list(map(lead_name, held)) != list(map(lead_name, told)):
        warnings.append("The leads were named as asked, not as the file names them.")
    signals = dict(zip(told, [raw.signals_mv[name] for name in held], strict=True))
    raw.signals_mv.clear()
    for name, values in signals.items():
        raw.add(name, values)


def _rate(stated_hz: float, told_hz: float | None, warnings: list[str]) -> float:
    if told_hz and stated_hz and abs(told_hz - stated_hz) > 1e-3 * stated_hz:
        warnings.append(f"The file states {stated_hz:g} Hz; {told_hz:g} Hz was taken as asked.")
    return float(told_hz or stated_hz)


def _same_length(found: dict[str, np.ndarray], warnings: list[str]) -> None:
    lengths = [values.size for values in found.values()]
    shortest, longest = min(lengths), max(lengths)
    if shortest < longest:
        if longest - shortest > 0.02 * longest:
            raise EcgError(
                f"All leads must be recorded together; found lengths from {shortest} to {longest} samples. "
                "Export simultaneous leads, not the printed 3 × 4 strips."
            )
        warnings.append(f"Leads differ in length; all were cut to {shortest} samples.")
        for name in found:
            found[name] = found[name][:shortest]


def _derive(found: dict[str, np.ndarray], warnings: list[str]) -> None:
    """Fill limb leads in from two others (Einthoven, Goldberger); says which."""
    before = set(found)
    if "I" not in found and "II" in found and "III" in found:
        found["I"] = found["II"] - found["III"]
    if "II" not in found and "I" in found and "III" in found:
        found["II"] = found["I"] + found["III"]
    if "I" in found and "II" in found:
        one, two = found["I"], found["II"]
        found.setdefault("III", two - one)
        found.setdefault("aVR", -(one + two) / 2)
        found.setdefault("aVL", one - two / 2)
        found.setdefault("aVF", two - one / 2)
    derived = [name for name in LEADS if name in found and name not in before]
    if derived:
        warnings.append(f"{', '.join(derived)} not stored; derived from the other limb leads.")


def _check_voltages(signal: np.ndarray) -> None:
    spread = np.sort(np.ptp(signal, axis=1))
    if spread[-1] > MAX_RANGE_MV:
        raise EcgError(
            f"Leads must lie within {MAX_RANGE_MV:g} mV; found a range of {spread[-1]:.0f} mV (median lead "
            f"{spread[6]:.1f} mV). Check the unit and gain of the file."
        )
