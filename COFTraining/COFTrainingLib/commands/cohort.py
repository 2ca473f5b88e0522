"""``cof cohort``: make phantom cohorts and check any cohort."""

import argparse
import json

from COFGeneratorLib.commands import options
from COFGeneratorLib.commands.session import session


def add(commands) -> None:
    """Add the sub-command and its verbs."""
    parser = commands.add_parser("cohort", help="make and check cohorts of subjects")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    verb = verbs.add_parser("synthesize", help="make a cohort of phantoms", description="Make a cohort of phantoms.")
    verb.add_argument("--subjects", type=options.positive, required=True, metavar="N", help="how many")
    verb.add_argument("--seed", type=options.natural, required=True, metavar="S", help="seed of the first subject")
    verb.add_argument("--out", required=True, metavar="DIR", help="folder of the cohort; a stopped one is finished")
    verb.add_argument(
        "--prevalence", choices=("natural", "enriched"), default="natural", help="how often findings occur"
    )
    verb.add_argument("--cines", action="store_true", help="also write image, labels and motion of every frame")
    verb.add_argument("--frames", type=options.frame_count, default=50, help="frames of a cine (default 50)")
    verb.add_argument("--manifest-only", action="store_true", help="no files: training draws the hearts from the seeds")
    _common(verb)
    verb.set_defaults(run=synthesize)

    verb = verbs.add_parser("check", help="check files, duplicates and leaks", description="Check a cohort.")
    verb.add_argument("cohort", metavar="DIR", help="folder of the cohort")
    verb.add_argument("--against", metavar="DIR", nargs="*", default=[], help="cohorts that must share nobody with it")
    verb.add_argument("--exclude", action="store_true", help="mark subjects with problems as not used")
    verb.add_argument("--no-read", action="store_true", help="look for the files without opening them")
    _common(verb)
    verb.set_defaults(run=check)


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=options.positive, default=1, metavar="N", help="processes (default 1)")
    parser.add_argument("--events", metavar="FILE", help="write progress as JSON lines for a program that watches")
    parser.add_argument("--quiet", action="store_true", help="print errors only")


def synthesize(arguments: argparse.Namespace) -> int:
    """Make phantoms; returns the exit code."""
    from COFTrainingLib.cohort.phantom_files import PhantomOptions
    from COFTrainingLib.cohort.synthesis import PREVALENCES
    from COFTrainingLib.cohort.synthesis import synthesize as make

    with session(arguments) as current:
        cohort = make(
            arguments.out,
            arguments.subjects,
            arguments.seed,
            PhantomOptions(PREVALENCES[arguments.prevalence], arguments.cines, arguments.frames),
            files=not arguments.manifest_only,
            workers=arguments.workers,
            progress=lambda done, total: current.progress(done, total, "phantoms"),
        )
        current.say(f"{len(cohort.subjects)} phantoms, seeds from {arguments.seed}, in {arguments.out}")
    return 0


def check(arguments: argparse.Namespace) -> int:
    """Check a cohort and print its ledger; returns 0 where it can be used as it is, else 2."""
    from COFTrainingLib.cohort.check import check_cohort, exclude_problems
    from COFTrainingLib.cohort.manifest import read_cohort

    with session(arguments) as current:
        report = check_cohort(
            read_cohort(arguments.cohort),
            [read_cohort(folder) for folder in arguments.against],
            read=not arguments.no_read,
            workers=arguments.workers,
            progress=lambda done, total: current.progress(done, total, "subjects"),
        )
        current.say(json.dumps(report.ledger(), indent=2, ensure_ascii=False))
        for subject, problems in report.problems.items():
            for kind, words in problems:
                current.say(f"{subject}: {kind}: {words}")
        for leak in report.leaks:
            current.say(f"leak: {leak}")
        if arguments.exclude and report.problems:
            exclude_problems(report)
            current.say(f"{len(report.problems)} subjects are now marked as not used.")
    usable = not report.leaks and (not report.problems or arguments.exclude)
    return 0 if usable else 2
