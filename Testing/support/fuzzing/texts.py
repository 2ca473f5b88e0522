"""Damage to texts of lines, JSON and XML that leaves them texts of lines, JSON and XML."""

import copy
import json
import random
import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

NUMBERS = (
    "0", "-1", "1", "2", "3", "7", "255", "256", "32767", "-32768", "65536", "2147483647", "-2147483648", "4294967296",
    "9223372036854775808", "1e3", "1e9", "1e308", "1e400", "-1e-308", "nan", "inf", "-inf", "0.0001", "1,5", "+5",
    "0x10", "1_000", "9" * 4400, "٣", "",
)  # fmt: skip
WORDS = (
    *NUMBERS, " ", "\0", "\n", "a" * 5000, "../../../etc/passwd", "/dev/zero", "C:\\x", "file:///etc/passwd", "CON",
    "=1+1", "<b>", "&lt;", "%s%n", "{}", "(((((((((", "\ud800", "é\u0301", "\u202eabc", "None", "true", "mm", "ms",
    "-" * 300, "\ufeff", "😀" * 40,
)  # fmt: skip
JSONS: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, 1e308, float("nan"), float("inf"), -0.0, "", "x" * 3000, "\0",
    "../x", "/etc/passwd", "\ud800", [], {}, [[]], [None], {"a": 1}, [[[[[[]]]]]], [0] * 500, {"": {}}, "=1", "1",
)  # fmt: skip
TIMES = (2, 3, 40, 3000)
"""How often a part is repeated."""


def damaged_lines(text: str, dice: random.Random, divided_by: str = r"[\s,;:=]+") -> str:
    """Return lines of which some are gone, repeated, exchanged, or have another word in them.

    Args:
        text: Lines.
        dice: Of the input's number.
        divided_by: Pattern of what divides words.
    """
    lines = text.split("\n")
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        if not lines:
            break
        at = _early(len(lines), dice)
        kind = dice.randrange(8)
        if kind == 0:
            del lines[at]
        elif kind == 1:
            lines[at:at] = [lines[at]] * dice.choice(TIMES)
        elif kind == 2:
            other = dice.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        elif kind == 3:
            lines.insert(at, dice.choice(WORDS))
        else:
            lines[at] = _other_word(lines[at], dice, divided_by)
    return "\n".join(lines)


def _early(count: int, dice: random.Random) -> int:
    """Return a place, most often near the beginning, where headers are."""
    return dice.randrange(min(count, dice.choice((4, 20, count))))


def _other_word(line: str, dice: random.Random, divided_by: str) -> str:
    words = re.split(f"({divided_by})", line)  # words at even places, what divides them at odd ones
    at = 2 * dice.randrange((len(words) + 1) // 2)
    kind = dice.randrange(5)
    if kind == 0:
        words[at] = ""
    elif kind == 1:
        words[at : at + 1] = [*[words[at], " "] * dice.choice(TIMES), words[at]]
    elif kind == 2:
        del words[at:]
    else:
        words[at] = dice.choice(WORDS)
    return "".join(words)


def damaged_json(content: Any, dice: random.Random) -> Any:
    """Return a JSON value of which one or a few parts are gone, of another type, or deep or many."""
    content = copy.deepcopy(content)
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        holders = list(_holders(content))
        if not holders:
            return dice.choice(JSONS)
        holder = dice.choice(holders)
        key = dice.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        kind = dice.randrange(8)
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, dict):
            holder[dice.choice(WORDS)] = holder.pop(key)
        elif kind == 2 and isinstance(holder, list):
            holder[key:key] = [holder[key]] * dice.choice(TIMES)
        elif kind == 3:
            holder[key] = [copy.deepcopy(holder[key])]
        elif kind == 4:
            holder[key] = copy.deepcopy(dice.choice(holders))
        elif kind == 5 and isinstance(holder[key], str):
            holder[key] = dice.choice(WORDS)
        elif kind == 6 and isinstance(holder[key], int | float):
            holder[key] = dice.choice([value for value in JSONS if isinstance(value, int | float)])
        else:
            holder[key] = dice.choice(JSONS)
    return content


def _holders(content: Any) -> list[Any]:
    """Return the objects and lists of a JSON value that hold something."""
    found, left = [], [content]
    while left and len(found) < 5000:
        one = left.pop()
        if isinstance(one, dict | list) and one:
            found.append(one)
            left += list(one.values()) if isinstance(one, dict) else one[:50]
    return found


def json_text(content: Any, dice: random.Random) -> str:
    """Write JSON; now and then as deep as no reader should follow, or with a key twice."""
    text = json.dumps(content)
    kind = dice.randrange(30)
    if kind == 0:
        depth = dice.choice((100, 2000, 200_000))
        return "[" * depth + text + "]" * depth
    if kind == 1 and text.startswith("{") and len(text) > 2:
        return text[:-1] + "," + text[1:]
    return text


def damaged_xml(text: str, dice: random.Random) -> str:
    """Return XML whose elements are gone, repeated, moved, deep, or hold other words."""
    try:
        root = ElementTree.fromstring(re.sub(r"<\?xml[^>]*\?>|<!DOCTYPE[^>]*>", "", text))
    except (ElementTree.ParseError, UnicodeEncodeError):
        return damaged_lines(text, dice)
    for _ in range(dice.choice((1, 1, 2, 4))):
        parents = [one for one in root.iter() if len(one)] or [root]
        parent = dice.choice(parents)
        child = dice.choice(list(parent)) if len(parent) else root
        _damage_element(root, parent, child, dice)
    head = dice.choice(('<?xml version="1.0"?>', "", '<?xml version="1.0" encoding="utf-16"?>', _BOMB))
    return head + ElementTree.tostring(root, encoding="unicode")


_BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


def _damage_element(root: Any, parent: Any, child: Any, dice: random.Random) -> None:
    kind = dice.randrange(9)
    if kind == 0 and len(parent):
        parent.remove(child)
    elif kind == 1 and len(parent):
        for _ in range(dice.choice(TIMES) if len(list(child.iter())) < 5 else 2):
            parent.append(child)
    elif kind == 2:
        child.text = _word(dice)
    elif kind == 3 and child.attrib:
        child.attrib[dice.choice(list(child.attrib))] = _word(dice)
    elif kind == 4 and child.attrib:
        child.attrib.pop(dice.choice(list(child.attrib)))
    elif kind == 5:
        child.tag = dice.choice([one.tag for one in root.iter()])
    elif kind == 6 and child.text:
        child.text = damaged_lines(child.text, dice)
    elif kind == 7:
        deepest = child
        for _ in range(dice.choice((5, 150))):
            deepest = ElementTree.SubElement(deepest, child.tag)
    else:
        child.text = (child.text or "") * dice.choice((2, 3, 10))


def _word(dice: random.Random) -> str:
    return dice.choice(WORDS).replace("\0", "").replace("\ud800", "")


def in_text(damage: Callable[[str, random.Random], str], encoding: str = "utf-8") -> Callable:
    """Return a damage of bytes that are a text; what the encoding lacks is written anyhow."""

    def on_bytes(content: bytes, dice: random.Random) -> bytes:
        text = damage(content.decode(encoding, errors="surrogateescape"), dice)
        try:
            return text.encode(encoding, errors="surrogateescape")
        except UnicodeEncodeError:  # half a pair, which stands for no byte
            return text.encode(encoding, errors="surrogatepass")

    return on_bytes
