"""What a bundle must be before anything of it is used: every file that it can load is listed, within it, and as hashed.

A bundle may come from anybody. Its metadata is read within bounds, its numbers are finite, no link leads out of it, and
its networks may not claim more than its files can fill.
"""

import contextlib
import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from COFGeneratorLib.errors import BundleError
from COFGeneratorLib.files import sha256_of
from COFGeneratorLib.resources import METADATA

FORMAT = 1
MAX_METADATA_BYTES = 16 << 20
MAX_FILES = 1000
MAX_BUNDLE_BYTES = 1 << 30
"""Of all its listed files together."""
LOADED = (".safetensors", ".json")
"""Endings of what is loaded from the folder ``models``: no such file may be unlisted."""
PARAMETERS_PER_BYTE = 4
"""Weights take a byte each at the least, and some are used by two networks; buffers are made from configurations."""
FREE_PARAMETERS = 20_000_000
"""What any bundle may claim however small its files are: 80 MB."""
PART_COST = 4096
"""What the smallest part of a network counts: millions of empty ones take time, too."""
SHA256 = re.compile(r"[0-9a-f]{64}")


def read_metadata(folder: Path) -> dict[str, Any]:
    """Read and check the metadata of a bundle, and every file of it that could be loaded.

    Raises:
        BundleError: If the folder is no bundle, is of another format, or a file is missing, altered, unlisted or
            elsewhere.
    """
    folder = Path(folder)
    try:
        metadata = _parsed(folder / METADATA)
        checksums, form = dict(metadata["checksums"]), int(metadata["format"])
        if not isinstance(metadata["name"], str) or not isinstance(metadata["version"], str):
            raise TypeError("name and version are texts")
        metadata["cof"]["grid"]
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise BundleError(
            f"A model bundle needs a complete {METADATA} in {folder.name}; found none that reads "
            f"({type(error).__name__}: {error}). Name the bundle's folder, or install the bundle again."
        ) from error
    if form != FORMAT:
        raise BundleError(
            f"A bundle of format {FORMAT} was expected; found {form}. Use a matching ChainOfFlow version."
        )
    if not 0 < len(checksums) <= MAX_FILES:
        raise BundleError(
            f"A bundle needs checksums of its weights, {MAX_FILES} at most; found {len(checksums)} in {METADATA}. "
            "Export it again."
        )
    _check_files(folder, checksums)
    return metadata


def _parsed(path: Path) -> dict[str, Any]:
    """Return JSON of bounded size whose numbers are all finite."""
    with path.open("rb") as stream:
        text = stream.read(MAX_METADATA_BYTES + 1)
    if len(text) > MAX_METADATA_BYTES:
        raise ValueError(f"more than {MAX_METADATA_BYTES >> 20} MiB")

    def finite(word: str) -> float:
        if not math.isfinite(number := float(word)):
            raise ValueError("a number that is not finite")
        return number

    content = json.loads(text, parse_float=finite, parse_constant=finite)
    if not isinstance(content, dict) or not isinstance(content.get("cof"), dict):
        raise TypeError("no object with an object cof")
    return content


def _check_files(folder: Path, checksums: dict[Any, Any]) -> None:
    """Check all listed files, and that none is unlisted.

    Raises:
        BundleError: If one is not as it must be.
    """
    root = folder.resolve()
    total = 0
    for name in checksums:
        parts = PurePosixPath(name).parts if isinstance(name, str) else ()
        path = folder / name
        plain = parts and not PurePosixPath(name).is_absolute() and ".." not in parts and "\\" not in name
        if not plain or root not in path.resolve().parents:
            raise BundleError(f"A bundle's files lie within it; found {name!r}. Do not use this bundle.")
        size = path.stat().st_size if os.path.isfile(path) else MAX_BUNDLE_BYTES + 1
        total += size
        if total > MAX_BUNDLE_BYTES:
            raise BundleError(f"The bundle's file {name} is missing or too large. Install the bundle again.")
    for path in _loadable(folder):
        name = path.relative_to(folder).as_posix()
        if name not in checksums:
            raise BundleError(
                f"Every file that a bundle loads must be in its checksums; found {name}, which is not. Do not use this "
                "bundle, or export it again."
            )
    for name, expected in checksums.items():
        if not isinstance(expected, str) or not SHA256.fullmatch(expected):
            raise BundleError(f"The checksum of {name} must be a SHA-256; found something else. Export it again.")
        if (found := sha256_of(folder / name)) != expected:
            raise BundleError(
                f"The bundle's file {name} must have SHA-256 {expected[:12]}…; found {found[:12]}…: it is truncated or "
                "was altered. Install the bundle again."
            )


def _loadable(folder: Path) -> Iterator[Path]:
    """Yield every file below ``models`` that could be loaded.

    Raises:
        BundleError: If a folder is a link: what lies behind it would go by names that are not listed.
    """
    for place, folders, files in os.walk(folder / "models"):
        for name in folders:
            if (Path(place) / name).is_symlink():
                raise BundleError(f"A bundle's folders lie within it; found the link {name}. Do not use this bundle.")
        yield from (Path(place) / name for name in files if Path(name).suffix.lower() in LOADED)


@contextlib.contextmanager
def bounded_networks(metadata: dict[str, Any], folder: Path) -> Iterator[None]:
    """Refuse, while networks are built, what claims more parameters than the bundle's files can fill.

    Raises:
        BundleError: As soon as that is so, before the memory is used.
    """
    from torch.nn.modules import module

    listed = sum((folder / name).stat().st_size for name in metadata["checksums"])
    left = FREE_PARAMETERS + PARAMETERS_PER_BYTE * listed

    def count(_: Any, name: str, value: Any) -> None:
        nonlocal left
        left -= PART_COST if value is None else max(PART_COST, value.numel())
        if left < 0:
            raise BundleError(
                f"The networks of a bundle may be as large as its files fill; {folder.name} claims more. Do not use "
                "this bundle."
            )

    hooks = [
        module.register_module_parameter_registration_hook(count),
        module.register_module_buffer_registration_hook(count),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
