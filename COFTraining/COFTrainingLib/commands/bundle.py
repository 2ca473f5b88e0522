"""``cof bundle``: what the generator offers, and making a bundle from a training run."""

import argparse

from COFGeneratorLib.commands import Commands, bundle, options
from COFGeneratorLib.commands.bundle import asked_bundle
from COFGeneratorLib.jobs.session import session


def add(commands: Commands) -> None:
    """Add the sub-command with the generator's verbs and two more."""
    verbs = bundle.add(commands, "look at, verify, export or renew a model bundle")
    verb = verbs.add_parser("export", help="make a bundle from a training run", description="Make a bundle.",
                             epilog="example: cof bundle export --run runs/flow --out bundles/mine")  # fmt: skip
    verb.add_argument("--run", required=True, dest="training_run", metavar="RUN", help="finished run of cof train flow")
    verb.add_argument("--segmenter", metavar="RUN", help="finished run of cof train segmenter (default: RUN/segmenter)")
    verb.add_argument("--teacher", metavar="RUN", help="finished run of cof train teacher (default: RUN/teacher)")
    verb.add_argument("--name", default="cof-plus", help="name of the model (default cof-plus)")
    verb.add_argument("--metrics", metavar="FILE", help="figures measured on these weights, for the card (JSON)")
    options.add_output(verb)
    verb.set_defaults(run=export)
    verb = verbs.add_parser(
        "renew", help="put a newly trained part into a bundle",
        description="Make a bundle of another one: with a new segmenter or teacher, an interval of EF fitted again, or "
        "figures measured since. The networks of motion stay as they are.",
        epilog="example: cof bundle renew --segmenter runs/segmenter --out bundles/renewed",
    )  # fmt: skip
    verb.add_argument("bundle", metavar="BUNDLE", nargs="?", help="bundle to begin with (default: the one that ships)")
    verb.add_argument("--segmenter", metavar="RUN", help="finished run of cof train segmenter")
    verb.add_argument("--teacher", metavar="RUN", help="finished run of cof train teacher")
    verb.add_argument("--interval", type=options.positive, metavar="N", help="fit the interval of EF on N new ECGs")
    verb.add_argument("--metrics", metavar="FILE", help="figures measured on these weights, for the card (JSON)")
    verb.add_argument("--real-hearts", metavar="FILE", help="figures of Testing/Benchmarks/real_hearts.py (JSON)")
    options.add_output(verb)
    verb.set_defaults(run=renew)


def renew(arguments: argparse.Namespace) -> int:
    """Put new parts into a bundle; returns the exit code."""
    from COFTrainingLib.training.bundles.renew import renew_bundle

    with session(arguments) as current:
        folder = renew_bundle(
            asked_bundle(arguments),
            arguments.out,
            segmenter=arguments.segmenter,
            teacher=arguments.teacher,
            interval_records=arguments.interval or 0,
            metrics=arguments.metrics,
            real_hearts=arguments.real_hearts,
            overwrite=arguments.overwrite,
            progress=lambda done, total: current.progress(done, total, "interval of EF"),
        )
        current.facts["bundle"] = str(folder)
        current.say(f"Bundle written to {folder}; check it with: cof bundle verify {folder}")
    return 0


def export(arguments: argparse.Namespace) -> int:
    """Make a bundle of a run; returns the exit code."""
    from COFTrainingLib.training.bundles.export import export_bundle

    with session(arguments) as current:
        folder = export_bundle(
            arguments.training_run,
            arguments.out,
            segmenter=arguments.segmenter,
            teacher=arguments.teacher,
            name=arguments.name,
            metrics=arguments.metrics,
            overwrite=arguments.overwrite,
        )
        current.facts["bundle"] = str(folder)
        current.say(f"Bundle written to {folder}; check it with: cof bundle verify {folder}")
    return 0
