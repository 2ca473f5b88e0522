"""Work for the tests of worker processes, in a module that a process loads at once."""

import os
import signal

from COFGeneratorLib.errors import CohortError


def squared(number: int) -> int:
    return number * number


def killed(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def refused(number: int) -> int:
    if number == 3:
        raise CohortError("three is refused")
    return number


def twice(number: int) -> int:
    return 2 * number


def nothing(plan: object) -> None:
    return None
