"""Contours that were drawn in cvi42 and exported as XML workspace (``.cvi42wsx``), as masks on the anchor's grid.

A workspace names the DICOM images that contours were drawn on by their UIDs, and gives points in parts of a pixel,
counted from the centre of the first one. Layout after ``parse_cvi42_xml.py`` of W. Bai's ukbb_cardiac (Apache 2.0):
``ImageStates`` / UID / ``Contours`` / name / ``Points`` and ``SubpixelResolution``, each the ``Hash:key`` of an
element.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from COFGeneratorLib.anatomy.readers.dicom_image import digest
from COFGeneratorLib.anatomy.readers.segment_names import EPICARDIUM
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.errors import AnatomyError

MAX_BYTES = 64 << 20
"""Of a workspace; one of a whole examination has some 20 MB."""
MAX_TAGS, MAX_DEPTH = 1_000_000, 100
"""Elements of a workspace, and how deep they lie; all contours of fifty phases and twelve slices have 400,000."""
MAX_POINTS = 5_000
"""Of one contour."""
MAX_HELD = 200_000
"""Elements of the contours of one image, which are held together."""
NAMES = {
    "saendocardialcontour": "lv", "saepicardialcontour": EPICARDIUM, "sarvendocardialcontour": "rv",
}  # fmt: skip
"""Short-axis contours by what they hold; all others (papillary muscles, long axis, scar) are passed over."""
BELONGS_TO = b"circlecvi.com/cvi42"
Contours = dict[str, dict[str, np.ndarray]]
"""(N, 2) points (column, row) in pixels by role, by digest of the image's UID."""


def is_workspace(path: Path) -> bool:
    """Whether a file is an XML workspace of cvi42."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(4096)
    return start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") and BELONGS_TO in start


def contour_masks(path: Path, like: SaxStack, frame: int) -> dict[str, np.ndarray]:
    """Return what the contours of one frame of the anchor's cine hold, (D, H, W) bool by role on the anchor's grid.

    Raises:
        AnatomyError: If the anchor is not of DICOM, the workspace is of other images or damaged, or it has no contour
            in this frame.
    """
    if not like.image_planes:
        raise AnatomyError(
            "Contours of cvi42 name the DICOM images that they were drawn on; the anchor is another kind of file. "
            "Give the DICOM folder or zip of that examination as the anchor."
        )
    found = read_contours(path)
    here = {uid: contours for uid, contours in found.items() if uid in like.image_planes}
    if not here:
        raise AnatomyError(
            f"Contours and anchor must be of one examination; of {len(found)} images with contours none is among the "
            "anchor's. Give the workspace of this examination, or its short-axis series with --series."
        )
    drawn = sorted({like.image_planes[uid][0] for uid in here})
    if frame not in drawn:
        raise AnatomyError(
            f"Contours were expected in frame {frame}; there are none, drawn are those of the frames "
            f"{', '.join(map(str, drawn[:20]))}. Choose one of them with --anchor-frame."
        )
    masks: dict[str, np.ndarray] = {}
    to_grid = np.linalg.inv(like.ijk_to_ras)
    for uid, contours in here.items():
        of_frame, to_ras = like.image_planes[uid]
        if of_frame != frame:
            continue
        for role, points in contours.items():
            i, j, k = to_grid[:3] @ to_ras @ np.stack([*points.T, np.zeros(len(points)), np.ones(len(points))])
            mask = masks.setdefault(role, np.zeros(like.shape, bool))
            for level in np.flatnonzero(abs(np.arange(like.shape[0]) - k.mean()) <= 0.5):
                mask[level] |= _filled(np.stack([i, j], axis=1), like.shape[1:])
    return masks


def _filled(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return (H, W) pixels whose centres lie within a contour of (N, 2) points (i, j)."""
    from matplotlib.path import Path as Outline

    out = np.zeros(shape, bool)
    low = np.floor(points.min(axis=0)).astype(int).clip(0, shape[::-1])
    high = (np.ceil(points.max(axis=0)).astype(int) + 1).clip(0, shape[::-1])
    if (high <= low).any():
        return out
    j, i = np.mgrid[low[1] : high[1], low[0] : high[0]]
    inside = Outline(points).contains_points(np.stack([i.ravel(), j.ravel()], axis=1))
    out[low[1] : high[1], low[0] : high[0]] = inside.reshape(i.shape)
    return out


def read_contours(path: Path) -> Contours:
    """Read the closed short-axis contours of a workspace.

    Raises:
        AnatomyError: If it is too large or not well-formed, or a contour has points that are no numbers.
    """
    if path.stat().st_size > MAX_BYTES:
        raise AnatomyError(
            f"A workspace of cvi42 has at most {MAX_BYTES >> 20} MB; this one is larger. Export that examination alone."
        )
    found: Contours = {}
    for uid, name, points in _contours(path):
        role = NAMES.get(name.lower())
        if role is not None and uid and len(points) >= 3:
            found.setdefault(digest(uid), {})[role] = points
    return found


def _contours(path: Path) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield UID, name and points of every contour; what has been read is let go at once."""
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import iterparse

    open_elements: list[Any] = []
    keys: list[str] = []
    count = held = 0
    with path.open("rb") as file:
        try:
            for event, element in iterparse(file, ("start", "end"), forbid_entities=True, forbid_external=True):
                if event == "start":
                    count += 1
                    held = held + 1 if "Contours" in keys else 0
                    open_elements.append(element)
                    keys.append(_key(element))
                    if count > MAX_TAGS or held > MAX_HELD or len(keys) > MAX_DEPTH:
                        raise AnatomyError(
                            f"A workspace of cvi42 has at most {MAX_TAGS:,} elements, {MAX_DEPTH} deep; this one has "
                            "more. It is damaged or hostile: export it again."
                        )
                    continue
                if len(keys) >= 4 and keys[-4] == "ImageStates" and keys[-2] == "Contours":
                    yield keys[-3], keys[-1], _points(element)
                open_elements.pop()
                keys.pop()
                if "Contours" not in keys and open_elements:
                    open_elements[-1].remove(element)
        except DefusedXmlException:
            raise AnatomyError(
                "XML without entities and external references is expected; found some. The file is not from cvi42 as "
                "it is: export it again."
            ) from None
        except SyntaxError:  # what ElementTree raises, whose words quote the file
            raise AnatomyError(
                "A workspace of cvi42 is well-formed XML; this one is damaged or cut off. Export it again."
            ) from None


def _key(element: Any) -> str:
    """Return the ``Hash:key`` of an element, "" where it has none."""
    return next((value for name, value in element.attrib.items() if name.endswith("}key")), "")


def _points(contour: Any) -> np.ndarray:
    """Return the points of one contour, (N, 2) column and row in pixels.

    Raises:
        AnatomyError: If they are no finite numbers, or more than a contour has.
    """
    parts = {_key(part): part for part in contour}
    listed = list(parts["Points"]) if "Points" in parts else []
    if len(listed) > MAX_POINTS:
        raise AnatomyError(f"A contour has at most {MAX_POINTS:,} points; one has more. Export the workspace again.")
    try:
        rows = [[float(value.text or "") for value in list(point)[:2]] for point in listed]
        points = np.array(rows, dtype=float).reshape(len(rows), 2)
        scale = float(parts["SubpixelResolution"].text or "") if "SubpixelResolution" in parts else 1.0
    except ValueError:
        scale = np.nan
    if not (np.isfinite(scale) and scale >= 1.0 and np.isfinite(points).all()):
        raise AnatomyError(
            "The points of a contour are pairs of numbers in parts of a pixel; found something else. Export the "
            "workspace again."
        )
    return points / scale
