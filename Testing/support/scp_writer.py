"""A writer of SCP-ECG with every coding the standard allows: raw or Huffman, differences, bimodal, reference beat."""

import binascii
import struct

import numpy as np

from support.ecg_writers import PERSON

CODES = [1, 2, 61, 62, 63, 64, 3, 4, 5, 6, 7, 8]
"""Lead codes of the standard in the order of our leads."""


def huffman_bits(values: np.ndarray) -> bytes:
    """Code with the default table (annex C)."""
    out = []
    for value in values.tolist():
        if value == 0:
            out.append("0")
        elif -8 <= value <= 8:
            out.append("1" * abs(value) + "0" + ("1" if value < 0 else "0"))
        elif -128 <= value <= 127:
            out.append("1111111110" + format(value & 0xFF, "08b"))
        else:
            out.append("1111111111" + format(value & 0xFFFF, "016b"))
    bits = "".join(out)
    bits += "0" * (-len(bits) % 8)
    return int(bits or "0", 2).to_bytes(len(bits) // 8, "big")


def differences(values: np.ndarray, order: int) -> np.ndarray:
    """First values kept, then first or second differences."""
    if order == 0:
        return values
    if order == 1:
        return np.concatenate([values[:1], np.diff(values)])
    return np.concatenate([values[:2], np.diff(values, 2)])


def _coded(values: np.ndarray, order: int, huffman: bool) -> bytes:
    stored = differences(values, order)
    return huffman_bits(stored) if huffman else stored.astype("<i2").tobytes()


def _section(number: int, body: bytes) -> bytes:
    body += b"\x00" * (len(body) % 2)
    head = struct.pack("<HIBB6s", number, len(body) + 16, 20, 20, b"SCPECG" if number == 0 else b"\x00" * 6)
    return struct.pack("<H", binascii.crc_hqx(head + body, 0xFFFF)) + head + body


def scp_bytes(
    digits: np.ndarray, step_us: int = 2000, order: int = 2, huffman: bool = True, zones=None, reference=None, factor=4
) -> bytes:
    """Write (12, L) integers of 5 µV.

    Args:
        digits: Samples.
        step_us: Time between samples.
        order: Of the differences.
        huffman: Code with the default table, or raw 16-bit.
        zones: Protected zones [(first, last)] counted from 1: bimodal coding.
        reference: (beat (12, n) integers, fiducial counted from 1, R samples counted from 1): beats subtracted.
        factor: Decimation of bimodal coding.
    """
    count, length = digits.shape
    residual = digits.copy()
    section4 = section5 = b""
    flags = 4 | (8 << 3)
    rs = []
    if reference is not None:
        beat, fiducial, rs = reference
        flags |= 1
        for r in rs:
            begin = r - fiducial + 1
            residual[:, begin - 1 : begin - 1 + beat.shape[1]] -= beat
    if reference is not None or zones:
        beat, fiducial, rs = reference if reference is not None else (np.zeros((count, 250), int), 100, [])
        zones = zones or [(0, 0)] * len(rs)
        rows = list(rs) + [0] * (len(zones) - len(rs))
        section4 = struct.pack("<HHH", beat.shape[1] * step_us // 1000, fiducial, len(rows))
        for r in rows:
            if r:
                section4 += struct.pack("<HIII", 0, r - fiducial + 1, r, r - fiducial + beat.shape[1])
            else:
                section4 += struct.pack("<HIII", 1, 0, 0, 0)
        section4 += b"".join(struct.pack("<II", *zone) for zone in zones)
        parts = [_coded(row, order, huffman) for row in beat]
        section5 = struct.pack("<HHBB", 5000, step_us, order, 0) + struct.pack(f"<{count}H", *map(len, parts))
        section5 += b"".join(parts)
    bimodal = zones is not None and any(last for _, last in zones)
    if bimodal:
        inside = np.zeros(length, bool)
        for first, last in zones:
            inside[max(first - 1, 0) : last] = True
        kept, i = [], 0
        while i < length:
            if inside[i]:
                kept.append(residual[:, i])
                i += 1
                continue
            stop = i
            while stop < min(i + factor, length) and not inside[stop]:
                stop += 1
            kept.append(np.round(residual[:, i:stop].mean(axis=1)).astype(int))
            i = stop
        stored = np.stack(kept, axis=1)
    else:
        stored = residual
    parts = [_coded(row, order, huffman) for row in stored]
    section6 = struct.pack("<HHBB", 5000, step_us * (factor if bimodal else 1), order, int(bimodal))
    section6 += struct.pack(f"<{count}H", *map(len, parts)) + b"".join(parts)
    section1 = b"".join(
        struct.pack("<BH", tag, len(text) + 1) + text.encode() + b"\x00"
        for tag, text in ((0, PERSON["name"]), (1, PERSON["given"]), (2, PERSON["id"]), (16, PERSON["place"]))
    )
    section3 = bytes([count, flags]) + b"".join(struct.pack("<IIB", 1, length, code) for code in CODES[:count])
    bodies = {1: section1 + b"\xff\x00\x00", 3: section3, 4: section4, 5: section5, 6: section6}
    if huffman:
        bodies[2] = struct.pack("<H", 19999)
    sections = {number: _section(number, body) for number, body in sorted(bodies.items()) if body}
    index = 6 + 16 + 10 * 12 + 1
    pointers = struct.pack("<HII", 0, 136, 7)
    for number in range(1, 12):
        size = len(sections.get(number, b""))
        pointers += struct.pack("<HII", number, size, index if size else 0)
        index += size
    rest = _section(0, pointers) + b"".join(sections[number] for number in sorted(sections))
    rest = struct.pack("<I", len(rest) + 6) + rest
    return struct.pack("<H", binascii.crc_hqx(rest, 0xFFFF)) + rest
