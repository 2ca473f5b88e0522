"""The one manifest of every cohort, whatever it came from: ``cohort.jsonl``.

The first line describes the cohort, every further line one subject::

    {"format": "chainofflow-cohort", "format_version": 1, "name": …, "kind": "phantom", "licence": …, "seed": …, …}
    {"id": "phantom-100000", "person": "phantom-100000", "split": "train", "files": {"anchor": "subjects/…"}, …}

Splits are written into it once, by a hash of the person, and not computed again: the manifest is what was trained on.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any

from COFGeneratorLib import __version__
from COFGeneratorLib.errors import CohortError
from COFGeneratorLib.files import write_text

from COFTrainingLib.cohort.splits import SPLITS, SplitRule

MANIFEST = "cohort.jsonl"
FORMAT, FORMAT_VERSION = "chainofflow-cohort", 1
MOST_DIGITS = 100
"""Of a whole number in a manifest; seeds and codes have some ten."""
KINDS = ("phantom", "table", "ukbiobank", "acdc", "mnms")
ECGS = ("recorded", "synthesised", "none")
"""Where the ECGs of a cohort are from: the subjects' own (a phantom's are), made to fit each heart's measured function,
or there are none."""
ROLES = ("anchor", "labels", "target", "target_labels", "ecg", "cine", "cine_labels", "displacement", "truth")
"""What a file of a subject is. ``anchor`` and ``labels`` are one stack, ``target`` and ``target_labels`` another frame
of the same beat (end-systole), ``cine`` and ``cine_labels`` all frames, ``displacement`` the true motion and ``truth``
everything else that is known of a phantom."""


@dataclass(frozen=True)
class CohortHeader:
    """What is true of all subjects.

    Args:
        name: Name of the cohort.
        kind: One of ``KINDS``.
        licence: Terms under which the data may be used, for the card of whatever is trained on it.
        version: Version of the cohort's content.
        seed: Of a synthetic cohort; None for recordings.
        root: Where the files lie, relative to the manifest's folder; empty for that folder itself.
        needs: Roles that every subject must have; a tuple within it means "one of these".
        splits: Rule by which the splits were written.
        settings: How it was made, e.g. the prevalence of findings.
        made_with: Version of the product that wrote it.
        ecg: Where the ECGs are from, one of ``ECGS``; each subject's fact ``ecg`` says it, too.
    """

    name: str
    kind: str
    licence: str = "not stated"
    version: str = "1"
    seed: int | None = None
    root: str = ""
    needs: tuple[str | tuple[str, ...], ...] = ()
    splits: SplitRule = field(default_factory=SplitRule)
    settings: dict[str, Any] = field(default_factory=dict)
    made_with: str = ""
    ecg: str = "recorded"

    def __post_init__(self) -> None:
        needed = [role for need in self.needs for role in (need if isinstance(need, tuple) else (need,))]
        if not _are_texts(self.name, self.licence, self.version, self.root, self.made_with, *needed):
            raise TypeError("name, licence, version, root, made_with and the roles of needs are texts")
        for what, value, known in (("kinds", self.kind, KINDS), ("sources of ECGs", self.ecg, ECGS)):
            if value not in known:
                raise CohortError(
                    f"A cohort is of one of the {what} {', '.join(known)}; found {value!r}. Make it with this version."
                )


@dataclass(frozen=True)
class Subject:
    """One subject, i.e. one visit of one person.

    Args:
        id: Unique in the cohort.
        person: Whom it shows; all visits of a person share a split.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        files: Path by role, relative to the cohort's root, with forward slashes.
        facts: What is known: seed, spacing, ``anchor_frame``, ``label_map``, …
        sha256: Hash of the files by role, where it was computed.
        excluded: Why the subject is not used; empty if it is.
    """

    id: str
    person: str
    split: str
    files: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)
    excluded: str = ""

    def __post_init__(self) -> None:
        if not _are_texts(self.id, self.person, self.split, self.excluded, *self.files, *self.files.values()):
            raise TypeError("id, person, split, excluded and the names of files are texts")
        if not (isinstance(self.facts, dict) and isinstance(self.sha256, dict)):
            raise TypeError("facts and sha256 are objects")
        if not self.id or self.split not in SPLITS:
            raise CohortError(
                f"A subject needs an id and a split of {', '.join(SPLITS)}; found {self.id!r} in {self.split!r}. "
                "Import the cohort again."
            )
        unknown = set(self.files) - set(ROLES)
        unsafe = [name for name in self.files.values() if not _is_within(name)]
        if unknown or unsafe:
            raise CohortError(
                f"Files of a subject have roles of {', '.join(ROLES)} and paths within the cohort's root; {self.id} "
                f"has {sorted(unknown) or unsafe}. Import the cohort again."
            )


@dataclass(frozen=True)
class Cohort:
    """A manifest and where it lies."""

    folder: Path
    header: CohortHeader
    subjects: tuple[Subject, ...]

    @property
    def root(self) -> Path:
        """Folder that the files of the subjects are relative to."""
        return (self.folder / self.header.root).resolve() if self.header.root else self.folder

    def path(self, subject: Subject, role: str) -> Path:
        """Return the path of a subject's file.

        Raises:
            CohortError: If it has none of this role.
        """
        if role not in subject.files:
            raise CohortError(
                f"Subject {subject.id} needs a file of the role {role!r}; found {', '.join(subject.files) or 'none'}. "
                "Synthesise or import the cohort with it."
            )
        return self.root / subject.files[role]

    def used(self, split: str | None = None) -> tuple[Subject, ...]:
        """Return the subjects that are not excluded, of one split or of all, in the manifest's order."""
        return tuple(s for s in self.subjects if not s.excluded and split in (None, s.split))

    def fingerprint(self) -> str:
        """SHA-256 of the manifest's content: names exactly what was trained on."""
        return hashlib.sha256("\n".join(_lines(self)).encode()).hexdigest()


def read_cohort(path: Path | str) -> Cohort:
    """Read a cohort's folder, or its manifest.

    Raises:
        CohortError: If there is no manifest, it is of another format, or a line of it cannot be right.
    """
    path = Path(path)
    manifest = path / MANIFEST if path.is_dir() else path
    try:
        lines = manifest.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise CohortError(
            f"A cohort is a folder with a {MANIFEST}; reading {manifest} failed ({error}). Make one with "
            "`cof cohort synthesize` or `cof cohort import`, or let a stopped one finish."
        ) from error
    rows = [_row(line, number, manifest) for number, line in enumerate(lines, start=1) if line.strip()]
    head = rows[0] if rows and isinstance(rows[0], dict) else {}
    if (head.pop("format", None), head.pop("format_version", None)) != (FORMAT, FORMAT_VERSION):
        raise CohortError(
            f"The first line of a manifest states the format {FORMAT} {FORMAT_VERSION}; found something else in "
            f"{manifest}. Make the cohort with this version."
        )
    try:
        head["splits"] = SplitRule(**head.get("splits", {}))
        head["needs"] = tuple(tuple(need) if isinstance(need, list) else need for need in head.get("needs", ()))
        header = CohortHeader(**head)
        subjects = tuple(Subject(**row) for row in rows[1:])
    except (TypeError, AttributeError, ValueError) as error:
        if isinstance(error, CohortError):
            raise
        raise CohortError(
            f"A line of a manifest has the fields of a subject; one of {manifest} lacks some, or has names or values "
            f"that do not belong ({error}). Make it again."
        ) from error
    names = [subject.id for subject in subjects]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise CohortError(f"Every subject needs an id of its own; {manifest} has {', '.join(twice[:5])} twice.")
    return Cohort(manifest.parent, header, subjects)


def _row(line: str, number: int, manifest: Path) -> Any:
    try:
        row = json.loads(line, parse_int=_whole_number)
        if "\\u" in line:  # half of an escaped pair is no character, and cannot be written
            json.dumps(row, ensure_ascii=False).encode()
        return row
    except (ValueError, RecursionError) as error:
        raise CohortError(
            f"Every line of a manifest is a JSON object; line {number} of {manifest} is none ({error}). It was cut "
            "short or edited: make it again with `cof cohort import` or `cof cohort synthesize`."
        ) from error


def _whole_number(digits: str) -> int:
    """Return a whole number of a manifest; one that no float can hold would break arithmetic far from here."""
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def write_cohort(cohort: Cohort) -> Path:
    """Write the manifest, complete or not at all; returns its path."""
    path = cohort.folder / MANIFEST
    write_text(path, "\n".join(_lines(cohort)) + "\n")
    return path


def make_cohort(out: Path, subjects: Iterable[Subject], *, data: Path | None = None, **header: Any) -> Cohort:
    """Write the manifest of a new cohort; its files lie relative to ``data``, ``header`` fills ``CohortHeader``."""
    root = "" if data is None else relative_path(data.resolve(), out.resolve())
    cohort = Cohort(out, CohortHeader(root=root, made_with=__version__, **header), tuple(subjects))
    write_cohort(cohort)
    return cohort


def relative_path(path: Path | str, folder: Path) -> str:
    """Return a path from a folder, with forward slashes as in every manifest."""
    return Path(os.path.relpath(path, folder)).as_posix()


def _lines(cohort: Cohort) -> Iterable[str]:
    head = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(cohort.header)}
    yield json.dumps(head, ensure_ascii=False)
    for subject in cohort.subjects:
        row = {item.name: getattr(subject, item.name) for item in fields(subject)}
        kept = {name: value for name, value in row.items() if value or name in ("id", "person", "split")}
        yield json.dumps(kept, ensure_ascii=False)


def _are_texts(*values: Any) -> bool:
    return all(isinstance(value, str) for value in values)


def _is_within(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts and "\\" not in name
