"""Huffman coding of SCP-ECG (EN 1064, section 2 and annex C)."""

import struct
from dataclasses import dataclass

import numpy as np

from COFGeneratorLib.errors import EcgError


@dataclass(frozen=True)
class Code:
    """One code structure.

    Attributes:
        prefix_bits: Length of the prefix.
        total_bits: Prefix and the literal bits that follow it.
        is_value: Whether ``base`` is the value (or a literal follows); else the table to switch to.
        base: Value or table number.
        prefix: The prefix, first transmitted bit most significant.
    """

    prefix_bits: int
    total_bits: int
    is_value: bool
    base: int
    prefix: int


Table = tuple[int, list[Code | None]]
"""Length of the longest prefix, and the code of every word of that many bits."""


def _default() -> list[Code]:
    codes = [Code(1, 1, True, 0, 0b0)]
    for size in range(1, 9):
        ones = (1 << size) - 1
        codes.append(Code(size + 2, size + 2, True, size, ones << 2))
        codes.append(Code(size + 2, size + 2, True, -size, (ones << 2) | 1))
    # Ten ones-headed bits announce a literal: …0 an 8-bit, …1 a 16-bit number.
    codes.append(Code(10, 18, True, 0, 0b1111111110))
    codes.append(Code(10, 26, True, 0, 0b1111111111))
    return codes


def _table(codes: list[Code]) -> Table:
    """Expand the codes to a look-up of all words of the longest prefix."""
    width = max(code.prefix_bits for code in codes)
    # Codes that are prefixes of each other would be written over and over (Kraft's inequality).
    if sum(1 << (width - code.prefix_bits) for code in codes) > 1 << width:
        raise EcgError("Huffman codes that tell each other apart are expected; found others. The file is damaged.")
    lookup: list[Code | None] = [None] * (1 << width)
    for code in codes:
        spare = width - code.prefix_bits
        start = code.prefix << spare
        lookup[start : start + (1 << spare)] = [code] * (1 << spare)
    return width, lookup


DEFAULT_TABLE = _table(_default())
DEFAULT_NUMBER = 19999


def parse_tables(body: bytes) -> list[Table]:
    """Parse section 2: the default table, or tables of the file's own.

    Raises:
        EcgError: If the tables are damaged.
    """
    if len(body) < 2:
        raise EcgError("Section 2 must name a Huffman table; found none. The file is damaged.")
    (count,) = struct.unpack_from("<H", body)
    if count == DEFAULT_NUMBER:
        return [DEFAULT_TABLE]
    if not 0 < count <= 64:
        raise EcgError(f"Up to 64 Huffman tables are expected; found {count}. The file is damaged.")
    tables, position = [], 2
    for _ in range(count):
        if position + 2 > len(body):
            raise EcgError("Section 2 ends within a Huffman table. The file is cut off.")
        (number,) = struct.unpack_from("<H", body, position)
        position += 2
        if not 0 < number <= 4096 or position + 9 * number > len(body):
            raise EcgError("Section 2 ends within a Huffman table. The file is cut off.")
        codes = []
        for k in range(number):
            prefix, total, mode, base, word = struct.unpack_from("<BBBhI", body, position + 9 * k)
            if not 0 < prefix <= 16 or not prefix <= total <= prefix + 32:
                raise EcgError("A Huffman code of 1–16 bits is expected; found another. The file is damaged.")
            # The standard writes the code with its first transmitted bit least significant.
            reverse = int(format(word & ((1 << prefix) - 1), f"0{prefix}b")[::-1], 2)
            codes.append(Code(prefix, total, mode == 1, base, reverse))
        tables.append(_table(codes))
        position += 9 * number
    return tables


def decode_huffman(data: bytes, count: int, tables: list[Table]) -> np.ndarray:
    """Decode up to ``count`` values, (n,) int64; fewer when the data end before.

    Raises:
        EcgError: If the bits are no code of the table.
    """
    bits = 8 * len(data)
    # A 64-bit window slides over the bytes: shifting the whole stream for each value would be quadratic.
    padded = data + b"\x00" * 8
    width, lookup = tables[0]
    out: list[int] = []
    position = switches = 0
    while len(out) < count and position < bits:
        byte, offset = position >> 3, position & 7
        window = int.from_bytes(padded[byte : byte + 8], "big")
        code = lookup[(window >> (64 - offset - width)) & ((1 << width) - 1)]
        if code is None:
            raise EcgError("A bit pattern is not in the Huffman table. The file is damaged.")
        if position + code.total_bits > bits:
            break
        literal = code.total_bits - code.prefix_bits
        position += code.total_bits
        if not code.is_value:
            if not 1 <= code.base <= len(tables):
                raise EcgError("A Huffman table that does not exist is asked for. The file is damaged.")
            switches += 1
            if switches > count:
                raise EcgError("Huffman tables are switched more often than values come. The file is damaged.")
            width, lookup = tables[code.base - 1]
        elif literal:
            value = (window >> (64 - offset - code.total_bits)) & ((1 << literal) - 1)
            out.append(value - (1 << literal) if value >> (literal - 1) else value)
        else:
            out.append(code.base)
    return np.asarray(out, dtype=np.int64)
