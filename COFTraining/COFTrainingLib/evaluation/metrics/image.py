"""Likeness of two cines as images: PSNR, SSIM, and how alike their changes over time are.

Intensities are first scaled to 0…1 by percentiles of the *anchor* alone: percentiles of the whole cine would let the
frames that are to be predicted into the scale.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter

from COFTrainingLib.evaluation.statistics import known_mean

LOW_PERCENTILE, HIGH_PERCENTILE = 1.0, 99.0
WINDOW = 7
K1, K2 = 0.01, 0.03
"""Wang et al., IEEE TIP 2004;13:600, with a uniform window as scikit-image's default."""
LARGEST_DB = 100.0
"""What equal cines are given in place of infinity, so that means over subjects stay numbers."""
BODY_LEVEL = 0.10
"""Of the scaled anchor, after smoothing, above which there is body and not air."""


@dataclass(frozen=True)
class Scale:
    """Intensities that become 0 and 1."""

    low: float
    high: float

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Return intensities as float32 within 0…1."""
        span = max(self.high - self.low, 1e-9)
        return np.clip((np.asarray(frames, dtype=np.float32) - self.low) / span, 0.0, 1.0)


def scale_of(anchor: np.ndarray) -> Scale:
    """Return the scale of an anchor (D, H, W)."""
    low, high = np.percentile(anchor, [LOW_PERCENTILE, HIGH_PERCENTILE])
    return Scale(float(low), float(high))


def body_mask(anchor: np.ndarray) -> np.ndarray:
    """Return where there is body in a scaled anchor (D, H, W), bool; everything where nothing stands out."""
    mask = uniform_filter(anchor, (1, WINDOW, WINDOW)) > BODY_LEVEL
    return mask if mask.any() else np.ones(anchor.shape, dtype=bool)


@dataclass(frozen=True)
class Local:
    """What similarity needs of one image alone, computed once where several are compared with it.

    Attributes:
        image: (…, H, W) float64.
        mean, variance: Over the window about each pixel, the same shape; the variance unbiased.
    """

    image: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


def local(image: np.ndarray, window: int = WINDOW) -> Local:
    """Return local mean and variance of slices (…, H, W)."""
    image = np.asarray(image, dtype=np.float64)
    mean = _window_mean(image, window)
    return Local(image, mean, _unbiased(window) * (_window_mean(image * image, window) - mean**2))


def _window_mean(image: np.ndarray, window: int) -> np.ndarray:
    return uniform_filter(image, (1,) * (image.ndim - 2) + (window, window), mode="reflect")


def _unbiased(window: int) -> float:
    count = window * window
    return count / (count - 1.0)


def ssim_map(one: np.ndarray | Local, other: np.ndarray, window: int = WINDOW) -> np.ndarray:
    """Return the local structural similarity of slices (…, H, W) in 0…1; each slice by itself.

    Near the border, where a window does not fit, values are NaN; so they are where a slice is smaller than a window.

    Args:
        one, other: Arrays of one shape, range 0…1; of the first also its ``local``.
        window: Odd side of the uniform window, pixels.
    """
    first = one if isinstance(one, Local) else local(one, window)
    second = local(other, window)
    both = first.mean * second.mean
    covariance = _unbiased(window) * (_window_mean(first.image * second.image, window) - both)
    value = ((2 * both + K1**2) * (2 * covariance + K2**2)) / (
        (first.mean**2 + second.mean**2 + K1**2) * (first.variance + second.variance + K2**2)
    )
    edge = window // 2
    inside = np.zeros(value.shape[-2:], dtype=bool)
    if min(inside.shape) >= window:
        inside[edge : inside.shape[0] - edge, edge : inside.shape[1] - edge] = True
    return np.where(inside, value, np.nan)


class ReferenceImages:
    """Recorded images (S, D, H, W) in 0…1, and what is needed of them for every method that is compared with them."""

    def __init__(self, images: np.ndarray) -> None:
        self.images, self.body = images, body_mask(images[0])
        self._local: dict[int, Local] = {}

    def local(self, frame: int) -> Local:
        """Return local mean and variance of a frame, computed once."""
        if frame not in self._local:
            self._local[frame] = local(self.images[frame])
        return self._local[frame]


def pearson(one: np.ndarray, other: np.ndarray) -> float:
    """Return the correlation of two arrays; NaN where one of them is constant."""
    one, other = np.ravel(one).astype(np.float64), np.ravel(other).astype(np.float64)
    one, other = one - one.mean(), other - other.mean()
    size = np.sqrt((one @ one) * (other @ other))
    return float(one @ other / size) if size > 0 else float("nan")


def compare_cines(known: ReferenceImages, generated: np.ndarray, heart: np.ndarray) -> dict[str, float]:
    """Return the image metrics of one subject.

    Args:
        known: The recorded frames, frame 0 the anchor's phase; the body is found in it.
        generated: (T, D, H, W) scaled to 0…1, the same frames.
        heart: (D, H, W) bool, the region of interest.

    Returns:
        ``psnr_db`` and ``psnr_heart_db`` over all voxels of all frames, 100 where equal; ``ssim`` and ``ssim_heart``,
        means over slices and frames; ``motion_correlation`` (also ``_heart``): the mean over frames t ≥ 1 of the
        correlation of both changes since frame 0 in the body; ``motion_ssim_heart``: mean SSIM of the absolute changes
        from one measured frame to the next around the heart. Motion metrics of a cine that does not move are NaN.
    """
    reference, body = known.images, known.body
    square = heart_square = 0.0
    similar, similar_heart, correlation, correlation_heart, changes = [], [], [], [], []
    box = _box(heart)
    for frame in range(len(reference)):
        one, other = reference[frame], generated[frame]
        error = (one - other) ** 2
        square += float(error.mean(dtype=np.float64))
        heart_square += float(error[heart].mean(dtype=np.float64)) if heart.any() else np.nan
        values = ssim_map(known.local(frame), other)
        similar.append(known_mean(values))
        similar_heart.append(known_mean(values, heart))
        if frame:
            moved, moved_too = one - reference[0], other - generated[0]
            correlation.append(pearson(moved[body], moved_too[body]))
            correlation_heart.append(pearson(moved[heart], moved_too[heart]))
            step = np.abs(one - reference[frame - 1])[box], np.abs(other - generated[frame - 1])[box]
            changes.append(known_mean(ssim_map(*step)))
    count = len(reference)
    return {
        "psnr_db": decibel(square / count),
        "psnr_heart_db": decibel(heart_square / count),
        "ssim": known_mean(similar),
        "ssim_heart": known_mean(similar_heart),
        "motion_correlation": known_mean(correlation),
        "motion_correlation_heart": known_mean(correlation_heart),
        "motion_ssim_heart": known_mean(changes),
    }


def decibel(mean_square: float) -> float:
    """Return the peak signal-to-noise ratio of a mean square error of arrays in 0…1, dB."""
    if not np.isfinite(mean_square):
        return float("nan")
    return LARGEST_DB if mean_square == 0 else min(LARGEST_DB, float(-10.0 * np.log10(mean_square)))


def _box(mask: np.ndarray) -> tuple[slice, ...]:
    """Return the bounding box of a mask, a window wider in the plane; everything where the mask is empty."""
    if not mask.any():
        return (slice(None),) * mask.ndim
    box = []
    for axis in range(mask.ndim):
        where = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        margin = WINDOW if axis >= mask.ndim - 2 else 0
        box.append(slice(max(int(where[0]) - margin, 0), int(where[-1]) + margin + 1))
    return tuple(box)
