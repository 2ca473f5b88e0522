"""``run.json``: what is needed to repeat a run and to trust it. It names no person, no input file and no folder."""

import json
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from COFGeneratorLib import __version__
from COFGeneratorLib.results.folder import MANIFEST, PRODUCT

PACKAGES = ("torch", "monai", "numpy", "scipy", "SimpleITK", "neurokit2", "slicer-core")


class Stopwatch:
    """Adds up wall time by stage, s."""

    def __init__(self):
        self.seconds: dict[str, float] = {}
        self._begin = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time of a block towards a stage."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - begin)

    def add(self, name: str, seconds: float) -> None:
        """Add time that was measured elsewhere."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def as_dict(self) -> dict[str, float]:
        """Return the stages and ``total``, rounded to ms."""
        total = time.perf_counter() - self._begin
        return {name: round(value, 3) for name, value in (self.seconds | {"total": total}).items()}


def versions() -> dict[str, str]:
    """Return the versions of what computed the result."""
    found = {"ChainOfFlow": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def peak_memory_mb() -> float | None:
    """Return the largest resident memory of this process so far, MB; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e3), 1)  # bytes on macOS, kB elsewhere


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
    path.write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")
    return path
