"""``cof ecg``: read and measure an electrocardiogram."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from COFGeneratorLib.commands import options
from COFGeneratorLib.commands.session import session
from COFGeneratorLib.results.folder import ResultFolder
from COFGeneratorLib.results.manifest import write_manifest


def add(commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "ecg", help="read and measure a 12-lead ECG", description="Read an ECG and write ecg.json and ecg.png."
    )
    parser.add_argument("file", metavar="FILE", help="12-lead ECG in any of the formats read")
    parser.add_argument("--beat", type=options.natural, metavar="N", help="start from this R peak (default: chosen)")
    options.add_output(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Read, measure, write; returns the exit code."""
    with session(arguments) as current:
        with ResultFolder(arguments.out, arguments.overwrite) as folder:
            current.progress(0, 2, "reading")
            with current.watch.stage("reading"):
                from COFGeneratorLib import analyse_ecg, read_ecg

                record = read_ecg(arguments.file)
            with current.watch.stage("measuring"):
                cycle = analyse_ecg(record, beat=arguments.beat)
            current.warn(*record.warnings, *cycle.warnings)
            current.progress(1, 2, "drawing")
            with current.watch.stage("drawing"):
                from COFGeneratorLib.figures import write_ecg_sheet

                write_ecg_sheet(record, cycle, folder / "ecg.png")
            content = measurements(record, cycle)
            (folder / "ecg.json").write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
            facts = {"inputs": {"ecg": {"sha256": record.source_sha256, "format": record.source_format}}}
            write_manifest(folder, "ecg", facts, current.watch, current.warnings)
        out = Path(arguments.out)
        current.say(
            f"{content['format']}: {content['hr_bpm']:.0f} bpm   RR {content['rr_ms']:.0f} ms   QRS "
            f"{content['qrsd_ms']:.0f} ms   QT {content['qt_ms']:.0f} ms   quality {content['quality']:.2f}"
        )
        current.say(f"Written to {out / 'ecg.json'} and {out / 'ecg.png'}")
        current.say_warnings()
    return 0


def measurements(record, cycle) -> dict[str, Any]:
    """Return the content of ``ecg.json``; what is not known is None."""
    from COFGeneratorLib.ecg.record import LEADS

    def known(value: float, digits: int = 1) -> float | None:
        return round(float(value), digits) if np.isfinite(value) else None

    return {
        "format": record.source_format,
        "leads": list(LEADS),
        "fs_hz": known(record.fs_hz, 3),
        "duration_s": known(record.duration_s, 3),
        "hr_bpm": known(cycle.hr_bpm),
        "rr_ms": known(cycle.rr_ms),
        "pr_ms": known(cycle.pr_ms),
        "qrsd_ms": known(cycle.qrsd_ms),
        "qt_ms": known(cycle.qt_ms),
        "quality": known(cycle.quality, 3),
        "beats": [
            {"r_ms": known(1000.0 * at), "accepted": bool(good), "representative": index == cycle.representative}
            for index, (at, good) in enumerate(zip(cycle.r_peaks_s, cycle.accepted, strict=True))
        ],
        "axis_deg": known(cycle.axis_deg),
        "sokolow_mv": known(cycle.sokolow_mv, 3),
        "cornell_mv": known(cycle.cornell_mv, 3),
        "p_wave_present": bool(cycle.p_wave_present),
        "rr_cv": known(cycle.rr_cv, 4),
        "t_end_source": cycle.t_end_source,
        "stated": {name: known(value, 3) for name, value in record.stated.items()},
        "warnings": list(dict.fromkeys((*record.warnings, *cycle.warnings))),
    }
