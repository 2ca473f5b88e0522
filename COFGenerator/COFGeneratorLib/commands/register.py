"""``cof register``: the motion of a real cine, with the same outputs as a generation."""

import argparse
from pathlib import Path

from COFGeneratorLib.commands import options
from COFGeneratorLib.commands.session import session
from COFGeneratorLib.errors import ChainOfFlowError
from COFGeneratorLib.results.folder import ResultFolder
from COFGeneratorLib.results.manifest import write_manifest

DEMONS = "demons"


def add(commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "register",
        help="measure the motion of a real cine",
        description="Register one frame of a real short-axis cine to all others, with the trained teacher where there "
        "is one, else with SimpleITK's demons. Writes cine, motion and label sequences, a Slicer scene and function.",
    )
    parser.add_argument("--cine", required=True, metavar="FILE", help="short-axis cine: NIfTI, NRRD, MHA, DICOM")
    parser.add_argument(
        "--anchor-frame", type=options.natural, default=0, metavar="N", help="frame to move (default 0)"
    )
    parser.add_argument("--labels", metavar="FILE", help="labels of that frame (default: found by the segmenter)")
    parser.add_argument("--label-map", type=options.label_map, metavar="CODES", help='codes ("lv=3,myo=2,rv=1")')
    parser.add_argument("--rr", type=float, metavar="MS", help="length of the cycle (default: from the file's times)")
    parser.add_argument(
        "--teacher", metavar="DIR|demons",
        help="folder of a trained teacher (default: the model's, if any), or demons: SimpleITK's, without any training",
    )  # fmt: skip
    parser.add_argument("--model", metavar="BUNDLE", help="bundle whose segmenter and teacher are used")
    parser.add_argument("--device", type=options.device, default="auto", help="auto, cpu, cuda:N or mps")
    options.add_output(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Register and write; returns the exit code."""
    with session(arguments) as current, ResultFolder(arguments.out, arguments.overwrite) as folder:
        cine = compute(arguments, current)
        with current.watch.stage("writing"):
            write(cine, folder, current)
        facts = {key: value for key, value in cine.provenance.items() if key not in ("warnings", "seconds", "versions")}
        write_manifest(folder, "register", facts | {"rr_ms": cine.rr_ms}, current.watch, current.warnings)
        report = cine.function
        if report is not None:
            current.say(f"EF {report.ef_percent:.0f} %   EDV {report.edv_ml:.0f} mL   ESV {report.esv_ml:.0f} mL")
        current.say(f"Motion by {cine.provenance['method']}, {len(cine.time_ms)} frames, in {arguments.out}")
        current.say_warnings()
    return 0


def compute(arguments: argparse.Namespace, current):
    """Read the cine, find labels and teacher, register."""
    from COFGeneratorLib import load_bundle, read_labels
    from COFGeneratorLib.anatomy.readers import read_cine
    from COFGeneratorLib.generator.device import choose_device
    from COFGeneratorLib.registration.pipeline import WITHOUT_TEACHER, find_teacher, register_cine
    from COFGeneratorLib.resources import default_bundle

    current.progress(0, 1, "reading")
    with current.watch.stage("reading"):
        real, index = read_cine(arguments.cine), arguments.anchor_frame
        if not 1 < len(real.frames) > index:
            raise ChainOfFlowError(
                f"Registration needs a cine with frame {index}; found {len(real.frames)} frames. Choose another file."
            )
        anchor = real.stack(index)
        rr_ms = arguments.rr or cycle_length_ms(real.frame_times_ms)
    bundle = Path(arguments.model) if arguments.model else _or_none(default_bundle)
    labels, source = None, "none"
    segmenter = load_bundle(bundle).segmenter if bundle is not None else None
    if arguments.labels:
        codes = {"label_map": arguments.label_map} if arguments.label_map else {}
        labels, source = read_labels(arguments.labels, anchor, **codes), "user"
    elif segmenter is not None:
        with current.watch.stage("segmenting"):
            current.progress(0, 1, "segmenting")
            labels, source = segmenter.segment(anchor, None).labels, "segmenter"
    by_demons = arguments.teacher == DEMONS
    teacher = None if by_demons else Path(arguments.teacher) if arguments.teacher else find_teacher(bundle)
    with current.watch.stage("registration"):
        cine = register_cine(
            anchor, real.frames, rr_ms, labels=labels, labels_from=source, teacher=teacher, segmenter=segmenter,
            device=str(choose_device(arguments.device)),
            progress=lambda stage, done, total: current.progress(done, total, stage),
        )  # fmt: skip
    current.warn(*(text for text in cine.provenance["warnings"] if not (by_demons and text == WITHOUT_TEACHER)))
    return cine


def cycle_length_ms(times_ms) -> float:
    """Return the R–R of evenly timed frames: the last frame lasts as long as the others.

    Raises:
        ChainOfFlowError: If the file tells no times.
    """
    span = times_ms[-1] - times_ms[0] if len(times_ms) > 1 else 0.0
    if not span > 0.0:
        raise ChainOfFlowError(
            "The file does not say when its frames were taken. Give the cycle's length with --rr MS."
        )
    return span * len(times_ms) / (len(times_ms) - 1)


def write(cine, folder: Path, current) -> None:
    """Write scene and function."""
    from COFGeneratorLib.function import findings, measure_regional, write_function
    from COFGeneratorLib.scene import write_scene

    if cine.function is not None:
        report = cine.function
        try:
            regional = measure_regional(
                cine.labels[report.ed_frame], cine.labels[report.es_frame], cine.anchor.ijk_to_ras
            )
        except ChainOfFlowError as error:
            regional = None
            current.warn(f"Regional function was not measured. {error}")
        write_function(report, folder, regional=regional)
        current.warn(*findings(report))
    write_scene(cine, folder)


def _or_none(find):
    try:
        return find()
    except ChainOfFlowError:
        return None
