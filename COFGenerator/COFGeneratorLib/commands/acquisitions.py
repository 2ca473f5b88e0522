"""``cof acquisitions``: what a DICOM study holds, and which acquisition would be read."""

import argparse
import json

from COFGeneratorLib.commands import Commands


def add(commands: Commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "acquisitions",
        help="list what a DICOM study holds",
        description="List the acquisitions of a DICOM folder or zip: the one that generate and register read (*), the "
        "others that --series can ask for, and why the rest is no short-axis stack.",
        epilog="example: cof acquisitions study",
    )
    parser.add_argument("study", metavar="STUDY", help="DICOM folder or zip")
    parser.add_argument("--json", action="store_true", help="print JSON in place of words")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the list; returns the exit code."""
    from COFGeneratorLib.anatomy.readers.study import list_acquisitions

    found = list_acquisitions(arguments.study)
    if arguments.json:
        print(json.dumps([one.as_dict() for one in found], indent=1))
        return 0
    for one in found:
        how = one.why_not or f"covers {one.extent_mm:.0f} mm   --series {one.series}"
        print(f"{'*' if one.chosen else ' '} {one.name}: {how}")
    return 0
