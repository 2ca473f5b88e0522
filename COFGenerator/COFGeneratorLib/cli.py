"""The command line ``cof``.

Exit codes: 0 done; 2 something that the user can mend (said in one message, nothing is left behind); 130 stopped on
request; 1 an internal failure, with the path of a log.
"""

import argparse
import contextlib
import errno
import importlib
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from COFGeneratorLib import __version__
from COFGeneratorLib.errors import ChainOfFlowError
from COFGeneratorLib.jobs.events import CANCELLED_EXIT_CODE, JobCancelled

COMMANDS = ("demo", "generate", "ecg", "batch", "bundle", "register")
TRAINING_COMMANDS = {
    "cohort": "make and check cohorts of subjects",
    "train": "train the networks",
    "evaluate": "tables and figures of a model, or of others' cines, on a cohort",
    "ecgflowcmr": "bundles and studies of the engine that needs no anchor",
}
"""Sub-commands of the training side, which is looked up only when one of them is asked for."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``cof`` and return its exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv and argv[0] in TRAINING_COMMANDS:
        return run_safely(lambda: _training_cli().main(argv))
    arguments = build_parser().parse_args(argv)
    return run_safely(lambda: arguments.run(arguments))


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with all sub-commands."""
    parser = argparse.ArgumentParser(
        prog="cof",
        description="A beating heart from one short-axis cardiac MRI volume and a 12-lead ECG. Research use only: "
        "everything generated is synthetic and must not guide care.",
    )
    parser.add_argument("--version", action="version", version=f"ChainOfFlow {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(f"COFGeneratorLib.commands.{name}").add(commands)
    for name, words in TRAINING_COMMANDS.items():
        commands.add_parser(name, help=words, add_help=False)
    return parser


def run_safely(work) -> int:
    """Run a command and turn what it raises into a message and an exit code."""
    try:
        with _terminated_like_interrupted():
            return int(work() or 0)
    except ChainOfFlowError as error:
        print(f"cof: {error}", file=sys.stderr)
        return 2
    except (JobCancelled, KeyboardInterrupt):
        print("cof: stopped on request; nothing was written.", file=sys.stderr)
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
def _terminated_like_interrupted():
    """Clean up after SIGTERM, which batch systems and job runners send, as after Ctrl-C."""

    def interrupt(number, frame):
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _training_cli():
    """Return the training side's command line, found by name: this side must work without it."""
    try:
        return importlib.import_module("COFTrainingLib.cli")
    except ModuleNotFoundError as error:
        if error.name not in ("COFTrainingLib", "COFTrainingLib.cli"):
            raise
        raise ChainOfFlowError(
            "Training commands need the package COFTrainingLib; found none. Install the whole product: pip install "
            "chainofflow, or the extension's COFTraining module."
        ) from error


def _write_log() -> Path:
    """Write the traceback where it can be found, and return its path."""
    path = Path(tempfile.gettempdir()) / f"cof-failure-{time.strftime('%Y%m%d-%H%M%S')}.log"
    path.write_text(f"ChainOfFlow {__version__}, Python {sys.version}\n\n{traceback.format_exc()}", encoding="utf-8")
    return path


if __name__ == "__main__":
    sys.exit(main())
