"""What the segments of a segmentation are called, in the words of many tools, and label masks made of them."""

import re
from collections.abc import Sequence

import numpy as np

from COFGeneratorLib.anatomy.stack import LABELS
from COFGeneratorLib.errors import AnatomyError

EPICARDIUM = "epi"
"""All that the LV's outer contour holds: wall and, where drawn so, cavity."""
MAX_OVERLAP = 0.1
"""Share of a segment that may lie in another; borders drawn by hand cross a little."""
_CODES = {
    "lv": {"87878005", "T-32600"}, "rv": {"53085002", "T-32500"}, "myo": {"74281007", "T-32020"},
}  # fmt: skip
"""SNOMED CT and SRT codes of left ventricle, right ventricle and myocardium."""
_OTHER = r"atri|aort|pulmonary|valve|scar|infarct|papill|fat\b|effusion|\b[lr]a\b|background|oedema|edema"
_RIGHT = r"\brv|right ventric|right v\b|\brightvent|ventricle right|ventricule droit|\brecht\w+ (ventrikel|kammer)"
_LEFT = r"\blv|left ventric|left v\b|ventricle left|left heart|ventricule gauche|\blink\w+ (ventrikel|kammer)"
_WALL = r"myo|wall|muscle|\blvm\b|\bmlv\b|\bmyoc"
_CAVITY = r"endo|cavity|blood|pool|lumen|chamber|\blvc\b|\blvbp\b"


def role_of(words: Sequence[str]) -> str | None:
    """Tell which structure a segment is, by its name, else by its terminology; None for what is none of ours.

    Args:
        words: Name first, then identifier and terminology, as the file gives them.
    """
    for text in words:
        plain = re.sub(r"[^a-z0-9]+", " ", re.sub(r"([a-z])([A-Z])", r"\1 \2", text)[:200].lower()).strip()
        role = _role(plain)
        if role is not None:
            return role or None
        coded = next((name for name, codes in _CODES.items() if text.strip() in codes), None)
        if coded:
            return coded
    return None


def _role(text: str) -> str | None:
    """Return a role, "" for another structure, None where the words tell nothing."""
    if re.search(_OTHER, text):
        return ""
    right, wall, outer = (re.search(pattern, text) for pattern in (_RIGHT, _WALL, r"\bepi"))
    if right:
        return "" if wall or outer else "rv"
    if outer or re.search(r"epicard", text):
        return EPICARDIUM
    if wall:
        return "myo"
    if re.search(_LEFT, text) or re.search(_CAVITY, text):
        return "lv"
    return None


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
