"""European Data Format, EDF and EDF+C (Kemp, Clin. Neurophysiol. 1992;82:391 and 2003;114:1755): 16-bit samples."""

import numpy as np

from COFGeneratorLib.ecg.readers.leads import lead_name
from COFGeneratorLib.ecg.readers.source import RawEcg, Source, check_count, number, unit_mv
from COFGeneratorLib.errors import EcgError

FORMAT = "edf"
_FIELDS = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)
"""Widths of a signal's fields: label, transducer, unit, physical and digital range (4), filter, count, reserved."""


def matches(source: Source) -> bool:
    """Tell by the version field and a header length that fits the number of signals."""
    head = source.data[:256]
    if head[:8] != b"0       " or len(head) < 256:
        return False
    signals, length = _integer(head[252:256]), _integer(head[184:192])
    return signals is not None and length == 256 * (signals + 1)


def read(source: Source) -> RawEcg:
    """Read the leads; the fields that name patient and recording are skipped over.

    Raises:
        EcgError: If the record has gaps, the leads differ in rate, or the header contradicts the file.
    """
    data = source.data
    count = _integer(data[252:256]) or 0
    if not 0 < count <= 256 or len(data) < 256 * (count + 1):
        raise EcgError(f"A complete EDF header is expected; found {count} signals in {len(data)} bytes. Damaged?")
    fields = _signal_fields(data, count)
    samples = [_integer(text) or 0 for text in fields[8]]
    if min(samples) <= 0:
        raise EcgError("Every EDF signal must have samples in a record; found none. The header is damaged.")
    check_count(sum(samples))
    record_bytes = 2 * sum(samples)
    present = (len(data) - 256 * (count + 1)) // record_bytes
    records = _integer(data[236:244])
    records = present if records is None or records < 0 else records
    seconds = number(data[244:252].decode("latin-1"), 1e-6, 1e6)
    if records > present or records == 0 or seconds is None:
        raise EcgError(f"{records} data records are announced; found {present}. The file is cut off.")
    if data[192:197] == b"EDF+D" and records > 1:
        raise EcgError("A record without gaps is expected; found EDF+D, which has some. Export it as EDF+C.")

    names = [text.decode("latin-1").strip() for text in fields[0]]
    wanted = [i for i, name in enumerate(names) if lead_name(name)]
    if not wanted:
        raise EcgError("Twelve standard leads are needed; the file names none. Is it an ECG?")
    if len({samples[i] for i in wanted}) > 1:
        raise EcgError("All leads must have one sampling rate; found several. Resample the recording.")
    check_count(records * sum(samples))
    values = np.frombuffer(data, "<i2", records * sum(samples), 256 * (count + 1)).reshape(records, -1)
    starts = np.concatenate([[0], np.cumsum(samples)])
    raw = RawEcg({}, samples[wanted[0]] / seconds)
    for i in wanted:
        digital = values[:, starts[i] : starts[i + 1]].reshape(-1)
        raw.add(names[i], _physical(digital, [part[i].decode("latin-1") for part in fields[2:7]], source.told.unit))
    return raw


def _integer(text: bytes) -> int | None:
    value = number(text.decode("latin-1"))
    return int(value) if value is not None else None


def _signal_fields(data: bytes, count: int) -> list[list[bytes]]:
    """Return for each field of ``_FIELDS`` the raw text of every signal."""
    out, position = [], 256
    for width in _FIELDS:
        out.append([data[position + i * width : position + (i + 1) * width] for i in range(count)])
        position += width * count
    return out


def _physical(digital: np.ndarray, fields: list[str], told: str | None) -> np.ndarray:
    """Convert (L,) digital values to mV by the stated ranges; the unit is the user's where the file has none."""
    unit = unit_mv(fields[0]) or (unit_mv(told) if told and not fields[0].strip() else None)
    ranges = [value for value in map(number, fields[1:]) if value is not None]
    if unit is None:
        found = "another unit. Correct the unit of the file" if fields[0].strip() else "no unit. State it: --unit uV"
        raise EcgError(f"Leads in µV, mV or V are expected; found {found}.")
    if len(ranges) != 4 or ranges[3] <= ranges[2] or ranges[0] == ranges[1]:
        raise EcgError("Each lead must state its physical and digital range; found an impossible one. Damaged?")
    low, high, digital_low, digital_high = ranges
    gain = (high - low) / (digital_high - digital_low)
    return ((digital.astype(np.float64) - digital_low) * gain + low) * unit
