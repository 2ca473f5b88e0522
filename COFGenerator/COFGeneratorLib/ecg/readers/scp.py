"""SCP-ECG (EN 1064 / ISO 11073-91064): sections, and the rhythm of section 6 with everything that may be done to it.

Samples may be raw or Huffman-coded (section 2), first or second differences, bimodal (decimated outside QRS),
and what is left after the reference beat (section 5) was subtracted. Section 1, which names the patient, is not read.
"""

import binascii
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from COFGeneratorLib.ecg.readers.leads import SCP_LEADS
from COFGeneratorLib.ecg.readers.scp_huffman import Table, decode_huffman, parse_tables
from COFGeneratorLib.ecg.readers.source import RawEcg, Source, check_count, measurements
from COFGeneratorLib.errors import EcgError

FORMAT = "scp"
HEADER = 16
MOST_SAMPLES = 1_000_000
"""Over all leads: seven minutes of eight leads at 300 Hz; the format's own limit of 64 kB a lead is below it."""
MOST_BEATS = 50_000
"""Over all leads."""


@dataclass(frozen=True)
class _Lead:
    name: str
    first: int
    last: int


@dataclass(frozen=True)
class _Zones:
    """Section 4: where beats lie. Samples are numbered from 1 as in the standard."""

    length_ms: int
    fiducial: int
    beats: list[tuple[int, int, int, int]]  # type, begin of the subtracted beat, fiducial, its end
    protected: list[tuple[int, int]]


def matches(source: Source) -> bool:
    """Tell by the sign ``SCPECG`` of section 0, or its shape in old files without it."""
    head = source.data[:22]
    if len(head) < 22:
        return False
    size, identifier = struct.unpack_from("<I", head, 2)[0], struct.unpack_from("<H", head, 8)[0]
    return head[16:22] == b"SCPECG" or (identifier == 0 and size == len(source.data) and head[14:16] in (b"\x0a\x0a",))


def read(source: Source) -> RawEcg:
    """Read the rhythm of section 6.

    Raises:
        EcgError: If sections are missing or contradict each other.
    """
    data = source.data
    sections = _sections(data)
    for needed, what in ((3, "lead definition"), (6, "rhythm data")):
        if needed not in sections:
            raise EcgError(f"An SCP-ECG file with section {needed} ({what}) is expected; found none. Export it again.")
    coding = parse_tables(sections[2]) if 2 in sections else None
    leads, subtracted = _leads(sections[3])
    zones = _zones(sections[4], leads) if 4 in sections else _Zones(0, 0, [], [])

    reference = _series(sections[5], len(leads)) if 5 in sections else None
    rhythm = _series(sections[6], len(leads))
    # Bimodal data state the step of the decimated part; the step of the reference beat is that of the rest.
    factor, step_us = 1, rhythm.step_us
    if rhythm.flag and reference and zones.protected and rhythm.step_us > reference.step_us:
        factor, step_us = rhythm.step_us // reference.step_us, reference.step_us
    signals = []
    for lead, part in zip(leads, rhythm.parts, strict=True):
        kept = _kept(lead, zones.protected, factor) if factor > 1 else None
        signals.append(_lead_values(lead, part, rhythm.difference, coding, kept))
    if subtracted and reference and zones.beats:
        scale = reference.unit_mv / rhythm.unit_mv
        beats = _reference_beats(reference, coding, zones.length_ms, scale, step_us)
        for lead, signal, beat in zip(leads, signals, beats, strict=True):
            _add_beat(signal, lead, beat, zones)
    raw = RawEcg({}, 1e6 / step_us, _stated(sections.get(7, b"")))
    begin = _begin(leads)
    for lead, values in zip(leads, signals, strict=True):
        raw.add(lead.name, values[max(begin - lead.first, 0) :] * rhythm.unit_mv)
    if step_us != rhythm.step_us:
        raw.warnings.append(f"Outside QRS the file keeps one of {factor} samples; the others were interpolated.")
    if binascii.crc_hqx(data[2:], 0xFFFF) != struct.unpack_from("<H", data)[0]:
        raw.warnings.append("The checksum of the file is wrong: it was altered after it was written.")
    return raw


def _sections(data: bytes) -> dict[int, bytes]:
    """Return the bodies of the sections (without their headers) by number."""
    if len(data) < 6 + HEADER:
        raise EcgError("An SCP-ECG file begins with a table of sections; found too few bytes. The file is cut off.")
    table_length = struct.unpack_from("<I", data, 10)[0]
    count = min((table_length - HEADER) // 10, (len(data) - 22) // 10, 64)
    found = {}
    for k in range(max(count, 0)):
        number, length, index = struct.unpack_from("<HII", data, 22 + 10 * k)
        if length <= HEADER or number == 0 or index == 0:
            continue
        start = index - 1
        if start < 0 or start + length > len(data):
            raise EcgError(f"Section {number} is said to end beyond the file ({len(data)} bytes). The file is cut off.")
        found[number] = data[start + HEADER : start + length]
    return found


def _leads(body: bytes) -> tuple[list[_Lead], bool]:
    """Parse section 3; also whether a reference beat was subtracted."""
    count, flags = body[0], body[1]
    if not 0 < count <= 64 or len(body) < 2 + 9 * count:
        raise EcgError(f"Section 3 must define its leads; found {count} in {len(body)} bytes. The file is damaged.")
    leads = []
    for k in range(count):
        first, last, code = struct.unpack_from("<IIB", body, 2 + 9 * k)
        if not first <= last:
            raise EcgError("A lead must end after it begins; found the opposite. The file is damaged.")
        check_count(last - first + 1)
        leads.append(_Lead(SCP_LEADS.get(code, ""), first, last))
    total = sum(lead.last - lead.first + 1 for lead in leads)
    if total > MOST_SAMPLES:
        raise EcgError(
            f"Up to {MOST_SAMPLES:,} samples over all leads are expected; the header claims {total:,}. Damaged?"
        )
    return leads, bool(flags & 1)


def _begin(leads: list[_Lead]) -> int:
    """Return the first sample that all standard leads have.

    Raises:
        EcgError: If leads follow one another instead of running together.
    """
    standard = [lead for lead in leads if lead.name] or leads
    begin, end = max(lead.first for lead in standard), min(lead.last for lead in standard)
    if end - begin + 1 < 0.9 * max(lead.last - lead.first + 1 for lead in standard):
        raise EcgError(
            "Leads recorded together are needed; here they follow one another. Export the simultaneous 12-lead rhythm."
        )
    return begin


def _zones(body: bytes, leads: list[_Lead]) -> _Zones:
    """Parse section 4: subtraction and protected zones.

    Raises:
        EcgError: If there are more beats than a record can have.
    """
    if len(body) < 6:
        return _Zones(0, 0, [], [])
    length_ms, fiducial, count = struct.unpack_from("<HHH", body)
    if 6 + 14 * count > len(body):
        return _Zones(length_ms, fiducial, [], [])
    if count * len(leads) > MOST_BEATS:
        raise EcgError(
            f"Up to {MOST_BEATS:,} beats over all leads are expected; found {count * len(leads):,}. Damaged?"
        )
    beats = [struct.unpack_from("<HIII", body, 6 + 14 * k) for k in range(count)]
    length = max(lead.last - lead.first + 1 for lead in leads)
    if sum(max(end - begin + 1, 0) for _, begin, _, end in beats) > 2 * length:
        raise EcgError("Beats that do not overlap are expected; found others. The file is damaged.")
    start = 6 + 14 * count
    protected = []
    if start + 8 * count <= len(body):
        protected = [struct.unpack_from("<II", body, start + 8 * k) for k in range(count)]
    return _Zones(length_ms, fiducial, beats, protected)


@dataclass(frozen=True)
class _Series:
    """What sections 5 and 6 have in common."""

    unit_mv: float
    step_us: int
    difference: int
    flag: int
    parts: list[bytes]


def _series(body: bytes, count: int) -> _Series:
    """Parse the common layout of sections 5 and 6."""
    if len(body) < 6 + 2 * count:
        raise EcgError("Rhythm data must hold all leads; found too few bytes. The file is cut off.")
    nanovolt, step, difference, flag = struct.unpack_from("<HHBB", body)
    lengths = struct.unpack_from(f"<{count}H", body, 6)
    if not nanovolt or not step or difference > 2:
        raise EcgError("Scale, time step and difference coding must be stated; found impossible ones. Damaged?")
    if 6 + 2 * count + sum(lengths) > len(body):
        raise EcgError("The lengths of the leads exceed their section. The file is cut off.")
    parts, position = [], 6 + 2 * count
    for length in lengths:
        parts.append(body[position : position + length])
        position += length
    return _Series(nanovolt * 1e-6, step, difference, flag, parts)


def _undo_differences(values: np.ndarray, difference: int) -> np.ndarray:
    """Integrate first or second differences, (L,) int64."""
    if difference == 1:
        return np.cumsum(values)
    if difference == 2 and len(values) > 2:
        slope = (values[1] - values[0]) + np.cumsum(values[2:])
        return np.concatenate([values[:2], values[1] + np.cumsum(slope)])
    return values


def _integers(part: bytes, count: int, coding: list[Table] | None) -> np.ndarray:
    """Return up to ``count`` stored integers of a lead."""
    if coding is not None:
        return decode_huffman(part, count, coding)
    return np.frombuffer(part, "<i2", min(count, len(part) // 2)).astype(np.int64)


def _lead_values(
    lead: _Lead, part: bytes, difference: int, coding: list[Table] | None, kept: np.ndarray | None
) -> np.ndarray:
    """Decode one lead of section 6, (L,) float64 in units of the section; ``kept`` tells where bimodal samples lie."""
    total = lead.last - lead.first + 1
    check_count(total)
    if kept is None:
        values = _integers(part, total, coding)
        # Raw data of a lead may be shorter than its definition says; coded data may not, but by the one sample that
        # writers who count from 0 leave open.
        if len(values) < total - (lead.first == 0) and (coding is not None or len(values) < 2):
            raise EcgError(f"{total} samples of a lead are announced; found {len(values)}. The file is cut off.")
        return _undo_differences(values, difference).astype(np.float64)
    values = _integers(part, len(kept), coding)
    if len(values) < len(kept):
        raise EcgError(f"{len(kept)} samples of a lead are announced; found {len(values)}. The file is cut off.")
    return np.interp(np.arange(total), kept, _undo_differences(values, difference))


def _kept(lead: _Lead, protected: list[tuple[int, int]], factor: int) -> np.ndarray:
    """Return where, in full-rate samples from the lead's first, the kept samples of a bimodal lead lie.

    All samples of protected zones are kept; elsewhere one (the mean) for ``factor``, which stands at their centre. A
    group that meets a zone is shorter.
    """
    inside = np.zeros(lead.last - lead.first + 1, dtype=bool)
    for begin, end in protected:
        inside[max(begin - lead.first, 0) : max(end - lead.first + 1, 0)] = True
    edges = np.flatnonzero(np.diff(inside)) + 1
    out = []
    for begin, end in zip([0, *edges], [*edges, len(inside)], strict=True):
        if inside[begin]:
            out.append(np.arange(begin, end, dtype=np.float64))
        else:
            starts = np.arange(begin, end, factor)
            out.append((starts + np.minimum(starts + factor, end) - 1) / 2)
    return np.concatenate(out)


def _reference_beats(
    reference: _Series, coding: list[Table] | None, length_ms: int, scale: float, step_us: int
) -> Iterator[np.ndarray]:
    """Yield the reference beat of each lead, (n,), in units and steps of the rhythm."""
    count = 1000 * length_ms // reference.step_us
    check_count(count * len(reference.parts))
    for part in reference.parts:
        beat = _undo_differences(_integers(part, count, coding), reference.difference) * scale
        if reference.step_us != step_us:
            time = np.arange(len(beat)) * reference.step_us
            beat = np.interp(np.arange(0, time[-1] + 1, step_us), time, beat)
        yield beat


def _add_beat(signal: np.ndarray, lead: _Lead, beat: np.ndarray, zones: _Zones) -> None:
    """Add the reference beat of a lead back where it was subtracted (beats of type 0)."""
    for kind, begin, fiducial, end in zones.beats:
        if kind != 0 or begin == 0:
            continue
        samples = np.arange(max(begin, lead.first), min(end, lead.last) + 1)
        inside = samples - fiducial + zones.fiducial - 1
        good = (inside >= 0) & (inside < len(beat)) & (samples - lead.first < len(signal))
        signal[(samples - lead.first)[good]] += beat[inside[good]]


def _stated(body: bytes) -> dict[str, float]:
    """Parse the global measurements of section 7 (first reference beat)."""
    if len(body) < 6:
        return {}
    beats, _, rr, _ = struct.unpack_from("<BBHH", body)
    found: dict[str, float | None] = {"rr_ms": float(rr) if rr else None}
    if rr and rr < 20000:
        found["hr_bpm"] = 60000.0 / rr
    if beats and len(body) >= 22:
        p_on, _, qrs_on, qrs_off, t_off, _, axis, _ = struct.unpack_from("<HHHHHhhh", body, 6)
        if 0 < qrs_on < qrs_off < 20000:
            found["qrsd_ms"] = float(qrs_off - qrs_on)
            found["qt_ms"] = float(t_off - qrs_on) if qrs_off < t_off < 20000 else None
            found["pr_ms"] = float(qrs_on - p_on) if 0 < p_on < qrs_on else None
        found["axis_deg"] = float(axis) if abs(axis) <= 360 else None
    return measurements(found)
