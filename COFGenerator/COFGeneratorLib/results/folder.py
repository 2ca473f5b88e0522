"""A folder of results that is either complete or does not appear.

Files are written into a hidden folder beside the final one and moved when all are there; ``run.json`` comes last, so a
folder with ``run.json`` is a complete result. That file holds what is needed to repeat a run and to trust it; it names
no person, no input file and no folder.
"""

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from COFGeneratorLib.errors import ChainOfFlowError
from COFGeneratorLib.files import write_json
from COFGeneratorLib.jobs.stopwatch import Stopwatch
from COFGeneratorLib.machine import peak_memory_mb, versions

MANIFEST = "run.json"
PRODUCT = "ChainOfFlow"


class ResultFolder:
    """Context manager: gives a folder to write into, and publishes it on success.

    Args:
        out: Final folder. It may be absent, empty, or hold an earlier result, which is then replaced.
        overwrite: Allow a folder that holds anything else too; other files in it stay as they are.

    Raises:
        ChainOfFlowError: If ``out`` holds other files, is a file, or cannot be written.
    """

    def __init__(self, out: str | os.PathLike, overwrite: bool = False) -> None:
        self.out = Path(out).absolute()
        self._made: list[Path] = []
        if self.out.exists() and not self.out.is_dir():
            raise ChainOfFlowError(f"The result needs a folder; found the file {out}. Choose another name.")
        if not overwrite and self.out.is_dir() and any(self.out.iterdir()) and not is_result(self.out):
            raise ChainOfFlowError(
                f"The result needs an empty folder or an earlier result to replace; found other files in {out}. "
                "Choose another folder, or allow it with --overwrite."
            )
        self.staging = self.out.with_name(f".{self.out.name}.partial-{os.getpid()}")

    def __enter__(self) -> Path:
        try:
            self._made = [folder for folder in (self.out.parent, *self.out.parent.parents) if not folder.exists()]
            self.staging.mkdir(parents=True)
        except OSError as error:
            self._undo()
            raise ChainOfFlowError(
                f"The result needs a folder that can be written; {self.out} cannot be made ({error.strerror}). "
                "Choose another folder."
            ) from error
        return self.staging

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._publish()
        else:
            self._undo()

    def _publish(self) -> None:
        files = sorted(path for path in self.staging.rglob("*") if path.is_file())
        if not self.out.exists():
            self.staging.rename(self.out)
            return
        stale = earlier_files(self.out) - {path.relative_to(self.staging).as_posix() for path in files}
        (self.out / MANIFEST).unlink(missing_ok=True)  # what is half replaced is no result
        for name in stale:
            (self.out / name).unlink(missing_ok=True)
        for path in sorted(files, key=lambda path: path.name == MANIFEST):
            target = self.out / path.relative_to(self.staging)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
        shutil.rmtree(self.staging)

    def _undo(self) -> None:
        """Take away what was begun, with the folders made for it."""
        shutil.rmtree(self.staging, ignore_errors=True)
        for folder in self._made:
            try:
                folder.rmdir()
            except OSError:
                break


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
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and manifest.get("product") == PRODUCT else None


def is_result(folder: str | os.PathLike) -> bool:
    """Return whether a folder holds a complete result of this product."""
    return read_manifest(folder) is not None


def earlier_files(folder: Path) -> set[str]:
    """Return the names that an earlier result lists as its own; nothing outside the folder is believed."""
    listed = (read_manifest(folder) or {}).get("files", [])
    plain = (name for name in listed if isinstance(name, str) and not Path(name).is_absolute())
    return {name for name in plain if ".." not in Path(name).parts}
