"""``cof train nnunet``: nnU-Net v2 on a labelled cohort, through its own package."""

import argparse
from pathlib import Path

from COFGeneratorLib.commands import Commands, options
from COFGeneratorLib.jobs.session import session

from COFTrainingLib.commands.recordings import add_disjoint, kept_apart
from COFTrainingLib.commands.training_options import goes_on


def add(kinds: Commands) -> None:
    """Add the kind."""
    one = kinds.add_parser(
        "nnunet",
        help="nnU-Net v2 on a labelled cohort (extra nnunet), as teacher or source of labels",
        description="Write the labelled frames of a cohort as nnU-Net's raw data set, and let its own package plan and "
        "train. What is trained is taken by --segmenter of cof cohort label, and of a cof train teacher whose "
        "objective asks a segmentation network (--config cof-v2).",
        epilog="example: cof train nnunet --cohort acdc --out runs/nnunet",
    )
    one.add_argument("--cohort", required=True, metavar="DIR", help="labelled recordings")
    one.add_argument("--out", required=True, metavar="RUN", help="run folder")
    one.add_argument("--configuration", choices=("3d_fullres", "2d"), default="3d_fullres", help="nnU-Net's own "
                     "(default 3d_fullres)")  # fmt: skip
    one.add_argument("--epochs", type=options.positive, default=1000, metavar="N", help="for which nnU-Net has a "
                     "trainer: 1, 5, 10, 20, 50, 100, 250, 500, 1000 (default), …")  # fmt: skip
    one.add_argument("--device", choices=("cpu", "cuda", "mps"), default="cuda", help="default cuda")
    one.add_argument("--resume", action="store_true", help="go on with the run in this folder")
    add_disjoint(one)
    options.add_reporting(one)
    one.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train; returns the exit code.

    Raises:
        ChainOfFlowError: If the cohort cannot be used, nnunetv2 is missing, or it fails.
    """
    from COFTrainingLib.cohort.manifest import read_cohort
    from COFTrainingLib.training.segmenter.nnunet import NnUnetPlan, train_nnunet

    plan = NnUnetPlan(arguments.configuration, arguments.epochs, arguments.device)
    with session(arguments) as current:
        current.standing = lambda: goes_on(arguments.out)
        cohort = kept_apart(read_cohort(arguments.cohort), arguments, current)
        folder = train_nnunet(cohort, arguments.out, plan, resume=arguments.resume)
        current.say(f"Trained: {Path(folder)}")
        current.say(f"Take it with --segmenter {folder} --segmenter-labels lv=1,myo=2,rv=3")
    return 0
