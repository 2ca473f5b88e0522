"""Damage to binary formats, field by field: fixed headers, sections, DICOM elements, members of an archive."""

import gzip
import io
import json
import random
import struct
import zipfile
from collections.abc import Callable, Sequence

from support.fuzzing.texts import NUMBERS, WORDS, damaged_json

Field = tuple[int, str]
"""Offset, and format as of ``struct``."""
INTEGERS = (
    0,
    1,
    -1,
    2,
    3,
    7,
    8,
    15,
    16,
    127,
    128,
    255,
    256,
    1000,
    32767,
    -32768,
    65535,
    2**31 - 1,
    -(2**31),
    2**32 - 1,
)
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-30, 1e30, 3e38, float("nan"), float("inf"), float("-inf"), 1e-6, 1e6)


def damaged_fields(content: bytes, fields: Sequence[Field], dice: random.Random) -> bytes:
    """Return bytes of which one or a few fields hold what no writer would write."""
    out = bytearray(content)
    for _ in range(dice.choice((1, 1, 2, 3))):
        at, form = dice.choice(fields)
        if at + struct.calcsize(form) > len(out):
            continue
        (found,) = struct.unpack_from(form, out, at)
        if form[-1] in "fd":
            value = dice.choice((*FLOATS, found * 2, -found))
        elif form[-1] == "s":
            value = dice.choice(WORDS).encode("utf-8", "surrogatepass").ljust(len(found))[: len(found)]
        else:
            low, high = (-1, 1) if form[-1].islower() else (0, 2)  # of half the range
            half = 1 << (8 * struct.calcsize(form) - 1)
            value = min(max(dice.choice((*INTEGERS, found + 1, found - 1, found * 2)), low * half), high * half - 1)
        struct.pack_into(form, out, at, value)
    return bytes(out)


def _row(form: str, first: int, end: int) -> list[Field]:
    return [(at, form) for at in range(first, end, struct.calcsize(form))]


NIFTI = (
    (0, "<i"), *_row("<h", 40, 56), (70, "<h"), (72, "<h"), *_row("<f", 76, 120), (123, "<B"), (252, "<h"),
    (254, "<h"), *_row("<f", 256, 328), (344, "<4s"), (348, "<B"), (352, "<i"), (356, "<i"),
)  # fmt: skip


def damaged_nifti(content: bytes, dice: random.Random) -> bytes:
    """Damage the header of a NIfTI-1 file; also of one that is packed."""
    if content[:2] != b"\x1f\x8b":
        return damaged_fields(content, NIFTI, dice)
    whole = damaged_fields(gzip.decompress(content), NIFTI, dice)
    return gzip.compress(whole, 1) * dice.choice((1, 1, 1, 2))


def damaged_headed(lines: Callable[[str, random.Random], str], end: bytes) -> Callable[[bytes, random.Random], bytes]:
    """Return a damage of the text before ``end`` in a file that goes on in bytes (NRRD, MetaImage)."""

    def damage(content: bytes, dice: random.Random) -> bytes:
        head, found, body = content.partition(end)
        changed = lines(head.decode("latin-1"), dice).encode("utf-8", "surrogatepass")
        if dice.random() < 0.1:
            body = body[: dice.randrange(len(body) + 1)] or body * 2
        return changed + found + body

    return damage


def damaged_scp(content: bytes, dice: random.Random) -> bytes:
    """Damage the table of sections of an SCP-ECG file, or the first fields of a section."""
    places = [6 + 16 + 10 * number for number in range(12)]
    fields: list[Field] = [(2, "<I")]
    for place in places:
        if place + 10 > len(content):
            break
        fields += [(place, "<H"), (place + 2, "<I"), (place + 6, "<I")]
        _, size, index = struct.unpack_from("<HII", content, place)
        if size and 0 < index < len(content):
            start = index - 1
            fields += [(start + 2, "<H"), (start + 4, "<I"), (start + 8, "<B")]
            fields += [(start + 16 + at, dice.choice(("<B", "<H", "<I"))) for at in range(0, min(size, 90), 2)]
    return damaged_fields(content, fields, dice)


def damaged_edf(content: bytes, dice: random.Random) -> bytes:
    """Damage the fixed columns of an EDF header."""
    signals = 13
    widths = [8, 80, 80, 8, 8, 8, 44, 8, 8, 4]
    widths += [width for width in (16, 80, 8, 8, 8, 8, 8, 80, 8, 32) for _ in range(signals)]
    places, at = [], 0
    for width in widths:
        places.append((at, width))
        at += width
    out = bytearray(content)
    for _ in range(dice.choice((1, 2, 4))):
        at, width = dice.choice(places[4:])
        word = dice.choice(WORDS if dice.random() < 0.3 else NUMBERS).encode("utf-8", "surrogatepass")
        out[at : at + width] = word[:width].ljust(width)
    return bytes(out)


def damaged_mat(content: bytes, dice: random.Random) -> bytes:
    """Damage tags, sizes and flags of the elements of a MATLAB file."""
    fields = [(at, form) for at in range(124, min(len(content) - 8, 420), 4) for form in ("<I", "<i", "<H")]
    return damaged_fields(content, fields, dice)


def damaged_safetensors(content: bytes, dice: random.Random) -> bytes:
    """Damage the header of weights: names, types, shapes, places; or its length."""
    (length,) = struct.unpack_from("<Q", content)
    head = json.loads(content[8 : 8 + length])
    text = json.dumps(damaged_json(head, dice)).encode("utf-8", "surrogatepass")
    said = len(text) if dice.random() < 0.8 else dice.choice((0, 1, len(text) - 1, len(text) * 2, 2**40, 2**64 - 1))
    return struct.pack("<Q", said) + text + content[8 + length :]


VALUES = {
    "DS": NUMBERS, "IS": NUMBERS, "LO": WORDS, "CS": WORDS, "UI": ("", "1", "1.2." * 40, "x"), "TM": NUMBERS,
}  # fmt: skip
"""Values of text elements by their VR."""


def damaged_dicom(content: bytes, dice: random.Random) -> bytes:
    """Damage elements of a DICOM file, at the top or in a sequence; one that cannot be written so is left out."""
    import pydicom
    from pydicom.config import IGNORE, settings

    dataset = pydicom.dcmread(io.BytesIO(content), force=True)
    levels = [dataset]
    while dice.random() < 0.7:
        below = [item for element in levels[-1] if element.VR == "SQ" and element.value for item in element.value]
        if not below:
            break
        levels.append(dice.choice(below))
    found = [(holder, element) for holder in levels for element in holder]
    for holder, element in dice.sample(found, min(len(found), dice.choice((1, 1, 2, 4)))):
        _damage_element(holder, element, dice)
    out, before = io.BytesIO(), settings.writing_validation_mode
    settings.writing_validation_mode = IGNORE
    try:
        dataset.save_as(out, enforce_file_format=False)
    except Exception:  # what even a tolerant writer refuses is cut short
        return content[: dice.randrange(len(content))]
    finally:
        settings.writing_validation_mode = before
    return out.getvalue()


def _damage_element(holder, element, dice: random.Random) -> None:
    from pydicom.dataelem import DataElement, RawDataElement

    kind, vr = dice.randrange(6), element.VR
    if kind == 0:
        del holder[element.tag]
    elif vr == "SQ":
        items = list(element.value)
        element.value = items * dice.choice((0, 2, 2, 30)) if kind < 4 else items[: len(items) // 2]
    elif vr in VALUES:
        count = dice.choice((1, 1, element.VM, 3, 300))
        value = "\\".join(dice.choice(VALUES[vr])[:200] for _ in range(count)).encode("utf-8", "surrogatepass")
        holder[element.tag] = RawDataElement(element.tag, vr, len(value), value, 0, False, True)
    elif vr in ("US", "SS", "UL", "SL"):
        half = 1 << (15 if vr[1] == "S" else 31)
        low, high = (0, 2 * half - 1) if vr[0] == "U" else (-half, half - 1)
        element.value = [
            min(max(dice.choice(INTEGERS), low), high) for _ in range(dice.choice((1, 1, 1, 2, 0)))
        ] or None
    elif vr in ("FL", "FD"):
        element.value = [dice.choice(FLOATS) for _ in range(dice.choice((1, element.VM, 0)))] or None
    elif vr in ("OB", "OW"):
        value = bytes(element.value or b"")
        value = value[: dice.randrange(len(value) // 2 + 1) * 2] if kind < 4 else value * 2
        holder[element.tag] = DataElement(element.tag, vr, value)
    else:
        holder[element.tag] = DataElement(element.tag, "LO", dice.choice(("x", "", "1\\2")))


def damaged_zip(damage: Callable[[bytes, random.Random], bytes]) -> Callable[[bytes, random.Random], bytes]:
    """Return a damage of an archive: of its tables, its names, its packing, or of members by ``damage``."""

    def on_archive(content: bytes, dice: random.Random) -> bytes:
        if dice.random() < 0.35:
            return _damaged_tables(content, dice)
        buffer = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(buffer, "w") as out:
            names = archive.namelist()
            touched = set(dice.sample(names, min(len(names), dice.choice((1, 1, 2, 4)))))
            for name in names:
                inner = archive.read(name)
                if name not in touched:
                    out.writestr(zipfile.ZipInfo(name), inner, 0)
                    continue
                if dice.random() < 0.8:
                    inner = damage(inner, dice)
                if dice.random() < 0.2:
                    name = dice.choice((*WORDS[-20:], "../" + name, "/" + name, name + "/", "a/" * 400 + name))
                    name = name.encode("utf-8", "replace").decode() or "x"
                packed = dice.choice((0, 8, 8, 8, 12, 14))
                out.writestr(zipfile.ZipInfo(name[:60_000]), inner, packed)
        return buffer.getvalue()

    return on_archive


def _damaged_tables(content: bytes, dice: random.Random) -> bytes:
    fields: list[Field] = []
    at = content.find(b"PK\1\2")
    while at >= 0 and len(fields) < 4000:
        fields += [(at + 8, "<H"), (at + 10, "<H"), (at + 16, "<I"), (at + 20, "<I"), (at + 24, "<I")]
        fields += [(at + 28, "<H"), (at + 30, "<H"), (at + 32, "<H"), (at + 38, "<I"), (at + 42, "<I")]
        at = content.find(b"PK\1\2", at + 4)
    end = content.rfind(b"PK\5\6")
    fields += [(end + 8, "<H"), (end + 10, "<H"), (end + 12, "<I"), (end + 16, "<I"), (end + 20, "<H")]
    return damaged_fields(content, fields, dice)
