"""``cof train``: the registration teacher, the segmenter, the ECG encoder, Stage 2."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from COFGeneratorLib.commands import options
from COFGeneratorLib.commands.session import Session, session

KINDS = {
    "teacher": "the registration teacher (Stage 1)",
    "segmenter": "the segmenter that finds and labels the heart in an anchor",
    "ecg": "the ECG encoder",
    "flow": "Stage 2: regression mean and flow of motion on anatomy and ECG",
}


def add(commands) -> None:
    """Add the sub-command and its kinds."""
    parser = commands.add_parser("train", help="train the networks", description="Train a network; all are resumable.")
    kinds = parser.add_subparsers(title="kinds", metavar="KIND", required=True)
    for kind, words in KINDS.items():
        one = kinds.add_parser(kind, help=words, description=f"Train {words}.")
        one.add_argument("--cohort", metavar="DIR", help="cohort to train on (default: phantoms of the configuration)")
        one.add_argument("--out", required=True, metavar="RUN", help="run folder")
        one.add_argument(
            "--config", default="cof-plus", metavar="NAME|FILE", help="cof-plus, cof-v2, smoke or a JSON file"
        )
        one.add_argument("--resume", action="store_true", help="go on with the run in this folder")
        one.add_argument(
            "--device", type=options.device, help="auto, cpu, cuda:N or mps (default: the configuration's)"
        )
        one.add_argument("--threads", type=options.positive, help="CPU threads (default: the configuration's)")
        one.add_argument("--workers", type=options.positive, default=1, metavar="N", help="processes that make data")
        one.add_argument("--events", metavar="FILE", help="write progress as JSON lines for a program that watches")
        one.add_argument("--quiet", action="store_true", help="print errors only")
        if kind == "flow":
            one.add_argument("--ecg", required=True, metavar="RUN", help="finished run of cof train ecg")
            one.add_argument("--examples", metavar="DIR", help="folder of the examples, to share them between runs")
        if kind == "segmenter":
            one.add_argument("--examples", metavar="DIR", help="folder of the tissue maps, to share them between runs")
        one.set_defaults(run=run, kind=kind)


def run(arguments: argparse.Namespace) -> int:
    """Train; returns the exit code."""
    from COFTrainingLib.training.configurations import read_configuration

    work: dict[str, Callable] = {"teacher": _teacher, "segmenter": _segmenter, "ecg": _ecg, "flow": _flow}
    config = read_configuration(arguments.kind, arguments.config)
    with session(arguments) as current:
        cohort = None
        if arguments.cohort:
            from COFTrainingLib.cohort.manifest import read_cohort

            cohort = read_cohort(arguments.cohort)
        finished = work[arguments.kind](arguments, config, cohort, current)
        current.say(f"Trained: {finished}")
        current.say_warnings()
    return 0


def _teacher(arguments, config, cohort, current: Session) -> Path:
    from COFTrainingLib.training.teacher import train_teacher

    _seeds_only(cohort, current)
    config = replace(config, loop=_placed(config.loop, arguments))
    told = listener(current, "teacher", config.loop.steps)
    return train_teacher(None, arguments.out, config, arguments.resume, progress=told).run


def _segmenter(arguments, config, cohort, current: Session) -> Path:
    from COFTrainingLib.training.segmenter import train_segmenter

    _seeds_only(cohort, current)
    loops = {name: _placed(getattr(config, name), arguments) for name in ("fine_loop", "coarse_loop")}
    config = replace(config, **loops)
    examples = arguments.examples or Path(arguments.out) / "examples"
    told = listener(current, "segmenter", config.fine_loop.steps)
    return train_segmenter(
        arguments.out, config, cache_dir=examples, workers=arguments.workers, resume=arguments.resume, progress=told
    )


def _ecg(arguments, config, cohort, current: Session) -> Path:
    from COFTrainingLib.training.ecg_encoder import train_ecg_encoder
    from COFTrainingLib.training.loop import LoopConfig

    _seeds_only(cohort, current)
    loop = LoopConfig(
        config.steps, learning_rate=1.5e-3, weight_decay=1e-2, warmup_steps=min(200, config.steps // 10),
        ema_decay=0.998, log_every=max(1, min(50, config.steps // 4)), checkpoint_every=min(500, config.steps),
        device="cpu", threads=1,
    )  # fmt: skip
    return train_ecg_encoder(
        arguments.out,
        config.steps,
        config.batch,
        config.seed,
        records=config.records,
        workers=arguments.workers,
        encoder=config.encoder,
        loop=_placed(loop, arguments),
        resume=arguments.resume,
        progress=listener(current, "ECG encoder", config.steps),
    ).run


def _flow(arguments, config, cohort, current: Session) -> Path:
    from COFTrainingLib.training.stage_two import train_stage_two

    loops = {name: _placed(getattr(config, name), arguments) for name in ("mean_loop", "flow_loop")}
    config = replace(config, **loops)
    listeners = {
        "mean": listener(current, "regression mean", config.mean_loop.steps),
        "flow": listener(current, "flow", config.flow_loop.steps),
    }
    return train_stage_two(
        arguments.out,
        config,
        arguments.ecg,
        cohort=cohort,
        examples=arguments.examples,
        workers=arguments.workers,
        resume=arguments.resume,
        told=lambda stage, done, total: current.progress(done, total, f"examples: {stage}"),
        progress=lambda part, event: listeners[part](event),
    )


def listener(current: Session, stage: str, steps: int) -> Callable[[dict[str, Any]], None]:
    """Return what passes a training loop's events on: to the watching program, and as lines to the terminal."""
    told = [-1]

    def hear(event: dict[str, Any]) -> None:
        step = int(event.get("step", 0))
        if event["event"] == "progress":
            current.progress(min(step, steps), steps, stage)
            current.events.metric("loss", event["loss"], step)
            tenth = 10 * step // steps
            if tenth != told[0]:
                told[0] = tenth
                current.say(f"{stage}: step {step}   loss {event['loss']:.4f}   {event['eta_s'] / 60:.0f} min to go")
        elif event["event"] == "metric":
            for name, value in event.items():
                if isinstance(value, float):
                    current.events.metric(name, value, step)
            if "score" in event:
                current.say(f"{stage}: step {step}   validation {event['score']:.4f}")
        elif event["event"] == "warning":
            current.warn(event["message"])

    return hear


def _placed(loop, arguments: argparse.Namespace):
    """Return a loop's settings with the device and the threads asked for."""
    asked = {"device": arguments.device, "threads": arguments.threads}
    return replace(loop, **{name: value for name, value in asked.items() if value is not None})


def _seeds_only(cohort, current: Session) -> None:
    """Say that this training draws its own phantoms where a cohort was named in vain.

    Raises:
        TrainingError: If the cohort holds people: their images are not trained on here.
    """
    from COFGeneratorLib.errors import TrainingError

    if cohort is None:
        return
    if cohort.header.kind != "phantom":
        raise TrainingError(
            f"This training draws phantoms of its own; found the cohort {cohort.header.name!r} of kind "
            f"{cohort.header.kind!r}. Leave --cohort out."
        )
    current.warn(
        "This training draws phantoms of its own, by the seeds of its configuration; --cohort changes nothing."
    )
