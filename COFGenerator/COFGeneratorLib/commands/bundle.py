"""``cof bundle``: look at a model bundle, or verify it."""

import argparse
import json
from pathlib import Path

from COFGeneratorLib.commands import Commands


def add(commands: Commands, words: str = "look at or verify a model bundle") -> Commands:
    """Add the sub-command with its verbs, and return the place for more verbs."""
    parser = commands.add_parser("bundle", help=words)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for name, work, words in (
        ("info", info, "print what a bundle says of itself"),
        ("verify", verify, "check every file of a bundle and build its networks"),
    ):
        verb = verbs.add_parser(
            name, help=words, description=words.capitalize() + ".", epilog=f"example: cof bundle {name}"
        )
        verb.add_argument("bundle", metavar="BUNDLE", nargs="?", help="bundle folder (default: the one that ships)")
        verb.add_argument("--json", action="store_true", help="print JSON in place of words; info does anyway")
        verb.set_defaults(run=work, events=None, quiet=False)
    return verbs


def info(arguments: argparse.Namespace) -> int:
    """Print the metadata, less the list of checksums; returns the exit code."""
    from COFGeneratorLib.generator.bundle import read_metadata

    metadata = read_metadata(asked_bundle(arguments))
    facts = {name: value for name, value in metadata.items() if name != "checksums"}
    print(json.dumps(facts | {"files": len(metadata["checksums"])}, indent=2, ensure_ascii=False))
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """Load the bundle, which checks everything; returns the exit code."""
    from COFGeneratorLib import load_bundle
    from COFGeneratorLib.ecgflowcmr.bundle import ENGINE, load_ecgflow_bundle
    from COFGeneratorLib.resources import engine_of

    folder = asked_bundle(arguments)
    bundle = load_ecgflow_bundle(folder) if engine_of(folder) == ENGINE else load_bundle(folder)
    if arguments.json:
        facts = {"model": bundle.model_id, "files": len(bundle.metadata["checksums"])}
        print(json.dumps(facts | {"weights_sha256": bundle.weights_sha256}, indent=1))
        return 0
    print(f"{bundle.model_id}: {len(bundle.metadata['checksums'])} files match, networks built.")
    print(f"weights SHA-256 {bundle.weights_sha256}")
    return 0


def asked_bundle(arguments: argparse.Namespace) -> Path:
    """Return the folder of the bundle that is meant: the one that ships where none is named."""
    from COFGeneratorLib.resources import default_bundle

    return Path(arguments.bundle) if arguments.bundle else default_bundle()
