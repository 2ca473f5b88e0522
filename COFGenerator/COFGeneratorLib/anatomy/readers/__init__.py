"""Short-axis stacks and cines from files, whatever their format; it is recognised by content, not by name."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from COFGeneratorLib.anatomy.checks import check_stack
from COFGeneratorLib.anatomy.geometry import straighten
from COFGeneratorLib.anatomy.readers.archive import Folder, Zip, is_zip
from COFGeneratorLib.anatomy.readers.dicom import looks_like_dicom
from COFGeneratorLib.anatomy.readers.dicom_stack import read_dicom
from COFGeneratorLib.anatomy.readers.header import VolumeHeader
from COFGeneratorLib.anatomy.readers.payload import read_frames
from COFGeneratorLib.anatomy.readers.scene import is_scene, scene_image
from COFGeneratorLib.anatomy.readers.volume import open_volume
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.errors import AnatomyError
from COFGeneratorLib.files import sha256_of


@dataclass(frozen=True)
class CineStack:
    """A short-axis cine as it was acquired.

    Args:
        frames: (T, D, H, W) float32 intensities.
        ijk_to_ras: (4, 4) geometry, mm.
        frame_times_ms: (T,) or empty where the file does not say.
        source_sha256: SHA-256 of what was read.
        warnings: What had to be assumed or repaired.
    """

    frames: np.ndarray
    ijk_to_ras: np.ndarray
    frame_times_ms: tuple[float, ...] = ()
    source_sha256: str = ""
    warnings: tuple[str, ...] = ()

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
        )


def read_sax(path: str | Path, frame: int = 0) -> SaxStack:
    """Read a short-axis stack, or one frame of a cine.

    Args:
        path: A NIfTI, NRRD (also Slicer's .seq.nrrd) or MetaImage file; DICOM as a folder, a zip (such as those of UK
            Biobank's field 20209) or a multi-frame file; or a Slicer scene (.mrb, .mrml) with one image or cine.
        frame: Index of the wanted frame of a cine; 0 for a single volume.

    Raises:
        AnatomyError: If this is no short-axis stack, is damaged, or has no such frame.
    """
    cine = _acquired(path, frame)
    voxels = cine.frames[0]
    return SaxStack(
        voxels,
        cine.ijk_to_ras,
        source_sha256=cine.source_sha256,
        frame=frame,
        frame_times_ms=cine.frame_times_ms,
        warnings=cine.warnings + check_stack(voxels, cine.ijk_to_ras),
    )


def read_cine(path: str | Path) -> CineStack:
    """Read all frames of a short-axis cine, from a path as for `read_sax`.

    Raises:
        AnatomyError: If this is no short-axis cine or is damaged.
    """
    cine = _acquired(path, None)
    if not np.isfinite(cine.frames).all():
        raise AnatomyError("A cine needs finite intensities; found NaN or infinity. Export it again.")
    return replace(cine, warnings=cine.warnings + check_stack(cine.frames[0], cine.ijk_to_ras))


def _acquired(path: str | Path, frame: int | None) -> CineStack:
    """Read one frame, or all where it is None, before anything of their content is judged."""
    source = _open_dicom(path)
    if source is not None:
        cine = read_dicom(source)
        if frame is not None:
            check_frame(frame, cine.n_frames)
        frames = cine.frames(list(range(cine.n_frames)) if frame is None else [frame])
        return CineStack(frames, cine.ijk_to_ras, cine.frame_times_ms, cine.sha256(), cine.warnings)
    with _opened(Path(path)) as (file, header):
        if frame is not None:
            check_frame(frame, header.n_frames)
        frames, matrix, said = straighten(intensities(read_frames(header, frame), header), header.ijk_to_ras)
    warnings = header.warnings + ((said,) if said else ())
    return CineStack(frames.reshape(-1, *header.shape), matrix, header.frame_times_ms, sha256_of(file), warnings)


def _open_dicom(path: str | Path) -> Folder | Zip | None:
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
