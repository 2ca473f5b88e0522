"""Runs a command and turns what it raises into one message and an exit code.

0 done; 2 something that the user can mend (said in one message, nothing is left behind); 130 stopped on request; 141
whoever read what it says has gone; 1 an internal failure, with the path of a log.
"""

import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Callable

from COFGeneratorLib import __version__
from COFGeneratorLib.errors import ChainOfFlowError
from COFGeneratorLib.jobs.events import CANCELLED_EXIT_CODE, JobCancelled
from COFGeneratorLib.jobs.stopping import signals_interrupt
from COFGeneratorLib.jobs.terminal import fit_for_any_terminal, silence

UNREAD_EXIT_CODE = 141
"""As of what the system ends when its pipe is closed."""


def run_safely(work: Callable[[], int | None]) -> int:
    """Run a command and turn what it raises into a message and an exit code; what it says fits any terminal."""
    fit_for_any_terminal()
    try:
        try:
            with signals_interrupt():
                return _code_of(work)
        finally:
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()  # what is still to be said, help among it, may find that nobody listens
    except BrokenPipeError:
        silence()
        return UNREAD_EXIT_CODE
    except (JobCancelled, KeyboardInterrupt):  # once more, while the first was said
        return CANCELLED_EXIT_CODE


def _code_of(work: Callable[[], int | None]) -> int:
    try:
        return int(work() or 0)
    except ChainOfFlowError as error:
        print(f"cof: {error}", file=sys.stderr)
        return 2
    except (JobCancelled, KeyboardInterrupt) as error:
        print(f"cof: {str(error) or 'stopped on request; what was complete stays.'}", file=sys.stderr)
        return CANCELLED_EXIT_CODE
    except BrokenPipeError as error:
        if error.filename is None:  # of what it says; a named pipe of the user's has a name
            raise
        return _internal(error)
    except OSError as error:
        if error.filename is None and error.errno != errno.ENOSPC:
            return _internal(error)
        print(f"cof: a file or folder cannot be used: {error.strerror} – {error.filename or 'disk'}.", file=sys.stderr)
        return 2
    except MemoryError:
        print("cof: not enough memory. Close other programs, or generate fewer samples.", file=sys.stderr)
        return 1
    except Exception as error:
        return _internal(error)


def _internal(error: Exception) -> int:
    print(f"cof: internal failure ({type(error).__name__}: {error}). Log: {_write_log()}", file=sys.stderr)
    return 1


def _write_log() -> str:
    """Write the traceback to a new file that its owner alone may read, and return its path."""
    try:
        handle, path = tempfile.mkstemp(prefix="cof-failure-", suffix=".log")
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as stream:
            stream.write(f"ChainOfFlow {__version__}, Python {sys.version}\n\n{traceback.format_exc()}")
    except OSError as error:
        return f"none, it cannot be written ({error.strerror})"
    return path
