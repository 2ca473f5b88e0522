"""Whether a cohort can be evaluated at all, asked before any work is done: cines, labels and ECGs that are there."""

from collections import Counter
from collections.abc import Sequence

from COFGeneratorLib.errors import CohortError

from COFTrainingLib.cohort.manifest import Cohort, Subject
from COFTrainingLib.evaluation.store import Store

WHAT_TO_DO = {
    "no cine": "Synthesise the cohort with --cines, or import its cines.",
    "no labels": "Label them with cof cohort label, or import labels.",
    "no ECG": "Import the ECGs, or have them synthesised with cof cohort import-acdc or import-mnms.",
    "a file that is listed is not there": "Put the files back, or import the cohort again.",
}


def check_evaluable(cohort: Cohort, subjects: Sequence[Subject]) -> None:
    """Refuse subjects of whom none can be evaluated; those who cannot among others become failures by name.

    Only the manifest and the presence of files are looked at.

    Raises:
        CohortError: If there is no subject, or none has all that is needed; says what is lacking, and how often.
    """
    if not subjects:
        raise CohortError(
            f"An evaluation needs at least one subject; found none of {cohort.header.name} in this split. Choose "
            "another one with --split."
        )
    lacking = [lack(cohort, subject) for subject in subjects]
    if all(lacking):
        counts = Counter(lacking).most_common()
        words = ", ".join(f"{what} ({count} of {len(subjects)})" for what, count in counts)
        raise CohortError(
            f"An evaluation needs subjects with a recorded cine, labels of it or of the anchor, and an ECG; "
            f"{cohort.header.name} has none: {words}. {WHAT_TO_DO[counts[0][0]]}"
        )


def lack(cohort: Cohort, subject: Subject) -> str:
    """Return what keeps a subject from being evaluated, a key of ``WHAT_TO_DO``; empty where nothing does."""
    files = subject.files
    if not {"cine", "cine_labels"} & files.keys():
        return "no cine"
    if not {"cine_labels", "labels"} & files.keys():
        return "no labels"
    if "ecg" not in files:
        return "no ECG"
    wanted = files.keys() & {"cine", "cine_labels", "labels", "anchor", "ecg"}
    if not all(cohort.path(subject, role).exists() for role in wanted):
        return "a file that is listed is not there"
    return ""


def check_any_result(store: Store, kind: str) -> None:
    """Refuse to report where everything failed.

    Raises:
        CohortError: With the most frequent reason.
    """
    failures = [row["error"] for row in store.failures() if row["kind"] == kind]
    if failures and not store.methods(kind):
        reason, count = Counter(failures).most_common(1)[0]
        raise CohortError(
            f"A report needs at least one result; all {len(failures)} failed, {count} of them so: {reason}"
        )
