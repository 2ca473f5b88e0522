"""How many elements a DICOM object has and how deep they lie, seen before a library makes an object of each."""

import struct
from math import inf
from mmap import mmap

DEEPEST = 32
"""Items within items; reports nest a dozen deep, and libraries take time that grows with the square of it."""
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_SHORT = {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL",
          b"SS", b"ST", b"TM", b"UI", b"UL", b"US"}  # fmt: skip
_ITEM, _END_OF_ITEM = 0xE000, 0xE00D
_ITEM_GROUP, _PIXELS = 0xFFFE, 0x7FE0
_UNDEFINED = 0xFFFFFFFF


def excess(data: bytes | mmap, big_endian: bool, most: int) -> str:
    """Walk over all elements, those of items too; what is no DICOM ends the walk, and the library refuses it later.

    Args:
        data: A whole file, or what comes before its pixels.
        big_endian: Whether its transfer syntax is.
        most: Elements that it may have.

    Returns:
        What there is too much of, in words; "" where all is within bounds.
    """
    position = 132 if data[128:132] == b"DICM" else 0
    count, ends = 0, [inf]
    while position + 8 <= len(data):
        while position >= ends[-1]:
            ends.pop()
        count += 1
        if count > most:
            return f"more than {most:,} elements"
        # The file meta group is little-endian always.
        order = ">" if big_endian and data[position : position + 2] != b"\x02\x00" else "<"
        group, element = struct.unpack_from(order + "HH", data, position)
        if group == _ITEM_GROUP:  # items and delimiters: what is in them comes next
            length = struct.unpack_from(order + "I", data, position + 4)[0]
            position += 8
            if element == _ITEM and length:
                ends.append(inf if length == _UNDEFINED else position + length)
                if len(ends) > DEEPEST:
                    return f"items more than {DEEPEST} deep"
            elif element == _END_OF_ITEM and len(ends) > 1:
                ends.pop()
            continue
        length, start = _content(data, position, order)
        if group == _PIXELS and length == _UNDEFINED:
            position = _after_fragments(data, start, order)
        else:
            nested = data[start : start + 4] in (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")
            position = start if group != _PIXELS and (nested or length == _UNDEFINED) else start + length
    return ""


def _content(data: bytes | mmap, position: int, order: str) -> tuple[int, int]:
    """Return length and place of the value of the element at a position."""
    kind = data[position + 4 : position + 6]
    if kind in _SHORT:
        return struct.unpack_from(order + "H", data, position + 6)[0], position + 8
    if kind in _LONG and position + 12 <= len(data):
        return struct.unpack_from(order + "I", data, position + 8)[0], position + 12
    return struct.unpack_from(order + "I", data, position + 4)[0], position + 8


def _after_fragments(data: bytes | mmap, position: int, order: str) -> int:
    """Return where the fragments of compressed pixels end."""
    while position + 8 <= len(data):
        group, element, length = struct.unpack_from(order + "HHI", data, position)
        position += 8
        if (group, element) != (_ITEM_GROUP, _ITEM) or length == _UNDEFINED:
            return position
        position += length
    return position
