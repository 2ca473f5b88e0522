"""The command line of the generator: ``python -m COFGeneratorLib …``.

The console script ``cof`` stands one floor higher, in ``COFTrainingLib.cli``: it has these commands and those of
training. Exit codes: see ``jobs.safely``.
"""

import argparse
import importlib
import sys
from collections.abc import Mapping, Sequence

from COFGeneratorLib import __version__
from COFGeneratorLib.commands.parser import Parser
from COFGeneratorLib.jobs.safely import run_safely

COMMANDS = {
    "demo": "COFGeneratorLib.commands.demo",
    "generate": "COFGeneratorLib.commands.generate",
    "ecg": "COFGeneratorLib.commands.ecg",
    "batch": "COFGeneratorLib.commands.batch",
    "acquisitions": "COFGeneratorLib.commands.acquisitions",
    "bundle": "COFGeneratorLib.commands.bundle",
    "register": "COFGeneratorLib.commands.register",
    "export": "COFGeneratorLib.commands.export",
    "view": "COFGeneratorLib.commands.view",
    "completion": "COFGeneratorLib.commands.completion",
}
"""Sub-command → the file that adds it to a parser (``add``), in the order in which help shows them."""
BETWEEN_PROCESSES = {
    "ecg-trace": "COFGeneratorLib.commands.ecg_trace",
    "probe": "COFGeneratorLib.commands.probe",
    "study": "COFGeneratorLib.commands.study",
}
"""Sub-commands that windows call; help does not show them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command of the generator and return its exit code."""
    return run_command(argv, COMMANDS)


def run_command(argv: Sequence[str] | None, commands: Mapping[str, str]) -> int:
    """Run one of some commands (sub-command → file) and return its exit code; only that file is loaded."""
    argv = list(sys.argv[1:] if argv is None else argv)
    known = {**commands, **BETWEEN_PROCESSES}
    asked = argv[0] if argv else ""

    def run() -> int:
        arguments = build_parser({asked: known[asked]} if asked in known else commands).parse_args(argv)
        arguments.whole_parser = lambda: build_parser(commands)
        return arguments.run(arguments)

    return run_safely(run)


def build_parser(commands: Mapping[str, str] = COMMANDS) -> argparse.ArgumentParser:
    """Return the parser of some sub-commands, see ``run_command``."""
    parser = Parser(
        prog="cof",
        description="A beating heart from one short-axis cardiac MRI volume and a 12-lead ECG. Research use only: "
        "everything generated is synthetic and must not guide care.",
    )
    parser.add_argument("--version", action="version", version=f"ChainOfFlow {__version__}")
    places = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for file in commands.values():
        importlib.import_module(file).add(places)
    return parser


if __name__ == "__main__":
    sys.exit(main())
