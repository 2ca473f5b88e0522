"""Work for the tests of worker processes, in a module that a process loads at once."""

import os
import signal
import time
from pathlib import Path

from COFGeneratorLib.errors import CohortError
from COFGeneratorLib.jobs import worker


def squared(number: int) -> int:
    return number * number


def killed(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def refused(number: int) -> int:
    if number == 3:
        raise CohortError("three is refused")
    return number


def slow(folder: str, number: int) -> int:
    mark = Path(folder) / f"{number}-{os.getpid()}"
    try:
        mark.touch()
        time.sleep(60.0 if number else 0.0)
    except KeyboardInterrupt:
        time.sleep(0.3)  # a second interrupt would come now
        mark.with_name(f"cleaned-{number}").touch()
        raise
    return number


def deadly_at_two(number: int) -> int:
    if number == 2:
        os._exit(3)
    return number


KEPT = [0]


def remember(value: int) -> None:
    KEPT[0] = value


def remembered(number: int) -> int:
    return KEPT[0]


def be_patient() -> None:
    """Let this process wait for long for the item that it is at, before it ends."""
    worker.GRACE_S = 600.0


def left_idle(folder: str, number: int) -> int:
    (Path(folder) / f"{number}-{os.getpid()}").touch()
    return number
