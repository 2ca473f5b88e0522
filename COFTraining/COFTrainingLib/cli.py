"""The training side of the command line: ``cof cohort …``, ``cof train …``, ``cof evaluate …``."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from COFGeneratorLib import __version__
from COFGeneratorLib.cli import run_safely

COMMANDS = ("cohort", "train", "evaluate", "ecgflowcmr")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command of the training side and return its exit code (as for ``cof``)."""
    arguments = build_parser().parse_args(list(sys.argv[1:] if argv is None else argv))
    return run_safely(lambda: arguments.run(arguments))


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with the training side's sub-commands."""
    parser = argparse.ArgumentParser(prog="cof", description="Cohorts, training and evaluation. Research use only.")
    parser.add_argument("--version", action="version", version=f"ChainOfFlow {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(f"COFTrainingLib.commands.{name}").add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
