"""A small reader of MATLAB files, level 4 and 5: numeric arrays, and those in the fields of a 1 × 1 structure; texts.

Written here, and not taken from a library, because sizes and nesting are checked before anything is allocated; other
cells, objects and sparse arrays are skipped. (MATLAB, "MAT-File Format", chapters 1 and 2.)
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from COFGeneratorLib.ecg.readers.source import MAX_VALUES
from COFGeneratorLib.errors import EcgError

MAX_INFLATED = 64 * 1024 * 1024
MOST_VARIABLES = 256
MOST_ELEMENTS = 4 * MOST_VARIABLES
"""In a file, and in a matrix of it."""
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_V4_TYPES = {0: "f8", 1: "f4", 2: "i4", 3: "i2", 4: "u2", 5: "u1"}
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _CHARACTER = 1, 2, 4
LONGEST_TEXT = 1024
"""Bytes of a text that is looked at, such as a unit or a list of leads."""
_NUMERIC = range(6, 16)
_Element = tuple[int, memoryview]


def is_level_5(data: bytes) -> bool:
    """Tell by the endian mark of the 128-byte header."""
    return len(data) > 136 and data[126:128] in (b"IM", b"MI") and data[124:126] in (b"\x00\x01", b"\x01\x00")


def is_level_4(data: bytes) -> bool:
    """Tell by a plausible first variable header (little-endian)."""
    if len(data) < 24:
        return False
    kind, rows, columns, imaginary, name = struct.unpack_from("<5I", data)
    return (
        kind in (0, 10, 20, 30, 40, 50)
        and rows > 0
        and columns > 0
        and imaginary == 0
        and 1 < name <= 64
        and data[20 : 20 + name].rstrip(b"\x00").replace(b"_", b"a").isalnum()
    )


def read_arrays(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the real numeric arrays (two dimensions or fewer when squeezed) and the short texts of a file.

    Both by name, ``structure.field`` for the fields of a structure. Rows of a text, and cells of texts, are joined by
    commas.

    Raises:
        EcgError: If the file is damaged or inflates beyond ``MAX_INFLATED``.
    """
    found: dict[str, np.ndarray] = {}
    texts: dict[str, str] = {}
    if is_level_5(data):
        order = "<" if data[126:128] == b"IM" else ">"
        budget = MAX_INFLATED
        for kind, body in _elements(memoryview(data)[128:], order):
            if kind == _COMPRESSED:
                inflated = _inflate(body, budget)
                budget -= len(inflated)
                kind, body = next(_elements(memoryview(inflated), order), (0, body))
            if kind == _MATRIX:
                _matrix(body, order, found, texts, depth=0)
    else:
        _level_4(data, found)
    return found, texts


def _inflate(body: memoryview, budget: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        out = stream.decompress(body, max(budget, 1))
    except zlib.error:
        raise EcgError("A readable MATLAB file is expected; its compressed data are damaged. Save it again.") from None
    if stream.unconsumed_tail:
        raise EcgError(
            f"A MATLAB file may inflate to {MAX_INFLATED // 2**20} MiB; found more. Save the ECG array alone."
        )
    return out


def _elements(data: memoryview, order: str) -> Iterator[_Element]:
    """Yield (type, bytes) of the data elements; the small form keeps both in eight bytes."""
    position = count = 0
    while position + 8 <= len(data):
        count += 1
        if count > MOST_ELEMENTS:
            raise EcgError(
                f"A MATLAB file of up to {MOST_ELEMENTS} elements is expected; found more. Save the ECG alone."
            )
        kind, size = struct.unpack_from(order + "II", data, position)
        if kind >> 16:
            kind, size = kind & 0xFFFF, kind >> 16
            if size > 4:
                raise EcgError("A readable MATLAB file is expected; found an impossible element. Save it again.")
            yield kind, data[position + 4 : position + 4 + size]
            position += 8
            continue
        if position + 8 + size > len(data):
            raise EcgError("A MATLAB variable is said to end beyond the file. The file is cut off; save it again.")
        yield kind, data[position + 8 : position + 8 + size]
        position += 8 + size
        if kind != _COMPRESSED:
            position += -size % 8


def _matrix(body: memoryview, order: str, found: dict[str, np.ndarray], texts: dict[str, str], depth: int) -> None:
    """Parse one matrix: flags, dimensions, name, then what its class needs."""
    parts = list(_elements(body, order))
    if len(parts) < 4 or len(parts[0][1]) < 4 or len(found) > MOST_VARIABLES:
        return
    flags = struct.unpack_from(order + "I", parts[0][1])[0]
    dimensions = np.frombuffer(parts[1][1][:64], order + "i4").tolist()
    name = bytes(parts[2][1][:64]).decode("latin-1")
    array_class, is_complex = flags & 0xFF, bool(flags & 0x0800)
    if array_class == _STRUCT and depth < 2 and dimensions == [1, 1]:
        for field, content in _fields(parts, order):
            inner: dict[str, np.ndarray] = {}
            words: dict[str, str] = {}
            _matrix(content, order, inner, words, depth + 1)
            # Matrices in fields have no name of their own; those of inner structures begin with a dot.
            found |= {f"{name}.{field}{sub}": values for sub, values in inner.items()}
            texts |= {f"{name}.{field}{sub}": text for sub, text in words.items()}
    elif array_class == _CELL and depth < 3 and len(body) <= 64 * LONGEST_TEXT:
        cells: dict[str, str] = {}
        for number, (kind, content) in enumerate(parts[3:]):
            word: dict[str, str] = {}
            if kind == _MATRIX:
                _matrix(content, order, {}, word, depth + 1)
            cells[str(number)] = "".join(word.values())
        texts[name] = ",".join(cells.values())
    elif array_class == _CHARACTER and len(parts[3][1]) <= LONGEST_TEXT:
        text = bytes(parts[3][1]).replace(b"\x00", b"").decode("latin-1")
        rows = max(dimensions[0], 1)
        texts[name] = ",".join(text[row::rows].strip() for row in range(min(rows, len(text))))
    elif array_class in _NUMERIC and not is_complex:
        _numeric(parts[3], order, dimensions, name, found)


def _fields(parts: list[_Element], order: str) -> list[tuple[str, memoryview]]:
    """Return name and matrix of the fields of a 1 × 1 structure: length of names, names, then one matrix a field."""
    width = int.from_bytes(parts[3][1][:4], "little" if order == "<" else "big")
    if not 0 < width <= 64 or len(parts) < 5:
        return []
    raw = bytes(parts[4][1][: width * MOST_VARIABLES])
    names = [raw[i : i + width].split(b"\x00")[0].decode("latin-1") for i in range(0, len(raw), width)]
    fields = zip(names, parts[5:], strict=False)
    return [(field, body) for field, (kind, body) in fields if kind == _MATRIX]


def _numeric(part: _Element, order: str, dimensions: list[int], name: str, found: dict[str, np.ndarray]) -> None:
    kind, data = part
    if kind not in _TYPES or any(size <= 0 for size in dimensions):
        return
    shape = [size for size in dimensions if size > 1] or [1]
    count = 1
    for size in shape:
        count *= size
        if count > MAX_VALUES:
            raise EcgError(f"Arrays of up to {MAX_VALUES:,} numbers are expected; found more. Save the ECG alone.")
    values = np.frombuffer(data, order + _TYPES[kind])
    if values.size != count:
        raise EcgError(f"{count} numbers of an array are announced; found {values.size}. The file is damaged.")
    if len(shape) <= 2:
        found[name] = values.reshape(shape, order="F")


def _level_4(data: bytes, found: dict[str, np.ndarray]) -> None:
    position = 0
    while position + 20 <= len(data) and len(found) < MOST_VARIABLES:
        kind, rows, columns, imaginary, length = struct.unpack_from("<5I", data, position)
        code, text = (kind // 10) % 10, kind % 10
        if code not in _V4_TYPES or kind >= 1000 or not 0 < length <= 256 or rows * columns > MAX_VALUES:
            raise EcgError("A readable MATLAB file is expected; found an impossible variable. Save it again.")
        start = position + 20 + length
        size = rows * columns * np.dtype(_V4_TYPES[code]).itemsize
        if start + size > len(data):
            raise EcgError("A MATLAB variable is said to end beyond the file. The file is cut off; save it again.")
        if text == 0 and not imaginary:
            values = np.frombuffer(data, "<" + _V4_TYPES[code], rows * columns, start)
            found[data[position + 20 : start].split(b"\x00")[0].decode("latin-1")] = values.reshape(
                (rows, columns), order="F"
            )
        position = start + size * (2 if imaginary else 1)
