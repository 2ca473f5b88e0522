"""``cof export``: a result in the format of another program, marked as synthetic and derived."""

import argparse
import hashlib
from pathlib import Path

from COFGeneratorLib.commands import Commands, options
from COFGeneratorLib.export import FORMATS, read_heart, write_export
from COFGeneratorLib.files import sha256_of
from COFGeneratorLib.jobs.session import session
from COFGeneratorLib.results.folder import MANIFEST, REQUEST, ResultFolder, write_manifest

WORDS = {
    "nifti": "NIfTI 4D of cine and labels",
    "dicom": "MR images by slice and phase, labels as SEG",
    "csv": "tables of read-outs, curves and segments",
    "mesh": "surfaces by frame: VTP, and one beating GLB",
}


def add(commands: Commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "export",
        help="write a result as NIfTI, DICOM, tables or surfaces",
        description="Write the result that cof generate made in the format of another program. Everything written "
        "says that it is synthetic; DICOM is derived, for research, of nobody and under new UIDs. "
        + "; ".join(f"{name}: {words}" for name, words in WORDS.items()) + ".",
        epilog="example: cof export heart --to nifti",
    )  # fmt: skip
    parser.add_argument("result", metavar="DIR", help="folder that cof generate wrote")
    parser.add_argument("--to", required=True, choices=tuple(FORMATS), help="format")
    parser.add_argument("--out", metavar="DIR", help="folder of the export (default: beside the result, DIR-FORMAT)")
    parser.add_argument("--overwrite", action="store_true", help="replace what the folder holds")
    options.add_reporting(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Read and write; returns the exit code."""
    result = Path(arguments.result).absolute()
    out = Path(arguments.out) if arguments.out else result.with_name(f"{result.name}-{arguments.to}")
    with session(arguments) as current:
        current.progress(0, 2, "reading")
        with current.watch.stage("reading"):
            heart = read_heart(result)
        made_from = hashlib.sha256(f"{sha256_of(result / MANIFEST)} {arguments.to}".encode()).hexdigest()
        current.progress(1, 2, "writing")
        with ResultFolder(out, arguments.overwrite, made_from) as folder:
            with current.watch.stage("writing"):
                written = write_export(heart, folder, arguments.to)
            facts = {**heart.statement(), "format": arguments.to, REQUEST: made_from}
            write_manifest(folder, "export", facts, current.watch, current.warnings)
        current.progress(2, 2, "writing")
        current.tell_files(str(out))
        current.facts |= {"out": str(out), "format": arguments.to, "files": [path.name for path in written]}
        current.say(f"Synthetic heart, for research use only: {len(written)} files ({WORDS[arguments.to]}) in {out}")
        current.say_warnings()
    return 0
