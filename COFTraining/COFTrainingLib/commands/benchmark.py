"""``cof benchmark``: from a public data set's folder to the report in the papers' layout, in one command."""

import argparse
from pathlib import Path

from COFGeneratorLib.commands import Commands
from COFGeneratorLib.jobs.session import Session, session

from COFTrainingLib.commands.evaluate import evaluate_cohort
from COFTrainingLib.commands.evaluation_options import add_evaluation

DATA_SETS = ("acdc", "mnms")
PROTOCOLS = (
    "image", "function", "floors", "anatomy", "slices", "resolution", "subgroups", "cases", "failures", "topology",
    "ablations", "variance", "assessor", "anchor-phase",
)  # fmt: skip
"""COF Tables 2, 3, 4 and 7, Figures 4–6, 9 and 10, and ours beside them."""
COHORT, REPORT = "cohort", "report"
SMOKE = {"library": 16, "assessor_frames": 4, "anchor_subjects": 2}
"""What the smoke form makes less of, where the user does not say."""


def add(commands: Commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "benchmark",
        help="the public benchmark: from the folder of ACDC or M&Ms to the report",
        description="Measure each heart of a public data set, synthesise an ECG that fits it, label its cine, and "
        "compare model, baselines and anyone's predicted cines on the benchmark's fixed test split. Run it again after "
        "a stop: what is finished is kept.",
        epilog="example: cof benchmark acdc /data/acdc --out benchmark",
    )
    parser.add_argument("data_set", choices=DATA_SETS, help="which data set")
    parser.add_argument("data", metavar="DATA", help="its folder")
    parser.add_argument("--out", required=True, metavar="DIR", help="gets the cohort (DIR/cohort) and the report "
                        "(DIR/report)")  # fmt: skip
    parser.add_argument("--cases", metavar="FILE", help="list of the cines (JSON) where DATA is a plain folder of them")
    parser.add_argument("--split", choices=("all", "train", "valid", "test"), help="whom to judge on (default test; "
                        "all with --smoke)")  # fmt: skip
    parser.add_argument("--smoke", action="store_true", help="all hearts there are, a small library, four frames for "
                        "the assessor, two subjects for the anchor's phase: to see that it runs")  # fmt: skip
    add_evaluation(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make the cohort, label it, evaluate; returns the exit code.

    Raises:
        ChainOfFlowError: If the data set, a model or a folder cannot be used.
    """
    out = Path(arguments.out)
    arguments.split = arguments.split or ("all" if arguments.smoke else "test")
    arguments.protocol = arguments.protocol or list(PROTOCOLS)
    if arguments.smoke:
        _make_less(arguments)
    with session(arguments) as current:
        folder = _cohort(arguments, out / COHORT, current)
        _label(folder, arguments, current)
        arguments.cohort, arguments.out = str(folder), str(out / REPORT)
        evaluate_cohort(arguments, current)
        current.say_warnings()
    return 0


def _make_less(arguments: argparse.Namespace) -> None:
    """Put the numbers of the smoke form where the user left the defaults."""
    from COFTrainingLib.commands.evaluation_options import LIBRARY_SUBJECTS

    for name, number in SMOKE.items():
        if getattr(arguments, name) in (None, LIBRARY_SUBJECTS):
            setattr(arguments, name, number)


def _cohort(arguments: argparse.Namespace, folder: Path, current: Session) -> Path:
    """Return the folder of the benchmark's cohort, made unless it is there.

    Raises:
        CohortError: If another cohort lies there, or the data set is not the benchmark's.
    """
    from COFGeneratorLib.errors import CohortError
    from COFGeneratorLib.registration.pipeline import find_teacher
    from COFGeneratorLib.resources import default_bundle

    from COFTrainingLib.cohort.benchmark import FACT, as_benchmark
    from COFTrainingLib.cohort.importers.measured_cines import import_measured
    from COFTrainingLib.cohort.manifest import MANIFEST, read_cohort
    from COFTrainingLib.training.examples.cine_data import segmenter_folder

    current.standing = lambda: (
        f"{current.counted('hearts')} hearts were measured; the same command measures them again and goes on."
    )
    if (folder / MANIFEST).is_file():
        there = read_cohort(folder)
        if there.header.kind != arguments.data_set:
            raise CohortError(
                f"A benchmark goes on with the cohort of its own data set; found {there.header.name!r} in {folder}. "
                "Choose another --out."
            )
        if FACT not in there.header.settings:  # stopped in between
            as_benchmark(there, arguments.data_set)
        return folder
    cohort = import_measured(
        arguments.data_set,
        arguments.data,
        folder,
        cases=arguments.cases,
        segmenter=segmenter_folder(folder, None),
        teacher=find_teacher(default_bundle()),
        workers=arguments.workers,
        progress=lambda done, total: current.progress(done, total, "hearts"),
    )
    as_benchmark(cohort, arguments.data_set)
    for subject in cohort.subjects:
        if subject.excluded:
            current.warn(f"{subject.id} is left out: {subject.excluded}")
    current.say(f"Terms of the data: {cohort.header.licence}; they bind what is trained on it.")
    return folder


def _label(folder: Path, arguments: argparse.Namespace, current: Session) -> None:
    """Label the cines of the split that have no labels, with the shipped segmenter."""
    from COFTrainingLib.cohort.labelling import label_cohort
    from COFTrainingLib.cohort.manifest import read_cohort
    from COFTrainingLib.training.examples.cine_data import segmenter_folder

    cohort = read_cohort(folder)
    split = None if arguments.split == "all" else arguments.split
    if all("cine_labels" in subject.files for subject in cohort.used(split)):
        return
    current.standing = lambda: (
        f"{current.counted('cines')} cines have their labels on the disk; the same command goes on from there."
    )
    _, failed = label_cohort(
        cohort, segmenter_folder(folder, None), split=split, workers=arguments.workers,
        progress=lambda done, total: current.progress(done, total, "cines"),
    )  # fmt: skip
    for name, reason in failed.items():
        current.warn(f"{name} has no labels: {reason}")
