"""What the header of an image file says, whatever its format, and the way to its voxels."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from COFGeneratorLib.errors import AnatomyError

MAX_BYTES = 2 * 1024**3
"""Most voxel data a file may hold, bytes. A cine of 512×512×20×60 frames in 16 bits is a quarter of this."""
MAX_SLICES, MAX_IN_PLANE, MAX_FRAMES = 512, 2048, 1024
MOST_COMPONENTS = 4
AS_FRAMES = "The components of each voxel are taken for the frames of a cine."


@dataclass(frozen=True)
class Payload:
    """Where the voxels of a file lie.

    Args:
        path: The file that holds them (not always the file with the header).
        offset: Bytes to skip in that file.
        codec: "raw", "gzip", "bzip2", "ascii" or "hex".
        inner_offset: Bytes to skip after decoding.
    """

    path: Path
    offset: int = 0
    codec: str = "raw"
    inner_offset: int = 0


@dataclass(frozen=True)
class Segment:
    """One segment of a segmentation.

    Args:
        words: Its name and terminology, to be matched and never repeated.
        code: Its number in the voxels.
        layer: Layer that holds it, where segments overlap; they are stored as frames.
    """

    words: tuple[str, ...] = field(repr=False)
    code: int
    layer: int = 0


@dataclass(frozen=True)
class VolumeHeader:
    """Geometry, type and timing of a volume or cine, before any voxel is read.

    Args:
        format: Name of the file format, for messages.
        shape: (D, H, W) of one frame.
        n_frames: Number of frames, 1 for a single volume.
        frames_fastest: Whether consecutive numbers in the file belong to consecutive frames.
        dtype: Type of a stored number, byte order included.
        ijk_to_ras: (4, 4) voxel (i, j, k, 1) to RAS mm.
        payload: Where the voxels lie.
        slope: Stored number times this …
        intercept: … plus this gives the intensity.
        frame_times_ms: (n_frames,) or empty where the file does not say.
        warnings: What had to be assumed or repaired.
        segments: What a segmentation's codes mean; empty for a plain label map or an image.
        ours: Whether ChainOfFlow wrote the file; its label maps have its own codes.
    """

    format: str
    shape: tuple[int, int, int]
    n_frames: int
    frames_fastest: bool
    dtype: np.dtype
    ijk_to_ras: np.ndarray
    payload: Payload
    slope: float = 1.0
    intercept: float = 0.0
    frame_times_ms: tuple[float, ...] = ()
    warnings: tuple[str, ...] = ()
    segments: tuple[Segment, ...] = ()
    ours: bool = False

    def __post_init__(self) -> None:
        check_sizes(self.format, self.shape, self.n_frames, self.dtype.itemsize)

    @property
    def frame_numbers(self) -> int:
        """How many numbers one frame holds."""
        return int(np.prod(self.shape, dtype=object))


def not_scalar(format_name: str, found: str) -> AnatomyError:
    """Return the refusal of colours, vectors and complex numbers."""
    return AnatomyError(f"Voxels must be single numbers; this {format_name} holds {found}. Export grey-scale MR.")


def vector_as_frames(sizes: Sequence[int], components: int) -> bool:
    """Whether the components of a voxel are frames: more than a displacement, a colour or a complex number has."""
    return len(sizes) == 3 and components > MOST_COMPONENTS


def check_axes(format_name: str, sizes: Sequence[int]) -> None:
    """Refuse what is neither a volume nor a cine.

    Raises:
        AnatomyError: If there are not three or four axes.
    """
    if len(sizes) not in (3, 4):
        found = "×".join(_count(n) for n in sizes[:8]) or "nothing"
        raise AnatomyError(
            f"A short-axis stack is a volume (3-D) or cine (4-D); this {format_name} is {len(sizes)}-D ({found}). "
            "Load the whole stack, not one image."
        )


def detached(path: Path, name: str, format_name: str, suffix: str) -> Path:
    """Return the file of voxels that a header names, which must lie beside it.

    Raises:
        AnatomyError: If the name leads elsewhere, to the header itself or to several files, or no such file is there.
    """
    if (
        name.upper().startswith("LIST")
        or "%" in name
        or "/" in name
        or "\\" in name
        or name in ("", ".", "..", path.name)
    ):
        raise AnatomyError(
            f"The voxels of a {format_name} must be in the same file or in one file beside it; this header points "
            f"elsewhere. Export as a single {suffix}."
        )
    if not os.path.isfile(path.with_name(name)):  # also of a name that no file can have
        raise AnatomyError(
            f"The {format_name} keeps its voxels in another file; no such file lies beside it. Copy both."
        )
    return path.with_name(name)


def check_sizes(format_name: str, shape: tuple[int, ...], n_frames: int, itemsize: int) -> None:
    """Refuse sizes that no short-axis cine has, before anything is allocated.

    Raises:
        AnatomyError: If an axis is empty or absurd, or the whole would exceed `MAX_BYTES`.
    """
    depth, height, width = shape
    if min(depth, height, width, n_frames) < 1:
        raise AnatomyError(
            f"An image needs at least one voxel along every axis; the {format_name} header says "
            f"{_sizes(shape)}, {_count(n_frames)} frames. Export the volume again."
        )
    total = depth * height * width * n_frames * itemsize
    if total > MAX_BYTES or depth > MAX_SLICES or max(height, width) > MAX_IN_PLANE or n_frames > MAX_FRAMES:
        raise AnatomyError(
            f"A short-axis stack has at most {MAX_IN_PLANE}×{MAX_IN_PLANE} pixels, {MAX_SLICES} slices, {MAX_FRAMES} "
            f"frames and {MAX_BYTES / 1024**3:.0f} GiB; the {format_name} header claims {_sizes(shape)}, "
            f"{_count(n_frames)} frames. Crop the volume, or check the header."
        )


def _sizes(shape: tuple[int, ...]) -> str:
    return "×".join(_count(n) for n in shape[::-1])


def _count(n: int) -> str:
    """Write a count of a header, which may have thousands of digits."""
    return str(n) if abs(n) < 10**12 else "more than 10¹²"
