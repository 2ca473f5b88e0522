"""What the segments of a segmentation are called, in the words of many tools, and label masks made of them."""

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from COFGeneratorLib.anatomy.stack import LABELS
from COFGeneratorLib.errors import AnatomyError

EPICARDIUM = "epi"
"""All that the LV's outer contour holds: wall and, where drawn so, cavity."""
SCAR, PAPILLARY = "scar", "papillary"
"""Parts of the wall and of the cavity that some tools label apart."""
MAX_OVERLAP = 0.1
"""Share of a segment that may lie in another; borders drawn by hand cross a little."""
MOST_AROUND = 0.6
"""Share of a segment's border in its planes that another of the same name may touch before it seems to be its wall."""
_CODES = {
    "lv": {"87878005", "T-32600"}, "rv": {"53085002", "T-32500"}, "myo": {"74281007", "T-32020"},
}  # fmt: skip
"""SNOMED CT and SRT codes of left ventricle, right ventricle and myocardium."""
_OTHER = r"atri|aort|pulmonary|valve|fat\b|effusion|\b[lr]a\b|background"
_PARTS = ((PAPILLARY, r"papill|trabecul"), (SCAR, r"scar|infarct|fibros|oedema|edema"))
_VENTRICLE = r"(ventr|v\b|\w*kammer)"
_RIGHT_WORD = r"(right|rt?\b|derech|destr|direit|droit|recht)\w*"
_LEFT_WORD = r"(left|lt?\b|izquierd|sinistr|esquerd|gauche|link)\w*"
_RIGHT = rf"\b(sa)?rv|\bvd\b|\b{_RIGHT_WORD} {_VENTRICLE}|ventr\w* {_RIGHT_WORD}|\brecht\w*ventr"
_LEFT = rf"\blv|\bvg\b|\b{_LEFT_WORD} {_VENTRICLE}|ventr\w* {_LEFT_WORD}|\blink\w*ventr|left heart"
_WALL = r"myo|miocard|wall|muscle|muskel|mass\b|sept(um|al)|\bpared|\bparete|\blvm\b|\bmlv\b|\bmyoc"
_CAVITY = r"endo|cavit|blood|pool|lumen|chamber|\blvc\b|\blvbp\b"
_OUTER = r"\b(lv|rv|sa|sarv)?epi|epicard"
_OTHER_SCRIPTS = {
    "左心室": "left ventricle", "左室": "left ventricle", "右心室": "right ventricle", "右室": "right ventricle",
    "心肌": "myocardium", "心筋": "myocardium", "левый желудочек": "left ventricle",
    "правый желудочек": "right ventricle", "миокард": "myocardium",
}  # fmt: skip


def role_of(words: Sequence[str]) -> str | None:
    """Tell which structure a segment is, by its name, else by its terminology; None for what is none of ours.

    Args:
        words: Name first, then identifier and terminology, as the file gives them.
    """
    for text in words:
        plain = _plain(text[:200])
        role = _role(plain)
        if role is not None:
            return role or None
        coded = next((name for name, codes in _CODES.items() if text.strip() in codes), None)
        if coded:
            return coded
    return None


def _plain(text: str) -> str:
    """Return small Latin letters and digits with single blanks between words; accents are left out."""
    for word, english in _OTHER_SCRIPTS.items():
        text = re.sub(word, f" {english} ", text, flags=re.IGNORECASE)
    letters = unicodedata.normalize("NFKD", re.sub(r"([a-z])([A-Z])", r"\1 \2", text))
    kept = "".join(one for one in letters if not unicodedata.combining(one)).lower()
    return re.sub(r"[^a-z0-9]+", " ", kept).strip()


def _role(text: str) -> str | None:
    """Return a role, "" for another structure, None where the words tell nothing."""
    if re.search(_OTHER, text):
        return ""
    right, wall, outer = (re.search(pattern, text) for pattern in (_RIGHT, _WALL, _OUTER))
    part = next((name for name, pattern in _PARTS if re.search(pattern, text)), None)
    if right:
        return "" if wall or outer or part else "rv"
    if part:
        return part
    if outer:
        return EPICARDIUM
    if wall:
        return "myo"
    if re.search(_LEFT, text) or re.search(_CAVITY, text):
        return "lv"
    return None


def add_segment(masks: dict[str, np.ndarray], role: str, mask: np.ndarray) -> None:
    """Add the (D, H, W) bool mask of a segment to those of its role; of an LV within an LV the outer one is the wall's.

    Raises:
        AnatomyError: If two segments are called LV and one lies around the other as a wall does.
    """
    there = masks.get(role)
    if there is None or role != "lv" or not (there.any() and mask.any()):
        masks[role] = mask if there is None else there | mask
        return
    inner, outer = sorted((there, mask), key=np.count_nonzero)
    if (inner & outer).sum() > 0.9 * inner.sum():  # the ventricle, and its cavity within it
        masks[EPICARDIUM], masks[role] = masks.get(EPICARDIUM, False) | outer, inner
        return
    if max(enclosed(there, mask & ~there), enclosed(mask, there & ~mask)) > MOST_AROUND:
        raise AnatomyError(
            "One segment is the LV cavity; here two are called so, and one lies around the other as a wall does. Call "
            "that one myocardium."
        )
    masks[role] = there | mask


def enclosed(cavity: np.ndarray, wall: np.ndarray) -> float:
    """Return the share of the cavity's in-plane border that touches the wall; 0 where it has none."""
    from scipy.ndimage import binary_dilation

    border = binary_dilation(cavity, structure=np.array([[[0, 1, 0], [1, 1, 1], [0, 1, 0]]])) & ~cavity
    return float(wall[border].mean()) if border.any() else 0.0


def merged(masks: dict[str, np.ndarray]) -> np.ndarray:
    """Make one label map of masks by role; the wall is what lies between the contours of endo- and epicardium.

    Args:
        masks: (D, H, W) bool by "lv", "myo", "rv" or "epi"; "lv" at least, or "epi" with "myo".

    Returns:
        (D, H, W) uint8 in our own codes.

    Raises:
        AnatomyError: If the LV cavity is not there, or structures overlap that cannot.
    """
    masks = dict(masks)
    parts = [(masks.pop(name, None), whole) for name, whole in ((PAPILLARY, "lv"), (SCAR, "myo"))]
    for mask, whole in parts:
        if mask is not None and whole in masks:
            masks[whole] = masks[whole] | (mask & ~np.logical_or.reduce(list(masks.values())))
    wall = masks.get("myo")
    if wall is not None and "lv" in masks and _share(masks["lv"], wall) > 0.5:
        masks[EPICARDIUM] = masks.pop("myo") | masks.get(EPICARDIUM, False)
    outer = masks.pop(EPICARDIUM, None)
    if outer is not None and "lv" in masks and "myo" not in masks:
        masks["myo"] = outer & ~masks["lv"]
    elif outer is not None and "lv" not in masks and "myo" in masks:
        masks["lv"] = outer & ~masks["myo"]
    if "lv" not in masks or not masks["lv"].any():
        raise AnatomyError(
            "Labels need the LV cavity (as LV, left ventricle, LV endocardium, LV blood pool); no segment of this file "
            f"is called so, found {', '.join(sorted(masks)) or 'none of the heart'}. Name the segments, or give "
            "--label-map."
        )
    for a, b in (("rv", "lv"), ("rv", "myo"), ("myo", "lv")):
        if a in masks and b in masks and _share(masks[a], masks[b]) > MAX_OVERLAP:
            raise AnatomyError(
                f"Segments of one heart lie beside one another; in this file {100 * _share(masks[a], masks[b]):.0f} % "
                f"of {a} lies in {b}. Check what the segments are called."
            )
    labels = np.zeros(masks["lv"].shape, np.uint8)
    for name in ("rv", "myo", "lv"):  # where borders cross, the inner structure wins
        if name in masks:
            labels[masks[name]] = LABELS[name]
    return labels


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    return float((part & whole).sum() / max(part.sum(), 1))
