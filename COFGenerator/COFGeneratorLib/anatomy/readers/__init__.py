"""Short-axis stacks and cines from files, whatever their format; it is recognised by content, not by name."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from COFGeneratorLib.anatomy.checks import check_stack
from COFGeneratorLib.anatomy.geometry import check_geometry, check_spacing, spaced, spacing_ijk_mm, straighten
from COFGeneratorLib.anatomy.readers.archive import Folder, Zip, is_zip
from COFGeneratorLib.anatomy.readers.dicom import looks_like_dicom
from COFGeneratorLib.anatomy.readers.dicom_stack import read_dicom
from COFGeneratorLib.anatomy.readers.guard import guarded
from COFGeneratorLib.anatomy.readers.header import VolumeHeader
from COFGeneratorLib.anatomy.readers.payload import read_frames
from COFGeneratorLib.anatomy.readers.scene import is_scene, scene_image
from COFGeneratorLib.anatomy.readers.volume import open_volume
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.errors import AnatomyError
from COFGeneratorLib.files import sha256_of


@dataclass(frozen=True, repr=False)
class CineStack:
    """A short-axis cine as it was acquired.

    Args:
        frames: (T, D, H, W) float32 intensities.
        ijk_to_ras: (4, 4) geometry, mm.
        frame_times_ms: (T,) or empty where the file does not say.
        source_sha256: SHA-256 of what was read.
        warnings: What had to be assumed or repaired.
        rr_ms: R–R interval as the file states it, NaN where it states none: a prospective cine covers only a part.
        image_planes: As in `SaxStack`.
    """

    frames: np.ndarray
    ijk_to_ras: np.ndarray
    frame_times_ms: tuple[float, ...] = ()
    source_sha256: str = ""
    warnings: tuple[str, ...] = ()
    rr_ms: float = math.nan
    image_planes: Mapping[str, tuple[int, np.ndarray]] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        """Return one line: how many frames of what."""
        count, depth, height, width = self.frames.shape
        return f"CineStack({count} frames of {depth} slices of {height}×{width})"

    def stack(self, frame: int = 0) -> SaxStack:
        """Return one frame as an anchor."""
        check_frame(frame, len(self.frames))
        return SaxStack(
            self.frames[frame],
            self.ijk_to_ras,
            source_sha256=self.source_sha256,
            frame=frame,
            frame_times_ms=self.frame_times_ms,
            warnings=self.warnings,
            rr_ms=self.rr_ms,
            image_planes=self.image_planes,
        )


def read_sax(
    path: str | Path, frame: int = 0, *, series: str | None = None, spacing_mm: Sequence[float] | None = None
) -> SaxStack:
    """Read a short-axis stack, or one frame of a cine.

    Args:
        path: A NIfTI, NRRD (also Slicer's .seq.nrrd) or MetaImage file; DICOM as a folder, a zip (such as those of UK
            Biobank's field 20209) or a multi-frame file; or a Slicer scene (.mrb, .mrml) with one image or cine.
        frame: Index of the wanted frame of a cine; 0 for a single volume.
        series: Number, UID or description of the wanted series of a DICOM study; the short-axis cine that covers the
            most where None.
        spacing_mm: (3,) distance of columns, rows and slices, mm, for files that have lost it.

    Raises:
        AnatomyError: If this is no short-axis stack, is damaged, or has no such frame.

    Example:
        >>> from COFGeneratorLib.resources import sample_patient
        >>> read_sax(sample_patient().anchor)
        SaxStack(12 slices of 115×115, 10.00 × 1.88 × 1.88 mm)
    """
    cine = _acquired(path, frame, series, spacing_mm)
    voxels = cine.frames[0]
    return SaxStack(
        voxels,
        cine.ijk_to_ras,
        source_sha256=cine.source_sha256,
        frame=frame,
        frame_times_ms=cine.frame_times_ms,
        warnings=cine.warnings + check_stack(voxels, cine.ijk_to_ras),
        rr_ms=cine.rr_ms,
        image_planes=cine.image_planes,
    )


def read_cine(path: str | Path, *, series: str | None = None, spacing_mm: Sequence[float] | None = None) -> CineStack:
    """Read all frames of a short-axis cine; arguments as for `read_sax`.

    Raises:
        AnatomyError: If this is no short-axis cine or is damaged.
    """
    cine = _acquired(path, None, series, spacing_mm)
    if not np.isfinite(cine.frames).all():
        raise AnatomyError("A cine needs finite intensities; found NaN or infinity. Export it again.")
    return replace(cine, warnings=cine.warnings + check_stack(cine.frames[0], cine.ijk_to_ras))


def _acquired(path: str | Path, frame: int | None, series: str | None, spacing_mm: Sequence[float] | None) -> CineStack:
    """Read one frame, or all where it is None, before anything of their content is judged."""
    with guarded("image"):
        source = open_dicom(path)
        if source is not None:
            cine = _from_dicom(source, frame, series)
        elif series is not None:
            raise AnatomyError(
                f"A series is chosen among those of a DICOM folder or zip; {Path(path).name} is another kind of file. "
                "Leave --series out."
            )
        else:
            cine = _from_file(Path(path), frame)
    return cine if spacing_mm is None else _respaced(cine, spacing_mm)


def _from_dicom(source: Folder | Zip, frame: int | None, series: str | None) -> CineStack:
    cine = read_dicom(source, series)
    if frame is not None:
        check_frame(frame, cine.n_frames)
    frames = cine.frames(list(range(cine.n_frames)) if frame is None else [frame])
    return CineStack(
        frames, cine.ijk_to_ras, cine.frame_times_ms, cine.sha256(), cine.warnings, cine.rr_ms, cine.image_planes
    )


def _from_file(path: Path, frame: int | None) -> CineStack:
    with _opened(path) as (file, header):
        if len({segment.layer for segment in header.segments}) > 1:
            raise AnatomyError(
                "An anchor is an image; this is a Slicer segmentation that holds overlapping segments in layers. Give "
                "it as labels, and the image as the anchor."
            )
        if frame is not None:
            check_frame(frame, header.n_frames)
        frames, matrix, said = straighten(intensities(read_frames(header, frame), header), header.ijk_to_ras)
    warnings = header.warnings + ((said,) if said else ())
    return CineStack(frames.reshape(-1, *header.shape), matrix, header.frame_times_ms, sha256_of(file), warnings)


def _respaced(cine: CineStack, spacing_mm: Sequence[float]) -> CineStack:
    """Give a cine the spacing that its file has lost; its first voxel and its axes stay."""
    step = np.asarray(spacing_mm, dtype=float)
    if step.shape != (3,):
        raise AnatomyError(f"A spacing has three lengths (columns, rows, slices), mm; found {step.size}. Give three.")
    check_spacing(step, "option")
    matrix = cine.ijk_to_ras.copy()
    matrix[:3, :3] *= step / spacing_ijk_mm(matrix)
    check_geometry(matrix, "given")
    found = spaced(spacing_ijk_mm(cine.ijk_to_ras))
    said = f"The spacing is taken as given, {spaced(step)} mm; the file says {found} mm."
    return replace(cine, ijk_to_ras=matrix, warnings=(*cine.warnings, said), image_planes={})


def open_dicom(path: str | Path) -> Folder | Zip | None:
    """Return the files of a folder, a zip or one DICOM file; None for anything else."""
    path = Path(path)
    if path.is_dir():
        return Folder(path)
    if not path.is_file() or is_scene(path):
        return None
    with path.open("rb") as file:
        start = file.read(1024)
    if is_zip(start):
        return Zip(path)
    return Folder(path) if looks_like_dicom(start) else None


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Path, VolumeHeader]]:
    """Give the file to hash and the header of an image or of a scene's image, while its voxels can be read."""
    if is_scene(path):
        with scene_image(path) as (header, source):
            yield source, header
    else:
        yield open_volume(path)


def check_frame(frame: int, n_frames: int) -> None:
    """Raise AnatomyError if a file of `n_frames` has no frame `frame`."""
    if not 0 <= frame < n_frames:
        raise AnatomyError(
            f"The file holds {n_frames} frame{'s' if n_frames > 1 else ''} (0 to {n_frames - 1}); frame {frame} was "
            "asked for. Choose one of them."
        )


def intensities(numbers: np.ndarray, header: VolumeHeader) -> np.ndarray:
    """Return float32 intensities of stored numbers."""
    with np.errstate(all="ignore"):  # what overflows is infinite, and refused as such
        if header.slope == 1.0 and header.intercept == 0.0:
            return numbers.astype(np.float32)
        return (numbers * header.slope + header.intercept).astype(np.float32)
