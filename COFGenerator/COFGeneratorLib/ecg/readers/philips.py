"""Philips Sierra ECG XML (``restingecgdata``), versions 1.03, 1.04 and 1.04.01.

Samples are base64, plain or XLI-compressed. XLI keeps one chunk a lead: length (4 bytes), 2 bytes unused, first value
(2 bytes), then 10-bit LZW codes of the second differences, high bytes first. In compressed files III and the augmented
leads are differences from what I and II predict.
"""

import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element

import numpy as np

from COFGeneratorLib.ecg.readers.source import (
    MAX_VALUES,
    RawEcg,
    Source,
    check_count,
    decode_base64,
    measurements,
    number,
)
from COFGeneratorLib.ecg.readers.xml_tree import parse, text_of
from COFGeneratorLib.ecg.record import LEADS
from COFGeneratorLib.errors import EcgError

FORMAT = "philips"
CODE_BITS = 10


def matches(source: Source) -> bool:
    """Tell by the root element."""
    return source.xml_root() == "restingecgdata"


def read(source: Source) -> RawEcg:
    """Read the parsed waveforms.

    Raises:
        EcgError: If they are absent, compressed in another way, or damaged.
    """
    root = parse(source.data)
    element = root.find(".//parsedwaveforms")
    text = (element.text or "").strip() if element is not None else ""
    if element is None or not text:
        raise EcgError("A Sierra file with parsed waveforms is expected; found none. Export it with waveforms.")
    traits = root.find(".//signalcharacteristics")
    fs = number(element.get("samplespersecond") or text_of(traits, "samplingrate"), 1e-3)
    resolution = number(
        element.get("resolution") or text_of(traits, "resolution") or text_of(traits, "signalresolution"), 1e-6, 1e6
    )
    if fs is None or resolution is None:
        raise EcgError("Sampling rate and resolution (µV) must be stated; found one missing. Export the file again.")
    labels = re.split(r"[\s,;]+", (element.get("leadlabels") or "").strip(" \t\r\n,;"))
    labels = labels if labels[0] else list(LEADS)
    valid = int(number(element.get("numberofleads") or text_of(traits, "numberchannelsvalid"), 1, 64) or len(labels))
    labels = labels[:valid]

    data = decode_base64(text)
    leads = _decode(element, data, labels)
    offset = number(element.get("signaloffset") or text_of(traits, "signaloffset")) or 0.0
    length = min(map(len, leads))
    raw = RawEcg({}, fs, _stated(root))
    stated_ms = number(element.get("durationperchannel"), 1, 1e9)
    if stated_ms:
        length = min(length, int(stated_ms * fs / 1000.0))
    keep = _content_end(leads, length, fs)
    if keep < length:
        raw.warnings.append(f"{(length - keep) / fs:.2f} s of padding at the end were cut off.")
    for name, lead in zip(labels, leads, strict=True):
        raw.add(name, (lead[:keep].astype(np.float64) - offset) * resolution * 1e-3)
    return raw


def _decode(element: Element, data: bytes, labels: list[str]) -> list[np.ndarray]:
    method = (element.get("compression") or element.get("compressmethod") or "").upper()
    if element.get("compressflag", "").lower() == "false":
        method = ""
    if method in ("", "NONE", "UNCOMPRESSED"):
        values = np.frombuffer(data, "<i2", len(data) // 2)
        check_count(values.size)
        each = values.size // len(labels)
        return [values[i * each : (i + 1) * each] for i in range(len(labels))]
    if method != "XLI":
        raise EcgError("Plain or XLI-compressed samples are expected; found another compression. Export uncompressed.")
    leads = list(_xli(data, len(labels)))
    length = min(map(len, leads))
    return _undo_prediction({name: lead[:length] for name, lead in zip(labels, leads, strict=True)})


def _xli(data: bytes, count: int) -> Iterator[np.ndarray]:
    """Yield the decompressed integers (L,) of each lead."""
    position = 0
    for _ in range(count):
        if position + 8 > len(data):
            raise EcgError(f"{count} compressed leads are announced; found fewer. The file is cut off.")
        size = int.from_bytes(data[position : position + 4], "little", signed=True)
        start = int.from_bytes(data[position + 6 : position + 8], "little", signed=True)
        chunk = data[position + 8 : position + 8 + max(size, 0)]
        if size > MAX_VALUES // count:
            raise EcgError("A compressed lead is larger than any recording. The file is damaged.")
        if size <= 0 or len(chunk) < size:
            raise EcgError("A compressed lead is shorter than announced. The file is cut off.")
        position += 8 + size
        unpacked = _lzw(chunk)
        half = len(unpacked) // 2
        if half < 2:
            raise EcgError("A compressed lead holds no samples. The file is damaged.")
        check_count(half * count)
        high, low = np.frombuffer(unpacked[:half], "i1"), np.frombuffer(unpacked[half : 2 * half], "u1")
        yield _second_differences(high.astype(np.int64) * 256 + low, start)


def _lzw(chunk: bytes) -> bytes:
    """Expand LZW with fixed 10-bit codes, most significant bit first; code 1023 ends it, 0…1022 are the dictionary."""
    bits = np.unpackbits(np.frombuffer(chunk, np.uint8))
    words = bits[: len(bits) // CODE_BITS * CODE_BITS].reshape(-1, CODE_BITS)
    codes = (words @ (1 << np.arange(CODE_BITS - 1, -1, -1))).tolist()
    end = (1 << CODE_BITS) - 1
    table = [bytes([value]) for value in range(256)]
    out: list[bytes] = []
    total, previous = 0, b""
    for code in codes:
        if code == end:
            break
        if code < len(table):
            entry = table[code]
        elif code == len(table) and previous:
            entry = previous + previous[:1]
        else:
            raise EcgError("A compressed lead has an impossible code. The file is damaged.")
        out.append(entry)
        total += len(entry)
        check_count(total)
        if previous and len(table) < end:
            table.append(previous + entry[:1])
        previous = entry
    return b"".join(out)


def _second_differences(delta: np.ndarray, start: int) -> np.ndarray:
    """Rebuild samples from Sierra's biased second differences, (L,) int."""
    # y[n] = 2 y[n−1] − y[n−2] − d[n−1], with d[1] = start and d[n] = delta[n] − 64 afterwards.
    step = np.concatenate([[start], delta[2:-1] - 64]) if len(delta) > 2 else np.empty(0, np.int64)
    slope = (delta[1] - delta[0]) - np.cumsum(step)
    return np.concatenate([delta[:2], delta[1] + np.cumsum(slope)])


def _undo_prediction(leads: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Add back what I and II predict of III, aVR, aVL and aVF."""
    if {"I", "II", "III"} <= set(leads):
        one, two = leads["I"], leads["II"]
        three = leads["III"] = two - one - leads["III"]
        # Halves are rounded towards zero as the device does.
        for name, predicted in (("aVR", -_half(one + two)), ("aVL", _half(one - three)), ("aVF", _half(two + three))):
            if name in leads:
                leads[name] = predicted - leads[name]
    return list(leads.values())


def _half(values: np.ndarray) -> np.ndarray:
    return np.trunc(values / 2).astype(np.int64)


def _content_end(leads: list[np.ndarray], length: int, fs: float) -> int:
    """Return where the recording ends and the padding (rest line, calibration pulse) begins; ``length`` without any.

    Padding is the same in all leads, which no heart beat is: aVR, aVL and aVF add up to zero. The device pads to a
    full second and reports whole seconds, so the incomplete last second goes, too.
    """
    differ = np.flatnonzero(np.ptp(np.stack([lead[:length] for lead in leads]), axis=0))
    end = int(differ[-1]) + 1 if differ.size else length
    if length - end < max(8, int(0.02 * fs)):
        return length
    whole = int(end / fs) * round(fs)
    return whole if whole > 0 else end


def _stated(root: Element) -> dict[str, float]:
    part = root.find(".//crossleadmeasurements")
    interpreted = root.find(".//interpretationmeasurements")
    names = {"hr_bpm": "meanventrate", "pr_ms": "meanprint", "qrsd_ms": "meanqrsdur", "qt_ms": "meanqtint"}
    found = {ours: number(text_of(part, theirs)) for ours, theirs in names.items()}
    found["axis_deg"] = number(text_of(part, "qrsfrontaxis"))
    if found["hr_bpm"] is None:
        found["hr_bpm"] = number(text_of(interpreted, "heartrate"))
        if found["hr_bpm"] is None:
            found["hr_bpm"] = number(text_of(root, ".//globalmeasurements/heartrate"))
    found["rr_ms"] = number(text_of(interpreted, "rrint"))
    return measurements(found)
