"""``cof ecgflowcmr``: bundles of this engine, and the studies of what its synthetic cines are worth."""

import argparse
from pathlib import Path

from COFGeneratorLib.commands import options
from COFGeneratorLib.commands.session import session


def add(commands) -> None:
    """Add the sub-command and its verbs."""
    parser = commands.add_parser("ecgflowcmr", help="bundles and studies of ECGFlowCMR")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    verb = verbs.add_parser("export", help="make a bundle of a run", description="Make a bundle of a finished run.")
    verb.add_argument("--run", required=True, dest="training_run", metavar="RUN", help="run of cof train ecgflowcmr")
    verb.add_argument("--name", default="ecgflowcmr-small", help="name of the model (default ecgflowcmr-small)")
    verb.add_argument("--metrics", metavar="FILE", help="figures measured on these weights, for the card (JSON)")
    options.add_output(verb)
    verb.set_defaults(run=export)


def export(arguments: argparse.Namespace) -> int:
    """Make a bundle; returns the exit code."""
    from COFTrainingLib.ecgflowcmr.export import export_ecgflow

    with session(arguments) as current:
        folder = export_ecgflow(
            arguments.training_run, Path(arguments.out), name=arguments.name, metrics=arguments.metrics,
            overwrite=arguments.overwrite,
        )  # fmt: skip
        current.say(f"Bundle written to {folder}; use it with: cof generate --engine ecgflowcmr --model {folder}")
    return 0
