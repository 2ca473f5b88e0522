"""Costly files that one process of a test run makes and the others find."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

LONGEST_S = 900.0
"""What a process waits for another one's files before it gives up."""


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that ``make`` has filled, in this process or in another one of the same run.

    Args:
        factory: The run's ``tmp_path_factory``.
        name: Name of the folder; the same name is the same content.
        make: Fills the empty folder that it is given, which keeps its path. It runs once in a run; where it fails, the
            next who asks tries again and sees the error, too.

    Raises:
        TimeoutError: If another process began with the folder and does not end.
    """
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "once" / name
    begun, ready = folder.with_name(f"{name}.begun"), folder.with_name(f"{name}.ready")
    folder.parent.mkdir(exist_ok=True)
    deadline = time.monotonic() + LONGEST_S
    while not ready.exists():
        try:
            begun.mkdir()
        except FileExistsError:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} was begun by another process and not made in {LONGEST_S:.0f} s.") from None
            time.sleep(0.05)
            continue
        try:
            if not ready.exists():  # made between the two looks
                folder.mkdir()
                make(folder)
                ready.touch()
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            begun.rmdir()
    return folder
