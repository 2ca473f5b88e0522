"""A short-axis cine out of DICOM images in any order: slices on a lattice along the normal, phases on a common grid.

One series may hold all slices or one each, one file an image or all of them; slices may be missing, doubled or have
their own R–R. No image is blended with another in time: every slice shows, at each phase, the image it has nearest.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from COFGeneratorLib.anatomy.geometry import affine, lps_to_ras, resample
from COFGeneratorLib.anatomy.readers.archive import Folder, Zip
from COFGeneratorLib.anatomy.readers.dicom import Image, read_images
from COFGeneratorLib.anatomy.readers.dicom_phases import fill, phase_grid, without_doubles
from COFGeneratorLib.anatomy.readers.dicom_pixels import read_pixels
from COFGeneratorLib.anatomy.readers.header import check_sizes
from COFGeneratorLib.anatomy.readers.views import choose_stack, name_what_is_there
from COFGeneratorLib.errors import AnatomyError
from COFGeneratorLib.files import sha256_of

OFF_LATTICE = 0.15
"""Share of the slice distance by which a slice may lie off the lattice before it is left out."""
MAX_MISSING_SLICES = 2


@dataclass(frozen=True)
class DicomCine:
    """A sorted cine whose pixels are read when asked for.

    Args:
        source: Where the files are.
        grid: [T][D] image of every phase and slice; None where a slice is filled in from its neighbours.
        shape: (D, H, W).
        ijk_to_ras: (4, 4) geometry, mm.
        frame_times_ms: (T,) from the R wave, at the median R–R; empty where not stated.
        warnings: What was missing, doubled, left out or assumed.
    """

    source: Folder | Zip
    grid: list[list[Image | None]]
    shape: tuple[int, int, int]
    ijk_to_ras: np.ndarray
    frame_times_ms: tuple[float, ...]
    warnings: tuple[str, ...]

    def sha256(self) -> str:
        """Return the SHA-256 of the zip, or of the SHA-256 of the files used, in whatever order they lie."""
        if isinstance(self.source, Zip):
            return sha256_of(self.source.path)
        used = {im.name for phase in self.grid for im in phase if im is not None}
        digests = sorted(hashlib.sha256(self.source.read(name)).hexdigest() for name in used)
        return hashlib.sha256("".join(digests).encode()).hexdigest()

    @property
    def n_frames(self) -> int:
        """Number of phases."""
        return len(self.grid)

    def frames(self, wanted: list[int]) -> np.ndarray:
        """Return (len(wanted), D, H, W) float32 intensities."""
        out = np.zeros((len(wanted), *self.shape), np.float32)
        placed = [(n, k, image) for n, t in enumerate(wanted) for k, image in enumerate(self.grid[t]) if image]
        images = [image for _, _, image in placed]
        for (n, k, image), pixels in zip(placed, read_pixels(self.source, images), strict=True):
            out[n, k] = self._on_grid(pixels, image, k)
        for k in range(self.shape[0]):
            if self.grid[0][k] is None:  # a missing slice: the mean of its neighbours in space, as the warnings say
                below = next(a for a in range(k, -1, -1) if self.grid[0][a] is not None)
                above = next(a for a in range(k, self.shape[0]) if self.grid[0][a] is not None)
                share = (k - below) / (above - below)
                out[:, k] = (1 - share) * out[:, below] + share * out[:, above]
        return out

    def _on_grid(self, pixels: np.ndarray, image: Image, k: int) -> np.ndarray:
        """Move a slice within its plane where it lies shifted, or has other pixels than the rest."""
        plane = self.ijk_to_ras @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, k], [0, 0, 0, 1.0]])
        own = lps_to_ras(image.to_lps)
        apart = np.linalg.inv(own)[:2] @ plane[:, [0, 1, 3]] - np.eye(3)[:2]
        reach = np.abs(apart) @ [self.shape[2], self.shape[1], 1.0]
        if pixels.shape == self.shape[1:] and reach.max() < 0.5:
            return pixels
        own = own.copy()
        own[:3, 2] *= 1e3  # as thick as need be: slices may be tilted by a degree against one another
        normal = own[:3, 2] / np.linalg.norm(own[:3, 2])
        own[:3, 3] += normal * (normal @ (plane[:3, 3] - own[:3, 3]))
        return resample(pixels[None], own, (1, *self.shape[1:]), plane)[0]


def read_dicom(source: Folder | Zip) -> DicomCine:
    """Find the short-axis stack among the images of a folder or zip and bring it in order.

    Raises:
        AnatomyError: If there is none; the message says what seems to be there instead.
    """
    images, refused = read_images(source)
    warnings: list[str] = []
    if not images:
        raise AnatomyError(name_what_is_there([], refused))
    stack = choose_stack(images, refused, warnings)
    if refused.unreadable:
        warnings.append(f"{refused.unreadable} DICOM files are damaged or unreadable and were left out.")
    if refused.without_place:
        warnings.append(f"{refused.without_place} DICOM files state no position in the patient and were left out.")
    if refused.velocity:
        warnings.append(f"{refused.velocity} phase-contrast (velocity) images were left out.")
    slices = _slices(stack)
    slices, level, step = _lattice(slices, warnings)
    slices = without_doubles(slices, warnings)
    phases, times = phase_grid(slices, warnings)
    columns = fill(slices, phases, warnings)
    while columns and columns[0] is None:
        columns, level = columns[1:], level[1:]
    while columns and columns[-1] is None:
        columns, level = columns[:-1], level[:-1]
    found = [c for c in columns if c is not None]
    if len(found) < 3:
        raise AnatomyError(
            f"A short-axis stack has at least 3 slices with the same phases; found {len(found)} among {len(images)} "
            "images. Give the whole short-axis cine."
        )
    missing = len(columns) - len(found)
    if missing > MAX_MISSING_SLICES:
        raise AnatomyError(
            f"At most {MAX_MISSING_SLICES} slices of a stack may be missing between others; here {missing} of "
            f"{len(columns)} are. Export the whole series."
        )
    if missing:
        where = ", ".join(str(k) for k, c in enumerate(columns) if c is None)
        warnings.append(f"Slice {where} is missing and is filled in with the mean of its neighbours.")
    matrix, shape = _geometry(columns, level, step, warnings)
    check_sizes("DICOM", shape, len(phases), 2)
    grid = [[None if c is None else c[t] for c in columns] for t in range(len(phases))]
    return DicomCine(
        source=source, grid=grid, shape=shape, ijk_to_ras=matrix, frame_times_ms=times, warnings=tuple(warnings)
    )


def _slices(images: list[Image]) -> list[list[Image]]:
    """Group images that lie in one plane."""
    normal = images[0].normal
    ordered = sorted(images, key=lambda im: float(normal @ im.position))
    groups: list[list[Image]] = []
    last = -np.inf
    for image in ordered:
        level = float(normal @ image.position)
        if level - last > 0.5:
            groups.append([])
        groups[-1].append(image)
        last = level
    return groups


def _lattice(slices: list[list[Image]], warnings: list[str]) -> tuple[list[list[Image]], np.ndarray, float]:
    """Place the slices on an even lattice along the normal; leave out what lies between its planes.

    Returns:
        One entry a plane (empty where a slice is missing), the planes' levels (D,) mm, and their distance.
    """
    normal = slices[0][0].normal
    level = np.array([float(normal @ s[0].position) for s in slices])
    apart = np.diff(level)
    candidates = [float(d) for d in np.unique(np.round(apart, 2)) if d > 1.0] or [float(np.median(apart))]
    weight = np.array([len(s) for s in slices], dtype=float)

    def fit(step: float, first: float) -> tuple[np.ndarray, np.ndarray]:
        number = np.round((level - first) / step)
        on = np.abs(level - first - number * step) <= OFF_LATTICE * step
        return number, on

    best = max(
        ((step, first) for step in candidates for first in level),
        key=lambda sf: ((weight * fit(*sf)[1]).sum() - 0.3 * weight.mean() * _holes(*fit(*sf)), sf[0]),
    )
    number, on = fit(*best)
    if (~on).any():
        warnings.append(f"{int((~on).sum())} slices lie off the stack's even distance and were left out.")
    index = (number - number[on].min()).astype(int)
    planes: list[list[Image]] = [[] for _ in range(index[on].max() + 1)]
    for one, where, good in zip(slices, index, on, strict=True):
        if good:
            planes[where] += one
    slope, first = np.polyfit(index[on], level[on], 1) if on.sum() > 1 else (best[0], level[on][0])
    jitter = np.abs(level[on] - first - slope * index[on]).max()
    if jitter > 0.5:
        warnings.append(f"Slices lie up to {jitter:.1f} mm off an even distance of {slope:.2f} mm; it is used for all.")
    return planes, first + slope * np.arange(len(planes)), float(slope)


def _holes(number: np.ndarray, on: np.ndarray) -> float:
    used = np.unique(number[on])
    return float(used.max() - used.min() + 1 - used.size) if used.size else 0.0


def _geometry(
    columns: list[list[Image] | None], level: np.ndarray, step: float, warnings: list[str]
) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Return the common grid: the most usual pixels, slices stacked straight along the normal."""
    images = [c[0] for c in columns if c is not None]
    alike = [[_same_pixels(a, b) for b in images] for a in images]
    usual = max(alike, key=sum)
    model = images[alike.index(usual)]
    if not all(usual):
        warnings.append("Slices differ in pixels or orientation and are resampled in their planes onto the usual ones.")
    normal = model.normal
    like = [im for im, same in zip(images, usual, strict=True) if same]
    in_plane = [im.position - normal * (normal @ im.position) for im in like]
    middle = np.median(in_plane, axis=0)
    middle = in_plane[int(np.argmin(np.linalg.norm(np.array(in_plane) - middle, axis=1)))]
    shift = float(np.linalg.norm(np.array(in_plane) - middle, axis=1).max())
    if shift > 0.5 * np.linalg.norm(model.to_lps[:3, :2], axis=0).min():
        warnings.append(
            f"Slices lie up to {shift:.1f} mm beside one another; they are moved in their planes to a straight stack."
        )
    directions = model.to_lps[:3, :3].copy()
    directions[:, 2] = normal * step
    matrix = lps_to_ras(affine(directions, middle + normal * level[0]))
    return matrix, (len(columns), *model.shape)


def _same_pixels(a: Image, b: Image) -> bool:
    return a.shape == b.shape and np.allclose(a.to_lps[:3, :2], b.to_lps[:3, :2], atol=2e-3)
