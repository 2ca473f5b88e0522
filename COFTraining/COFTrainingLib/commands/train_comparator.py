"""``cof train comparator``: a small generator of another family, for the tables beside the product's flow."""

import argparse
from pathlib import Path
from typing import Any

from COFGeneratorLib.commands import Commands
from COFGeneratorLib.jobs.session import session

from COFTrainingLib.commands.listening import listener
from COFTrainingLib.commands.training_options import add_training, asked_cohort, goes_on


def add(kinds: Commands) -> None:
    """Add the kind to ``cof train``."""
    words = "a comparator: latent-flow diffusion of a still image, or ECG-conditioned video tokens"
    one = kinds.add_parser(
        "comparator", help=words,
        description=f"Train {words}. Its finished run joins an evaluation with --comparator RUN.",
        epilog="example: cof train comparator --config ecg-tokens --cohort cohort --out runs/ecg-tokens",
    )  # fmt: skip
    add_training(
        one,
        cohort="cines with ECGs; the one that the flow learned from, for a fair comparison (needed)",
        out="run folder",
        config="latent-flow",
        configs="latent-flow (default), ecg-tokens, either with -smoke, or a file of differences",
    )
    one.add_argument("--ecg", metavar="RUN|BUNDLE|FILE", help="ECG encoder that hears for it, frozen (default: the "
                     "default model's)")  # fmt: skip
    one.add_argument("--segmenter", metavar="RUN|BUNDLE", help="labels anchors that have no labels (default: "
                     "RUN/segmenter, or the default model's)")  # fmt: skip
    one.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train; returns the exit code.

    Raises:
        ChainOfFlowError: If the cohort, the encoder or the run folder cannot be used.
    """
    from COFGeneratorLib.errors import TrainingError
    from COFGeneratorLib.resources import default_bundle

    from COFTrainingLib.training.comparators.settings import read_settings
    from COFTrainingLib.training.comparators.stages import placed, train_comparator
    from COFTrainingLib.training.examples.cine_data import segmenter_folder

    cohort = asked_cohort(arguments)
    if cohort is None:
        raise TrainingError("A comparator learns from the cines of a cohort; none is named. Give --cohort DIR.")
    config = placed(read_settings(arguments.config), arguments.device, arguments.threads)
    with session(arguments) as current:
        current.standing = lambda: goes_on(arguments.out)
        loops = {"autoencoder": config.autoencoder_loop, "generator": config.generator_loop}
        hear = {name: listener(current, name, loop.steps) for name, loop in loops.items()}

        def told(stage: str, event: dict[str, Any]) -> None:
            if stage in hear:
                hear[stage](event)
            elif event["event"] == "warning":
                current.warn(event["message"])
            else:
                current.progress(event["step"], event["of"], "data")

        finished = train_comparator(
            arguments.out, config, cohort, arguments.ecg or default_bundle(),
            segmenter=segmenter_folder(Path(arguments.out), arguments.segmenter), resume=arguments.resume, told=told,
        )  # fmt: skip
        current.facts["run"] = str(finished)
        current.say(f"Trained: {finished}; judge it with cof evaluate or cof benchmark --comparator {finished}")
        current.say_warnings()
    return 0
