"""The console script ``cof``: the generator's commands, and those that make cohorts, train and evaluate."""

import sys
from collections.abc import Sequence

from COFGeneratorLib import cli

COMMANDS = {
    **cli.COMMANDS,
    "bundle": "COFTrainingLib.commands.bundle",
    "cohort": "COFTrainingLib.commands.cohort",
    "train": "COFTrainingLib.commands.train",
    "evaluate": "COFTrainingLib.commands.evaluate",
    "benchmark": "COFTrainingLib.commands.benchmark",
    "ecgflowcmr": "COFTrainingLib.commands.ecgflowcmr",
}
"""As ``COFGeneratorLib.cli.COMMANDS``; ``bundle`` can also make bundles here."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``cof`` and return its exit code."""
    return cli.run_command(argv, COMMANDS)


if __name__ == "__main__":
    sys.exit(main())
