"""The header of a WFDB record, read by one parser: what it says is what is decoded.

(Moody, "WFDB Applications Guide", header(5).) A record line, then a line a signal, or a line a segment. Text is
UTF-8 or Latin-1. Names may carry a folder, as some archives write them; the files are sought beside the header only.
"""

import re
from dataclasses import dataclass

from COFGeneratorLib.ecg.readers.source import MAX_BYTES, check_count, number, unit_mv
from COFGeneratorLib.errors import EcgError

MOST_SIGNALS, MOST_SEGMENTS, MOST_PER_FRAME = 64, 4096, 64
DEFAULT_RATE_HZ, DEFAULT_GAIN = 250.0, 200.0
BITS = {"8": 8, "16": 16, "24": 24, "32": 32, "61": 16, "80": 8, "160": 16, "212": 12, "310": 32 / 3, "311": 32 / 3}
"""Coding of samples → bits a sample takes; compressed (FLAC) codings are not read."""
_NAME = re.compile(r"[\w.\-+/\\ ~]{1,400}")
_CODING = re.compile(r"(\d{1,3})(?:x(\d{1,6}))?(?::(\d{1,12}))?(?:\+(\d{1,12}))?")
_GAIN = re.compile(r"([\d.eE+-]{1,30})?(?:\((-?\d{1,12})\))?(?:/(\S{1,40}))?")


@dataclass(frozen=True)
class Signal:
    """One line of a header.

    Attributes:
        file: Name of the file of samples, without a folder.
        coding: Of the samples, a key of ``BITS``.
        per_frame: Samples a frame.
        skew: Frames by which this signal lies later in the file.
        offset: Bytes before the first sample of the file.
        gain: Steps per unit, below 0 where the signal is stored upside down; None where the header states that it is
            not calibrated.
        baseline: Step that is zero.
        unit_mv: mV of the unit; None where it is not a voltage.
        first: Value before the first, of differences.
        name: Description: the lead.
    """

    file: str
    coding: str
    per_frame: int
    skew: int
    offset: int
    gain: float | None
    baseline: float
    unit_mv: float | None
    first: int
    name: str


@dataclass(frozen=True)
class Header:
    """A record of one piece (``signals``) or of several (``segments``: name, ``~`` for a gap, and frames)."""

    fs_hz: float
    frames: int
    rate_stated: bool
    signals: tuple[Signal, ...] = ()
    segments: tuple[tuple[str, int], ...] = ()


def text_of(data: bytes) -> str:
    """Return the text of a header, UTF-8 or else Latin-1."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def record_fields(text: str) -> list[str] | None:
    """Return the fields of a record line that begins a text, None where it is none."""
    line = next((line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")), "")
    fields = line.split()
    if len(line) > 500 or "," in line or ";" in line or len(fields) < 2:
        return None
    name, _, segments = fields[0].rpartition("/") if re.search(r"[^/]/\d+$", fields[0]) else (fields[0], "", "")
    if not _NAME.fullmatch(name) or not fields[1].isascii() or not fields[1].isdigit() or len(fields[1]) > 9:
        return None
    rate = fields[2].split("/")[0].split("(")[0] if len(fields) > 2 else "0"
    samples = fields[3] if len(fields) > 3 else "0"
    # Time and date may follow the rate where the length is left out.
    samples = samples if samples.isascii() and samples.isdigit() and len(samples) <= 12 else "0"
    return [name, segments, fields[1], rate, samples] if number(rate) is not None else None


def parse_header(text: str) -> Header:
    """Parse a header.

    Raises:
        EcgError: If it contradicts itself or claims what cannot be.
    """
    first = record_fields(text)
    if first is None:
        raise EcgError("A WFDB header begins with record name, signals and rate; found another line. Damaged?")
    _, segments, signals, rate, samples = first
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")][1:]
    stated, count, frames = number(rate, 1e-3, 1e6), int(signals), int(samples)
    fs_hz, told = stated or DEFAULT_RATE_HZ, stated is not None
    if segments:
        return Header(fs_hz, frames, told, segments=_segments(lines, int(segments[:9]), frames * count))
    if not 0 < count <= MOST_SIGNALS or len(lines) < count or any(len(line.split()) < 2 for line in lines[:count]):
        raise EcgError(
            f"1 to {MOST_SIGNALS} signals, a line each, are expected in the header; it announces {count} and has "
            f"{len(lines)} lines. The header is damaged."
        )
    found = tuple(_signal(line) for line in lines[:count])
    check_count(max(frames, 1) * sum(signal.per_frame for signal in found))
    return Header(fs_hz, frames, told, found)


def _segments(lines: list[str], count: int, values: int) -> tuple[tuple[str, int], ...]:
    check_count(max(values, 1))
    parts = [line.split() for line in lines[:count]]
    if not 0 < count <= MOST_SEGMENTS or len(parts) != count:
        raise EcgError(
            f"1 to {MOST_SEGMENTS} segments, a line each, are expected in the header; it announces {count} and has "
            f"{len(parts)} lines. The header is damaged."
        )
    if any(len(part) < 2 or not (part[1].isascii() and part[1].isdigit() and len(part[1]) <= 12) for part in parts):
        raise EcgError("Each segment must state its name and length; found another line. The header is damaged.")
    return tuple((base_name(part[0]), int(part[1])) for part in parts)


def base_name(name: str) -> str:
    """Return the last part of a name, which is where archives that carry a folder keep the file.

    Raises:
        EcgError: If the name leads upwards or begins at a root.
    """
    parts = re.split(r"[/\\]", name)
    if not _NAME.fullmatch(name) or parts[0] == "" or ".." in parts or parts[-1] in ("", "."):
        raise EcgError(
            "Samples must lie beside their header; the header names a file elsewhere. Do not trust this file."
        )
    return parts[-1]


def _signal(line: str) -> Signal:
    fields = line.split()
    coding = _CODING.fullmatch(fields[1])
    if coding is None or coding.group(1) not in BITS:
        raise EcgError("Plain WFDB sample codings (16, 212, 80, …) are read; found another. Convert to format 16.")
    per_frame, skew, offset = int(coding.group(2) or 1), int(coding.group(3) or 0), int(coding.group(4) or 0)
    if not 0 < per_frame <= MOST_PER_FRAME or offset > MAX_BYTES:
        raise EcgError("The header states impossible frames or offsets. The header is damaged.")
    scale = _GAIN.fullmatch(fields[2]) if len(fields) > 2 else None
    gain = number(scale.group(1)) if scale and scale.group(1) else None
    zero = number(fields[4]) if len(fields) > 4 else 0.0
    baseline = float(scale.group(2)) if scale and scale.group(2) else zero or 0.0
    first = number(fields[5], -(2**31), 2**31) if len(fields) > 5 else None
    return Signal(
        base_name(fields[0]), coding.group(1), per_frame, skew, offset, gain or None, baseline,
        unit_mv(scale.group(3)) if scale and scale.group(3) else 1.0, int(first or 0), " ".join(fields[8:]),
    )  # fmt: skip
