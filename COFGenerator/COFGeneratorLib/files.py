"""Files: hashes by content, and writing that is complete or does not appear."""

import contextlib
import csv
import functools
import hashlib
import json
import os
import platform
import re
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

UNWRITABLE = "replace"
"""What becomes of half a letter (a lone surrogate), as names of files and foreign JSON may hold: a question mark."""
RUN_BY_SPREADSHEETS = ("=", "+", "-", "@")
STAGED = re.compile(r"\..+\.([0-9a-f]{6})-([0-9a-f]{1,8})-[0-9a-f]{8}(\.[^.]*)?")
"""Name of a file that is being written: the machine and the process that write it stand in it."""
PART_OF_A_NAME = 4
"""Letters from which on a part of a path is looked for in messages; shorter ones are words of every text."""


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def weights_hash(folder: str) -> str:
    """Return the SHA-256 of the weights in a folder, for the record; empty where there is no folder."""
    if not folder:
        return ""
    digest = hashlib.sha256()
    for path in sorted(Path(folder).glob("*.safetensors")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a hidden name beside a file to write to: what is complete takes the final name, what is not goes away.

    The folder is made where it is missing. What killed processes left half written in it is swept.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent, os.getpid())
    beside = path.with_name(f".{path.stem}.{_machine()}-{os.getpid():x}-{secrets.token_hex(4)}{path.suffix}")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@functools.lru_cache(maxsize=256)
def _sweep(folder: Path, process: int) -> None:
    """Take away what dead processes of this machine left half written in a folder; once for each process."""
    if os.name == "nt":  # there is no harmless way to ask whether a process lives
        return
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            staged = STAGED.fullmatch(entry.name)
            if staged and staged[1] == _machine() and not _lives(int(staged[2], 16)) and not entry.is_dir():
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)


@functools.cache
def _machine() -> str:
    """Return what tells the processes of this machine, or container, from those of others that use the same disk."""
    told = [platform.node()]
    with contextlib.suppress(OSError):
        told += [Path("/proc/sys/kernel/random/boot_id").read_text("ascii"), os.readlink("/proc/self/ns/pid")]
    return hashlib.sha256(" ".join(told).encode()).hexdigest()[:6]


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)  # no signal: whether there is one that could get it
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, complete and on the disk or not at all."""
    with replacing(path) as beside, beside.open("w", encoding="utf-8", errors=UNWRITABLE) as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def write_json(path: Path, content: Any) -> None:
    """Write JSON, complete or not at all."""
    write_text(path, json.dumps(content, indent=1, default=str) + "\n")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]], comment: str = "") -> None:
    """Write a table, complete or not at all; None is an empty cell, and nothing in it is a spreadsheet's formula.

    ``comment`` becomes a line ``# …`` before the header.
    """
    with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8", errors=UNWRITABLE) as stream:
        if comment:
            stream.write(f"# {comment}\n")
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(map(plain_cell, row) for row in rows)


def append_csv(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    """Add rows to a table of ``write_csv``; a kill may cut the last one short."""
    with path.open("a", newline="", encoding="utf-8", errors=UNWRITABLE) as stream:
        csv.writer(stream).writerows(map(plain_cell, row) for row in rows)


def plain_cell(value: Any) -> Any:
    """Return a table's cell: a text that a spreadsheet would run gets an apostrophe before it, None is empty."""
    if not isinstance(value, str):
        return "" if value is None else value
    if value.lstrip()[:1] not in RUN_BY_SPREADSHEETS and value[:1] not in ("\t", "\r", "\n"):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def without_names(message: str, paths: Mapping[str, str | Path], shared: Collection[str] = ()) -> str:
    """Return a message with the names of files and folders replaced by what they are: they may be a person's.

    Args:
        message: Words that others may see.
        paths: Files and folders by what they are.
        shared: Parts of paths that are nobody's, and stay.
    """
    names: dict[str, str] = {}
    for what, path in ((what, Path(path)) for what, path in paths.items()):
        stem = path.name.partition(".")[0]
        for part in (str(path), os.path.realpath(path), path.name, stem, *path.parts[:-1]):
            if part == path.name or (len(part) >= PART_OF_A_NAME and part not in shared):
                names.setdefault(part, f"<{what}>")
    longest_first = sorted(filter(None, names), key=len, reverse=True)
    pattern = "|".join(map(re.escape, longest_first))
    return re.sub(rf"(?<!\w)(?:{pattern})(?!\w)", lambda found: names[found[0]], message) if pattern else message
