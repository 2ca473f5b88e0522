"""Labels of the anchor: another file's names, codes and grid, brought to ours and checked in RAS."""

from collections.abc import Mapping
from itertools import permutations
from pathlib import Path

import numpy as np

from COFGeneratorLib.anatomy.geometry import resample, same_grid, voxel_volume_ml
from COFGeneratorLib.anatomy.readers.archive import Folder
from COFGeneratorLib.anatomy.readers.contours import contour_masks, is_workspace
from COFGeneratorLib.anatomy.readers.dicom_seg import is_segmentation, read_segmentation
from COFGeneratorLib.anatomy.readers.guard import guarded
from COFGeneratorLib.anatomy.readers.header import Segment, VolumeHeader
from COFGeneratorLib.anatomy.readers.payload import read_frames
from COFGeneratorLib.anatomy.readers.scene import is_scene, scene_labels
from COFGeneratorLib.anatomy.readers.segment_names import EPICARDIUM, add_segment, enclosed, merged, role_of
from COFGeneratorLib.anatomy.readers.volume import open_volume
from COFGeneratorLib.anatomy.stack import LABELS, SaxStack
from COFGeneratorLib.errors import AnatomyError

PLAUSIBLE_ML = {"lv": (8.0, 600.0), "myo": (8.0, 600.0), "rv": (5.0, 800.0)}
"""Volumes outside which a label map belongs to another organ, another unit or another code."""
NAMES = {"lv": "LV cavity", "myo": "myocardium", "rv": "RV cavity"}
MIN_ENCLOSED = 0.5
"""Share of the LV cavity's in-plane border that must touch myocardium, where both are labelled."""
MIN_FITTING = 0.7
"""The same share from which on codes are proposed."""
MIN_INSIDE = 0.5
"""Share of a label that must lie inside the image."""
ACDC_MAP = {"lv": 3, "myo": 2, "rv": 1}


def read_labels(
    path: str | Path, like: SaxStack, label_map: Mapping[str, int] | None = None, frame: int | None = None
) -> np.ndarray:
    """Read labels onto the anchor's grid.

    Args:
        path: A label map in any format `read_sax` reads, 3-D or 4-D; a Slicer segmentation (.seg.nrrd) or scene; a
            DICOM segmentation; contours of cvi42 (.cvi42wsx), where the anchor is of the DICOM images that they were
            drawn on.
        like: The anchor. The labels are brought onto its grid through RAS, by nearest neighbour.
        label_map: Code in the file of "lv", "myo" and "rv"; "lv" is needed, absent ones are not looked for. Where None,
            the names of segments tell; our own files have our own codes; others are taken for lv=3, myo=2, rv=1.
        frame: Frame of a 4-D file; by default the anchor's own.

    Returns:
        (D, H, W) uint8 on the anchor's grid: 0 background, 1 LV cavity, 2 myocardium, 3 RV cavity.

    Raises:
        AnatomyError: If codes are missing or contradict the file's names, the frame is empty, or the labels lie
            elsewhere or cannot be a heart.
    """
    codes = None if label_map is None else check_label_map(label_map)
    with guarded("label map"):
        labels, matrix = _stored(Path(path), codes, like.frame if frame is None else frame, like)
    present = {name: labels == code for name, code in LABELS.items() if (labels == code).any()}
    _check_volumes(present, matrix)
    _check_arrangement(labels)
    if same_grid(like.ijk_to_ras, like.shape, matrix, labels.shape):
        return labels
    out = resample(labels, matrix, like.shape, like.ijk_to_ras, order=0)
    _check_overlap(present, out, matrix, like)
    return out


def _stored(path: Path, codes: dict[str, int] | None, frame: int, like: SaxStack) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels of a file (D, H, W) in our own codes, on its own grid, and its geometry."""
    workspace = is_workspace(path)
    if workspace or (path.exists() and is_segmentation(path)):
        if codes is not None:
            raise AnatomyError(
                "The names in a DICOM segmentation, or of contours, say what they are; found a label map, too. Leave "
                "--label-map out."
            )
        if workspace:
            return merged(contour_masks(path, like, frame)), like.ijk_to_ras
        masks, matrix = read_segmentation(Folder(path))
        return merged(masks), matrix
    if is_scene(path):
        with scene_labels(path) as header:
            return _by_header(header, codes, frame), header.ijk_to_ras
    _, header = open_volume(path, "labels")
    return _by_header(header, codes, frame), header.ijk_to_ras


def _by_header(header: VolumeHeader, codes: dict[str, int] | None, frame: int) -> np.ndarray:
    roles = [(segment, role) for segment in header.segments if (role := role_of(segment.words)) is not None]
    layered = len({segment.layer for segment in header.segments}) > 1
    if codes is not None and roles:
        _refuse_contradiction(codes, header.segments if layered else None, roles)
    if roles and (codes is None or layered):
        return _by_names(header, roles)
    if codes is None and header.segments:
        raise AnatomyError(
            "The segments of a segmentation are told by name (LV, myocardium, RV …); no name in this file tells one. "
            "Rename them, or give --label-map with their codes."
        )
    chosen = codes or (LABELS if header.ours else ACDC_MAP)
    try:
        labels = _labels_of(header, chosen, frame)
        _check_arrangement(labels)
    except AnatomyError as error:
        fits = _fitting_map(header, frame) if header.n_frames == 1 or frame < header.n_frames else None
        if fits is None or fits == chosen:
            raise
        raise AnatomyError(f"{error} By its shape the file fits --label-map {_shown(fits)}.") from None
    return labels


def _by_names(header: VolumeHeader, roles: list[tuple[Segment, str]]) -> np.ndarray:
    """Return labels by the names of segments, whichever layer they lie in."""
    stored = read_frames(header, None).reshape(-1, *header.shape)
    masks: dict[str, np.ndarray] = {}
    for segment, role in roles:
        if not 0 <= segment.layer < len(stored):
            raise AnatomyError(
                f"A segment lies in one of the file's {len(stored)} layers; one is said to lie in layer "
                f"{segment.layer}. Save the segmentation again."
            )
        add_segment(masks, role, stored[segment.layer] == segment.code)
    return merged(masks)


def _refuse_contradiction(
    codes: dict[str, int], layers: tuple[Segment, ...] | None, roles: list[tuple[Segment, str]]
) -> None:
    """Refuse a label map whose codes are other structures by the file's own names.

    Codes repeat from layer to layer, so there the number of a segment, from 1, counts as its code.
    """
    numbers = {role: layers.index(segment) + 1 if layers else segment.code for segment, role in roles}
    named = {code: "myo" if role == EPICARDIUM else role for role, code in numbers.items()}
    if any(name != named.get(code, None if layers else name) for name, code in codes.items()):
        fits = {name: code for code, name in named.items()}
        raise AnatomyError(
            f"The label map should agree with the names of the file's segments; {_shown(codes)} gives the code of "
            f"another structure. Give --label-map {_shown(fits)}, or leave it out."
        )


def _fitting_map(header: VolumeHeader, frame: int) -> dict[str, int] | None:
    """Return the only label map by which the file's codes are arranged as in a heart, or None."""
    stored = read_frames(header, 0 if header.n_frames == 1 else frame)
    there = [int(c) for c in np.unique(stored) if c > 0 and c == np.round(c)]
    if len(there) != 3:
        return None
    voxel_ml, fitting = voxel_volume_ml(header.ijk_to_ras), []
    for order in permutations(there):
        codes = dict(zip(LABELS, order, strict=True))
        masks = {name: stored == code for name, code in codes.items()}
        sound = all(low <= masks[n].sum() * voxel_ml <= high for n, (low, high) in PLAUSIBLE_ML.items())
        if sound and enclosed(masks["lv"], masks["myo"]) >= MIN_FITTING:
            fitting.append(codes)
    return fitting[0] if len(fitting) == 1 else None


def _shown(codes: Mapping[str, int]) -> str:
    return ",".join(f"{name}={codes[name]}" for name in LABELS if name in codes)


def check_label_map(label_map: Mapping[str, int]) -> dict[str, int]:
    """Return the map with plain integers.

    Raises:
        AnatomyError: If a name is unknown, "lv" is absent, or codes are not distinct positive integers.
    """
    codes = {str(name).lower(): code for name, code in label_map.items()}
    values = list(codes.values())
    if (
        set(codes) - set(LABELS)
        or "lv" not in codes
        or not all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) and v > 0 for v in values)
        or len(set(values)) != len(values)
    ):
        raise AnatomyError(
            "A label map gives distinct positive codes to lv, myo and rv (to lv at least); "
            f"found {dict(label_map)}. Write it as lv=3,myo=2,rv=1 with the codes of your file."
        )
    return {name: int(code) for name, code in codes.items()}


def _labels_of(header: VolumeHeader, codes: dict[str, int], frame: int) -> np.ndarray:
    """Return one frame in our own codes; explain where the codes are not there."""
    if header.n_frames == 1:
        stored = _whole(read_frames(header, 0))
    else:
        frames = _whole(read_frames(header, None))
        if not 0 <= frame < header.n_frames:
            raise AnatomyError(
                f"The label file holds {header.n_frames} frames (0 to {header.n_frames - 1}); frame {frame} was asked "
                "for. Choose a labelled frame."
            )
        stored = frames[frame]
        if not np.isin(stored, list(codes.values())).any():
            filled = [t for t in range(header.n_frames) if np.isin(frames[t], list(codes.values())).any()]
            if filled:
                raise AnatomyError(
                    f"Labels were expected in frame {frame}; that frame is empty, labelled are frames "
                    f"{', '.join(map(str, filled[:20]))}{' …' if len(filled) > 20 else ''}. Choose one of them."
                )
    there = [int(c) for c in np.unique(stored) if c != 0]
    missing = {name: code for name, code in codes.items() if code not in there}
    if missing:
        shown = ", ".join(map(str, there[:20])) or "none"
        wanted = ", ".join(f"{NAMES[name]} = {code}" for name, code in missing.items())
        raise AnatomyError(
            f"The label map expects {wanted}; the file holds the codes {shown}. Give the file's own codes, such as "
            "lv=3,myo=2,rv=1, and leave out what it does not label."
        )
    labels = np.zeros(header.shape, np.uint8)
    for name, code in codes.items():
        labels[stored == code] = LABELS[name]
    return labels


def _whole(numbers: np.ndarray) -> np.ndarray:
    """Return label numbers, refusing what are intensities or probabilities."""
    if numbers.dtype.kind == "f" and not (np.isfinite(numbers).all() and (numbers == np.round(numbers)).all()):
        raise AnatomyError(
            "A label map holds whole numbers; this file holds fractions, which seem to be intensities or "
            "probabilities. Give the segmentation as a label map."
        )
    return numbers


def _check_volumes(present: dict[str, np.ndarray], matrix: np.ndarray) -> None:
    voxel_ml = voxel_volume_ml(matrix)
    for name, mask in present.items():
        volume = float(mask.sum() * voxel_ml)
        low, high = PLAUSIBLE_ML[name]
        if not low <= volume <= high:
            raise AnatomyError(
                f"The {NAMES[name]} should measure {low:g} to {high:g} mL; in the label file it measures {volume:.3g} "
                "mL. Check the label map's codes and the file's spacing."
            )


def _check_arrangement(labels: np.ndarray) -> None:
    """Refuse swapped codes: the LV cavity lies inside the myocardium, the RV cavity and the wall itself do not."""
    if not (labels == LABELS["myo"]).any():
        return
    around = enclosed(labels == LABELS["lv"], labels == LABELS["myo"])
    if around < MIN_ENCLOSED:
        raise AnatomyError(
            f"The LV cavity should be enclosed by the myocardium; only {100 * around:.0f} % of its border touches "
            "what the label map calls myocardium. Check whether the label map swaps codes."
        )


def _check_overlap(present: dict[str, np.ndarray], out: np.ndarray, matrix: np.ndarray, like: SaxStack) -> None:
    """Compare each label's volume before and after: what is lost lies outside the image."""
    voxel_ml = voxel_volume_ml(matrix)
    for name, mask in present.items():
        before = float(mask.sum() * voxel_ml)
        after = float((out == LABELS[name]).sum() * like.voxel_volume_ml)
        if after < MIN_INSIDE * before:
            raise AnatomyError(
                f"Labels must lie where the image is; of the {NAMES[name]}'s {before:.0f} mL only {after:.0f} mL lie "
                "inside it. Check that both files come from the same scan and are in the same coordinates."
            )
