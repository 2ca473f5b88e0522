"""Checking a whole cohort: its subjects, duplicates, leakage between splits and other cohorts; and the ledger."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from COFGeneratorLib.jobs.workers import spread

from COFTrainingLib.cohort.inspection import Finding, inspect
from COFTrainingLib.cohort.manifest import Cohort, write_cohort
from COFTrainingLib.cohort.splits import SPLITS


@dataclass
class Report:
    """What a check found.

    Attributes:
        cohort: The cohort as it stands in the manifest.
        problems: (kind, words) by subject, of those that the manifest does not exclude already.
        leaks: Persons or recordings on both sides of a border that must not be crossed, in words.
        findings: What was found in each subject's files.
    """

    cohort: Cohort
    problems: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    leaks: list[str] = field(default_factory=list)
    findings: dict[str, Finding] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the cohort can be trained on as it is."""
        return not self.problems and not self.leaks

    def ledger(self) -> dict[str, Any]:
        """Return the cohort ledger: how many were listed, why which were left out, how many remain in each split."""
        reasons = Counter(subject.excluded for subject in self.cohort.subjects if subject.excluded)
        reasons.update(found[0][0] for found in self.problems.values())
        left = [subject for subject in self.cohort.used() if subject.id not in self.problems]
        return {
            "name": self.cohort.header.name,
            "kind": self.cohort.header.kind,
            "licence": self.cohort.header.licence,
            "ecg": self.cohort.header.ecg,
            "manifest_sha256": self.cohort.fingerprint(),
            "subjects_listed": len(self.cohort.subjects),
            "persons_listed": len({subject.person for subject in self.cohort.subjects}),
            "excluded": dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
            "subjects_used": len(left),
            "splits": {name: sum(subject.split == name for subject in left) for name in SPLITS},
            "with_files": dict(sorted(Counter(role for subject in left for role in subject.files).items())),
            "leaks": len(self.leaks),
        }

    def lines(self) -> list[str]:
        """Return the ledger, the problems and the leaks in words, line by line."""
        ledger = self.ledger()
        lines = [
            f"Cohort {ledger['name']} ({ledger['kind']}); {ledger['licence']}",
            f"  listed      {ledger['subjects_listed']:6d}  ({ledger['persons_listed']} persons)",
        ]
        if ledger["ecg"] == "synthesised":
            lines.append("  ECGs        synthesised to fit each heart's measured function; nobody's own")
        lines += [f"  excluded    {count:6d}  {reason}" for reason, count in ledger["excluded"].items()]
        lines.append(f"  used        {ledger['subjects_used']:6d}")
        lines += [f"    {split:<8}  {count:6d}" for split, count in ledger["splits"].items()]
        files = ", ".join(f"{count} {role}" for role, count in ledger["with_files"].items())
        lines.append(f"  files       {files or 'none'}")
        for name, problems in self.problems.items():
            lines.append(f"  {name}: {'; '.join(f'{kind} ({words})' for kind, words in problems)}")
        return lines + [f"  leak: {leak}" for leak in self.leaks]


def check_cohort(
    cohort: Cohort,
    others: Sequence[Cohort] = (),
    *,
    read: bool = True,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Check a cohort, also against others that must not share anybody with it.

    With ``read`` all files are opened; else only their presence is checked, and duplicates are found by the manifest's
    hashes.
    """
    report = Report(cohort)
    used = cohort.used()
    found = {}
    work = partial(inspect, replace(cohort, subjects=()), read=read)  # what a worker is sent stays small
    for done, finding in enumerate(spread(work, used, workers=workers if read else 1), start=1):
        found[finding.subject] = finding
        if progress is not None:
            progress(done, len(used))
    report.findings = {subject.id: found[subject.id] for subject in used}
    report.problems = {name: finding.problems for name, finding in report.findings.items() if finding.problems}
    _find_duplicates(report)
    _find_leaks(report)
    for other in others:
        _compare(report, other)
    return report


def exclude_problems(report: Report) -> Cohort:
    """Write into the manifest why each subject with a problem is left out; returns the new cohort.

    Leaks stay: which side keeps a person is not for a program to say.
    """
    marked = tuple(
        replace(subject, excluded=report.problems[subject.id][0][0]) if subject.id in report.problems else subject
        for subject in report.cohort.subjects
    )
    cohort = replace(report.cohort, subjects=marked)
    write_cohort(cohort)
    return cohort


def _marks(cohort: Cohort, findings: dict[str, Finding]) -> dict[tuple[str, str], list[str]]:
    """Return the ids of the used subjects by everything that would make two of them the same."""
    marks: dict[tuple[str, str], list[str]] = defaultdict(list)
    for subject in cohort.used():
        content = findings[subject.id].content if subject.id in findings else {}
        for role in ("anchor", "cine", "ecg"):
            for digest in filter(None, {content.get(role), subject.sha256.get(role)}):
                marks[f"the same {role}", digest].append(subject.id)
        if cohort.header.kind == "phantom":
            marks["the same seed", str(subject.facts.get("seed"))].append(subject.id)
    return marks


def _find_duplicates(report: Report) -> None:
    """Mark all but the first of subjects that share an image or an ECG; across splits that is a leak as well."""
    splits = {subject.id: subject.split for subject in report.cohort.subjects}
    said = set()
    for (what, _), ids in _marks(report.cohort, report.findings).items():
        first = ids[0]
        for later in dict.fromkeys(ids[1:]):
            if later == first or (later, what) in said:
                continue
            said.add((later, what))
            report.problems.setdefault(later, []).append(("duplicate", f"{what} as {first}"))
            if splits[later] != splits[first]:
                report.leaks.append(f"{first} ({splits[first]}) and {later} ({splits[later]}) have {what}")


def _find_leaks(report: Report) -> None:
    """Find persons with visits in more than one split."""
    splits = defaultdict(set)
    for subject in report.cohort.used():
        splits[subject.person].add(subject.split)
    for person, where in splits.items():
        if len(where) > 1:
            report.leaks.append(f"person {person} is in {' and '.join(sorted(where))}")


def _compare(report: Report, other: Cohort) -> None:
    """Find persons and recordings that are in both cohorts."""
    name = other.header.name
    both_phantoms = report.cohort.header.kind == other.header.kind == "phantom"
    if not both_phantoms:  # phantoms are told by their seeds
        shared = {s.person for s in report.cohort.used()} & {s.person for s in other.used()}
        report.leaks += [f"person {person} is also in the cohort {name}" for person in sorted(shared)]
    ours, theirs = _marks(report.cohort, report.findings), _marks(other, {})
    for (what, digest), ids in theirs.items():
        for mine in dict.fromkeys(ours.get((what, digest), ())):
            report.leaks.append(f"{mine} has {what} as {ids[0]} of the cohort {name}")
