"""No model is judged on what it was trained on."""

from collections.abc import Sequence
from pathlib import Path

from COFGeneratorLib.errors import CohortError
from COFGeneratorLib.generator.bundle import read_metadata

from COFTrainingLib.cohort.manifest import Cohort, Subject
from COFTrainingLib.cohort.people import people_of, people_sha256, person_mark


def check_no_leak(cohort: Cohort, subjects: Sequence[Subject], models: Sequence[tuple[str, Path]]) -> None:
    """Refuse subjects that the metadata of models, (name, folder), say they were trained or calibrated on.

    Raises:
        CohortError: If there is overlap.
    """
    for name, folder in models:
        training = read_metadata(folder).get("training", {})
        same = training.get("manifest_sha256") == cohort.fingerprint()
        if (same or _same_people(training, cohort)) and any(s.split != "test" for s in subjects):
            raise CohortError(
                f"{name} was trained on this cohort, so only its test subjects may judge it; found others among those "
                "chosen. Use --split test."
            )
        seeds = [int(s.facts["seed"]) for s in subjects if cohort.header.kind == "phantom" and "seed" in s.facts]
        shared = [seed for seed in seeds if any(first <= seed <= last for first, last in _ranges(training))]
        if shared and training.get("manifest_sha256") != cohort.fingerprint():
            raise CohortError(
                f"A model is judged on phantoms that it never saw; {name} was trained or calibrated on seeds such as "
                f"{shared[0]}, {len(shared)} of which are in this cohort. Synthesise one with other seeds."
            )


def check_not_seen(cohort: Cohort, subjects: Sequence[Subject], runs: Sequence[tuple[str, Path]]) -> None:
    """Refuse subjects whom runs, (name, folder), say in their ``people.json`` that they saw.

    Raises:
        CohortError: If there are any.
    """
    for name, folder in runs:
        seen = people_of(folder)
        shared = [s.id for s in subjects if person_mark(cohort.header.kind, s.person) in seen]
        if shared:
            raise CohortError(
                f"A comparator is judged on people that it never saw; {name} saw {len(shared)} of those chosen, e.g. "
                f"{shared[0]}. Use --split test, or train it on others."
            )


def _same_people(training: dict, cohort: Cohort) -> bool:
    """Return whether a model was trained on a cohort's people, whatever was added to its manifest since."""
    return cohort.header.kind != "phantom" and training.get("people_sha256") == people_sha256(cohort)


def _ranges(training: dict) -> list[tuple[int, int]]:
    """Return the ranges of seeds (first, last) that a bundle's metadata names."""
    ranges = []
    if training.get("first_seed") is not None and training.get("last_seed") is not None:
        ranges.append((int(training["first_seed"]), int(training["last_seed"])))
    gain = training.get("gain") or {}
    if isinstance(gain, dict) and gain.get("first_seed") is not None:
        ranges.append((int(gain["first_seed"]), int(gain["first_seed"]) + int(gain.get("subjects", 1)) - 1))
    return ranges
