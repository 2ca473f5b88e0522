"""``cof ecg``: read and measure an electrocardiogram."""

import argparse
import json
from pathlib import Path

from COFGeneratorLib.cases.generate import chosen_beat
from COFGeneratorLib.commands import Commands, options
from COFGeneratorLib.jobs.session import session
from COFGeneratorLib.results.folder import ResultFolder, write_manifest


def add(commands: Commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "ecg",
        help="read and measure a 12-lead ECG",
        description="Read an ECG and write ecg.json and ecg.png.",
        epilog="example: cof ecg rec.hea --out ecg",
    )
    parser.add_argument("file", metavar="FILE", help="12-lead ECG in any of the formats read")
    which = parser.add_mutually_exclusive_group()
    options.add_beat(which)
    which.add_argument("--at", type=options.seconds, metavar="SECONDS", help="the same as --beat SECONDSs")
    options.add_ecg_told(parser)
    options.add_output(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Read, measure, write; returns the exit code."""
    with session(arguments) as current:
        with ResultFolder(arguments.out, arguments.overwrite) as folder:
            current.progress(0, 2, "reading")
            with current.watch.stage("reading"):
                from COFGeneratorLib import analyse_ecg, read_ecg
                from COFGeneratorLib.ecg.summary import summary

                record = read_ecg(arguments.file, arguments.leads, arguments.rate_hz, arguments.unit)
            with current.watch.stage("measuring"):
                beat = arguments.beat if arguments.at is None else arguments.at
                cycle = analyse_ecg(record, **chosen_beat(beat))
            current.warn(*record.warnings, *cycle.warnings)
            current.progress(1, 2, "drawing")
            with current.watch.stage("drawing"):
                from COFGeneratorLib.figures import write_ecg_sheet

                write_ecg_sheet(record, cycle, folder / "ecg.png")
            content = summary(record, cycle)
            (folder / "ecg.json").write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
            facts = {"inputs": {"ecg": {"sha256": record.source_sha256, "format": record.source_format}}}
            write_manifest(folder, "ecg", facts, current.watch, current.warnings)
        out = Path(arguments.out)
        current.facts |= {"out": str(out), **content}
        current.say(
            f"{record.source_format}: {cycle.rhythm}   {cycle.mean_hr_bpm:.0f} bpm   RR {cycle.rr_ms:.0f} ms   "
            f"QRS {cycle.qrsd_ms:.0f} ms   QT {cycle.qt_ms:.0f} ms   quality {cycle.quality:.2f}"
        )
        current.say(f"Written to {out / 'ecg.json'} and {out / 'ecg.png'}")
        current.say_warnings()
    return 0
