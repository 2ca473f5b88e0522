"""What an evaluation takes, beside its cohort: models, predictions, protocols, and how it is done."""

import argparse

from COFGeneratorLib.commands import options

LIBRARY_SUBJECTS = 96


def add_evaluation(parser: argparse.ArgumentParser) -> None:
    """Add what every evaluation takes."""
    parser.add_argument(
        "--model", action="append", default=[], metavar="[NAME=]BUNDLE",
        help="model bundle; the first is what the report is about, further ones are comparators (default: the one "
        "that ships)",
    )  # fmt: skip
    parser.add_argument(
        "--predictions", action="append", default=[], metavar="NAME=DIR",
        help="cines of another method, one a subject: ID.nii.gz or ID/cine.seq.nrrd, labels as ID_labels.nii.gz or "
        "ID/labels.seq.nrrd",
    )  # fmt: skip
    parser.add_argument(
        "--comparator", action="append", default=[], metavar="[NAME=]RUN",
        help="finished run of cof train comparator, a method of another family that joins the tables",
    )  # fmt: skip
    parser.add_argument("--protocol", action="append", default=[], metavar="NAME", help="a protocol below, cheap "
                        "(default) or all; may be given several times")  # fmt: skip
    parser.add_argument("--subjects", type=options.positive, metavar="N", help="only the first N subjects")
    parser.add_argument("--motions", metavar="DIR", help="flow cache of a training run, for the baselines that use "
                        "others' motion (default: made from training phantoms)")  # fmt: skip
    parser.add_argument("--library", type=options.natural, default=LIBRARY_SUBJECTS, metavar="N",
                        help=f"its size (default {LIBRARY_SUBJECTS} subjects; 0: no such baselines)")  # fmt: skip
    parser.add_argument("--dinov2", metavar="FILE", help="DINOv2 weights (.safetensors or .pth) for the distances of "
                        "distributions")  # fmt: skip
    parser.add_argument("--assessor", metavar="FOLDER|none", help="independent network that labels recorded and "
                        "generated images (protocol assessor) and predictions without labels (default: the one that "
                        "ships)")  # fmt: skip
    parser.add_argument("--assessor-subjects", type=options.positive, metavar="N", help="let it read only the first N "
                        "subjects (default: all)")  # fmt: skip
    parser.add_argument("--assessor-frames", type=_several, metavar="N", help="let it read only N frames of each cine, "
                        "ED, ES and others in between (default: all)")  # fmt: skip
    parser.add_argument("--anchor-subjects", type=options.positive, metavar="N", help="give only the first N subjects "
                        "every frame as the anchor (protocol anchor-phase; default: all)")  # fmt: skip
    parser.add_argument("--review", metavar="FILE", help="modes of the hard cases as a reader marked them on "
                        "review.html (protocol failures; default: OUT/review.csv where it is there)")  # fmt: skip
    parser.add_argument("--no-model", action="store_true", help="judge --predictions and --comparator alone")
    parser.add_argument("--seed", type=options.natural, default=0, help="seed of random draws (default 0)")
    parser.add_argument("--device", type=options.device, default="cpu", help="where networks run: auto, cpu (default), "
                        "cuda:N or mps; measuring stays on the CPU")  # fmt: skip
    options.add_workers(parser)
    options.add_reporting(parser)


def _several(text: str) -> int:
    """Parse a number of frames of which ED and ES are two."""
    try:
        count = int(text)
    except ValueError:
        count = 0
    if count < 2:
        raise argparse.ArgumentTypeError(f"expected at least 2 frames; found {text!r}")
    return count
