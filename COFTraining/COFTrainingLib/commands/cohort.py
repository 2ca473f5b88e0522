"""``cof cohort``: make, import and check cohorts."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from COFGeneratorLib.commands import Commands, options
from COFGeneratorLib.errors import CohortError
from COFGeneratorLib.jobs.session import Session, session

from COFTrainingLib.cohort.manifest import Cohort, read_cohort

if TYPE_CHECKING:  # they bring what --help does without
    from COFTrainingLib.cohort.check import Report
    from COFTrainingLib.cohort.synthetic.phantom_files import PhantomOptions


def add(commands: Commands) -> None:
    """Add the sub-command and its verbs."""
    parser = commands.add_parser("cohort", help="make, import and check cohorts of subjects")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    _add_synthesize(verbs)
    _add_import(verbs)
    _add_check(verbs)
    _add_label(verbs)


def _add_synthesize(verbs: Commands) -> None:
    verb = verbs.add_parser(
        "synthesize",
        help="make a phantom cohort",
        description="Make phantom subjects: a short-axis stack, its exact labels, a 10-s ECG and what is true of them. "
        "Run it again after a stop: finished subjects are kept.",
    )
    verb.add_argument("--subjects", type=options.positive, required=True, metavar="N", help="how many")
    verb.add_argument(
        "--seed", type=options.natural, required=True, metavar="S", help="seed of the first; they count up"
    )
    verb.add_argument(
        "--prevalence", choices=("natural", "enriched"), default="natural",
        help="as in the population (default), or rare findings oversampled to train on",
    )  # fmt: skip
    verb.add_argument("--cines", action="store_true", help="also image, labels and displacement of every frame")
    verb.add_argument("--frames", type=options.frame_count, default=50, help="frames of a cine (default 50)")
    verb.add_argument("--spacing", type=_spacing, metavar="PITCH,PIXEL", help="mm (default: drawn for every subject)")
    verb.add_argument(
        "--manifest-only", action="store_true", help="no files: training draws the same hearts from the seeds"
    )
    verb.add_argument(
        "--layout", choices=("cohort", "ukbiobank"), default="cohort",
        help="a cohort (default), or downloads as UK Biobank gives them, to try an import with",
    )  # fmt: skip
    verb.add_argument(
        "--labels", action="store_true", help="with --layout ukbiobank: labelled cines, too, as a lab's own would be"
    )
    verb.add_argument("--out", required=True, metavar="DIR", help="folder of the cohort")
    options.add_workers(verb)
    options.add_reporting(verb)
    verb.set_defaults(run=synthesize)


def _add_import(verbs: Commands) -> None:
    verb = verbs.add_parser(
        "import",
        help="write the manifest of recordings",
        description="Write the manifest of recordings, which stay where they are.",
    )
    source = verb.add_mutually_exclusive_group(required=True)
    source.add_argument("--table", metavar="CSV", help="one row a subject: id, anchor or cine, ecg, labels, person, …")
    source.add_argument("--ukbiobank", metavar="DIR", help="downloads of the fields 20209 (zip) and 20205 (XML)")
    source.add_argument("--acdc", metavar="DIR", help="folders patientNNN with Info.cfg (MRI only)")
    source.add_argument("--mnms", metavar="DIR", help="folders CODE with CODE_sa.nii.gz, and their CSV (MRI only)")
    verb.add_argument(
        "--labels",
        metavar="DIR",
        help="with --ukbiobank: labelled cines, named as the zips are (1234567_20209_2_0.nii.gz)",
    )
    verb.add_argument(
        "--label-map", type=options.label_map, metavar="lv=1,myo=2,rv=3", help="codes in them (default as shown)"
    )
    verb.add_argument("--name", default="", help="name of the cohort")
    verb.add_argument("--licence", help="terms of the data, for the card of what is trained on it")
    verb.add_argument(
        "--split", type=_split, metavar="A,B,C", help="shares of train, valid, test (default 0.8,0.1,0.1)"
    )
    verb.add_argument("--out", required=True, metavar="DIR", help="folder of the cohort")
    options.add_reporting(verb)
    verb.set_defaults(run=import_)


def _add_check(verbs: Commands) -> None:
    verb = verbs.add_parser(
        "check",
        help="check a cohort and print its ledger",
        description="Open every file of a cohort, find missing pairs, wrong spacing, duplicates and leakage, and print "
        "the ledger. Exit code 2 where something is wrong.",
    )
    verb.add_argument("cohort", metavar="DIR", help="folder of the cohort")
    verb.add_argument(
        "--against", metavar="DIR", nargs="*", default=[],
        help="cohorts that must share nobody with it, and runs that must have seen nobody of its test split",
    )  # fmt: skip
    verb.add_argument("--exclude", action="store_true", help="write the exclusions found into the manifest")
    verb.add_argument("--no-read", action="store_true", help="look for the files without opening them")
    verb.add_argument("--json", metavar="FILE", help="also write the ledger and all findings")
    options.add_workers(verb)
    options.add_reporting(verb)
    verb.set_defaults(run=check)


def _add_label(verbs: Commands) -> None:
    verb = verbs.add_parser(
        "label",
        help="label the cines of a cohort that has no labels",
        description="Label every frame of the cines that have no labels with a segmenter, so that an evaluation has "
        "something to compare with. Run it again after a stop: finished subjects are kept.",
    )
    verb.add_argument("cohort", metavar="DIR", help="folder of the cohort; its manifest is extended")
    verb.add_argument("--segmenter", metavar="RUN|BUNDLE", help="default: the default model's")
    verb.add_argument("--split", choices=("train", "valid", "test"), help="only subjects of this split")
    verb.add_argument("--scheduler", metavar="ADDRESS", help="a Dask cluster: its scheduler's address, or local")
    options.add_workers(verb)
    options.add_reporting(verb)
    verb.set_defaults(run=label)


def _spacing(text: str) -> tuple[float, float]:
    """Parse ``10,1.8``."""
    try:
        pitch, pixel = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected two numbers in mm as in 10,1.8; found {text!r}") from None
    if not (2.0 <= pitch <= 25.0 and 0.4 <= pixel <= 4.0):
        raise argparse.ArgumentTypeError(f"expected a pitch of 2–25 and a pixel of 0.4–4 mm; found {text!r}")
    return pitch, pixel


def _split(text: str) -> tuple[float, ...]:
    """Parse ``0.8,0.1,0.1``."""
    try:
        shares = tuple(float(part) for part in text.split(","))
    except ValueError:
        shares = ()
    if len(shares) != 3:
        raise argparse.ArgumentTypeError(f"expected three shares as in 0.8,0.1,0.1; found {text!r}")
    return shares


def synthesize(arguments: argparse.Namespace) -> int:
    """Make a phantom cohort; returns the exit code."""
    from COFTrainingLib.cohort.synthetic.phantom_files import PhantomOptions
    from COFTrainingLib.cohort.synthetic.synthesis import PREVALENCES
    from COFTrainingLib.cohort.synthetic.synthesis import synthesize as make

    how = PhantomOptions(PREVALENCES[arguments.prevalence], arguments.cines, arguments.frames, arguments.spacing)
    if arguments.layout == "ukbiobank":
        return _downloads(arguments, how)
    if arguments.labels:
        raise CohortError("A cohort has its labels anyhow; --labels is for --layout ukbiobank. Leave it out.")
    with session(arguments) as current:
        cohort = make(
            arguments.out,
            arguments.subjects,
            arguments.seed,
            how,
            files=not arguments.manifest_only,
            workers=arguments.workers,
            progress=lambda done, total: current.progress(done, total, "phantoms"),
        )
        current.say(f"{_counts(cohort)} in {arguments.out}")
    return 0


def _downloads(arguments: argparse.Namespace, how: "PhantomOptions") -> int:
    """Write phantoms as UK Biobank's downloads; returns the exit code."""
    from COFTrainingLib.cohort.synthetic.ukbiobank_files import LABELS, write_visits

    with session(arguments) as current:
        seeds = range(arguments.seed, arguments.seed + arguments.subjects)
        visits = write_visits(Path(arguments.out), seeds, how, arguments.workers, arguments.labels)
        for done, _ in enumerate(visits, start=1):
            current.progress(done, len(seeds), "phantoms")
        current.say(f"{len(seeds)} visits in {arguments.out}")
        labels = f" --labels {arguments.out}/{LABELS}" if arguments.labels else ""
        current.say(f"Import them: cof cohort import --ukbiobank {arguments.out}{labels} --out COHORT")
    return 0


def import_(arguments: argparse.Namespace) -> int:
    """Write a manifest; returns the exit code."""
    from COFTrainingLib.cohort.importers.acdc import import_acdc
    from COFTrainingLib.cohort.importers.mnms import import_mnms
    from COFTrainingLib.cohort.importers.table import import_table
    from COFTrainingLib.cohort.importers.ukbiobank import import_ukbiobank
    from COFTrainingLib.cohort.splits import SplitRule

    rule = {"splits": SplitRule(*arguments.split)} if arguments.split else {}
    terms = {"licence": arguments.licence} if arguments.licence else {}
    sources: dict[str, Callable[..., Cohort]] = {
        "table": import_table, "ukbiobank": import_ukbiobank, "acdc": import_acdc, "mnms": import_mnms,
    }  # fmt: skip
    kind = next(name for name in sources if getattr(arguments, name))
    if arguments.labels and kind != "ukbiobank":
        raise CohortError(
            f"--labels belongs to --ukbiobank; found it with --{kind}. A table names labels in its columns labels and "
            "cine_labels; ACDC and M&Ms bring their own."
        )
    given = {"labels": arguments.labels, "label_map": arguments.label_map} if arguments.labels else {}
    with session(arguments) as current:
        cohort = sources[kind](getattr(arguments, kind), arguments.out, name=arguments.name, **rule, **terms, **given)
        current.say(f"{_counts(cohort)} in {arguments.out}")
        current.say(f"Check it before training: cof cohort check {arguments.out}")
    return 0


def check(arguments: argparse.Namespace) -> int:
    """Check a cohort and print its ledger; returns the exit code.

    Raises:
        CohortError: If something is wrong.
    """
    from COFTrainingLib.cohort.check import check_cohort, exclude_problems
    from COFTrainingLib.cohort.people import PEOPLE, refuse_leaks

    cohort = read_cohort(arguments.cohort)
    runs = [Path(folder) for folder in arguments.against if (Path(folder) / PEOPLE).is_file()]
    if runs:
        refuse_leaks(cohort, runs)
    others = [read_cohort(folder) for folder in arguments.against if Path(folder) not in runs]
    with session(arguments) as current:
        report = check_cohort(
            cohort,
            others,
            read=not arguments.no_read,
            workers=arguments.workers,
            progress=lambda done, total: current.progress(done, total, "subjects"),
        )
        _show(report, arguments.json, current)
        if report.leaks:
            raise CohortError(
                f"No person and no recording may be in two splits or in two cohorts; found {len(report.leaks)} "
                f"leaks in {cohort.header.name}, the first: {report.leaks[0]}. Take one side out of its manifest."
            )
        if report.problems and arguments.exclude:
            exclude_problems(report)
            current.say(f"{len(report.problems)} exclusions are written into the manifest.")
        if not report.ledger()["subjects_used"]:
            raise CohortError(
                f"At least one subject of a cohort must be usable; none of {cohort.header.name} is. See the reasons "
                "above, mend the files and import it again."
            )
        if report.problems and not arguments.exclude:
            raise CohortError(
                f"Every subject of a cohort must be usable; found {len(report.problems)} of {cohort.header.name} that "
                "are not. Mend them, or leave them out with --exclude."
            )
    return 0


def label(arguments: argparse.Namespace) -> int:
    """Label a cohort's cines; returns the exit code.

    Raises:
        CohortError: If there is nothing to label, no segmenter, or one that has seen somebody of the test split.
    """
    from COFTrainingLib.cohort.labelling import label_cohort
    from COFTrainingLib.cohort.people import refuse_leaks
    from COFTrainingLib.training.examples.cine_data import segmenter_folder

    cohort = read_cohort(arguments.cohort)
    segmenter = segmenter_folder(Path(arguments.cohort), arguments.segmenter)
    if not segmenter:
        raise CohortError("Labels come from a segmenter; found none in the default model. Give --segmenter.")
    refuse_leaks(cohort, [Path(segmenter)])
    with session(arguments) as current:
        labelled, failed = label_cohort(
            cohort, segmenter, split=arguments.split, workers=arguments.workers, scheduler=arguments.scheduler,
            progress=lambda done, total: current.progress(done, total, "cines"),
        )  # fmt: skip
        for name, reason in failed.items():
            current.warn(f"{name} has no labels: {reason}")
        made = sum("cine_labels" in subject.files for subject in labelled.used())
        current.say(f"{made} of {len(labelled.used())} subjects of {arguments.cohort} have labelled cines")
        current.say_warnings()
    return 0


def _show(report: "Report", json_file: str | None, current: Session) -> None:
    """Print what was found, and write it where asked."""
    for line in report.lines():
        current.say(line)
    if json_file:
        found = {"ledger": report.ledger(), "problems": report.problems, "leaks": report.leaks}
        Path(json_file).write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _counts(cohort: Cohort) -> str:
    used = cohort.used()
    parts = ", ".join(f"{len(cohort.used(split))} {split}" for split in ("train", "valid", "test"))
    left_out = len(cohort.subjects) - len(used)
    return f"{len(used)} subjects ({parts}{f'; {left_out} left out' if left_out else ''})"
