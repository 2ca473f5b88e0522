"""``cof train ecgflowcmr``: the four stages of ECGFlowCMR."""

import argparse
from pathlib import Path

from COFGeneratorLib.commands import options
from COFGeneratorLib.jobs.session import session

STAGES = ("pa-mae", "vae", "segmenter", "amdf")


def add(kinds) -> None:
    """Add the kind to ``cof train``."""
    words = "ECGFlowCMR: a cine of one plane from the ECG alone"
    one = kinds.add_parser("ecgflowcmr", help=words, description=f"Train {words}.")
    one.add_argument(
        "--stage", choices=(*STAGES, "all"), default="all",
        help="pa-mae (ECG encoder with phase), vae, segmenter (read-outs), amdf (the flow); default: all in this order",
    )  # fmt: skip
    one.add_argument("--cohort", metavar="DIR", help="cines of this plane with ECGs (default: phantoms)")
    one.add_argument("--out", required=True, metavar="RUN", help="folder of the run; all stages share it")
    one.add_argument(
        "--config", default="ecgflowcmr-small", metavar="NAME|FILE",
        help="ecgflowcmr (the paper's sizes), ecgflowcmr-small (default), ecgflowcmr-smoke, or a file of differences",
    )  # fmt: skip
    one.add_argument("--start", metavar="BUNDLE", help="begin from the weights of a bundle, as far as they fit")
    one.add_argument("--resume", action="store_true", help="go on with the stages in this folder")
    one.add_argument("--device", type=options.device, help="auto, cpu, cuda:N or mps (default: the configuration's)")
    one.add_argument("--threads", type=options.positive, help="CPU threads (default: the configuration's)")
    one.add_argument("--workers", type=options.positive, default=1, metavar="N", help="processes that make data")
    one.add_argument("--events", metavar="FILE", help="write progress as JSON lines for a program that watches")
    one.add_argument("--quiet", action="store_true", help="print errors only")
    one.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train; returns the exit code."""
    from COFTrainingLib.commands.listening import listener
    from COFTrainingLib.training.ecgflowcmr.settings import read_settings
    from COFTrainingLib.training.ecgflowcmr.stages import WEIGHTS, place, run_stage

    config = place(read_settings(arguments.config), arguments.device, arguments.threads)
    loops = {"pa-mae": config.pa_mae, "vae": config.vae, "segmenter": config.segmenter, "amdf": config.amdf}
    out = Path(arguments.out)
    with session(arguments) as current:
        cohort = None
        if arguments.cohort:
            from COFTrainingLib.cohort.manifest import read_cohort

            cohort = read_cohort(arguments.cohort)
        hear = {name: listener(current, name, part.loop.steps) for name, part in loops.items()}
        hear["data"] = lambda event: current.progress(event["step"], event["of"], "data")
        for stage in STAGES if arguments.stage == "all" else (arguments.stage,):
            if arguments.stage == "all" and arguments.resume and (out / stage / WEIGHTS).is_file():
                continue
            folder = run_stage(
                stage, out, config, cohort=cohort, workers=arguments.workers, resume=arguments.resume,
                start=arguments.start, told=lambda name, event: hear[name](event),
            )  # fmt: skip
            current.say(f"Trained: {folder}")
        current.say_warnings()
    return 0
