"""``cof train``: the registration teacher, the segmenter, the ECG encoder, Stage 2."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from COFGeneratorLib.commands import Commands, options
from COFGeneratorLib.files import write_json
from COFGeneratorLib.jobs.session import Session, session

from COFTrainingLib.cohort.manifest import Cohort
from COFTrainingLib.commands import train_comparator, train_ecgflowcmr, train_nnunet
from COFTrainingLib.commands.listening import listener
from COFTrainingLib.commands.recordings import add_disjoint, recordings
from COFTrainingLib.commands.training_options import add_training, asked_cohort, goes_on

if TYPE_CHECKING:  # they bring torch, which --help does without
    from COFGeneratorLib.anatomy.segmenters.frozen_segmentation import FrozenSegmentation

    from COFTrainingLib.training.ecg.ecg_training import EcgTraining
    from COFTrainingLib.training.motion.stage_two_settings import StageTwoTraining
    from COFTrainingLib.training.segmenter.assessor import AssessorTraining
    from COFTrainingLib.training.segmenter.segmenter import SegmenterConfig
    from COFTrainingLib.training.teacher.teacher import TeacherTraining

Config = TypeVar("Config", "TeacherTraining", "SegmenterConfig", "AssessorTraining", "EcgTraining", "StageTwoTraining")

KINDS = {
    "teacher": "the registration teacher (Stage 1)",
    "segmenter": "the segmenter that finds and labels the heart in an anchor",
    "assessor": "the assessor: a second network, of another family, that judges cines in evaluation",
    "ecg": "the ECG encoder",
    "flow": "Stage 2: the flow of motion on anatomy and ECG",
}
LABELLED = "labelled recordings to learn from (default: phantoms that it draws)"
COHORTS = {
    "teacher": "cohort with cines, or labelled pairs of frames (default: phantoms)",
    "segmenter": LABELLED,
    "assessor": LABELLED,
    "ecg": "recordings whose EF is known, beside the phantoms that it draws (default: these alone)",
    "flow": "phantoms, or cines with ECGs (default: the phantoms of the configuration)",
}
SAMPLED_FROM = 100
"""Steps from which a training of Stage 2 writes samples, where the user does not say: tiny ones are over at once."""
STAGES = {
    "ecg": "ECG encoder",
    "examples": "examples",
    "expected": "expected motion",
    "fold": "cross-fitting",
    "flow": "flow",
    "gain": "gain",
    "interval": "interval of EF",
}


def add(commands: Commands) -> None:
    """Add the sub-command and its kinds."""
    parser = commands.add_parser("train", help="train the networks", description="Train a network; all are resumable.")
    kinds = parser.add_subparsers(title="kinds", metavar="KIND", required=True)
    for kind, words in KINDS.items():
        example = f"example: cof train {kind} --config smoke --out runs/{kind}"
        one = kinds.add_parser(kind, help=words, description=f"Train {words}.", epilog=example)
        add_training(
            one,
            cohort=COHORTS[kind],
            out="run folder",
            config="cof-plus",
            configs="cof-plus (default), cof-v2, smoke, or a TOML or JSON file of what differs from one of them",
        )
        if kind == "flow":
            _add_flow(one)
        if kind in ("flow", "teacher"):
            one.add_argument(
                "--segmenter", metavar="RUN|BUNDLE",
                help="labels frames that have none (default: RUN/segmenter, or the default model's)",
            )  # fmt: skip
        if kind == "teacher":
            one.add_argument(
                "--segmenter-labels", type=options.label_map, metavar="CODES",
                help='classes of a segmenter of others that judges warped images, e.g. "lv=3,myo=2,rv=1"',
            )  # fmt: skip
        if kind in ("flow", "segmenter", "assessor"):
            one.add_argument("--cache", metavar="DIR", help="folder of the examples, to share them between runs")
        if kind in ("segmenter", "assessor", "ecg"):
            add_disjoint(one)
        if kind == "segmenter":
            one.add_argument(
                "--start-from", metavar="RUN|BUNDLE", help="begin with the weights of this segmenter in place of none"
            )
        if kind == "ecg":
            one.add_argument(
                "--start-from", metavar="RUN|BUNDLE", help="keep this encoder, and fit the statement of EF to it anew"
            )
        one.set_defaults(run=run, kind=kind)
    train_ecgflowcmr.add(kinds)
    train_comparator.add(kinds)
    train_nnunet.add(kinds)
    diff = kinds.add_parser(
        "diff", help="what differs between two trainings", description="Show what differs between two configurations "
        "(names or files) or two run folders. Exit code 0 where nothing does, 1 where something does.",
        epilog="example: cof train diff cof-plus cof-v2",
    )  # fmt: skip
    diff.add_argument("one", metavar="A", help="named configuration, file of settings, or run folder")
    diff.add_argument("other", metavar="B", help="the same, to compare with it")
    diff.set_defaults(run=show_differences)


def _add_flow(one: argparse.ArgumentParser) -> None:
    """Add what Stage 2 alone takes."""
    one.add_argument(
        "--ecg", metavar="RUN|BUNDLE|FILE", help="trained ECG encoder (default: RUN/ecg; trained there if need be)"
    )
    one.add_argument(
        "--start-from", metavar="BUNDLE",
        help="begin with the weights and the scale of motion of a bundle of the same network",
    )  # fmt: skip
    one.add_argument(
        "--encoder", metavar="NAME=FILE",
        help="ECG encoder of others that the papers' flow hears through, and its weights: st-mem, ecgfounder or "
        "ecg-fm (default: ours)",
    )  # fmt: skip
    one.add_argument(
        "--teacher", metavar="RUN",
        help="registration teacher for recorded cines, and for the anchor's image (default: RUN/teacher, else the "
        "default model's)",
    )  # fmt: skip
    one.add_argument(
        "--scheduler", metavar="ADDRESS",
        help="make the examples of recorded cines on a Dask cluster: its scheduler's address, or local",
    )  # fmt: skip
    one.add_argument(
        "--samples", action=argparse.BooleanOptionalAction, default=None,
        help="write a small cine of a validation subject to RUN/samples at each validation (default: yes, but "
        "for trainings of a few steps)",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Train; returns the exit code."""
    from COFTrainingLib.training.configurations import read_configuration
    from COFTrainingLib.training.loop.ranks import current_ranks

    if not current_ranks().first:  # of several processes that train together, one talks
        arguments.quiet, arguments.events = True, None
    work: dict[str, Callable[..., Path]] = {
        "teacher": _teacher, "segmenter": _segmenter, "assessor": _assessor, "ecg": _ecg, "flow": _flow,
    }  # fmt: skip
    config = read_configuration(arguments.kind, arguments.config)
    with session(arguments) as current:
        current.standing = lambda: goes_on(arguments.out)
        finished = work[arguments.kind](arguments, config, asked_cohort(arguments), current)
        current.facts["run"] = str(finished)
        current.say(f"Trained: {finished}")
        current.say_warnings()
    return 0


def show_differences(arguments: argparse.Namespace) -> int:
    """Print what differs between two trainings; returns the exit code, as ``diff`` does."""
    from COFTrainingLib.training.differences import differences

    lines = differences(arguments.one, arguments.other)
    for line in lines:
        print(line)
    return 1 if lines else 0


def _teacher(arguments: argparse.Namespace, config: "TeacherTraining", cohort: Cohort | None, current: Session) -> Path:
    from COFTrainingLib.training.teacher.teacher import train_teacher

    config = _placed(config, arguments, "loop")
    pairs = held_out = None
    frozen = _frozen_segmentation(arguments) if config.objective.needs_network else None
    if cohort is not None:
        from COFTrainingLib.cohort.people import PEOPLE, refuse_leaks, write_people
        from COFTrainingLib.training.examples.cine_data import segmenter_folder
        from COFTrainingLib.training.teacher.teacher_cohort import cohort_pairs

        named = None if frozen is not None else arguments.segmenter  # what judges images may be of others
        segmenter = segmenter_folder(Path(arguments.out), named)
        refuse_leaks(cohort, [Path(folder) for folder in {segmenter, arguments.segmenter or ""} if folder])
        pairs, held_out = cohort_pairs(cohort, config, segmenter, Path(arguments.out) / "frames")
        write_people(Path(arguments.out) / PEOPLE, cohort)
    told = listener(current, "teacher", config.loop.steps)
    return train_teacher(
        pairs, arguments.out, config, held_out=held_out, frozen=frozen, resume=arguments.resume, progress=told
    ).run


def _frozen_segmentation(arguments: argparse.Namespace) -> "FrozenSegmentation":
    """Return the network that judges warped images: the segmenter named, or that of the run or the default model."""
    from COFGeneratorLib.anatomy.segmenters.foreign_segmenter import load_segmenter
    from COFGeneratorLib.anatomy.segmenters.frozen_segmentation import frozen_segmentation
    from COFGeneratorLib.errors import TrainingError

    from COFTrainingLib.training.examples.cine_data import segmenter_folder

    folder = arguments.segmenter or segmenter_folder(Path(arguments.out), None)
    if not folder:
        raise TrainingError(
            'The objective of this teacher asks a segmentation network (segmentation_by = "network"); found none. Give '
            'one with --segmenter, or set teacher.objective.segmentation_by = "labels".'
        )
    return frozen_segmentation(load_segmenter(folder, arguments.segmenter_labels))


def _segmenter(
    arguments: argparse.Namespace, config: "SegmenterConfig", cohort: Cohort | None, current: Session
) -> Path:
    from COFTrainingLib.training.bundles.provenance import freeze_segmenter
    from COFTrainingLib.training.examples.cine_data import segmenter_folder
    from COFTrainingLib.training.loop.ranks import first_rank_first
    from COFTrainingLib.training.segmenter.segmenter import RECORDED, train_segmenter

    cohort = recordings(cohort, arguments, current)
    config = _placed(config, arguments, "fine_loop", "coarse_loop")
    with first_rank_first() as ranks:
        freeze_segmenter(Path(arguments.out), config, arguments.resume or not ranks.first)
    if cohort is not None:
        told = {"trained_on": f"recorded, labelled cines of {cohort.header.name}", "licence": cohort.header.licence}
        write_json(Path(arguments.out) / RECORDED, {**told, "manifest_sha256": cohort.fingerprint()})
    cache = arguments.cache or Path(arguments.out) / "cache"
    return train_segmenter(
        arguments.out,
        config,
        cache_dir=cache,
        workers=arguments.workers,
        resume=arguments.resume,
        start_from=segmenter_folder(Path(arguments.out), arguments.start_from) if arguments.start_from else None,
        cohort=cohort,
        progress=listener(current, "segmenter", max(config.fine_loop.steps, config.coarse_loop.steps)),
    )


def _assessor(
    arguments: argparse.Namespace, config: "AssessorTraining", cohort: Cohort | None, current: Session
) -> Path:
    from COFTrainingLib.training.segmenter.assessor import train_assessor

    cohort = recordings(cohort, arguments, current)
    config = _placed(config, arguments, "loop")
    return train_assessor(
        arguments.out,
        config,
        cache_dir=arguments.cache,
        workers=arguments.workers,
        resume=arguments.resume,
        cohort=cohort,
        progress=listener(current, "assessor", config.loop.steps),
    )


def _ecg(arguments: argparse.Namespace, config: "EcgTraining", cohort: Cohort | None, current: Session) -> Path:
    from COFTrainingLib.training.ecg.ecg_training import restate, train_ecg

    config = _placed(config, arguments, "loop")
    if arguments.start_from:
        return restate(arguments.out, arguments.start_from, config, workers=arguments.workers, resume=arguments.resume)
    told = listener(current, "ECG encoder", config.loop.steps)
    return train_ecg(
        arguments.out, config, workers=arguments.workers, resume=arguments.resume, progress=told,
        recordings=recordings(cohort, arguments, current),
    ).run  # fmt: skip


def _flow(arguments: argparse.Namespace, config: "StageTwoTraining", cohort: Cohort | None, current: Session) -> Path:
    from COFGeneratorLib.generator.encoders.named import named_encoder

    from COFTrainingLib.training.configurations import read_configuration
    from COFTrainingLib.training.motion.stage_two import train_stage_two

    config = _placed(config, arguments, "expected_loop", "flow_loop")
    ecg = read_configuration("ecg", arguments.config)
    listeners = {stage: listener(current, words) for stage, words in STAGES.items()}
    return train_stage_two(
        arguments.out,
        config,
        _placed(ecg, arguments, "loop"),
        cohort=cohort,
        ecg_weights=arguments.ecg,
        cache=arguments.cache,
        teacher=arguments.teacher,
        segmenter=arguments.segmenter,
        workers=arguments.workers,
        scheduler=arguments.scheduler,
        start_from=arguments.start_from,
        listener=None if arguments.encoder is None else named_encoder(arguments.encoder),
        samples=config.expected_loop.steps >= SAMPLED_FROM if arguments.samples is None else arguments.samples,
        resume=arguments.resume,
        told=lambda stage, event: listeners[stage](event),
    )


def _placed(config: Config, arguments: argparse.Namespace, *loops: str) -> Config:
    """Return settings whose loops have the device and the threads asked for."""
    asked = {"device": arguments.device, "threads": arguments.threads}
    given = {name: value for name, value in asked.items() if value is not None}
    changed: dict[str, Any] = {name: replace(getattr(config, name), **given) for name in loops}
    return replace(config, **changed)
