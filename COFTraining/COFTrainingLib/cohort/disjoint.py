"""Takes the people of one cohort out of another, with the audit that says how many were on both sides (COF Table 1)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from COFGeneratorLib.errors import CohortError

from COFTrainingLib.cohort.manifest import Cohort
from COFTrainingLib.cohort.people import marks


def disjoint_from(cohort: Cohort, others: Sequence[Cohort]) -> tuple[Cohort, dict[str, Any]]:
    """Return the cohort without anybody of other cohorts, and the audit.

    People are told by their identifiers, in cohorts of any kind; whoever is in any split of another is taken out.

    Returns:
        The cohort, whose manifest on the disk stays as it is; ``source``, ``overlap`` and ``left``, in persons and in
        subjects, and the names of the others.

    Raises:
        CohortError: If nobody is left.
    """
    taken = set().union(*(marks(other) for other in others))
    mine = {person: mark for mark, person in marks(cohort).items()}
    used = {subject.id for subject in cohort.used()}
    subjects = tuple(
        replace(subject, excluded="also in a cohort to be kept apart")
        if subject.id in used and mine[subject.person] in taken
        else subject
        for subject in cohort.subjects
    )
    apart = replace(cohort, subjects=subjects)
    persons, left = set(mine), {subject.person for subject in apart.used()}
    if not left:
        raise CohortError(
            f"Somebody must be left to train on; all {len(persons)} persons of {cohort.header.name} are in "
            f"{', '.join(other.header.name for other in others)}, too. Train on another cohort."
        )
    audit = {
        "cohort": cohort.header.name,
        "kept_apart_from": [other.header.name for other in others],
        "persons": {"source": len(persons), "overlap": len(persons) - len(left), "left": len(left)},
        "subjects": {"source": len(used), "left": len(apart.used())},
    }
    return apart, audit
