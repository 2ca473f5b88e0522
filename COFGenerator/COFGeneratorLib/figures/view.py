"""How a short-axis stack is shown: which slices, which way up, which part, which grey levels.

The convention of short-axis reading is kept whatever way the file is stored: base before apex, right ventricle on the
left, anterior wall on top. Only whole rows and columns are swapped for that; voxels are resampled once, to the screen.
"""

from dataclasses import dataclass, replace

import numpy as np

from COFGeneratorLib.anatomy.heart_frame import USUAL_APEX_RAS, USUAL_LATERAL_RAS, HeartFrame, heart_frame_from_labels
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.errors import AnatomyError
from COFGeneratorLib.figures.palette import EPICARDIUM, LV, RV, rgb

MARGIN_MM = 12.0
GREY_PERCENTILES = (1.0, 99.6)
CONTOURS = (((3,), RV), ((1, 2), EPICARDIUM), ((1,), LV))
"""Labels within a contour, and its colour."""


@dataclass(frozen=True)
class HeartView:
    """A fixed way of looking at one stack, for all of its frames.

    Attributes:
        slices: Slice indices from base to apex.
        swap, flip_rows, flip_columns: How stored rows and columns become the screen's, in this order.
        box: (left, top, right, bottom) of the square part shown, in voxels of the turned slice (may lie outside it).
        grey: (black, white) intensities.
    """

    slices: tuple[int, ...]
    swap: bool
    flip_rows: bool
    flip_columns: bool
    box: tuple[float, float, float, float]
    grey: tuple[float, float]

    def turned(self, image: np.ndarray) -> np.ndarray:
        """Return a stored slice, (H, W), the way up it is shown."""
        image = image.T if self.swap else image
        return image[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]

    def shown(self, image: np.ndarray, size_px: int) -> np.ndarray:
        """Return the shown part of a stored slice, resampled to (size_px, size_px) float32."""
        from PIL import Image

        turned = self.turned(np.asarray(image, dtype=np.float32))
        left, top, right, bottom = self.box
        pad = int(np.ceil(max(0.0, -left, -top, right - turned.shape[1], bottom - turned.shape[0])))
        padded = np.ascontiguousarray(np.pad(turned, pad, mode="edge") if pad else turned)
        box = (left + pad, top + pad, right + pad, bottom + pad)
        return np.asarray(Image.fromarray(padded).resize((size_px, size_px), Image.Resampling.BICUBIC, box=box))


def choose_view(anchor: SaxStack, labels: np.ndarray | None, slices: int) -> HeartView:
    """Choose how to look at a cine (labels (T, D, H, W) or None): its slices, and the grey levels of the anchor."""
    depth = anchor.shape[0]
    seen = labels if labels is not None and (labels[0] == 1).any() else None
    frame = frame_of(anchor.ijk_to_ras, None if seen is None else seen[0])
    towards = frame.kji_to_heart(anchor.ijk_to_ras)[:3, :3]  # columns: what one step in k, j, i does in the heart

    used = np.arange(depth) if seen is None else np.flatnonzero(np.isin(seen[0], (1, 2)).any(axis=(1, 2)))
    order = used if towards[0, 0] > 0 else used[::-1]
    chosen = order[np.unique(np.round(np.linspace(0, len(order) - 1, min(slices, len(order)))).astype(int))]

    down, right = towards[1], towards[2]  # inferior and lateral, per step in (k, j, i)
    swap = abs(down[2]) + abs(right[1]) > abs(down[1]) + abs(right[2])
    rows, columns = (2, 1) if swap else (1, 2)
    upright = HeartView(
        slices=tuple(int(k) for k in chosen),
        swap=swap,
        flip_rows=bool(down[rows] < 0),
        flip_columns=bool(right[columns] < 0),
        box=(0, 0, 1, 1),
        grey=(0.0, 1.0),
    )

    spacing = anchor.spacing_mm[[rows, columns]]  # mm per screen row, column
    mask = np.ones(anchor.shape[1:], dtype=bool) if seen is None else np.any(np.isin(seen, (1, 2, 3)), axis=(0, 1))
    box = _square_box(upright.turned(mask), spacing, 0.0 if seen is None else MARGIN_MM)
    left, top, right_edge, bottom = (round(edge) for edge in box)
    part = np.stack([upright.turned(anchor.voxels[k]) for k in chosen])
    part = part[:, max(top, 0) : max(bottom, 1), max(left, 0) : max(right_edge, 1)]
    black, white = np.percentile(part, GREY_PERCENTILES)
    return replace(upright, box=box, grey=(float(black), float(max(white, black + 1e-6))))


def render(
    view: HeartView, image: np.ndarray, size_px: int, labels: np.ndarray | None = None, line_px: float = 1.6
) -> np.ndarray:
    """Return one slice as it is shown, (size_px, size_px, 3) uint8, with contours where labels are given.

    Contours are drawn from smoothed masks with a soft edge: endocardium, epicardium and RV endocardium.
    """
    from scipy.ndimage import gaussian_filter

    black, white = view.grey
    grey = np.clip((view.shown(image, size_px) - black) / (white - black), 0.0, 1.0)
    picture = np.repeat(grey[..., None] * 255.0, 3, axis=2)
    if labels is None:
        return picture.astype(np.uint8)
    sigma_px = _smoothing_px(view, size_px)
    for codes, colour in CONTOURS:
        mask = np.isin(labels, codes)
        if not mask.any():
            continue
        soft = gaussian_filter(view.shown(mask, size_px), sigma_px)
        steepness = np.hypot(*np.gradient(soft)) + 1e-4
        away_px = np.abs(soft - 0.5) / steepness
        alpha = np.clip(line_px / 2 + 0.5 - away_px, 0.0, 1.0)[..., None]
        picture = picture * (1.0 - alpha) + np.array(rgb(colour)) * alpha
    return picture.astype(np.uint8)


def _smoothing_px(view: HeartView, size_px: int) -> float:
    """Return the standard deviation, screen pixels, that hides the voxel steps of a hard label map."""
    voxels_across = max(view.box[2] - view.box[0], view.box[3] - view.box[1])
    return 0.9 * size_px / voxels_across


def frame_of(ijk_to_ras: np.ndarray, labels: np.ndarray | None) -> HeartFrame:
    """Return the heart's frame, from labels (D, H, W) where possible, else from how hearts usually lie in a stack."""
    if labels is not None:
        try:
            return heart_frame_from_labels(labels, ijk_to_ras)
        except AnatomyError:
            pass  # labels too small for a frame: show the stack the usual way
    normal = np.cross(ijk_to_ras[:3, 0], ijk_to_ras[:3, 1])
    k_axis = normal / np.linalg.norm(normal)
    k_axis = k_axis if k_axis @ USUAL_APEX_RAS >= 0 else -k_axis
    lateral = USUAL_LATERAL_RAS - k_axis * (k_axis @ USUAL_LATERAL_RAS)
    i_axis = lateral / np.linalg.norm(lateral)
    return HeartFrame(np.zeros(3), np.stack([k_axis, np.cross(i_axis, k_axis), i_axis]))


def _square_box(mask: np.ndarray, spacing: np.ndarray, margin_mm: float) -> tuple[float, float, float, float]:
    """Return the square (in mm) around a mask as (left, top, right, bottom) in pixels."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    edges = np.array([[rows[0], rows[-1] + 1], [columns[0], columns[-1] + 1]], dtype=float) * spacing[:, None]  # mm
    half = 0.5 * np.ptp(edges, axis=1).max() + margin_mm
    centre = edges.mean(axis=1)
    top, left = (centre - half) / spacing
    bottom, right = (centre + half) / spacing
    return float(left), float(top), float(right), float(bottom)
