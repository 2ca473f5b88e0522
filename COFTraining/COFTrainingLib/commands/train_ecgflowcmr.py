"""``cof train ecgflowcmr``: the four stages of ECGFlowCMR."""

import argparse
from pathlib import Path

from COFGeneratorLib.commands import Commands
from COFGeneratorLib.jobs.session import session

from COFTrainingLib.commands.listening import listener
from COFTrainingLib.commands.training_options import add_training, asked_cohort, goes_on

STAGES = ("pa-mae", "vae", "segmenter", "amdf")


def add(kinds: Commands) -> None:
    """Add the kind to ``cof train``."""
    words = "ECGFlowCMR: a cine of one plane from the ECG alone"
    example = "example: cof train ecgflowcmr --config ecgflowcmr-smoke --out runs/plane"
    one = kinds.add_parser("ecgflowcmr", help=words, description=f"Train {words}.", epilog=example)
    one.add_argument(
        "--stage", choices=(*STAGES, "all"), default="all",
        help="pa-mae (ECG encoder with phase), vae, segmenter (read-outs), amdf (the flow); default: all in this order",
    )  # fmt: skip
    add_training(
        one,
        cohort="cines of this plane with ECGs (default: phantoms)",
        out="folder of the run; all stages share it",
        config="ecgflowcmr-small",
        configs="ecgflowcmr (the paper's sizes), ecgflowcmr-small (default), ecgflowcmr-smoke, or a file of "
        "differences",
    )
    one.add_argument("--start", metavar="BUNDLE", help="begin from the weights of a bundle, as far as they fit")
    one.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train; returns the exit code."""
    from COFTrainingLib.training.ecgflowcmr.settings import read_settings
    from COFTrainingLib.training.ecgflowcmr.stages import WEIGHTS, place, run_stage

    config = place(read_settings(arguments.config), arguments.device, arguments.threads)
    loops = {"pa-mae": config.pa_mae.loop, "vae": config.vae.loop, "segmenter": config.segmenter.loop,
             "amdf": config.amdf.loop}  # fmt: skip
    out = Path(arguments.out)
    with session(arguments) as current:
        current.standing = lambda: goes_on(arguments.out)
        cohort = asked_cohort(arguments)
        hear = {name: listener(current, name, loop.steps) for name, loop in loops.items()}
        hear["data"] = lambda event: current.progress(event["step"], event["of"], "data")
        for stage in STAGES if arguments.stage == "all" else (arguments.stage,):
            if arguments.stage == "all" and arguments.resume and (out / stage / WEIGHTS).is_file():
                continue
            folder = run_stage(
                stage, out, config, cohort=cohort, workers=arguments.workers, resume=arguments.resume,
                start=arguments.start, told=lambda name, event: hear[name](event),
            )  # fmt: skip
            current.facts["run"] = str(out)
            current.say(f"Trained: {folder}")
        current.say_warnings()
    return 0
