"""Files: hashes by content, and writing that is complete or does not appear."""

import contextlib
import csv
import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

RUN_BY_SPREADSHEETS = ("=", "+", "-", "@")


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

    The folder is made where it is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.stem}.{secrets.token_hex(6)}{path.suffix}")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, complete and on the disk or not at all."""
    with replacing(path) as beside, beside.open("w", encoding="utf-8") as stream:
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
    with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8") as stream:
        if comment:
            stream.write(f"# {comment}\n")
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(map(plain_cell, row) for row in rows)


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
