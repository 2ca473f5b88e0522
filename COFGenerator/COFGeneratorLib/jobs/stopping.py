"""Being asked to stop by the system: a signal is an interrupt, once, and cleaning up is not interrupted in turn."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
"""Ctrl-C; what batch systems and job runners send; a closed terminal; Ctrl-Break on Windows. Not all are everywhere."""
CLEANING_S = 8.0
"""After a first signal further ones do nothing for so long: users press Ctrl-C twice, terminals send two signals."""


@contextlib.contextmanager
def signals_interrupt() -> Iterator[None]:
    """Raise ``KeyboardInterrupt`` on every signal that asks to stop; one that was ignored, as by nohup, stays so.

    In other threads than the main one, which may set no handlers, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    first: list[float] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        if first and time.monotonic() - first[0] < CLEANING_S:
            return
        first[:] = [time.monotonic()]
        raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler not in (signal.SIG_IGN, None):
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)
