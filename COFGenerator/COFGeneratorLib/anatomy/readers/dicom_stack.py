"""A short-axis cine out of DICOM images in any order: its acquisition, slices on an even grid, phases on a common one.

One series may hold all slices or one each, one file an image or all of them; slices may be missing, doubled, turned,
tilted or have their own R–R. No image is blended with another in time: every slice shows, at each phase, the image it
has nearest.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from COFGeneratorLib.anatomy.geometry import affine, lps_to_ras
from COFGeneratorLib.anatomy.readers.acquisitions import planes_of
from COFGeneratorLib.anatomy.readers.archive import Folder, Zip
from COFGeneratorLib.anatomy.readers.dicom import read_images
from COFGeneratorLib.anatomy.readers.dicom_clocks import judge_clocks
from COFGeneratorLib.anatomy.readers.dicom_image import UNTURNED, Image
from COFGeneratorLib.anatomy.readers.dicom_phases import fill, phase_grid, without_doubles
from COFGeneratorLib.anatomy.readers.dicom_pixels import read_pixels
from COFGeneratorLib.anatomy.readers.header import check_sizes
from COFGeneratorLib.anatomy.readers.lattice import (
    Lattice,
    between_planes,
    fit_lattice,
    mean_normal,
    turned_alike,
    usual_axes,
)
from COFGeneratorLib.anatomy.readers.views import choose_stack, name_what_is_there
from COFGeneratorLib.errors import AnatomyError
from COFGeneratorLib.files import sha256_of

MAX_LOST = 0.2
"""Share of a stack's images that may be left out or missing; with more it is another heart."""


@dataclass(frozen=True)
class DicomCine:
    """A sorted cine whose pixels are read when asked for.

    Args:
        source: Where the files are.
        grid: [T][S] image of every phase and acquired slice.
        shape: (D, H, W) of the even grid.
        ijk_to_ras: (4, 4) geometry, mm.
        position: (S,) where the slices lie along k, in steps of the grid.
        even: Whether they lie on it, and are not resampled along k.
        frame_times_ms: (T,) from the R wave, at the median R–R; empty where not stated.
        rr_ms: Median R–R, NaN where unknown.
        warnings: What was missing, doubled, left out or assumed.
        image_planes: As in `SaxStack`.
    """

    source: Folder | Zip
    grid: list[list[Image]]
    shape: tuple[int, int, int]
    ijk_to_ras: np.ndarray
    position: np.ndarray
    even: bool
    frame_times_ms: tuple[float, ...]
    rr_ms: float
    warnings: tuple[str, ...]
    image_planes: dict[str, tuple[int, np.ndarray]]

    def sha256(self) -> str:
        """Return the SHA-256 of the zip, or of the SHA-256 of the files used, in whatever order they lie."""
        if isinstance(self.source, Zip):
            return sha256_of(self.source.path)
        used = {im.name for phase in self.grid for im in phase}
        digests = sorted(hashlib.sha256(self.source.read(name)).hexdigest() for name in used)
        return hashlib.sha256("".join(digests).encode()).hexdigest()

    @property
    def n_frames(self) -> int:
        """Number of phases."""
        return len(self.grid)

    def frames(self, wanted: list[int]) -> np.ndarray:
        """Return (len(wanted), D, H, W) float32 intensities."""
        out = np.zeros((len(wanted), *self.shape), np.float32)
        images = [image for t in wanted for image in self.grid[t]]
        pixels = iter(read_pixels(self.source, images))
        for n, t in enumerate(wanted):
            sampled = [self._in_plane(next(pixels), image) for image in self.grid[t]]
            values = np.stack([value for value, _ in sampled])
            level = self.position if self.even else np.stack([level for _, level in sampled])
            out[n] = between_planes(values, level, self.shape[0])
        return out

    def _in_plane(self, pixels: np.ndarray, image: Image) -> tuple[np.ndarray, np.ndarray]:
        """Sample a slice where the grid's columns, along its normal, pass through it; return values and levels.

        Levels, in steps along k, differ from pixel to pixel where the slice is tilted.
        """
        own = np.linalg.inv(lps_to_ras(image.to_lps))
        through = own[:3, :3] @ self.ijk_to_ras[:3, 2]
        start = own[:3] @ self.ijk_to_ras[:, [0, 1, 3]]  # of grid (i, j, 1) at k = 0
        level = -start[2] / through[2]
        pull = start[:2] + np.outer(through[:2], level)
        rows, columns = np.arange(self.shape[1]), np.arange(self.shape[2])
        levels = level[0] * columns[None] + level[1] * rows[:, None] + level[2]
        reach = np.abs(pull - np.eye(3)[:2]) @ [self.shape[2], self.shape[1], 1.0]
        if pixels.shape == self.shape[1:] and reach.max() < 0.5:
            return pixels, levels
        from scipy.ndimage import affine_transform

        flat = pull[::-1][:, [1, 0, 2]]  # (row, column) of the slice from (row, column) of the grid
        out = affine_transform(pixels, flat[:, :2], flat[:, 2], self.shape[1:], order=1, mode="nearest")
        where = [flat[axis, 0] * rows[:, None] + flat[axis, 1] * columns[None] + flat[axis, 2] for axis in (0, 1)]
        inside = [(at >= -0.5) & (at <= n - 0.5) for at, n in zip(where, pixels.shape, strict=True)]
        return np.where(inside[0] & inside[1], out, np.float32(0.0)), levels


def read_dicom(source: Folder | Zip, series: str | None = None) -> DicomCine:
    """Find the short-axis stack among the images of a folder or zip and bring it in order.

    Raises:
        AnatomyError: If there is none, or too much of it is lost; the message says what seems to be there instead.
    """
    images, refused = read_images(source)
    warnings: list[str] = []
    if not images:
        raise AnatomyError(name_what_is_there([], refused))
    acquisition = choose_stack(images, refused, series, warnings)
    for count, what in (
        (refused.unreadable, "DICOM files are damaged or unreadable and were left out."),
        *(
            (count, f"DICOM images state {lacking} and were left out.")
            for lacking, count in sorted(refused.unplaced.items())
        ),
        (refused.velocity, "phase-contrast (velocity) images were left out."),
    ):
        if count:
            warnings.append(f"{count} {what}")
    if any(im.scaled for im in acquisition.images):
        warnings.append(
            "The direction cosines of the images are not of unit length or at right angles, and are brought to it."
        )
    if any(im.inverted for im in acquisition.images):
        warnings.append("The images are stored with bright and dark exchanged (MONOCHROME1), and are turned back.")
    axes = usual_axes(acquisition.images)
    turned = [turned_alike(image, axes) for image in acquisition.images]
    several = sum(im.turn != UNTURNED for im in turned)
    if several:
        warnings.append(f"{several} images are stored turned by right angles or mirrored, and are turned back.")
    like = np.cross(axes[:, 0], axes[:, 1])
    normal = mean_normal(turned, like / np.linalg.norm(like))
    planes = _along(turned, normal)
    slices = without_doubles(judge_clocks(planes, warnings), warnings)
    phases, times, rr_ms = phase_grid(slices, warnings)
    columns = fill(slices, phases, warnings)
    found = [c for c in columns if c is not None]
    if len(found) < 3:
        raise AnatomyError(
            f"A short-axis stack has at least 3 slices with the same phases; found {len(found)} among {len(images)} "
            "images. Give the whole short-axis cine."
        )
    lattice = fit_lattice(_levels(found, normal))
    _refuse_losses(slices, columns, lattice)
    tilted = min(float(abs(c[0].normal @ normal)) for c in found) < np.cos(np.deg2rad(0.2))
    _tell(lattice, tilted, warnings)
    matrix, shape = _geometry([c[0] for c in found], lattice, normal, warnings)
    check_sizes("DICOM", shape, len(phases), 2)
    return DicomCine(
        source=source, grid=[[c[t] for c in found] for t in range(len(phases))], shape=shape, ijk_to_ras=matrix,
        position=lattice.position, even=lattice.even and not tilted, frame_times_ms=times, rr_ms=rr_ms,
        warnings=tuple(warnings), image_planes=_image_planes(images, found),
    )  # fmt: skip


def _image_planes(images: list[Image], columns: list[list[Image]]) -> dict[str, tuple[int, np.ndarray]]:
    """Return frame and place, as stored, of the images that the columns show; of one shown twice the first frame."""
    stored = {(image.name, image.index): image.to_lps for image in images}
    planes: dict[str, tuple[int, np.ndarray]] = {}
    for column in columns:
        for frame, image in enumerate(column):
            if image.uid:
                planes.setdefault(image.uid, (frame, lps_to_ras(stored[image.name, image.index])))
    return planes


def _along(images: list[Image], normal: np.ndarray) -> list[list[Image]]:
    """Group images into planes, in order along a normal."""
    planes = planes_of(images)
    order = np.argsort(_levels(planes, normal))
    return [planes[n] for n in order]


def _levels(planes: list[list[Image]], normal: np.ndarray) -> np.ndarray:
    return np.array([float(np.median([normal @ im.centre for im in plane])) for plane in planes])


def _refuse_losses(slices: list[list[Image]], columns: list[list[Image] | None], lattice: Lattice) -> None:
    """Refuse a stack of which too much was left out or is not there.

    Raises:
        AnatomyError: If more than a fifth of its images are lost.
    """
    dropped = [plane for plane, column in zip(slices, columns, strict=True) if column is None]
    usual = float(np.median([len(plane) for plane in slices]))
    kept = [n for n, column in enumerate(columns) if column is not None]
    holes = max(len(lattice.missing) - sum(column is None for column in columns[kept[0] : kept[-1]]), 0)
    lost = sum(len(plane) for plane in dropped) + usual * holes
    everything = sum(len(plane) for plane in slices) + usual * holes
    if lost <= MAX_LOST * everything:
        return
    what = []
    if dropped:
        what.append(f"{len(dropped)} slices lack more than a quarter of the phases")
    if holes:
        what.append(f"{holes} of {lattice.depth} slices are missing between the others")
    raise AnatomyError(
        f"At most a fifth of a stack may be missing, or it would be another heart; here {' and '.join(what)}. Export "
        "the whole series."
    )


def _tell(lattice: Lattice, tilted: bool, warnings: list[str]) -> None:
    """Say what of the grid is not as acquired."""
    step = lattice.step_mm
    if lattice.missing:
        where = ", ".join(str(k) for k in lattice.missing)
        one = len(lattice.missing) == 1
        warnings.append(
            f"Slice {where} is missing and is filled in with the mean of its neighbours."
            if one
            else f"Slices {where} are missing and are filled in from their neighbours."
        )
    if tilted:
        warnings.append(
            f"Slices are tilted against one another; they are resampled onto even planes {step:.2f} mm apart."
        )
    elif not lattice.even:
        warnings.append(
            f"Slices lie up to {lattice.off_mm:.1f} mm off an even distance; all are resampled onto {lattice.depth} "
            f"planes {step:.2f} mm apart."
        )


def _geometry(
    images: list[Image], lattice: Lattice, normal: np.ndarray, warnings: list[str]
) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Return the common grid: the most usual pixels, planes stacked straight along the normal."""
    alike = [[_same_pixels(a, b, normal) for b in images] for a in images]
    usual = max(alike, key=sum)
    model = images[alike.index(usual)]
    if not all(usual):
        warnings.append("Slices differ in pixels or orientation and are resampled in their planes onto the usual ones.")
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
    if abs(model.normal @ normal) < 1.0 - 1e-9:  # a tilted stack: rows as they are, columns at right angles to both
        row = directions[:, 0] - normal * (normal @ directions[:, 0])
        directions[:, 0] = row / np.linalg.norm(row) * np.linalg.norm(directions[:, 0])
        column = np.cross(normal, row / np.linalg.norm(row))
        directions[:, 1] = column * np.linalg.norm(directions[:, 1])
    directions[:, 2] = normal * lattice.step_mm
    matrix = lps_to_ras(affine(directions, middle + normal * lattice.first_mm))
    return matrix, (lattice.depth, *model.shape)


def _same_pixels(a: Image, b: Image, normal: np.ndarray) -> bool:
    one, other = (im.to_lps[:3, :2] - np.outer(normal, normal @ im.to_lps[:3, :2]) for im in (a, b))
    return a.shape == b.shape and np.allclose(one, other, atol=5e-3)
