"""What a set of DICOM images seems to be: a short-axis stack, long-axis views, a localiser, something else."""

import numpy as np

from COFGeneratorLib.anatomy.geometry import LPS_TO_RAS
from COFGeneratorLib.anatomy.heart_frame import USUAL_APEX_RAS
from COFGeneratorLib.anatomy.readers.dicom import Image, Refused
from COFGeneratorLib.errors import AnatomyError

PARALLEL = np.cos(np.deg2rad(3.0))
ALONG_AXIS = np.cos(np.deg2rad(12.0))
SHORT_AXIS_ENOUGH = 0.45
"""Least |cosine| between a short-axis stack's normal and where a heart usually points; a long-axis view has near 0."""
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


def choose_stack(images: list[Image], refused: Refused, warnings: list[str]) -> list[Image]:
    """Return the images of the most likely short-axis stack.

    Raises:
        AnatomyError: If none can be one; the message says what seems to be there instead.
    """
    groups = by_orientation(images)
    stacks = [g for g in groups if _n_planes(g) >= 3 and _why_not(g, refused) == ""]
    if not stacks:
        raise AnatomyError(name_what_is_there(groups, refused))
    chosen = max(stacks, key=lambda g: (min(_per_plane(g), 10), _n_planes(g), len(g)))
    others = len(images) - len(chosen)
    if others:
        warnings.append(
            f"{len(chosen)} images in {_n_planes(chosen)} parallel slices are taken as the short-axis stack; "
            f"{others} images of other orientations were left out."
        )
    plane = _patient_plane(chosen[0].normal)
    if plane:
        warnings.append(
            f"The slices lie in the {plane} plane, as those of no usual short-axis stack do; check that they are "
            "short-axis."
        )
    return chosen


def by_orientation(images: list[Image]) -> list[list[Image]]:
    """Group images whose rows and columns are parallel, whatever their position."""
    groups: list[list[Image]] = []
    for image in images:
        axes = image.to_lps[:3, :2] / np.linalg.norm(image.to_lps[:3, :2], axis=0)
        for group in groups:
            model = group[0].to_lps[:3, :2] / np.linalg.norm(group[0].to_lps[:3, :2], axis=0)
            if ((axes * model).sum(axis=0) > PARALLEL).all():
                group.append(image)
                break
        else:
            groups.append([image])
    return groups


def _levels(group: list[Image]) -> np.ndarray:
    level = np.sort([float(group[0].normal @ im.position) for im in group])
    return level[np.concatenate([[True], np.diff(level) > 0.5])]


def _n_planes(group: list[Image]) -> int:
    return len(_levels(group))


def _per_plane(group: list[Image]) -> int:
    """Images a plane; several are a cine."""
    return round(len(group) / _n_planes(group))


def _patient_plane(normal: np.ndarray) -> str:
    """Name the patient's own plane that a normal is across, or ""."""
    axis = int(np.abs(normal).argmax())
    return PLANES[axis] if np.abs(normal[axis]) > ALONG_AXIS else ""


def _why_not(group: list[Image], refused: Refused) -> str:
    """Say what a set of parallel images seems to be if it cannot be a short-axis stack, else ""."""
    planes, phases = _n_planes(group), _per_plane(group)
    normal = LPS_TO_RAS[:3, :3] @ group[0].normal
    plane = _patient_plane(group[0].normal)
    kind = f"{plane or 'oblique'}"
    if refused.body_part in NOT_THE_HEART:
        return f"images of another part of the body ({refused.body_part.lower()})"
    if planes < 3:
        what = "a long-axis view or a single short-axis slice" if not plane else f"a {plane} localiser"
        return f"{planes} {'slice' if planes == 1 else 'slices'} with {phases} phases each ({what})"
    if planes > 60 or (planes > 40 and phases == 1):
        return f"a {kind} volume of {planes} slices"
    if phases == 1 and plane and not any(np.isfinite([im.trigger_ms, im.rr_ms]).any() for im in group) and planes > 24:
        return f"a {plane} overview of {planes} slices"
    if not plane and abs(float(normal @ USUAL_APEX_RAS)) < SHORT_AXIS_ENOUGH:
        return f"a long-axis stack of {planes} slices"
    return ""


def name_what_is_there(groups: list[list[Image]], refused: Refused) -> str:
    """Return the message of a refusal: expected, found, what to do."""
    found = sorted({_why_not(g, refused) for g in groups} - {""})
    single = [g for g in groups if _n_planes(g) < 3]
    if len(single) == len(groups) and len(groups) >= 2:
        axes = {_patient_plane(g[0].normal) for g in groups}
        if len(axes - {""}) >= 2 or (len(groups) == 3 and max(_per_plane(g) for g in groups) == 1):
            found = ["a localiser (scout) in several planes"]
        else:
            found = [f"{len(groups)} views in different directions, which seem to be long-axis views"]
    for modality, count in sorted(refused.other_modality.items()):
        found.append(f"{count} files of {MODALITIES.get(modality, 'another modality')}")
    for count, what in (
        (refused.velocity, "phase-contrast (velocity) images"),
        (refused.colour, "colour pictures"),
        (refused.without_place, "DICOM files that state no position in the patient"),
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
