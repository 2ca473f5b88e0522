"""``cof cohort``: make, import and check cohorts."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from COFGeneratorLib.commands import Commands
from COFGeneratorLib.errors import CohortError
from COFGeneratorLib.jobs.session import Session, session

from COFTrainingLib.cohort.check import Report, check_cohort, exclude_problems
from COFTrainingLib.cohort.manifest import Cohort, read_cohort
from COFTrainingLib.commands import cohort_options

if TYPE_CHECKING:  # they bring what --help does without
    from COFTrainingLib.cohort.synthetic.phantom_files import PhantomOptions

ON_STDOUT = "-"
"""What ``check --json`` without a file stands for."""
GOES_ON = "the same command goes on from there."
"""What a stopped command says last."""


def add(commands: Commands) -> None:
    """Add the sub-command and its verbs."""
    parser = commands.add_parser("cohort", help="make, import and check cohorts of subjects")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    cohort_options.add_synthesize(verbs).set_defaults(run=synthesize)
    cohort_options.add_import(verbs).set_defaults(run=import_)
    for kind in ("acdc", "mnms"):
        cohort_options.add_import_measured(verbs, kind).set_defaults(run=import_measured, kind=kind)
    cohort_options.add_check(verbs).set_defaults(run=check)
    cohort_options.add_label(verbs).set_defaults(run=label)


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
        current.standing = lambda: f"{current.counted('phantoms')} subjects stand in {arguments.out}; {GOES_ON}"
        cohort = make(
            arguments.out,
            arguments.subjects,
            arguments.seed,
            how,
            files=not arguments.manifest_only,
            workers=arguments.workers,
            progress=lambda done, total: current.progress(done, total, "phantoms"),
        )
        current.facts |= _facts(cohort, arguments.out)
        current.say(f"{_counts(cohort)} in {arguments.out}")
    return 0


def _downloads(arguments: argparse.Namespace, how: "PhantomOptions") -> int:
    """Write phantoms as UK Biobank's downloads; returns the exit code."""
    from COFTrainingLib.cohort.synthetic.ukbiobank_files import LABELS, write_visits

    with session(arguments) as current:
        current.standing = lambda: f"{current.counted('phantoms')} visits stand in {arguments.out}; {GOES_ON}"
        seeds = range(arguments.seed, arguments.seed + arguments.subjects)
        visits = write_visits(Path(arguments.out), seeds, how, arguments.workers, arguments.labels)
        for done, _ in enumerate(visits, start=1):
            current.progress(done, len(seeds), "phantoms")
        current.facts |= {"out": str(arguments.out), "visits": len(seeds)}
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
        current.facts |= _facts(cohort, arguments.out)
        current.say(f"{_counts(cohort)} in {arguments.out}")
        current.say(f"Check it before training: cof cohort check {arguments.out}")
    return 0


def import_measured(arguments: argparse.Namespace) -> int:
    """Import cines without ECGs, with ECGs made for them; returns the exit code."""
    from COFGeneratorLib.registration.pipeline import find_teacher
    from COFGeneratorLib.resources import default_bundle

    from COFTrainingLib.cohort.importers.measured_cines import NONE, SYNTHESISED
    from COFTrainingLib.cohort.importers.measured_cines import import_measured as make
    from COFTrainingLib.cohort.splits import SplitRule
    from COFTrainingLib.training.examples.cine_data import segmenter_folder

    with session(arguments) as current:
        current.standing = lambda: (
            f"{current.counted('hearts')} hearts were measured; the same command writes the cohort once all are."
        )
        cohort = make(
            arguments.kind,
            arguments.data,
            arguments.out,
            cases=arguments.cases,
            ecg=SYNTHESISED if arguments.ecg == "synthesise" else NONE,
            segmenter=segmenter_folder(Path(arguments.out), arguments.segmenter),
            teacher=find_teacher(default_bundle()),
            name=arguments.name,
            licence=arguments.licence,
            splits=SplitRule(*arguments.split) if arguments.split else None,
            workers=arguments.workers,
            progress=lambda done, total: current.progress(done, total, "hearts"),
        )
        for subject in cohort.subjects:
            if subject.excluded:
                current.warn(f"{subject.id} is left out: {subject.excluded}")
        said = "ECGs are synthesised to fit each heart" if arguments.ecg == "synthesise" else "there are no ECGs"
        by_segmenter = sum(subject.facts.get("function_from") != "reader" for subject in cohort.used())
        current.facts |= _facts(cohort, arguments.out)
        current.say(f"{_counts(cohort)} in {arguments.out}; {said}; function by the segmenter in {by_segmenter}")
        current.say(f"Terms of the data: {cohort.header.licence}; they bind what is trained on it.")
        current.say(f"Check it before training: cof cohort check {arguments.out}")
        current.say_warnings()
    return 0


def check(arguments: argparse.Namespace) -> int:
    """Check a cohort and print its ledger; returns the exit code.

    Raises:
        CohortError: If something is wrong.
    """
    from COFTrainingLib.cohort.people import PEOPLE, refuse_leaks

    cohort = read_cohort(arguments.cohort)
    runs = [Path(folder) for folder in arguments.against if (Path(folder) / PEOPLE).is_file()]
    if runs:
        refuse_leaks(cohort, runs)
    others = [read_cohort(folder) for folder in arguments.against if Path(folder) not in runs]
    arguments.quiet |= arguments.json == ON_STDOUT
    with session(arguments) as current:
        current.standing = lambda: f"{current.counted('subjects')} subjects were read; nothing was changed."
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
    from COFGeneratorLib.errors import TrainingError

    from COFTrainingLib.cohort.labelling import label_cohort
    from COFTrainingLib.cohort.people import refuse_leaks
    from COFTrainingLib.training.examples.cine_data import segmenter_folder

    cohort = read_cohort(arguments.cohort)
    try:
        segmenter = segmenter_folder(Path(arguments.cohort), arguments.segmenter)
    except TrainingError:  # none of ours; what it is, its loader says
        segmenter = str(arguments.segmenter)
    if not segmenter:
        raise CohortError("Labels come from a segmenter; found none in the default model. Give --segmenter.")
    refuse_leaks(cohort, [Path(segmenter)])
    with session(arguments) as current:
        current.standing = lambda: f"{current.counted('cines')} cines have their labels on the disk; {GOES_ON}"
        labelled, failed = label_cohort(
            cohort, segmenter, classes=arguments.segmenter_labels, split=arguments.split,
            workers=arguments.workers, scheduler=arguments.scheduler,
            progress=lambda done, total: current.progress(done, total, "cines"),
        )  # fmt: skip
        for name, reason in failed.items():
            current.warn(f"{name} has no labels: {reason}")
        made = sum("cine_labels" in subject.files for subject in labelled.used())
        current.facts |= {"cohort": str(arguments.cohort), "labelled": made, "subjects": len(labelled.used())}
        current.say(f"{made} of {len(labelled.used())} subjects of {arguments.cohort} have labelled cines")
        current.say_warnings()
    return 0


def _show(report: Report, json_file: str | None, current: Session) -> None:
    """Print what was found, and write it where asked."""
    for line in report.lines():
        current.say(line)
    if json_file is not None:
        found = {"ledger": report.ledger(), "problems": report.problems, "leaks": report.leaks}
        text = json.dumps(found, indent=1, ensure_ascii=False)
        if json_file == ON_STDOUT:
            print(text)
        else:
            Path(json_file).write_text(text + "\n", encoding="utf-8")


def _facts(cohort: Cohort, out: str) -> dict[str, Any]:
    """Return where a cohort is and how many it has, for ``--json``."""
    splits = {split: len(cohort.used(split)) for split in ("train", "valid", "test")}
    return {"cohort": str(out), "subjects": len(cohort.subjects), "used": len(cohort.used()), "splits": splits}


def _counts(cohort: Cohort) -> str:
    used = cohort.used()
    parts = ", ".join(f"{len(cohort.used(split))} {split}" for split in ("train", "valid", "test"))
    left_out = len(cohort.subjects) - len(used)
    return f"{len(used)} subjects ({parts}{f'; {left_out} left out' if left_out else ''})"
