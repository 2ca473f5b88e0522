"""What can be wrong with one subject of a cohort, found in its files."""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from COFGeneratorLib.anatomy.readers import CineStack, read_cine
from COFGeneratorLib.errors import ChainOfFlowError, CohortError

from COFTrainingLib.cohort.cine_labels import onto_grid
from COFTrainingLib.cohort.manifest import Cohort, Subject

PIXEL_MM = (0.4, 4.0)
PITCH_MM = (2.0, 25.0)
"""Slice pitch with gap; sparse research stacks reach 20 mm."""
MIN_SLICES = 3
MIN_FRAMES = 8
"""Of a cine with an ECG: fewer do not show when the heart is smallest."""
MIN_ECG_S = 2.0


@dataclass
class Finding:
    """What was found in one subject.

    Attributes:
        subject: Its id.
        problems: (kind, words) of everything that keeps it from being used.
        content: Hash of what a file holds, by role: voxels or samples, not the bytes of the file, so that the same
            recording in two formats is still the same.
        spacing_mm: (pitch, row, column) of the stack, where there is one.
    """

    subject: str
    problems: list[tuple[str, str]] = field(default_factory=list)
    content: dict[str, str] = field(default_factory=dict)
    spacing_mm: tuple[float, ...] = ()


def inspect(cohort: Cohort, subject: Subject, read: bool = True) -> Finding:
    """Look at one subject: open every file and compare what it holds; without ``read`` only look for the files."""
    finding = Finding(subject.id)
    for need in cohort.header.needs:
        choices = (need,) if isinstance(need, str) else need
        if not any(role in subject.files for role in choices):
            finding.problems.append(("missing pair", f"no {' or '.join(choices)} is listed"))
    there = {}
    for role in subject.files:
        path = cohort.path(subject, role)
        if os.path.exists(path):
            there[role] = path
        else:
            finding.problems.append(("missing file", f"{role}: {subject.files[role]} is not there"))
    if not read:
        return finding
    for role, expected in subject.sha256.items():
        if role in there and there[role].is_file() and _sha256(there[role]) != expected:
            finding.problems.append(("altered file", f"{role}: {subject.files[role]} is not what the manifest lists"))
    for look in (_look_at_images, _look_at_ecg):
        try:
            look(finding, subject, there)
        except ChainOfFlowError as error:
            finding.problems.append(("unreadable", str(error)))
        except Exception as error:  # one strange file must not end the check of a whole cohort
            finding.problems.append(("unreadable", f"{type(error).__name__}: {error}"))
    return finding


def _look_at_images(finding: Finding, subject: Subject, there: dict[str, Path]) -> None:
    from COFGeneratorLib.anatomy import read_labels, read_sax

    role, first = "anchor" if "anchor" in there else "cine", int(subject.facts.get("anchor_frame", 0))
    if role not in there:
        return
    stack = _look_at_cine(finding, subject, there).stack(first) if role == "cine" else read_sax(there[role], first)
    finding.spacing_mm = tuple(round(float(s), 4) for s in stack.spacing_mm)
    finding.content["anchor"] = _content(stack.voxels)
    pitch, *pixel = stack.spacing_mm
    if not PITCH_MM[0] <= pitch <= PITCH_MM[1] or not all(PIXEL_MM[0] <= size <= PIXEL_MM[1] for size in pixel):
        shown = " × ".join(f"{size:.3g}" for size in stack.spacing_mm)
        finding.problems.append((
            "wrong spacing",
            f"{role}: {shown} mm; pitch {PITCH_MM[0]:g}–{PITCH_MM[1]:g} and pixel {PIXEL_MM[0]:g}–{PIXEL_MM[1]:g} mm "
            "are expected",
        ))  # fmt: skip
    stated = subject.facts.get("spacing_mm")
    if stated is not None and not np.allclose(stated, stack.spacing_mm, rtol=0.01):
        finding.problems.append(
            ("wrong spacing", f"{role}: the manifest states {stated} mm, the file {stack.spacing_mm}")
        )
    if stack.shape[0] < MIN_SLICES:
        finding.problems.append(("too few slices", f"{role}: {stack.shape[0]} slices, at least {MIN_SLICES} needed"))
    if "labels" in there:
        codes = subject.facts.get("label_map", {"lv": 1, "myo": 2, "rv": 3})
        labels = read_labels(there["labels"], stack, codes, subject.facts.get("labels_frame"))
        absent = [name for name, code in (("LV cavity", 1), ("myocardium", 2)) if not (labels == code).any()]
        if absent:
            finding.problems.append(("unusable labels", f"no {' and no '.join(absent)}"))


def _look_at_cine(finding: Finding, subject: Subject, there: dict[str, Path]) -> CineStack:
    """Look at all frames of a cine and their labels; returns it."""
    cine = read_cine(there["cine"])
    if "ecg" in subject.files and len(cine.frames) < MIN_FRAMES:
        words = f"cine: {len(cine.frames)} frames, at least {MIN_FRAMES} of one beat needed"
        finding.problems.append(("too few frames", words))
    if "cine_labels" in there:
        marked = read_cine(there["cine_labels"])
        if len(marked.frames) != len(cine.frames):
            words = f"cine_labels: {len(marked.frames)} frames, the cine has {len(cine.frames)}"
            finding.problems.append(("unusable labels", words))
        try:
            onto_grid(marked, cine.ijk_to_ras, cine.frames.shape[1:], subject.id)
        except CohortError as error:
            finding.problems.append(("unusable labels", f"cine_labels: {error}"))
        code = subject.facts.get("label_map", {"lv": 1}).get("lv")
        if not (marked.frames == code).any():
            finding.problems.append(("unusable labels", f"cine_labels: no LV cavity (code {code})"))
    return cine


def _look_at_ecg(finding: Finding, subject: Subject, there: dict[str, Path]) -> None:
    from COFGeneratorLib.ecg import read_ecg

    if "ecg" not in there:
        return
    record = read_ecg(there["ecg"])
    finding.content["ecg"] = _content(record.signal_mv)
    if record.duration_s < MIN_ECG_S:
        finding.problems.append(("ECG too short", f"{record.duration_s:.1f} s, at least {MIN_ECG_S:g} s needed"))


def _content(array: np.ndarray) -> str:
    digest = hashlib.sha256(str(array.shape).encode())
    digest.update(np.ascontiguousarray(array, dtype="<f4").data)
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
