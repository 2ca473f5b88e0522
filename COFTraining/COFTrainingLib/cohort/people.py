"""Who a network was trained on, kept in its run folder, so that nobody is tested on whom it has seen.

Identifiers are kept as salted hashes. Short identifiers can be found again from their hashes by trying all of them, so
the file stays in the run folder, which is as private as the cohort; it is never part of a bundle.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from COFGeneratorLib.errors import CohortError
from COFGeneratorLib.files import write_json

from COFTrainingLib.cohort.manifest import Cohort

PEOPLE = "people.json"
SALT = "chainofflow-people-1"
SHOWN = 3


def marks(cohort: Cohort, *splits: str) -> dict[str, str]:
    """Return the persons of some splits (all where none is named) by the hash of their identifier."""
    people = {subject.person for subject in cohort.used() if not splits or subject.split in splits}
    return {person_mark(cohort.header.kind, person): person for person in sorted(people)}


def people_sha256(cohort: Cohort) -> str:
    """Return one hash over everybody whom a cohort trains on: the same however its files and labels change."""
    seen = sorted({person_mark(cohort.header.kind, s.person) for s in cohort.subjects if s.split != "test"})
    return hashlib.sha256("\n".join(seen).encode()).hexdigest()


def write_people(path: Path, cohort: Cohort) -> None:
    """Write whom a run sees: to train on, and to validate and calibrate with."""
    write_json(path, {split: sorted(marks(cohort, split)) for split in ("train", "valid")})


def people_of(folder: Path) -> set[str]:
    """Return the marks of everybody whom a run has seen, given it or a folder in it; empty where nothing is known."""
    folder = folder.resolve()
    for place in (folder, *folder.parents[:2]):
        if (place / PEOPLE).is_file():
            stated = json.loads((place / PEOPLE).read_text(encoding="utf-8"))
            return {mark for split in stated.values() for mark in split}
    return set()


def refuse_leaks(cohort: Cohort, runs: Iterable[Path], splits: tuple[str, ...] = ("test",)) -> None:
    """Check that everybody is on one side of a cohort's splits, and that nobody of its test split was seen before.

    Args:
        cohort: The cohort.
        runs: Run folders of the teacher, the segmenter, the generator, the assessor.
        splits: Splits that must be unseen.

    Raises:
        CohortError: If somebody is in two splits, or was seen by networks that training or evaluation rests on.
    """
    where: dict[str, set[str]] = {}
    for subject in cohort.used():
        where.setdefault(subject.person, set()).add(subject.split)
    torn = [f"{person} in {' and '.join(sorted(found))}" for person, found in where.items() if len(found) > 1]
    if torn:
        raise CohortError(
            f"All visits of a person share a split; {len(torn)} persons of {cohort.header.name} do not: "
            f"{', '.join(torn[:SHOWN])}. Correct the manifest, or import the cohort again."
        )
    ours = marks(cohort, *splits)
    for run in runs:
        seen = [ours[mark] for mark in sorted(people_of(run) & ours.keys())]
        if seen:
            shown = ", ".join(seen[:SHOWN]) + (" …" if len(seen) > SHOWN else "")
            raise CohortError(
                f"Nobody of the {' and '.join(splits)} split may have been seen in training; {run.name} has seen "
                f"{len(seen)} persons of {cohort.header.name}: {shown}. Train it on the cohort's training split."
            )


def person_mark(kind: str, person: str) -> str:
    """Return the mark of a person. Phantoms are told by their seeds, people by their identifiers in any cohort."""
    family = "phantom" if kind == "phantom" else "person"
    return hashlib.sha256(f"{SALT}:{family}:{person}".encode()).hexdigest()[:24]
