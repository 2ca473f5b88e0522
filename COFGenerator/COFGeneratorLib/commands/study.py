"""Reads a DICOM study for a window that offers its acquisitions. Run in a child process, never in a GUI::

    python -m COFGeneratorLib study STUDY --out DIR [--series SERIES] [--events events.jsonl]

``DIR/acquisitions.json`` lists them; with a series, ``DIR/cine.seq.nrrd`` is that one.
"""

import argparse
import json
from pathlib import Path

from COFGeneratorLib.commands import Commands
from COFGeneratorLib.jobs.events import job_events


def add(commands: Commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser("study", description="List or read the acquisitions of a DICOM study, for a window.")
    parser.add_argument("study")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--series")
    parser.add_argument("--events", type=Path)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """List, or read and write; returns the exit code."""
    with job_events(arguments.events) as events:
        events.progress("reading", 0, 1)
        arguments.out.mkdir(parents=True, exist_ok=True)
        if arguments.series is None:
            from COFGeneratorLib.anatomy.readers.study import list_acquisitions
            from COFGeneratorLib.scene.study import LIST_FILE

            found = [one.as_dict() for one in list_acquisitions(arguments.study)]
            (arguments.out / LIST_FILE).write_text(json.dumps(found), encoding="utf-8")
        else:
            from COFGeneratorLib.anatomy import read_cine
            from COFGeneratorLib.scene.study import write_acquisition

            cine = read_cine(arguments.study, series=arguments.series)
            for words in cine.warnings:
                events.warning(words)
            write_acquisition(cine, arguments.out)
    return 0
