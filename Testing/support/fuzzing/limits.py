"""Time and memory of one call, and what becomes of it."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from COFGeneratorLib.errors import ChainOfFlowError

MAX_S, MAX_MB, HANG_S = 5.0, 500.0, 60
"""Promised: seconds of CPU and memory over the start, for one input. What hangs is broken off."""
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Outcome:
    """What reading one input came to.

    Attributes:
        said: ``read``, ``refused``, or the name of a foreign error.
        seconds: Of CPU.
        more_mb: Highest memory over that before.
        message: Of what was raised.
    """

    said: str
    seconds: float
    more_mb: float
    message: str = ""

    @property
    def foreign(self) -> bool:
        """Whether something else was raised than a refusal."""
        return self.said not in ("read", "refused")

    @property
    def beyond(self) -> bool:
        """Whether a limit was passed."""
        return self.seconds > MAX_S or self.more_mb > MAX_MB


def measured(work: Callable[[], object], refusal: type[ChainOfFlowError]) -> Outcome:
    """Call ``work`` and tell how it went; memory is measured on Linux alone, elsewhere it is 0."""
    before_mb = _memory_mb("VmRSS") if _reset_peak() else None
    said, message, begin = "read", "", time.process_time()
    try:
        with _at_most(HANG_S):
            work()
    except refusal as error:
        said, message = "refused", str(error)
    except Exception as error:
        said, message = type(error).__name__, str(error)
    seconds = time.process_time() - begin
    more_mb = 0.0 if before_mb is None else _memory_mb("VmHWM") - before_mb
    return Outcome(said, seconds, more_mb, message)


def _reset_peak() -> bool:
    try:
        RESET.write_text("5")
    except OSError:
        return False
    return True


def _memory_mb(field: str) -> float:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024.0


@contextlib.contextmanager
def _at_most(seconds: int) -> Iterator[None]:
    def broken_off(*_) -> None:
        raise TimeoutError(f"more than {seconds} s")

    if not hasattr(signal, "SIGALRM"):
        yield
        return
    before = signal.signal(signal.SIGALRM, broken_off)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
