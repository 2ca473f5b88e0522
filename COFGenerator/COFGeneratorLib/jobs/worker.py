"""The life of one process of a pool: it is prepared once, does what it is handed, and ends with its parent.

It lives as long as a pipe that its parent holds. Told to end, by that pipe or by SIGTERM, it interrupts the item that
it is at, once, so that the item can take away what it had half made; then, or after a while, it is gone.
"""

import _thread
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

from COFGeneratorLib.jobs.stopping import SIGNALS

Prepare = Callable[[], Any]

GRACE_S = 4.0
"""What a process that is to end may take to clean up."""
HELD_BACK = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
"""Signals that ask to stop; what a terminal sends to all its processes is the parent's affair."""

_preparing: list[Prepare] = []
"""What is still to be called before the first item."""
_idle, _ending, _interrupted = threading.Event(), threading.Event(), threading.Event()
"""Whether there is no item at work, whether the process is to end, and whether the item has been told so."""
_telling = threading.Lock()


def begin(alive: Connection, prepare: Prepare | None) -> None:
    """Begin a process's life, which ends when the other side of ``alive`` is closed, or by SIGTERM."""
    _idle.set()
    for number in HELD_BACK:
        signal.signal(number, _on_signal)
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
    threading.Thread(target=_end_with, args=(alive,), daemon=True).start()
    _preparing[:] = [] if prepare is None else [prepare]


def do(work: Callable, item: Any) -> Any:
    """Do an item's work; what preparing raises comes back to the caller like what the work raises."""
    _idle.clear()
    try:
        if _ending.is_set():  # what was handed out before the end was near
            raise KeyboardInterrupt
        if _preparing:
            _preparing[0]()
            _preparing.clear()
        return work(item)
    finally:
        _idle.set()


def _on_signal(number: int, frame: FrameType | None) -> None:
    """Interrupt the item at work when the process is to end, and never a second time: it may be cleaning up."""
    if not _ending.is_set():
        if number == signal.SIGTERM:  # also of a pool that has lost another process
            threading.Thread(target=_end, daemon=True).start()
    elif not _idle.is_set() and not _interrupted.is_set():
        _interrupted.set()
        raise KeyboardInterrupt


def _end_with(alive: Connection) -> None:
    """End when the other side of a pipe is closed."""
    with contextlib.suppress(OSError):
        alive.poll(None)  # nothing is ever sent
    _end()


def _end() -> None:
    """End: what is begun may clean up after itself, but not for long; where nothing is at work, at once."""
    with _telling:
        told = _ending.is_set()  # by the pipe and by a signal at the same time
        _ending.set()
    if not told and not _idle.is_set():
        if sys.platform == "win32":
            _thread.interrupt_main()
        else:  # a real signal, which ends waits as well
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    _idle.wait(GRACE_S)
    os._exit(1)
