"""From whatever a file calls its leads to the twelve standard ones."""

import re

import numpy as np

from COFGeneratorLib.ecg.readers.source import RawEcg, Source, check_count
from COFGeneratorLib.ecg.record import LEADS, EcgRecord
from COFGeneratorLib.errors import EcgError

_SPELT = {name.lower(): name for name in LEADS}
_SPELT |= {"1": "I", "2": "II", "3": "III", "l1": "I", "l2": "II", "l3": "III"}
_SPELT |= {"d1": "I", "d2": "II", "d3": "III", "di": "I", "dii": "II", "diii": "III"}
_SPELT |= {"vr": "aVR", "vl": "aVL", "vf": "aVF"}
_SPELT |= {f"c{k}": f"V{k}" for k in range(1, 7)}
_NOISE = re.compile(
    r"\([^)]*\)|\[[^\]]*\]|\b(mdc|ecg|ekg|lead|leads|elec|potl|ableitung|derivation|standard|std|ref)\b"
)
SCP_LEADS = {1: "I", 2: "II", 61: "III", 62: "aVR", 63: "aVL", 64: "aVF", **{k + 2: f"V{k}" for k in range(1, 7)}}
"""Codes of SCP-ECG, which ISO/IEEE 11073 (MDC) and DICOM took over."""
MIN_LIMB_RANGE_MV = 0.05
STILL_S = 0.75
"""All leads at rest at an end for longer than this is padding: a heart and its noise never stand still so long."""
MAX_RANGE_MV = 60.0
"""No human surface ECG comes near; a larger range means a wrong unit or gain."""


def lead_name(spelt: str) -> tuple[str, float] | None:
    """Return the standard lead and its sign for a spelling (``"MDC_ECG_LEAD_AVR"``, ``"Lead I (Einthoven)"``, …).

    Returns:
        (name in ``LEADS``, +1 or −1), or None for anything else. ``"-aVR"`` (Cabrera) is (``"aVR"``, −1).
    """
    text = spelt.strip().lower()
    sign = -1.0 if text.startswith(("-avr", "-vr")) else 1.0
    text = text.split(",")[0]  # "aVR, augmented voltage, right"
    text = _NOISE.sub(" ", re.sub(r"[_\-:./]", " ", text))
    text = re.sub(r"\b[mµμu]v\b", " ", text)  # a unit beside the name, not "aVR"
    name = _SPELT.get("".join(text.split()).removeprefix("lead"))
    return (name, sign) if name else None


def assemble(raw: RawEcg, source: Source, source_format: str) -> EcgRecord:
    """Order, complete and check the leads of a reader.

    Raises:
        EcgError: If a lead is missing and cannot be derived, lengths differ, or voltages make no sense.
    """
    found: dict[str, np.ndarray] = {}
    warnings = list(raw.warnings)
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
    signal = _without_padding(np.stack([found[name] for name in LEADS]), float(raw.fs_hz), warnings)
    # Checked before the record is built, so that a wrong unit is named as such.
    if np.isfinite(signal).all():
        _check_voltages(signal, stored, warnings)
    return EcgRecord(
        signal,
        float(raw.fs_hz),
        source_format=source_format,
        source_sha256=raw.sha256 or source.sha256,
        stated=dict(raw.stated),
        warnings=tuple(warnings),
    )


def _without_padding(signal: np.ndarray, fs_hz: float, warnings: list[str]) -> np.ndarray:
    """Cut off both ends of (12, L) where samples are missing, or where all leads stand still."""
    kept = np.isfinite(signal).all(axis=0)
    if not kept.any():
        return signal
    missing = (int(kept.argmax()), int(kept[::-1].argmax()))
    signal = signal[:, missing[0] : signal.shape[1] - missing[1]]
    moving = (signal != signal[:, :1]).any(axis=0), (signal != signal[:, -1:]).any(axis=0)[::-1]
    still = [int(moved.argmax()) if moved.any() else 0 for moved in moving]
    longest = STILL_S * fs_hz if np.isfinite(fs_hz) else np.inf
    still = [count - 1 if count > longest else 0 for count in still]
    cut = missing[0] + missing[1] + sum(still)
    if cut:
        what = "missing samples" if not sum(still) else "padding"
        seconds = f" ({cut / fs_hz:.2f} s)" if fs_hz > 0 else ""
        warnings.append(f"{cut} samples{seconds} of {what} at the ends were cut off.")
    return signal[:, still[0] : signal.shape[1] - still[1]]


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


def _check_voltages(signal: np.ndarray, stored: set[str], warnings: list[str]) -> None:
    spread = np.ptp(signal, axis=1) if signal.shape[1] else np.zeros(len(LEADS))
    if spread.max(initial=0.0) > MAX_RANGE_MV:
        sorted_spread = np.sort(spread)
        raise EcgError(
            f"Leads must lie within {MAX_RANGE_MV:g} mV; found a range of {sorted_spread[-1]:.0f} mV "
            f"(median lead {sorted_spread[6]:.1f} mV). Check the unit and gain of the file."
        )
    limb = {"I", "II", "III", "aVR", "aVL", "aVF"}
    if limb <= stored and signal.shape[1]:
        one, two, three = signal[0], signal[1], signal[2]
        residual = float(np.std(two - one - three))
        scale = max(float(np.std(one)), float(np.std(two)), MIN_LIMB_RANGE_MV)
        if residual > 0.1 * scale:
            warnings.append(
                f"Limb leads contradict each other: II − I − III is {1000 * residual:.0f} µV (rms) instead of 0."
            )
