"""``cof view``: watch a result in the browser."""

import argparse
import webbrowser
from pathlib import Path

from COFGeneratorLib.commands import Commands
from COFGeneratorLib.errors import ChainOfFlowError
from COFGeneratorLib.figures.page import PAGE_FILE


def add(commands: Commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "view",
        help="watch a result in the browser",
        description=f"Open the page {PAGE_FILE} of a result in the browser. It is one file that loads nothing from "
        "anywhere: it may be copied, and opened by a double click.",
        epilog="example: cof view heart",
    )
    parser.add_argument("result", metavar="DIR", help="folder of a result")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Open the page; returns the exit code."""
    page = page_of(arguments.result)
    if not webbrowser.open(page.as_uri()):
        print(f"No browser was found on this machine. Copy this file to one, or open it: {page}")
    return 0


def page_of(result: str) -> Path:
    """Return the page of a result.

    Raises:
        ChainOfFlowError: If the folder has none.
    """
    page = (Path(result) / PAGE_FILE).absolute()
    if not page.is_file():
        raise ChainOfFlowError(
            f"A result to watch has {PAGE_FILE}; found none in {result}. Name the folder that was given as --out "
            "to cof demo or cof generate; a result of an earlier version, or of a batch, has to be generated again."
        )
    return page
