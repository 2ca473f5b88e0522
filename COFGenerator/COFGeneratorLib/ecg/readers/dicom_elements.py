"""How many elements a DICOM object has, counted before a library makes an object of each."""

import struct

from COFGeneratorLib.errors import EcgError

MOST_ELEMENTS = 50_000
"""An ECG of 64 channels with 2,000 annotations has fewer; each costs microseconds and hundreds of bytes."""
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_SHORT = {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL",
          b"SS", b"ST", b"TM", b"UI", b"UL", b"US"}  # fmt: skip
_UNDEFINED = 0xFFFFFFFF


def check_elements(data: bytes, big_endian: bool) -> None:
    """Walk over all elements, those of items too; what is no DICOM ends the walk, and the library refuses it later.

    Raises:
        EcgError: If there are more than ``MOST_ELEMENTS``.
    """
    position = 132 if data[128:132] == b"DICM" else 0
    count = 0
    while position + 8 <= len(data):
        count += 1
        if count > MOST_ELEMENTS:
            raise EcgError(f"A DICOM ECG of up to {MOST_ELEMENTS:,} elements is expected; found more. Damaged?")
        # The file meta group is little-endian always.
        order = ">" if big_endian and data[position : position + 2] != b"\x02\x00" else "<"
        group = struct.unpack_from(order + "H", data, position)[0]
        kind = data[position + 4 : position + 6]
        if group == 0xFFFE:
            position += 8  # items and delimiters: what is in them comes next
            continue
        if kind in _SHORT:
            length, start = struct.unpack_from(order + "H", data, position + 6)[0], position + 8
        elif kind in _LONG and position + 12 <= len(data):
            length, start = struct.unpack_from(order + "I", data, position + 8)[0], position + 12
        else:
            length, start = struct.unpack_from(order + "I", data, position + 4)[0], position + 8
        nested = data[start : start + 4] in (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")
        position = start if nested or length == _UNDEFINED else start + length
