"""``run.json``: what is needed to repeat a run and to trust it. It names no person, no input file and no folder."""

import time
from pathlib import Path
from typing import Any

from COFGeneratorLib.files import write_json
from COFGeneratorLib.jobs.stopwatch import Stopwatch
from COFGeneratorLib.machine import peak_memory_mb, versions
from COFGeneratorLib.results.folder import MANIFEST, PRODUCT


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
