"""The public benchmark's splits, fixed in ``benchmark.toml``, and the cohort that they make of a data set."""

import re
import tomllib
from dataclasses import replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from COFGeneratorLib.errors import CohortError

from COFTrainingLib.cohort.manifest import Cohort, Subject, write_cohort

FACT = "benchmark"
ORDER = ("test", "valid", "train")
"""What a later split would hold as well belongs to an earlier one."""


@cache
def _rules() -> dict[str, dict[str, Any]]:
    return tomllib.loads(Path(__file__).with_name("benchmark.toml").read_text(encoding="utf-8"))


def benchmark_name(kind: str) -> str:
    """Return what a benchmark is called in reports: data set and version of its splits."""
    rule = _rules()[kind]
    return f"{rule['title']} benchmark {rule['version']}"


def split_of(kind: str, subject: Subject) -> str:
    """Return the split of a subject of a data set.

    Raises:
        CohortError: If the benchmark does not have it.
    """
    rule = _rules()[kind]
    if kind == "acdc":
        numbers = re.findall(r"\d+", subject.id)
        found = [name for name in ORDER if numbers and _within(int(numbers[-1]), rule[name])]
    else:
        parts = PurePosixPath(subject.files.get("cine", "")).parts
        found = [name for name in ORDER if set(parts) & set(rule[name])]
    if not found:
        raise CohortError(
            f"The {benchmark_name(kind)} has the patients and folders of the data set as it is given out "
            f"({', '.join(rule['train'] + rule['test'])}); found {subject.id}, which is in none. Keep the data set's "
            "names and folders."
        )
    return found[0]


def _within(number: int, ranges: list[str]) -> bool:
    bounds = [[int(bound) for bound in part.split("-")] for part in ranges]
    return any(first <= number <= last for first, last in bounds)


def as_benchmark(cohort: Cohort, kind: str) -> Cohort:
    """Return a cohort with the benchmark's splits, and write it.

    Raises:
        CohortError: If a subject is not of the benchmark.
    """
    subjects = tuple(replace(subject, split=split_of(kind, subject)) for subject in cohort.subjects)
    header = replace(
        cohort.header,
        name=benchmark_name(kind),
        settings={**cohort.header.settings, FACT: {"kind": kind, "version": _rules()[kind]["version"]}},
    )
    made = replace(cohort, header=header, subjects=subjects)
    write_cohort(made)
    return made
