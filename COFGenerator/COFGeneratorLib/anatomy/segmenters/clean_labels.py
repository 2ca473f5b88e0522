"""Clean-up of a network's label map with what is known of every heart: one LV, inside its wall, beside one RV."""

import numpy as np
from scipy import ndimage

MIN_SLICE_MM2 = 12.0
"""Specks smaller than this in a slice are dropped."""
TOUCH_MM = 8.0
"""The RV cavity comes at least this near to the LV wall."""
MIN_OVERLAP = 0.5
"""A part of the RV that does not, as in the outflow tract, lies by this share over the RV of the next slice."""
MIN_PART = 0.1
"""Parts of the RV in a slice that are smaller than this share of the largest one there are vessels and shadows."""
MIN_WALLED = 0.4
"""Share of the LV cavity's border that is wall, below which a wide basal lumen is the atrium: contouring guidelines ask
for half (Schulz-Menger et al., JCMR 2020), less what a network misses of a thin basal wall."""
WIDE = 0.6
"""Of the largest slice's area. A narrower lumen without much wall is the outflow tract, which guidelines count to the
ventricle up to the aortic cusps although fibrous tissue bounds it."""
_NEAR = np.ones((3, 3), dtype=bool)


def clean_labels(labels: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """Return labels with one connected left ventricle and an RV that touches it.

    Args:
        labels: (D, H, W) uint8, 0 background, 1 LV cavity, 2 myocardium, 3 RV cavity.
        spacing_mm: (3,) along k, j, i.
    """
    out = np.zeros_like(labels)
    found = ndimage.find_objects((labels > 0).astype(np.uint8))
    if found:  # what lies around it takes most of the time, and says nothing
        out[found[0]] = _cleaned(labels[found[0]], spacing_mm)
    return out


def _cleaned(labels: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """Return what ``clean_labels`` does."""
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
    out[_right_ventricle((labels == 3) & (out == 0), out > 0, spacing_mm)] = 3
    return out


def level_base(labels: np.ndarray) -> np.ndarray:
    """Return clean labels (D, H, W) without the basal slices that show the left atrium: a wide lumen with little wall.

    Beyond the last slice of the left ventricle there is no right one either: its valve lies nearer to the apex.
    """
    out = labels.copy()
    area = (labels == 1).sum(axis=(1, 2))
    slices = np.flatnonzero(area)
    if len(slices) < 3:
        return out
    third = -(-len(slices) // 3)
    first, last = area[slices[:third]].mean(), area[slices[-third:]].mean()
    step = -1 if first > last else 1  # towards the base, where the cavity is wide
    walled = np.array([n > 0 and _walled(one) >= MIN_WALLED for n, one in zip(area, labels, strict=True)])
    ventricle = walled | ((area > 0) & (area < WIDE * area.max()))
    k = int((area * walled).argmax())
    while 0 <= k < len(out) and ventricle[k]:
        k += step
    out[: k + 1 if step < 0 else 0] = 0
    out[k if step > 0 else len(out) :] = 0
    return out


def _walled(labels: np.ndarray) -> float:
    """Return the share of the LV cavity's border in a slice that is wall."""
    cavity = labels == 1
    border = ndimage.binary_dilation(cavity, _NEAR, iterations=2) & ~cavity
    return float((labels[border] == 2).mean())


def _right_ventricle(found: np.ndarray, left: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """Return what of the voxels found (D, H, W) is a right ventricle beside the left one.

    Parts are judged slice by slice: through partial volume, fat and vessels hang on to the ventricle in the next slice.
    """
    out = np.zeros_like(found)
    reach = max(round(TOUCH_MM / float(spacing_mm[1:].mean())), 1)
    for k in _from_the_widest(found):
        parts, count = ndimage.label(found[k], structure=_NEAR)
        beside = ndimage.binary_dilation(left[k], iterations=reach) if left[k].any() else left[k]
        sizes = np.bincount(parts.ravel(), minlength=count + 1)
        near = [out[n] for n in (k - 1, k + 1) if 0 <= n < len(out)]
        next_to = np.logical_or.reduce(near)
        over = np.bincount(parts[next_to], minlength=count + 1)
        keep = (over >= MIN_OVERLAP * sizes) & (over > 0)
        keep[np.unique(parts[beside])] = True
        keep &= sizes >= MIN_PART * sizes[1:].max(initial=0)
        keep[0] = False
        out[k] = keep[parts]
    return _touching(out, ndimage.binary_dilation(left, _in_plane(), iterations=reach), share=MIN_PART)


def _from_the_widest(mask: np.ndarray) -> list[int]:
    """Return the slices (k) that hold anything of a mask, from the widest one on to both ends."""
    area = mask.sum(axis=(1, 2))
    widest = int(area.argmax())
    return sorted(np.flatnonzero(area).tolist(), key=lambda k: abs(k - widest))


def _in_plane() -> np.ndarray:
    structure = np.zeros((3, 3, 3), dtype=bool)
    structure[1] = ndimage.generate_binary_structure(2, 1)
    return structure


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
