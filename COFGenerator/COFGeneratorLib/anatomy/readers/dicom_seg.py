"""DICOM segmentations (SEG): segments with names in the patient's space, binary, fractional or as a label map.

Standard: PS3.3 A.51 and C.8.20.
"""

from pathlib import Path
from typing import Any

import numpy as np

from COFGeneratorLib.anatomy.geometry import affine, check_geometry, lps_to_ras
from COFGeneratorLib.anatomy.readers import dicom_compressed
from COFGeneratorLib.anatomy.readers import dicom_fields as fields
from COFGeneratorLib.anatomy.readers.archive import Folder, Zip
from COFGeneratorLib.anatomy.readers.dicom import looks_like_dicom, open_dataset, quiet
from COFGeneratorLib.anatomy.readers.header import MAX_FRAMES, check_sizes
from COFGeneratorLib.anatomy.readers.lattice import fit_lattice
from COFGeneratorLib.anatomy.readers.segment_names import add_segment, role_of
from COFGeneratorLib.errors import AnatomyError

Dataset = Any  # pydicom's, which is loaded when used

MODALITY = "SEG"


def read_segmentation(source: Folder | Zip) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Read the one segmentation among DICOM files.

    Returns:
        (D, H, W) bool masks by role, and their geometry (4, 4), mm.

    Raises:
        AnatomyError: If there is none or several, or it names nothing of a heart.
    """
    from pydicom.pixels import pixel_array

    with quiet():
        found = [name for name in source.names if _is_segmentation(source, name)]
        if len(found) != 1:
            raise AnatomyError(
                f"Labels in DICOM are one segmentation object (SEG); found {len(found)} among {len(source.names)} "
                "files. Give the file of the segmentation."
            )
        dataset = open_dataset(source, found[0], None, pixels=True)
        frames, rows, columns = (int(dataset.get(k, 1) or 1) for k in ("NumberOfFrames", "Rows", "Columns"))
        check_sizes("DICOM segmentation", (1, rows, columns), min(frames, MAX_FRAMES), -(-frames // MAX_FRAMES))
        per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
        shared = fields.first(dataset, "SharedFunctionalGroupsSequence")
        groups = [[g for g in (own, shared, dataset) if g is not None] for own in per_frame]
        places = [fields.place(group) for group in groups]
        if len(places) != frames or any(place is None for place in places):
            raise AnatomyError(
                f"Every frame of a DICOM segmentation needs a place in the patient; {frames} frames state "
                f"{sum(place is not None for place in places)}. Export it again."
            )
        if dicom_compressed.is_compressed(dataset):
            dicom_compressed.frames(dataset, range(frames))
        pixels = pixel_array(dataset).reshape(frames, rows, columns)
        numbers = [fields.number(g, "SegmentIdentificationSequence", "ReferencedSegmentNumber", None) for g in groups]
        roles = {int(item.SegmentNumber): role_of(_words(item)) for item in dataset.get("SegmentSequence") or []}
        kind = str(dataset.get("SegmentationType", "BINARY")).upper()
        full = float(dataset.get("MaximumFractionalValue", 1) or 1)
    matrix, level, depth = _grid([place for place in places if place is not None])
    shape = (depth, rows, columns)
    check_sizes("DICOM segmentation", shape, 1, 1)
    masks: dict[str, np.ndarray] = {}
    for segment, role in roles.items():
        if role is None:
            continue
        mask = np.zeros(shape, bool)
        for frame, k in enumerate(level):
            if kind == "LABELMAP":
                mask[k] |= pixels[frame] == segment
            elif numbers[frame] == segment:
                mask[k] |= pixels[frame] >= (0.5 * full if kind == "FRACTIONAL" else 1)
        add_segment(masks, role, mask)
    return masks, matrix


def is_segmentation(path: Path) -> bool:
    """Whether a path is a DICOM file or folder with a segmentation in it."""
    if path.is_file():
        with path.open("rb") as file:
            if not looks_like_dicom(file.read(1024)):
                return False
    source = Folder(path)
    with quiet():
        return any(_is_segmentation(source, name) for name in source.names)


def _is_segmentation(source: Folder | Zip, name: str) -> bool:
    if not looks_like_dicom(source.start(name, 1024)):
        return False
    try:
        return str(open_dataset(source, name, ["Modality"]).get("Modality", "")).upper() == MODALITY
    except AnatomyError:
        raise
    except Exception:  # damaged in whatever way
        return False


def _words(item: "Dataset") -> list[str]:
    words = [str(item.get("SegmentLabel") or ""), str(item.get("SegmentDescription") or "")]
    for sequence in ("SegmentedPropertyTypeCodeSequence", "AnatomicRegionSequence"):
        code = fields.first(item, sequence)
        words += [str(code.get(keyword) or "") for keyword in ("CodeValue", "CodeMeaning")] if code else []
    return words


def _grid(places: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the grid of frames that lie in parallel planes: geometry, plane of each frame, number of planes."""
    normal = places[0][:3, 2]
    if any(not np.allclose(place[:3, :3], places[0][:3, :3], atol=1e-3) for place in places):
        raise AnatomyError(
            "The frames of a DICOM segmentation must be parallel; these are turned against one another. Export the "
            "segmentation of the short-axis stack alone."
        )
    level = np.array([normal @ place[:3, 3] for place in places])
    planes = np.sort(level)
    planes = planes[np.concatenate([[True], np.diff(planes) > 0.1])]
    if len(planes) < 2:
        raise AnatomyError("A segmentation of a heart has several slices; this one has one. Export the whole stack.")
    lattice = fit_lattice(planes)
    where = np.round((level - lattice.first_mm) / lattice.step_mm).astype(int)
    directions = places[0][:3, :3].copy()
    directions[:, 2] = normal * lattice.step_mm
    origin = places[int(level.argmin())][:3, 3]
    matrix = lps_to_ras(affine(directions, origin + normal * (lattice.first_mm - level.min())))
    check_geometry(matrix, "DICOM segmentation")
    return matrix, where.clip(0, lattice.depth - 1), lattice.depth
