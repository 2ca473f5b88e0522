"""Reads and measures an ECG for a window that draws it. Run in a child process, never in a GUI::

    python -m COFGeneratorLib ecg-trace FILE --out DIR [--events events.jsonl]

``DIR/ecg.json`` is what ``cof ecg`` writes; ``DIR/trace.json`` holds the leads for drawing.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from COFGeneratorLib.commands import Commands
from COFGeneratorLib.ecg.record import EcgRecord
from COFGeneratorLib.jobs.events import job_events

DRAWING_FS_HZ = 250.0
"""Leads are thinned to at most this rate: a panel has far fewer pixels."""


def trace(record: EcgRecord) -> dict[str, Any]:
    """Return the leads of an ``EcgRecord`` for drawing.

    Returns:
        ``fs_hz`` and ``leads``, a mapping from lead to samples in mV with three decimals. A sample stands for the
        extreme value of its interval, so that no R peak is lost in thinning.
    """
    import numpy as np

    from COFGeneratorLib.ecg.record import LEADS

    step = max(1, int(record.fs_hz // DRAWING_FS_HZ))
    usable = record.signal_mv.shape[1] // step * step
    parts = np.nan_to_num(record.signal_mv[:, :usable]).reshape(len(LEADS), -1, step)
    middle = np.median(parts, axis=2, keepdims=True)
    extreme = np.take_along_axis(parts, np.abs(parts - middle).argmax(axis=2)[..., None], axis=2)[..., 0]
    leads = {lead: np.round(samples, 3).tolist() for lead, samples in zip(LEADS, extreme, strict=True)}
    return {"fs_hz": record.fs_hz / step, "leads": leads}


def add(commands: Commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser("ecg-trace", description="Read an ECG for drawing.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--events", type=Path)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write both files; returns the exit code."""
    with job_events(arguments.events) as events:
        from COFGeneratorLib import analyse_ecg, read_ecg
        from COFGeneratorLib.ecg.summary import summary

        events.progress("reading", 0, 2)
        record = read_ecg(arguments.file)
        events.progress("measuring", 1, 2)
        facts = summary(record, analyse_ecg(record))
        arguments.out.mkdir(parents=True, exist_ok=True)
        for name, content in (("trace.json", trace(record)), ("ecg.json", facts)):
            (arguments.out / name).write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
    return 0
