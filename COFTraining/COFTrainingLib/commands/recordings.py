"""What trainings on labelled recordings share: whom they are kept apart from, and what they leave in their run."""

import argparse
from pathlib import Path

from COFGeneratorLib.files import write_json
from COFGeneratorLib.jobs.session import Session

from COFTrainingLib.cohort.manifest import Cohort, read_cohort

AUDIT = "disjoint.json"


def add_disjoint(parser: argparse.ArgumentParser) -> None:
    """Add the cohorts whose people are taken out."""
    parser.add_argument(
        "--disjoint-from", metavar="DIR", nargs="+", default=[],
        help=f"cohorts that must share nobody with it: whoever is in them is left out, and RUN/{AUDIT} counts them",
    )  # fmt: skip


def kept_apart(cohort: Cohort, arguments: argparse.Namespace, current: Session) -> Cohort:
    """Return a cohort of recordings ready to train on: without the people of others, its marks and audit in the run.

    Raises:
        CohortError: If nobody is left, or somebody is on both sides of its own splits.
    """
    from COFTrainingLib.cohort.disjoint import disjoint_from
    from COFTrainingLib.cohort.people import PEOPLE, refuse_leaks, write_people

    out = Path(arguments.out)
    refuse_leaks(cohort, [])
    others = [read_cohort(folder) for folder in arguments.disjoint_from]
    if others:
        cohort, audit = disjoint_from(cohort, others)
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / AUDIT, audit)
        persons = audit["persons"]
        current.say(
            f"{persons['source']} persons in {cohort.header.name}, {persons['overlap']} of them also in "
            f"{', '.join(audit['kept_apart_from'])}: {persons['left']} are left"
        )
    out.mkdir(parents=True, exist_ok=True)
    write_people(out / PEOPLE, cohort)
    return cohort


def recordings(cohort: Cohort | None, arguments: argparse.Namespace, current: Session) -> Cohort | None:
    """Return the recordings that a training learns from; None where it draws phantoms of its own.

    A cohort of phantoms changes nothing, which is said: a training draws its own, by its configuration's seeds.
    """
    if cohort is None:
        return None
    if cohort.header.kind == "phantom":
        current.warn("This training draws phantoms of its own, by its configuration's seeds; --cohort changes nothing.")
        return None
    current.say(f"Terms of the data: {cohort.header.licence}; they bind what is trained on it.")
    return kept_apart(cohort, arguments, current)
