"""Labels of the anchor: another file's codes and grid, brought to ours and checked in RAS."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from COFGeneratorLib.anatomy.geometry import resample, same_grid, voxel_volume_ml
from COFGeneratorLib.anatomy.readers.header import VolumeHeader
from COFGeneratorLib.anatomy.readers.payload import read_frames
from COFGeneratorLib.anatomy.readers.volume import open_volume
from COFGeneratorLib.anatomy.stack import LABELS, SaxStack
from COFGeneratorLib.errors import AnatomyError

PLAUSIBLE_ML = {"lv": (8.0, 600.0), "myo": (8.0, 600.0), "rv": (5.0, 800.0)}
"""Volumes outside which a label map belongs to another organ, another unit or another code."""
NAMES = {"lv": "LV cavity", "myo": "myocardium", "rv": "RV cavity"}
MIN_ENCLOSED = 0.5
"""Share of the LV cavity's in-plane border that must touch myocardium, where both are labelled."""
MIN_INSIDE = 0.5
"""Share of a label that must lie inside the image."""
ACDC_MAP = {"lv": 3, "myo": 2, "rv": 1}


def read_labels(
    path: str | Path, like: SaxStack, label_map: Mapping[str, int] = ACDC_MAP, frame: int | None = None
) -> np.ndarray:
    """Read labels onto the anchor's grid.

    Args:
        path: A label map in any format `read_sax` reads, 3-D or 4-D.
        like: The anchor. The labels are brought onto its grid through RAS, by nearest neighbour.
        label_map: Code in the file of "lv", "myo" and "rv"; "lv" is needed, absent ones are not looked for.
        frame: Frame of a 4-D file; by default the anchor's own.

    Returns:
        (D, H, W) uint8 on the anchor's grid: 0 background, 1 LV cavity, 2 myocardium, 3 RV cavity.

    Raises:
        AnatomyError: If codes are missing, the frame is empty, or the labels lie elsewhere or cannot be a heart.
    """
    codes = check_label_map(label_map)
    _, header = open_volume(path)
    labels = _labels_of(header, codes, like.frame if frame is None else frame)
    present = {name: labels == LABELS[name] for name in codes}
    _check_volumes(present, header)
    _check_arrangement(labels)
    if same_grid(like.ijk_to_ras, like.shape, header.ijk_to_ras, header.shape):
        return labels
    out = resample(labels, header.ijk_to_ras, like.shape, like.ijk_to_ras, order=0)
    _check_overlap(present, out, header, like)
    return out


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


def _check_volumes(present: dict[str, np.ndarray], header: VolumeHeader) -> None:
    voxel_ml = voxel_volume_ml(header.ijk_to_ras)
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
    from scipy.ndimage import binary_dilation

    if not (labels == LABELS["myo"]).any():
        return
    cavity = labels == LABELS["lv"]
    border = binary_dilation(cavity, structure=np.array([[[0, 1, 0], [1, 1, 1], [0, 1, 0]]])) & ~cavity
    enclosed = float((labels[border] == LABELS["myo"]).mean())
    if enclosed < MIN_ENCLOSED:
        raise AnatomyError(
            f"The LV cavity should be enclosed by the myocardium; only {100 * enclosed:.0f} % of its border touches "
            "what the label map calls myocardium. Check whether the label map swaps codes."
        )


def _check_overlap(present: dict[str, np.ndarray], out: np.ndarray, header: VolumeHeader, like: SaxStack) -> None:
    """Compare each label's volume before and after: what is lost lies outside the image."""
    voxel_ml = voxel_volume_ml(header.ijk_to_ras)
    for name, mask in present.items():
        before = float(mask.sum() * voxel_ml)
        after = float((out == LABELS[name]).sum() * like.voxel_volume_ml)
        if after < MIN_INSIDE * before:
            raise AnatomyError(
                f"Labels must lie where the image is; of the {NAMES[name]}'s {before:.0f} mL only {after:.0f} mL lie "
                "inside it. Check that both files come from the same scan and are in the same coordinates."
            )
