"""``cof register``: the motion of a real cine, with the same outputs as a generation."""

import argparse
from pathlib import Path

from COFGeneratorLib.cases.register import compute
from COFGeneratorLib.cases.request import RegisterRequest
from COFGeneratorLib.cine import Cine
from COFGeneratorLib.commands import Commands, options
from COFGeneratorLib.jobs.session import Session, session
from COFGeneratorLib.results.folder import ResultFolder, write_manifest


def add(commands: Commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "register",
        help="measure the motion of a real cine",
        description="Register one frame of a real short-axis cine to all others, with the trained teacher where there "
        "is one, else with SimpleITK's demons. Writes cine, motion and label sequences, a Slicer scene and function.",
        epilog="example: cof register --cine cine.nii.gz --rr 900 --out motion",
    )
    parser.add_argument("--cine", required=True, metavar="FILE", help="short-axis cine: NIfTI, NRRD, MHA, DICOM")
    parser.add_argument(
        "--anchor-frame", type=options.natural, default=0, metavar="N", help="frame to move (default 0)"
    )
    parser.add_argument("--labels", metavar="FILE", help="labels of that frame (default: found by the segmenter)")
    parser.add_argument(
        "--label-map", type=options.label_map, metavar="CODES", help='codes in the file, as "lv=3,myo=2,rv=1" '
        "(default: the names of its segments, or these)",
    )  # fmt: skip
    options.add_image(parser)
    parser.add_argument(
        "--rr", dest="rr_ms", type=float, metavar="MS", help="length of the cycle (default: from the file's times)"
    )
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
        cine = compute(RegisterRequest.of(arguments), current)
        with current.watch.stage("writing"):
            write(cine, folder, current)
        facts = {key: value for key, value in cine.provenance.items() if key not in ("warnings", "seconds", "versions")}
        write_manifest(folder, "register", facts | {"rr_ms": cine.rr_ms}, current.watch, current.warnings)
        report = cine.function
        current.facts |= {"out": str(arguments.out), "function": None if report is None else report.as_dict()}
        if report is not None:
            current.say(f"EF {report.ef_percent:.0f} %   EDV {report.edv_ml:.0f} mL   ESV {report.esv_ml:.0f} mL")
        current.say(f"Motion by {cine.provenance['method']}, {len(cine.time_ms)} frames, in {arguments.out}")
        current.say_warnings()
    return 0


def write(cine: Cine, folder: Path, current: Session) -> None:
    """Write scene and function."""
    from COFGeneratorLib.results.writer import write_read_outs
    from COFGeneratorLib.scene import write_scene

    if cine.function is not None:
        current.warn(*write_read_outs(cine, folder))
    write_scene(cine, folder)
