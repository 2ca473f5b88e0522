"""What every ``cof train`` takes, and the cohort that one of them is given."""

import argparse
from pathlib import Path

from COFGeneratorLib.commands import options

from COFTrainingLib.cohort.manifest import Cohort, read_cohort


def add_training(parser: argparse.ArgumentParser, *, cohort: str, out: str, config: str, configs: str) -> None:
    """Add where a training begins, goes to and computes; ``cohort``, ``out`` and ``configs`` are words of the help."""
    parser.add_argument("--cohort", metavar="DIR", help=cohort)
    parser.add_argument("--out", required=True, metavar="RUN", help=out)
    parser.add_argument("--config", default=config, metavar="NAME|FILE", help=configs)
    parser.add_argument("--resume", action="store_true", help="go on with the run in this folder")
    parser.add_argument("--device", type=options.device, help="auto, cpu, cuda:N or mps (default: the configuration's)")
    parser.add_argument("--threads", type=options.positive, help="CPU threads (default: the configuration's)")
    parser.add_argument("--workers", type=options.positive, default=1, metavar="N", help="processes that make data")
    options.add_reporting(parser)


def asked_cohort(arguments: argparse.Namespace) -> Cohort | None:
    """Return the cohort that is named, or None.

    Raises:
        CohortError: If it does not read.
    """
    return read_cohort(arguments.cohort) if arguments.cohort else None


def goes_on(out: str) -> str:
    """Return what a stopped training says of its run folder."""
    if not Path(out).is_dir():
        return "Nothing was begun."
    return f"The same command with --resume goes on from the last checkpoint in {out}."
