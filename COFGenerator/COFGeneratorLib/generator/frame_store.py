"""The frames of a moved anchor as they come: in memory, or where they are many in a file that ends with them."""

import tempfile
from typing import IO

import numpy as np

LARGEST_IN_MEMORY = 96_000_000
"""Bytes of frames up to which they stay in memory: 120 frames of 12×128×128. More go to a temporary file, so that the
memory of a generation does not grow with their number."""


class FrameStore:
    """Takes frames in turn and gives them as one array.

    Args:
        still: (D, H, W) the anchor, which is what does not move of every frame.
        frames: How many there will be.
        at: The frame that is the anchor, whatever is added for it.
    """

    def __init__(self, still: np.ndarray, frames: int, at: int) -> None:
        self._still, self._at, self._count = still, at, 0
        self._shape = (frames, *still.shape)
        self._file = _temporary_file() if frames * still.nbytes > LARGEST_IN_MEMORY else None
        if self._file is None:
            self._array = np.empty(self._shape, still.dtype)

    def add(self, where: np.ndarray, moved: np.ndarray) -> None:
        """Take the next frames, of which voxels (n,), indices into the flattened anchor, moved: (m, n)."""
        first, stop = self._count, self._count + len(moved)
        whole = np.empty((len(moved), *self._shape[1:]), self._still.dtype) if self._file else self._array[first:stop]
        whole[:] = self._still
        whole.reshape(len(moved), -1)[:, where] = moved
        if first <= self._at < stop:
            whole[self._at - first] = self._still
        if self._file is not None:
            self._write(whole)
        self._count = stop

    def _write(self, whole: np.ndarray) -> None:
        """Write frames to the file; where it has no room, all go on in memory."""
        assert self._file is not None
        try:
            self._file.write(whole.data.cast("B"))
            self._file.flush()
        except OSError:
            self._array = np.empty(self._shape, self._still.dtype)
            self._file.seek(0)
            self._file.readinto(self._array[: self._count].data.cast("B"))  # type: ignore[attr-defined]
            self._array[self._count : self._count + len(whole)] = whole
            self._file.close()
            self._file = None

    def array(self) -> np.ndarray:
        """Return all frames, (T, D, H, W); those in a file are read when they are looked at, and may be written to."""
        if self._file is None:
            return self._array
        return np.memmap(self._file, self._still.dtype, "c", shape=self._shape).view(np.ndarray)


def _temporary_file() -> IO[bytes] | None:
    """Open a file that nobody sees and that is gone when it is closed; None where there is no place for one."""
    try:
        return tempfile.TemporaryFile(prefix="chainofflow-")
    except OSError:
        return None
