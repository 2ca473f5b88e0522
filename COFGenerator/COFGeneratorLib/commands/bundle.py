"""``cof bundle``: look at a model bundle, verify it, or make one from a training run."""

import argparse
import importlib
import json

from COFGeneratorLib.commands import options
from COFGeneratorLib.commands.session import session
from COFGeneratorLib.errors import BundleError


def add(commands) -> None:
    """Add the sub-command and its three verbs."""
    parser = commands.add_parser("bundle", help="look at, verify or export a model bundle")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for name, work, words in (
        ("info", info, "print what a bundle says of itself"),
        ("verify", verify, "check every file of a bundle and build its networks"),
    ):
        verb = verbs.add_parser(name, help=words, description=words.capitalize() + ".")
        verb.add_argument("bundle", metavar="BUNDLE", nargs="?", help="bundle folder (default: the one that ships)")
        verb.set_defaults(run=work, events=None, quiet=False)
    verb = verbs.add_parser("export", help="make a bundle from a training run", description="Make a bundle.")
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
    )  # fmt: skip
    verb.add_argument("bundle", metavar="BUNDLE", nargs="?", help="bundle to begin with (default: the one that ships)")
    verb.add_argument("--segmenter", metavar="RUN", help="finished run of cof train segmenter")
    verb.add_argument("--teacher", metavar="RUN", help="finished run of cof train teacher")
    verb.add_argument("--interval", type=options.positive, metavar="N", help="fit the interval of EF on N new ECGs")
    verb.add_argument("--metrics", metavar="FILE", help="figures measured on these weights, for the card (JSON)")
    verb.add_argument("--real-hearts", metavar="FILE", help="figures of Testing/Benchmarks/real_hearts.py (JSON)")
    options.add_output(verb)
    verb.set_defaults(run=renew)


def info(arguments: argparse.Namespace) -> int:
    """Print the metadata, less the list of checksums; returns the exit code."""
    from COFGeneratorLib.generator.bundle import read_metadata

    metadata = read_metadata(_folder(arguments))
    facts = {name: value for name, value in metadata.items() if name != "checksums"}
    print(json.dumps(facts | {"files": len(metadata["checksums"])}, indent=2, ensure_ascii=False))
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """Load the bundle, which checks everything; returns the exit code."""
    from COFGeneratorLib import load_bundle
    from COFGeneratorLib.ecgflowcmr.bundle import is_ecgflow_bundle, load_ecgflow_bundle

    folder = _folder(arguments)
    bundle = load_ecgflow_bundle(folder) if is_ecgflow_bundle(folder) else load_bundle(folder)
    print(f"{bundle.model_id}: {len(bundle.metadata['checksums'])} files match, networks built.")
    print(f"weights SHA-256 {bundle.weights_sha256}")
    return 0


def _training_side(module: str):
    """Return a module of the training side, which is looked up by name: nothing here imports it.

    Raises:
        BundleError: If only the generator is installed.
    """
    try:
        return importlib.import_module(f"COFTrainingLib.training.{module}")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("COFTrainingLib"):
            raise
        raise BundleError(
            "Making a bundle needs the package COFTrainingLib; found none. Install the whole product."
        ) from error


def renew(arguments: argparse.Namespace) -> int:
    """Put new parts into a bundle; returns the exit code."""
    module = _training_side("renew")
    with session(arguments) as current:
        folder = module.renew_bundle(
            _folder(arguments),
            arguments.out,
            segmenter=arguments.segmenter,
            teacher=arguments.teacher,
            interval_records=arguments.interval or 0,
            metrics=arguments.metrics,
            real_hearts=arguments.real_hearts,
            overwrite=arguments.overwrite,
            progress=lambda done, total: current.progress(done, total, "interval of EF"),
        )
        current.say(f"Bundle written to {folder}; check it with: cof bundle verify {folder}")
    return 0


def export(arguments: argparse.Namespace) -> int:
    """Make a bundle of a run; returns the exit code."""
    module = _training_side("export")
    with session(arguments) as current:
        folder = module.export_bundle(
            arguments.training_run,
            arguments.out,
            segmenter=arguments.segmenter,
            teacher=arguments.teacher,
            name=arguments.name,
            metrics=arguments.metrics,
            overwrite=arguments.overwrite,
        )
        current.say(f"Bundle written to {folder}; check it with: cof bundle verify {folder}")
    return 0


def _folder(arguments: argparse.Namespace):
    from COFGeneratorLib.resources import default_bundle

    return arguments.bundle or default_bundle()
