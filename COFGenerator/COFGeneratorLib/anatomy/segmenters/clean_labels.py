"""Clean-up of a network's label map with what is known of every heart: one LV, inside its wall, beside one RV."""

import numpy as np
from scipy import ndimage

MIN_SLICE_MM2 = 12.0
"""Specks smaller than this in a slice are dropped."""
TOUCH_MM = 8.0
"""The RV cavity comes at least this near to the LV wall."""


def clean_labels(labels: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """Return labels with one connected left ventricle and an RV that touches it.

    Args:
        labels: (D, H, W) uint8, 0 background, 1 LV cavity, 2 myocardium, 3 RV cavity.
        spacing_mm: (3,) along k, j, i.
    """
    out = np.zeros_like(labels)
    cavity = _largest(labels == 1)
    if not cavity.any():
        return out
    ventricle = _touching((labels == 1) | (labels == 2), cavity)
    out[ventricle & (labels == 2)] = 2
    out[cavity] = 1
    for k in np.flatnonzero(ventricle.any(axis=(1, 2))):
        inner = ndimage.binary_fill_holes(out[k] > 0) & (out[k] == 0)
        out[k][inner] = 1  # a papillary muscle or a dark spot, taken for background
        out[k][_small(out[k] == 1, spacing_mm)] = 2 if (out[k] == 2).any() else 0
    reach = max(round(TOUCH_MM / float(spacing_mm[1:].mean())), 1)
    structure = np.zeros((3, 3, 3), dtype=bool)
    structure[1] = ndimage.generate_binary_structure(2, 1)
    beside = ndimage.binary_dilation(out > 0, structure, iterations=reach)
    out[_touching((labels == 3) & (out == 0), beside, share=0.1)] = 3
    return out


def _largest(mask: np.ndarray) -> np.ndarray:
    parts, count = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    if count == 0:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return parts == sizes.argmax()


def _touching(mask: np.ndarray, seed: np.ndarray, share: float = 0.0) -> np.ndarray:
    """Return the parts of a mask that meet a seed and have at least ``share`` of the largest such part's size."""
    parts, count = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    if count == 0:
        return mask
    sizes = np.bincount(parts.ravel(), minlength=count + 1).astype(float)
    meets = np.zeros(count + 1, dtype=bool)
    meets[np.unique(parts[seed & mask])] = True
    meets[0] = False
    sizes[~meets] = 0
    return (sizes >= max(share * sizes.max(), 1.0))[parts] & (parts > 0)


def _small(mask: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """Return the specks of a slice."""
    parts, count = ndimage.label(mask)
    if count == 0:
        return mask
    sizes = np.bincount(parts.ravel()) * float(spacing_mm[1] * spacing_mm[2])
    sizes[0] = np.inf
    return (sizes < MIN_SLICE_MM2)[parts]
