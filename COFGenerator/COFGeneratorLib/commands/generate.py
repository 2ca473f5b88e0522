"""``cof generate``: one anchor and one ECG in, one cine with everything about it out."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from COFGeneratorLib.commands import options
from COFGeneratorLib.commands.generate_from_ecg import add_engine, need_anchor, run_ecgflowcmr
from COFGeneratorLib.commands.generate_from_template import run_template
from COFGeneratorLib.commands.session import Session, session
from COFGeneratorLib.errors import AnatomyError
from COFGeneratorLib.results.folder import ResultFolder
from COFGeneratorLib.results.manifest import write_manifest
from COFGeneratorLib.results.writer import write_result


def add(commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "generate",
        help="generate a cine from a short-axis volume and an ECG",
        description="Generate a beating heart from one short-axis volume and a 12-lead ECG. Writes cine, motion and "
        "label sequences, a Slicer scene, function read-outs, pictures and run.json.",
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
        "--label-map", type=options.label_map, metavar="CODES", help='codes in the file (default "lv=3,myo=2,rv=1")'
    )
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
        cine = generate_into(arguments, current, "generate")
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


def generate_into(arguments: argparse.Namespace, current: Session, command: str, bundle=None, facts=None):
    """Generate one case into ``arguments.out`` and return the cine.

    Args:
        arguments: As parsed for ``cof generate``.
        current: Where to tell progress and warnings.
        command: Name for ``run.json``.
        bundle: A loaded bundle; loaded from ``arguments.model`` where not given.
        facts: More facts for ``run.json``.
    """
    with ResultFolder(arguments.out, arguments.overwrite) as folder:
        cine = compute(arguments, current, bundle)
        current.warn(*write_result(cine, folder, current.watch, current.progress))
        write_manifest(folder, command, run_facts(cine, arguments) | (facts or {}), current.watch, current.warnings)
    for path in sorted(Path(arguments.out).iterdir()):
        current.events.artifact(path)
    return cine


def compute(arguments: argparse.Namespace, current: Session, bundle=None):
    """Read, load and generate; all errors of input come from here, before anything is written."""
    current.progress(0, 3, "reading")
    with current.watch.stage("reading"):
        from COFGeneratorLib import analyse_ecg, read_ecg, read_labels, read_sax
        from COFGeneratorLib.anatomy.completion import lacking
        from COFGeneratorLib.anatomy.roi import as_roi

        roi = as_roi(arguments.roi)
        record = read_ecg(arguments.ecg)
        cycle = None if arguments.beat is None else analyse_ecg(record, **chosen_beat(arguments.beat))
        anchor = read_sax(arguments.anchor, arguments.anchor_frame)
        current.progress(1, 3, "reading")
        labels = None
        if arguments.labels:
            codes = {"label_map": arguments.label_map} if arguments.label_map else {}
            labels = read_labels(arguments.labels, anchor, **codes)
            if getattr(arguments, "segmenter", None) and not lacking(labels):
                current.warn("The labels lack nothing, so the segmenter was not asked.")
    with current.watch.stage("loading"):
        from COFGeneratorLib import generate, load_bundle
        from COFGeneratorLib.resources import default_bundle

        bundle = bundle or load_bundle(arguments.model or default_bundle())
        segmenter = None
        if getattr(arguments, "segmenter", None):  # a batch has none
            from COFGeneratorLib.anatomy.foreign_segmenter import load_segmenter
            from COFGeneratorLib.generator.device import choose_device

            device = str(choose_device(arguments.device))
            segmenter = load_segmenter(arguments.segmenter, arguments.segmenter_labels, device)
    current.progress(3, 3, "reading")
    cine = generate(
        anchor,
        record,
        bundle,
        labels=labels,
        frames=arguments.frames,
        solver=arguments.solver,
        steps=arguments.steps,
        samples=arguments.samples,
        seed=arguments.seed,
        device=arguments.device,
        cycle=cycle,
        roi=roi,
        segmenter=segmenter,
        complete_labels=not arguments.labels_as_given,
        anchor_phase=phase_of(anchor, getattr(arguments, "anchor_phase", None)),
        progress=lambda stage, done, total: current.progress(done, total, stage),
    )
    for stage, seconds in cine.provenance["seconds"].items():
        current.watch.add(stage, seconds)
    current.warn(*cine.provenance["warnings"])
    return cine


def phase_of(anchor, asked: float | str | None) -> float:
    """Return ``--anchor-phase`` as a fraction of the R–R interval; ``cine`` is read off the frame times of the file.

    Args:
        anchor: The stack that was read.
        asked: As parsed; None is the R wave.

    Raises:
        AnatomyError: If the file does not say when its frames were taken.
    """
    if asked != "cine":
        return asked or 0.0
    times = np.asarray(anchor.frame_times_ms, dtype=float)
    if len(times) < 2 or not (np.diff(times) > 0).all():
        raise AnatomyError(
            "The phase of a frame is read off the times of its cine's frames; found none in the anchor's file. State "
            f"it: --anchor-phase FRACTION, for frame {anchor.frame} of n frames of one R–R {anchor.frame}/n."
        )
    length = (times[-1] - times[0]) * len(times) / (len(times) - 1)
    return float((times[anchor.frame] - times[0]) / length)


def chosen_beat(beat: int | float | None) -> dict[str, int | float]:
    """Return ``--beat`` as the argument of ``analyse_ecg`` that it stands for: a time is a float, s."""
    return {} if beat is None else {"at_s": beat} if isinstance(beat, float) else {"beat": beat}


def run_facts(cine, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the facts of one generation: what went in (by content, not by name), and how."""
    told_elsewhere = ("warnings", "versions", "seconds", "anchor_sha256", "ecg_sha256", "anchor_frame")
    facts = {name: value for name, value in cine.provenance.items() if name not in told_elsewhere}
    inputs = {
        "anchor": {"sha256": cine.anchor.source_sha256, "frame": cine.anchor.frame, "shape": list(cine.anchor.shape)},
        "ecg": {"sha256": cine.record.source_sha256, "format": cine.record.source_format},
    }
    if arguments.labels:
        from COFGeneratorLib.results.hashing import sha256_of

        inputs["labels"] = {"sha256": sha256_of(arguments.labels), "label_map": arguments.label_map}
    return facts | {"frames": len(cine.time_ms), "inputs": inputs}


def describe(cine, out: Path, current: Session) -> None:
    """Print what came out and where it is."""
    report = cine.function
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


FILES = {
    "scene.mrb": "everything below, linked: drag it into 3D Slicer and press play",
    "cine.seq.nrrd": "the images over one R–R",
    "labels.seq.nrrd": "LV cavity, myocardium, RV cavity of every frame",
    "motion.seq.nrrd": "displacement of every frame",
    "function.json": "volumes, EF, output, timing, AHA segments",
    "function.csv": "volumes by frame",
    "preview.png": "one sheet to print",
    "preview.gif": "the beating heart",
    "ecg.csv": "the ECG that drove it",
    "run.json": "versions, inputs by hash, seed, times, warnings",
}
"""What each file of a result is, for people."""
