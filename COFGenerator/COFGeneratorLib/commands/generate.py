"""``cof generate``: one anchor and one ECG in, one cine with everything about it out."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from COFGeneratorLib.cases.generate import generate_into
from COFGeneratorLib.cases.request import GenerateRequest
from COFGeneratorLib.cine import Cine
from COFGeneratorLib.commands import Commands, options
from COFGeneratorLib.commands.generate_without_anchor import add_engine, need_anchor, run_ecgflowcmr, run_template
from COFGeneratorLib.errors import AnatomyError
from COFGeneratorLib.jobs.session import Session, session
from COFGeneratorLib.results.parts import DEFAULT_PARTS


def add(commands: Commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "generate",
        help="generate a cine from a short-axis volume and an ECG",
        description="Generate a beating heart from one short-axis volume and a 12-lead ECG. Writes cine, motion and "
        "label sequences, a Slicer scene, function read-outs, pictures and run.json.",
        epilog="example: cof generate --anchor sax.nii.gz --ecg ecg.xml --out heart",
    )
    parser.add_argument(
        "--anchor",
        metavar="FILE",
        help="short-axis volume or cine: NIfTI, NRRD, MetaImage, "
        "a DICOM folder or zip, or a Slicer scene (.mrb, .mrml)",
    )
    parser.add_argument("--ecg", required=True, metavar="FILE", help="12-lead ECG in any of the formats read")
    parser.add_argument("--labels", metavar="FILE", help="labels of the anchor (default: found by the segmenter)")
    parser.add_argument(
        "--label-map", type=options.label_map, metavar="CODES", help='codes in the file, as "lv=3,myo=2,rv=1" '
        "(default: the names of its segments, or these)",
    )  # fmt: skip
    options.add_image(parser)
    parser.add_argument(
        "--anchor-frame", type=options.natural, default=0, metavar="N", help="frame of a cine to use (default 0)"
    )
    parser.add_argument(
        "--anchor-phase",
        type=options.phase,
        metavar="FRACTION",
        help="when the anchor was taken: fraction of the R–R interval, or cine, where --anchor-frame lies in a cine of "
        "one R–R that begins at the R wave (default 0, the R wave)",
    )
    parser.add_argument(
        "--segmenter",
        metavar="FOLDER",
        help="your own segmenter in place of the model's: an nnU-Net v2 model folder or a MONAI bundle; it labels the "
        "anchor, or adds what --labels lack",
    )
    parser.add_argument(
        "--segmenter-labels",
        type=options.label_map,
        metavar="CODES",
        help='its classes, as "lv=3,myo=2,rv=1" (default: by their names)',
    )
    options.add_roi(parser)
    options.add_beat(parser)
    options.add_generation(parser)
    options.add_parts(parser, DEFAULT_PARTS)
    options.add_output(parser)
    add_engine(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Generate and write; returns the exit code."""
    _check_segmenter(arguments)
    if arguments.engine == "ecgflowcmr":
        return run_ecgflowcmr(arguments)
    if arguments.template:
        return run_template(arguments)
    need_anchor(arguments)
    with session(arguments) as current:
        cine = generate_into(GenerateRequest.of(arguments), current, command="generate")
        describe(cine, Path(arguments.out), current)
    return 0


def _check_segmenter(arguments: argparse.Namespace) -> None:
    """Refuse a segmenter that would not be asked.

    Raises:
        AnatomyError: If there is no anchor to label, its labels are to stay as they are, or only its codes are given.
    """
    reasons = {
        "--labels with --labels-as-given": arguments.labels and arguments.labels_as_given,
        "--template": arguments.template,
        "--engine ecgflowcmr": arguments.engine == "ecgflowcmr",
    }
    beside = next((name for name, given in reasons.items() if given), None)
    if arguments.segmenter and beside:
        raise AnatomyError(f"A segmenter labels an anchor or adds what its labels lack; found {beside}. Leave one out.")
    if arguments.segmenter_labels and not arguments.segmenter:
        raise AnatomyError("Codes of a segmenter's classes need the segmenter; found none. Give --segmenter FOLDER.")


def describe(cine: Cine, out: Path, current: Session) -> None:
    """Print what came out and where it is."""
    report = cine.function
    current.facts |= result_facts(out) | {"function": None if report is None else report.as_dict()}
    if report is not None:
        es = "" if np.isnan(report.es_time_ms) else f"   end-systole at {report.es_time_ms:.0f} ms"
        current.say(
            f"EF {report.ef_percent:.0f} %   EDV {report.edv_ml:.0f} mL   ESV {report.esv_ml:.0f} mL   "
            f"{report.hr_bpm:.0f} bpm{es}"
        )
    current.say(f"Synthetic cine of {len(cine.time_ms)} frames for research use only, in {out}")
    for path in sorted(out.iterdir()):
        current.say(f"  {path.name:<18} {FILES.get(path.name, '')}".rstrip())
    current.say_warnings()


def result_facts(out: Path) -> dict[str, Any]:
    """Return where a result is and what it holds, for ``--json``."""
    return {"out": str(out), "files": sorted(path.name for path in out.iterdir())}


FILES = {
    "scene.mrb": "everything below, linked: drag it into 3D Slicer and press play",
    "cine.seq.nrrd": "the images over one R–R",
    "labels.seq.nrrd": "LV cavity, myocardium, RV cavity of every frame",
    "motion.seq.nrrd": "displacement of every frame",
    "function.json": "volumes, EF, output, timing, AHA segments",
    "function.csv": "volumes by frame",
    "viewer.html": "the beating heart, to watch in any browser",
    "preview.png": "one sheet to print",
    "preview.gif": "the beating heart",
    "ecg.csv": "the ECG that drove it",
    "cine.nii.gz": "the images as NIfTI 4D",
    "labels.nii.gz": "the labels as NIfTI 4D",
    "dicom": "derived MR images and segmentations, marked as synthetic",
    "mesh": "surfaces of every frame, and one beating GLB",
    "read_outs.csv": "what was measured, name by name",
    "curves.csv": "volumes by frame, marked as synthetic",
    "segments.csv": "AHA segments",
    "run.json": "versions, inputs by hash, seed, times, warnings",
}
"""What each file of a result is, for people."""
