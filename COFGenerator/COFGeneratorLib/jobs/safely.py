"""Runs a command and turns what it raises into one message and an exit code.

0 done; 2 something that the user can mend (said in one message, nothing is left behind); 130 stopped on request; 1 an
internal failure, with the path of a log.
"""

import contextlib
import errno
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from COFGeneratorLib import __version__
from COFGeneratorLib.errors import ChainOfFlowError
from COFGeneratorLib.jobs.events import CANCELLED_EXIT_CODE, JobCancelled


def run_safely(work: Callable[[], int | None]) -> int:
    """Run a command and turn what it raises into a message and an exit code."""
    try:
        with _terminated_like_interrupted():
            return int(work() or 0)
    except ChainOfFlowError as error:
        print(f"cof: {error}", file=sys.stderr)
        return 2
    except (JobCancelled, KeyboardInterrupt):
        print("cof: stopped on request; what was complete stays.", file=sys.stderr)
        return CANCELLED_EXIT_CODE
    except OSError as error:
        if error.filename is None and error.errno != errno.ENOSPC:
            print(f"cof: internal failure ({type(error).__name__}: {error}). Log: {_write_log()}", file=sys.stderr)
            return 1
        print(f"cof: a file or folder cannot be used: {error.strerror} – {error.filename or 'disk'}.", file=sys.stderr)
        return 2
    except MemoryError:
        print("cof: not enough memory. Close other programs, or generate fewer samples.", file=sys.stderr)
        return 1
    except Exception as error:
        print(f"cof: internal failure ({type(error).__name__}: {error}). Log: {_write_log()}", file=sys.stderr)
        return 1


@contextlib.contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Clean up after SIGTERM, which batch systems and job runners send, as after Ctrl-C."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _write_log() -> Path:
    """Write the traceback where it can be found, and return its path."""
    path = Path(tempfile.gettempdir()) / f"cof-failure-{time.strftime('%Y%m%d-%H%M%S')}.log"
    path.write_text(f"ChainOfFlow {__version__}, Python {sys.version}\n\n{traceback.format_exc()}", encoding="utf-8")
    return path
