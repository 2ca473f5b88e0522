"""``cof batch`` from the Slicer application, with no window::

    Slicer --no-splash --no-main-window --python-script …/batch/cof_batch.py -- --table cases.csv --out DIR

The options are those of ``cof batch`` and the work is done by the same code, in a child process of Slicer's own Python:
a case that crashes it cannot take the application along. Slicer ends with the batch's exit code, whatever happens; by
itself it would go on for ever without a window. With a plain Python the script does the same.
"""

import os
import subprocess
import sys
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[2]
"""Folder that holds ``COFGeneratorLib``."""


def batch_arguments(argv: list[str]) -> list[str]:
    """Return the options of the batch: what follows ``--``, if that is there."""
    return argv[argv.index("--") + 1 :] if "--" in argv else list(argv)


def run(arguments: list[str], python: str = "") -> int:
    """Run ``cof batch`` in a child process and return its exit code."""
    paths = [str(LIBRARY), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        "PYTHONIOENCODING": "utf-8:replace",
    }
    command = [python or sys.executable, "-m", "COFGeneratorLib", "batch", *arguments]
    return subprocess.run(command, env=environment, check=False).returncode


def main() -> None:
    """Run the batch and leave the application, if there is one."""
    code = 1
    try:
        code = run(batch_arguments(sys.argv[1:]))
    finally:
        leave(code)


def leave(code: int) -> None:
    """End Slicer, or this Python, with an exit code."""
    slicer = sys.modules.get("slicer")
    if slicer is not None and hasattr(slicer, "app"):
        slicer.util.exit(code)
    else:
        sys.exit(code)


if __name__ == "__main__":
    main()
