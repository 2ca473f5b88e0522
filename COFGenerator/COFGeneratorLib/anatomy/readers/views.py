"""Which acquisition of a study is the short-axis cine, and what the others, or all that is there, seem to be."""

import re

import numpy as np

from COFGeneratorLib.anatomy.geometry import LPS_TO_RAS
from COFGeneratorLib.anatomy.heart_frame import USUAL_APEX_RAS
from COFGeneratorLib.anatomy.readers.acquisitions import Acquisition, sort_into_acquisitions
from COFGeneratorLib.anatomy.readers.dicom_clocks import several_beats
from COFGeneratorLib.anatomy.readers.dicom_fields import INVERTED, LATE
from COFGeneratorLib.anatomy.readers.dicom_image import Image, Refused
from COFGeneratorLib.errors import AnatomyError

ALONG_AXIS = np.cos(np.deg2rad(12.0))
SHORT_AXIS_ENOUGH = 0.45
"""Least |cosine| between a short-axis stack's normal and where a heart usually points; a long-axis view has near 0."""
BALANCED_FLIP_DEG = 30.0
"""Flip angle from which on a cine is balanced steady-state; spoiled gradient echoes have 25° at most."""
MOST_LISTED = 12
NOT_THE_HEART = {
    "HEAD", "BRAIN", "NECK", "KNEE", "HIP", "SPINE", "CSPINE", "TSPINE", "LSPINE", "PELVIS", "PROSTATE", "SHOULDER",
    "ANKLE", "FOOT", "WRIST", "HAND", "ELBOW", "BREAST", "LEG",
}  # fmt: skip
MODALITIES = {
    "CT": "computed tomography", "US": "ultrasound", "PT": "PET", "NM": "nuclear medicine", "CR": "radiographs",
    "DX": "radiographs", "XA": "angiograms", "ECG": "electrocardiograms", "SR": "reports", "SEG": "segmentations",
    "PR": "presentation states", "OT": "other images", "SC": "screen captures",
}  # fmt: skip
PLANES = ("sagittal", "coronal", "axial")


def choose_stack(images: list[Image], refused: Refused, series: str | None, warnings: list[str]) -> Acquisition:
    """Return the short-axis cine of a study that covers the most, or what the user chose.

    Args:
        images: All MR images.
        refused: What else was there.
        series: Number, UID or description of the wanted series; None chooses.
        warnings: Is told what was chosen among several, and why not the others.

    Raises:
        AnatomyError: If images of two persons or studies are mixed, the series is not there, or nothing can be a
            short-axis stack; the message says what seems to be there instead.
    """
    _one_study(images)
    acquisitions = sort_into_acquisitions(images if series is None else _asked_for(images, series))
    reasons = [_why_not(one, refused, by_user=series is not None) for one in acquisitions]
    stacks = [one for one, why in zip(acquisitions, reasons, strict=True) if not why]
    if not stacks:
        raise AnatomyError(_name_acquisitions(acquisitions, reasons, refused))
    chosen = max(stacks, key=_rank)
    others = [
        f"{one.name}: {why or _why_less(one, chosen)}"
        for one, why in zip(acquisitions, reasons, strict=True)
        if one is not chosen
    ]
    if others:
        more = f"; and {len(others) - MOST_LISTED} more" if len(others) > MOST_LISTED else ""
        warnings.append(f"Read: {chosen.name}. Left out: {'; '.join(others[:MOST_LISTED])}{more}.")
    plane = _patient_plane(chosen.images[0].normal)
    if plane:
        warnings.append(
            f"The slices lie in the {plane} plane, as those of no usual short-axis stack do; check that they are "
            "short-axis."
        )
    return chosen


def judged(images: list[Image], refused: Refused) -> list[tuple[Acquisition, str]]:
    """Return the acquisitions of a study, the one that would be read first, with why one is no short-axis stack or "".

    Raises:
        AnatomyError: If images of two persons or studies are mixed.
    """
    _one_study(images)
    both = [(one, _why_not(one, refused)) for one in sort_into_acquisitions(images)]
    return sorted(both, key=lambda pair: (not pair[1], _rank(pair[0])), reverse=True)


def _one_study(images: list[Image]) -> None:
    numbers, births, names = ({im.person[n] for im in images} - {""} for n in range(3))
    for what, found in (
        ("patient", numbers or names),  # names are spelt in several ways, and count where there is no number
        ("patient", births),
        ("study", {im.study for im in images} - {""}),
    ):
        if len(found) > 1:
            several = {"patient": "patients", "study": "studies"}[what]
            raise AnatomyError(
                f"A folder or zip holds the images of one {what}; found those of {len(found)} {several}. "
                f"Give the folder of one {what} alone."
            )


def _asked_for(images: list[Image], series: str) -> list[Image]:
    """Return the images of a series by number, UID or description (a part of it will do)."""
    words = series.strip().casefold()
    parts = words.split(",")
    numbers = {float(part) for part in parts} if all(one.isdecimal() and len(one) < 10 for one in parts) else set()
    found = [im for im in images if im.series.uid == words or im.series.number in numbers]
    if not found:
        text = " ".join("".join(c if c.isalnum() or c == "*" else " " for c in words).split())
        found = [im for im in images if text and text in im.series.text]
    if not found:
        there = ", ".join(str(n) for n in sorted({round(im.series.number) for im in images})[:40])
        raise AnatomyError(
            f"--series names a series by its number, UID or description; this one is not there, found are the numbers "
            f"{there}. Choose one of them."
        )
    return found


def _rank(one: Acquisition) -> tuple[float, ...]:
    """A cine before single images; then what covers most, has most phases, and was taken last.

    Stress comes after rest, a real-time cine of several beats after one that was gated, one that is called nothing
    after one that is called short-axis or cine, and a gradient echo (tagging is one) after balanced images.
    """
    stress = any(word in series.text for series in one.series for word in ("stress", "dobutamin"))
    number = max(series.number for series in one.series)
    running = several_beats(one.planes)
    called = any(re.search(r"\b(sax?|cine|short)\b", series.text) for series in one.series)
    balanced = any(series.settings[2] >= BALANCED_FLIP_DEG for series in one.series)
    return (
        min(one.n_phases, 2), round(one.extent_mm / 5.0), -float(stress), -float(running), float(called),
        float(balanced), min(one.n_phases, 10), number,
    )  # fmt: skip


def _why_less(one: Acquisition, chosen: Acquisition) -> str:
    if one.n_phases == 1 and chosen.n_phases > 1:
        return "no cine"
    if round(one.extent_mm / 5.0) < round(chosen.extent_mm / 5.0):
        return f"covers {one.extent_mm:.0f} mm, not {chosen.extent_mm:.0f}"
    if several_beats(one.planes) and not several_beats(chosen.planes):
        return "runs on over several beats"
    return "covers the same; another run"


def _patient_plane(normal: np.ndarray) -> str:
    """Name the patient's own plane that a normal is across, or ""."""
    axis = int(np.abs(normal).argmax())
    return PLANES[axis] if np.abs(normal[axis]) > ALONG_AXIS else ""


def _why_not(one: Acquisition, refused: Refused, by_user: bool = False) -> str:
    """Say what parallel images seem to be if they cannot be a short-axis stack, else ""."""
    planes, phases = len(one.planes), one.n_phases
    normal = LPS_TO_RAS[:3, :3] @ one.images[0].normal
    plane = _patient_plane(one.images[0].normal)
    view = next((series.view for series in one.series if series.view), "")
    if refused.body_part in NOT_THE_HEART:
        return f"images of another part of the body ({refused.body_part.lower()})"
    if one.technique and not (by_user and one.technique in (LATE, INVERTED) and phases == 1):
        return f"{one.technique}, no plain cine"
    if planes < 3:
        what = view or ("a long-axis view or a single short-axis slice" if not plane else f"a {plane} localiser")
        return f"{planes} {'slice' if planes == 1 else 'slices'} with {phases} phases each ({what})"
    if planes > 60 or (planes > 40 and phases == 1):
        return f"a {plane or 'oblique'} volume of {planes} slices"
    timed = any(np.isfinite([im.clocks.trigger_ms, im.rr_ms]).any() for im in one.images)
    if phases == 1 and plane and not timed and planes > 24:
        return f"a {plane} overview of {planes} slices"
    if view and not by_user:
        return f"{view} of {planes} slices"
    if not plane and abs(float(normal @ USUAL_APEX_RAS)) < SHORT_AXIS_ENOUGH:
        return f"a long-axis stack of {planes} slices"
    return ""


def _name_acquisitions(found: list[Acquisition], reasons: list[str], refused: Refused) -> str:
    words = sorted(set(reasons))
    plain = [one for one in found if not one.technique]
    directions = len({tuple(np.round(np.abs(one.images[0].normal), 1)) for one in plain})
    if plain and len(plain) == len(found) and all(len(one.planes) < 3 for one in found) and directions >= 2:
        axes = {_patient_plane(one.images[0].normal) for one in plain}
        named = sorted({series.view for one in plain for series in one.series} - {""})
        if len(axes - {""}) >= 2 or (directions == 3 and max(one.n_phases for one in plain) == 1):
            words = ["a localiser (scout) in several planes"]
        else:
            seem = f": {', '.join(named)}" if named else ""
            words = [f"{directions} views in different directions, which seem to be long-axis views{seem}"]
    return name_what_is_there(words, refused)


def name_what_is_there(found: list[str], refused: Refused) -> str:
    """Return the message of a refusal: expected, found, what to do."""
    found = list(found)
    for modality, count in sorted(refused.other_modality.items()):
        found.append(f"{count} files of {MODALITIES.get(modality, 'another modality')}")
    for count, what in (
        (refused.velocity, "phase-contrast (velocity) images"),
        (refused.colour, "colour pictures"),
        *((count, f"DICOM images that state {lacking}") for lacking, count in sorted(refused.unplaced.items())),
        (refused.unreadable, "damaged or unreadable DICOM files"),
    ):
        if count:
            found.append(f"{count} {what}")
    if not found:
        found = [f"{refused.not_dicom} files, none of them DICOM" if refused.not_dicom else "no files"]
    return (
        f"A short-axis stack has at least 3 parallel MR slices across the heart; found {'; '.join(found[:6])}. "
        "Give the folder or zip of the short-axis cine."
    )
