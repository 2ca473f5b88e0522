"""The files of a folder or of a zip, under limits: a zip is read in place and never unpacked onto the disk."""

import contextlib
import os
import zipfile
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path, PurePosixPath

from COFGeneratorLib.errors import AnatomyError

MAX_FILES = 20_000
MAX_FILE_BYTES = 1 << 30
MAX_READS = 3
"""Times that a file is read at most: for its header, its pixels and its hash."""
MAX_TOTAL_BYTES = 4 << 30
"""A UK Biobank short-axis zip holds about 700 files of 0.1 MB; a study with everything in it some 5,000."""
LOCAL_HEADER_BYTES = 30
MAX_RATIO, SMALL_BYTES = 200, 64 << 20
"""Medical images do not shrink two-hundredfold; what does is checked only where it would matter."""


class Folder:
    """The files under a folder, or one file alone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names = [str(found) for found in ([path] if path.is_file() else sorted(self._walk()))]

    def _walk(self) -> Iterator[Path]:
        """Yield the files below; links to folders, which may lead round in a circle, are not followed."""
        folders, count = [self.path], 0
        while folders:
            with contextlib.suppress(PermissionError), os.scandir(folders.pop()) as entries:
                for entry in entries:
                    count += 1
                    if count > MAX_FILES:
                        raise AnatomyError(
                            f"A folder with one study holds at most {MAX_FILES:,} files; this one holds more. "
                            "Give the folder of the short-axis cine alone."
                        )
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(Path(entry.path))
                    elif entry.is_file() and not entry.name.startswith("."):
                        yield Path(entry.path)

    def size(self, name: str) -> int:
        """Return a file's size in bytes."""
        return Path(name).stat().st_size

    def start(self, name: str, n_bytes: int) -> bytes:
        """Return the first bytes of a file."""
        with Path(name).open("rb") as file:
            return file.read(n_bytes)

    def read(self, name: str) -> bytes:
        """Return a file's content.

        Raises:
            AnatomyError: If it is larger than any image.
        """
        if self.size(name) > MAX_FILE_BYTES:
            raise _too_large()
        return Path(name).read_bytes()


class Zip:
    """The files of a zip archive.

    Raises:
        AnatomyError: If the archive is damaged, encrypted, points outside itself, or would unpack to absurd sizes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._inflated = 0
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
            raise _damaged() from None
        members = [m for m in self._zip.infolist() if not m.filename.endswith("/")]
        if len(members) > MAX_FILES:
            raise AnatomyError(
                f"A zip with one study holds at most {MAX_FILES:,} files; this one lists {len(members):,}. "
                "Give a zip of the short-axis cine alone."
            )
        for member in members:
            _refuse_tricks(member)
        _refuse_overlap(members)
        total = sum(m.file_size for m in members)
        packed = sum(m.compress_size for m in members)
        if total > MAX_TOTAL_BYTES or (total > SMALL_BYTES and total > MAX_RATIO * max(packed, 1)):
            raise AnatomyError(
                f"A zip with one study unpacks to at most {MAX_TOTAL_BYTES >> 30} GiB and {MAX_RATIO} times its size; "
                f"this one claims {total / 2**30:.3g} GiB out of {packed / 2**20:.3g} MiB. It is not a study; check it."
            )
        self._members = {m.filename: m for m in members if not PurePosixPath(m.filename).name.startswith(".")}
        self.names = sorted(self._members)

    def size(self, name: str) -> int:
        """Return a member's size in bytes, as the archive lists it."""
        return self._members[name].file_size

    def start(self, name: str, n_bytes: int) -> bytes:
        """Return the first bytes of a member."""
        return self._take(name, n_bytes)

    def read(self, name: str) -> bytes:
        """Return a member's content: as much as its listing promises.

        Raises:
            AnatomyError: If it is damaged or larger than any image.
        """
        promised = self.size(name)
        if promised > MAX_FILE_BYTES:
            raise _too_large()
        content = self._take(name, promised + 1)
        self._inflated += len(content)
        if len(content) != promised:
            raise _damaged()
        if self._inflated > MAX_READS * MAX_TOTAL_BYTES:
            raise AnatomyError(
                f"A zip with one study unpacks to at most {MAX_TOTAL_BYTES >> 30} GiB; more was read of this one. Give "
                "a zip of the short-axis cine alone."
            )
        return content

    def _take(self, name: str, n_bytes: int) -> bytes:
        try:
            with self._zip.open(self._members[name]) as file:
                return file.read(n_bytes)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError):
            raise _damaged() from None


def is_zip(start: bytes) -> bool:
    """Whether leading bytes are a zip archive's."""
    return start.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def _refuse_tricks(member: zipfile.ZipInfo) -> None:
    """Refuse names that would leave the archive, links and encrypted members."""
    name = member.filename.replace("\\", "/")
    path = PurePosixPath(name)
    link = (member.external_attr >> 16) & 0o170000 == 0o120000
    if not path.parts or path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or "\0" in name or link:
        raise AnatomyError(
            "The files of a zip must lie inside it; this archive holds links or names that lead elsewhere. "
            "It may be harmful: make a new zip of the images."
        )
    if member.flag_bits & 1:
        raise AnatomyError("A zip of images must not be encrypted; this one is. Unpack it and give the folder.")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise AnatomyError(
            "The files of a zip must be stored or deflated; this archive packs some in another way. Make a new zip of "
            "the images, or give their folder."
        )


def _refuse_overlap(members: list[zipfile.ZipInfo]) -> None:
    """Refuse archives that list the same bytes more than once: they unpack to many times what they hold."""
    placed = sorted((m.header_offset, m.header_offset + LOCAL_HEADER_BYTES + m.compress_size) for m in members)
    names = {m.filename for m in members}
    if len(names) < len(members) or any(end > start for (_, end), (start, _) in pairwise(placed)):
        raise AnatomyError(
            "Every file of a zip needs a name and bytes of its own; this archive lists some twice. It may be harmful: "
            "make a new zip of the images."
        )


def _too_large() -> AnatomyError:
    return AnatomyError(
        f"A DICOM file of a cine is at most {MAX_FILE_BYTES >> 30} GiB; found a larger one. Give the short-axis cine "
        "alone."
    )


def _damaged() -> AnatomyError:
    return AnatomyError("A zip of images should unpack cleanly; this one is damaged. Copy or download it again.")
