"""Folders that are complete or not there: written beside the final name and given it by one rename, under a lock.

Whatever ends a process, and when, the final name stands for the old folder or for the new one. Two writers of one name
exclude each other. What dead writers left is swept by the next one of the same name. Links are never followed out.
"""

import contextlib
import ctypes
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from COFGeneratorLib.errors import ChainOfFlowError

STAGING, REPLACED = "partial", "replaced"
"""Kinds of hidden folders beside a final one: what is being written, and what makes room for it."""
AT_CWD, EXCHANGE, SWAP = -100, 2, 2
"""AT_FDCWD and RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS."""


@contextlib.contextmanager
def whole_folder(out: str | os.PathLike, ours: Callable[[Path], set[str]]) -> Iterator[Path]:
    """Give an empty folder to write into; it takes the place of ``out`` when the block ends well, else goes away.

    Args:
        out: Final folder; absent, empty or holding something. A link to a folder stands for that folder.
        ours: Told a folder, returns the names below it (``a/b``) that are replaced; all other files in it are kept.

    Raises:
        ChainOfFlowError: If it is no folder that can be renamed or written, or another process writes it.
    """
    final = Path(out).absolute()
    final = final.resolve() if final.is_symlink() else final
    _check(final, out)
    made = [folder for folder in (final.parent, *final.parent.parents) if not folder.exists()]
    try:
        with _staged(final, out) as staging:
            yield staging
            _keep_others(final, staging, ours)
            _publish(staging, final)
    except BaseException:
        for folder in made:
            with contextlib.suppress(OSError):  # what holds something stays
                folder.rmdir()
        raise


@contextlib.contextmanager
def _staged(final: Path, out: str | os.PathLike) -> Iterator[Path]:
    """Give the folder to write into while the lock is held; what bears its name afterwards goes away."""
    with contextlib.ExitStack() as held:
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            if held.enter_context(_locked(final)):  # so none other is at work
                _sweep(final)
            staging = _beside(final, STAGING)
            staging.mkdir()
        except OSError as error:
            raise ChainOfFlowError(
                f"The result needs a folder that can be written; {out} cannot be made ({error.strerror}). "
                "Choose another folder."
            ) from error
        held.callback(remove, staging)
        yield staging


def _check(final: Path, out: str | os.PathLike) -> None:
    if final.exists() and not final.is_dir():
        raise ChainOfFlowError(f"The result needs a folder; found the file {out}. Choose another name.")
    if os.path.ismount(final):
        raise ChainOfFlowError(
            f"The result needs a folder that can be renamed; {out} is the root of a disk. Choose a folder inside it."
        )


def _beside(final: Path, kind: str) -> Path:
    return final.with_name(f".{final.name}.{kind}-{secrets.token_hex(6)}")


def _publish(staging: Path, final: Path) -> None:
    """Give the staged folder its final name; what stood there, if anything, ends under the staged name or is gone."""
    if not final.exists() or (os.name != "nt" and not any(final.iterdir())):
        staging.rename(final)  # over an empty folder, too
    elif not _exchange(staging, final):  # a file system or system without it: the next writer mends what is cut short
        room = _beside(final, REPLACED)
        final.rename(room)
        try:
            staging.rename(final)
        except OSError:
            room.rename(final)
            raise
        remove(room)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange the names of two folders in one step; False where the system cannot."""
    try:
        library = ctypes.CDLL(None, use_errno=True)
        names = os.fsencode(one), os.fsencode(other)
        if sys.platform == "darwin":
            return library.renamex_np(*names, ctypes.c_uint(SWAP)) == 0
        return library.renameat2(AT_CWD, names[0], AT_CWD, names[1], ctypes.c_uint(EXCHANGE)) == 0
    except (AttributeError, OSError, TypeError):
        return False


def _keep_others(final: Path, staging: Path, ours: Callable[[Path], set[str]]) -> None:
    """Give files that are not replaced a second name in the staged folder, before anything of the old one goes."""
    if not final.is_dir():
        return
    replaced = ours(final)
    for root, folders, files in os.walk(final):
        links = [name for name in folders if os.path.islink(os.path.join(root, name))]
        for name in (*files, *links):
            path = Path(root, name)
            below = path.relative_to(final)
            target = staging / below
            if below.as_posix() in replaced or os.path.lexists(target):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, target, follow_symlinks=False)
            except (OSError, NotImplementedError):  # a file system without hard links
                shutil.copy2(path, target, follow_symlinks=False)


def _sweep(final: Path) -> None:
    """Take away what writers of this name left that ended before their time."""
    left = {kind: _left(final, kind) for kind in (STAGING, REPLACED)}
    if left[REPLACED] and not final.exists():  # cut short between two renames: the old one stands again
        left[REPLACED].pop().rename(final)
    for path in (*left[STAGING], *left[REPLACED]):
        remove(path)


def _left(final: Path, kind: str) -> list[Path]:
    start = f".{final.name}.{kind}-"
    return [
        Path(entry) for entry in os.scandir(final.parent) if entry.name.startswith(start) and not entry.is_symlink()
    ]


def remove(folder: Path) -> None:
    """Delete a folder and what lies in it; of a link the link alone, and nothing where there is nothing."""
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(final: Path) -> Iterator[bool]:
    """Hold the lock of a folder, which ends with this process, in a file beside it; False where there are no locks.

    Raises:
        ChainOfFlowError: If another process holds it.
    """
    path = final.with_name(f".{final.name}.lock")
    with contextlib.ExitStack() as opened:
        while True:
            file = opened.enter_context(path.open("a"))
            try:
                held = _try_lock(file)
            except OSError:  # some network disks
                yield False
                return
            if not held:
                raise ChainOfFlowError(
                    f"One run writes a folder at a time; found another at work in {final.name}. Wait for it, or "
                    "choose another folder."
                )
            with contextlib.suppress(OSError):
                if os.name == "nt" or os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    break
            opened.pop_all().close()  # its last holder took the file away meanwhile
        try:
            yield True
        finally:
            if os.name == "nt":  # there an open file cannot be taken away
                file.close()
            with contextlib.suppress(OSError):
                path.unlink()


def _try_lock(file: IO[str]) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True
