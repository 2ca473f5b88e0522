"""A folder of results that is either complete or does not appear.

``run.json`` is written last. It holds what is needed to repeat a run and to trust it; it names no person, no input file
and no folder.
"""

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

from COFGeneratorLib.errors import ChainOfFlowError
from COFGeneratorLib.files import write_json
from COFGeneratorLib.folders import whole_folder
from COFGeneratorLib.jobs.stopwatch import Stopwatch
from COFGeneratorLib.machine import peak_memory_mb, versions

MANIFEST = "run.json"
PRODUCT = "ChainOfFlow"
REQUEST = "request_sha256"
"""Fact of a manifest: the hash of all that was asked for."""


class ResultFolder(contextlib.AbstractContextManager[Path]):
    """Gives a folder to write into, and publishes it on success, see ``folders.whole_folder``.

    Args:
        out: Final folder. It may be absent, empty, or hold the result of the same request.
        overwrite: Replace a result of another request, and allow a folder that holds other files; these stay.
        request_sha256: Hash of what is asked for; empty where that is not known.

    Raises:
        ChainOfFlowError: If ``out`` holds something else, is a file, cannot be written, or is being written.
    """

    def __init__(self, out: str | os.PathLike, overwrite: bool = False, request_sha256: str = "") -> None:
        if not overwrite and Path(out).is_dir():
            _check_content(Path(out), request_sha256)
        self._folder = whole_folder(out, earlier_files)

    def __enter__(self) -> Path:
        return self._folder.__enter__()

    def __exit__(self, *raised: Any) -> bool | None:
        return self._folder.__exit__(*raised)


def _check_content(folder: Path, request_sha256: str) -> None:
    earlier = read_manifest(folder)
    if earlier is None and any(folder.iterdir()):
        raise ChainOfFlowError(
            f"The result needs an empty folder or an earlier result to replace; found other files in {folder}. "
            "Choose another folder, or allow it with --overwrite."
        )
    if earlier is not None and not (request_sha256 and earlier.get(REQUEST) == request_sha256):
        raise ChainOfFlowError(
            f"A result is not replaced unless it was made from the same files with the same settings; found another "
            f"in {folder}. Choose another folder, or replace it with --overwrite."
        )


def write_manifest(folder: Path, command: str, facts: dict[str, Any], watch: Stopwatch, warnings: list[str]) -> Path:
    """Write ``run.json`` for the files now in a folder; call it last."""
    content = {
        "product": PRODUCT,
        "command": command,
        "created_utc": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": versions(),
        **facts,
        "timings_s": watch.as_dict(),
        "peak_memory_mb": peak_memory_mb(),
        "warnings": list(dict.fromkeys(warnings)),
        "files": [
            *sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()),
            MANIFEST,
        ],
    }
    path = folder / MANIFEST
    write_json(path, content)
    return path


def read_manifest(folder: str | os.PathLike) -> dict | None:
    """Return the content of a result's ``run.json``; None where the folder is no result of this product."""
    try:
        manifest = json.loads((Path(folder) / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return manifest if isinstance(manifest, dict) and manifest.get("product") == PRODUCT else None


def earlier_files(folder: Path) -> set[str]:
    """Return the names below a folder that an earlier result in it lists as its own."""
    listed = (read_manifest(folder) or {}).get("files", [])
    return {name for name in listed if isinstance(name, str)} if isinstance(listed, list) else set()
