"""Starting, recognising and ending trees of processes on Linux, macOS and Windows with the standard library alone.

A process is known by its id *and* its start time, because systems reuse ids; a job's own processes besides by a mark
in the environment that they begin with, which nobody else's have. Nothing is signalled that is not so known.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

WINDOWS = sys.platform == "win32"
LINUX = sys.platform == "linux"
MARK = "COF_JOB"
"""Variable of the environment that every process of a job inherits."""
HIGHEST_PID = 2**31 - 1
PS_S = 10.0
"""What ``ps`` may take."""
ROUNDS = 5
"""How often is looked again for processes that appeared while others were killed."""


@dataclass(frozen=True)
class Head:
    """The first process of a job.

    Attributes:
        pid: Its id; 0 where none is known.
        started: Token of its start time.
        mark: What ``MARK`` is in its environment; empty for a job of a version that set none.
    """

    pid: int = 0
    started: str | None = None
    mark: str = ""


@dataclass(frozen=True)
class _Entry:
    """A process as the system tells it."""

    pid: int
    parent: int
    group: int
    session: int
    started: str


def start_detached(argv: Sequence[str], log: Path, cwd: Path, env: Mapping[str, str]) -> subprocess.Popen:
    """Start a process as the head of its own session, free of our terminal and pipes; it goes on when we exit.

    Raises:
        OSError: If the program cannot be started.
    """
    options: dict = {"start_new_session": True}
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        options = {"creationflags": flags}
    with log.open("ab") as stream:
        return subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=dict(env),
            close_fds=True,
            **options,
        )


def start_time(pid: int) -> str | None:
    """Return a token of the moment a process started, or None if there is no such running process."""
    if not 0 < pid <= HIGHEST_PID:
        return None
    if LINUX:
        entry = _entry(Path(f"/proc/{pid}"))
        return None if entry is None else entry.started
    if WINDOWS:
        return _windows_start_time(pid)
    return next((entry.started for entry in _told_by_ps("-p", str(pid))), None)


def is_running(head: Head) -> bool:
    """Tell whether the very process that started then, as the head of a job, still runs."""
    if head.started is None or head.pid in (1, os.getpid()) or start_time(head.pid) != head.started:
        return False
    if WINDOWS:
        return True
    with contextlib.suppress(OSError):  # a head leads a group of its own, and its environment has the mark
        return os.getpgid(head.pid) == head.pid and (not LINUX or _has_mark(head.pid, head.mark))
    return False


def end_tree(head: Head, force: bool, known: bool = False) -> None:
    """End a job's head, where it still is that process, and all its descendants, also those in sessions of their own.

    Args:
        head: The job's first process; it may have ended.
        force: Kill at once instead of asking.
        known: The caller started the head itself or has seen it run. What an ended head left in its group is then the
            job's; otherwise, on Linux alone, what has the mark.
    """
    if WINDOWS:
        if is_running(head):
            command = ["taskkill", "/T", "/PID", str(head.pid), *(["/F"] if force else [])]
            subprocess.run(command, capture_output=True, check=False)
        return
    for _ in range(ROUNDS if force else 1):
        found = _members(head, known)
        for entry in found:
            _signal(entry, signal.SIGKILL if force else signal.SIGTERM)
        if not found:
            return


def _members(head: Head, known: bool) -> list[_Entry]:
    """Return the running processes of a job; never ourselves."""
    entries = {entry.pid: entry for entry in (_of_proc() if LINUX else _told_by_ps("-ax"))}
    entries.pop(1, None)
    own = {pid for pid in entries if LINUX and _has_mark(pid, head.mark)}
    if is_running(head):
        own.add(head.pid)
    sessions = {entries[pid].session for pid in own if pid in entries}  # each was begun by the job: its head leads one
    if known and head.pid > 1 and head.pid not in entries:  # no id is given again while a session has it
        sessions.add(head.pid)
    count = -1
    while len(own) != count:
        count = len(own)
        own |= {entry.pid for entry in entries.values() if entry.parent in own or entry.session in sessions}
    return [entries[pid] for pid in own - {os.getpid()} if pid in entries]


def _of_proc() -> list[_Entry]:
    found = (_entry(path) for path in Path("/proc").iterdir() if path.name.isdigit())
    return [entry for entry in found if entry is not None]


def _entry(path: Path) -> _Entry | None:
    """Return a process of ``/proc``, or None if it has ended."""
    try:
        fields = (path / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    state, parent, group, session = fields[:4]
    # the start is in clock ticks since boot
    return None if state in "ZX" else _Entry(int(path.name), int(parent), int(group), int(session), fields[19])


def _has_mark(pid: int, mark: str) -> bool:
    if not mark:
        return False
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # somebody else's, or gone
        return False
    return f"{MARK}={mark}".encode() in environment.split(b"\0")


def _told_by_ps(*which: str) -> list[_Entry]:
    """Return running processes as ``ps`` tells them; a group stands for the session, which not every ``ps`` knows."""
    command = ["ps", *which, "-o", "pid=,ppid=,pgid=,stat=,lstart="]
    try:
        found = subprocess.run(
            command, capture_output=True, encoding="utf-8", check=False, timeout=PS_S, env={**os.environ, "LC_ALL": "C"}
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    entries = []
    for line in found.stdout.splitlines():
        pid, parent, group, state, *started = line.split()
        if not state.startswith("Z"):
            entries.append(_Entry(int(pid), int(parent), int(group), int(group), " ".join(started)))
    return entries


def _signal(entry: _Entry, number: int) -> None:
    """Send a signal to a process that was seen, and to none that has got its id since."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "linux":
            with contextlib.suppress(NotImplementedError):
                return _signal_by_handle(entry, number)
        if start_time(entry.pid) == entry.started:
            os.kill(entry.pid, number)


if sys.platform == "linux":

    def _signal_by_handle(entry: _Entry, number: int) -> None:
        """Signal through a handle, which stays that process's; ``NotImplementedError`` where the system has none."""
        try:
            handle = os.pidfd_open(entry.pid)
        except ProcessLookupError:
            raise
        except OSError as error:  # a kernel before 5.3, or a sandbox
            raise NotImplementedError from error
        try:
            if start_time(entry.pid) == entry.started:
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)


def _windows_start_time(pid: int) -> str | None:
    if sys.platform != "win32":
        return None
    import ctypes
    from ctypes import wintypes

    query_limited_information, still_active = 0x1000, 259
    kernel = ctypes.windll.kernel32
    kernel.OpenProcess.restype = wintypes.HANDLE
    handle = kernel.OpenProcess(query_limited_information, False, pid)
    if not handle:
        return None
    try:
        code = wintypes.DWORD()
        times = [wintypes.FILETIME() for _ in range(4)]
        if not kernel.GetExitCodeProcess(wintypes.HANDLE(handle), ctypes.byref(code)) or code.value != still_active:
            return None
        if not kernel.GetProcessTimes(wintypes.HANDLE(handle), *(ctypes.byref(item) for item in times)):
            return None
        return str((times[0].dwHighDateTime << 32) | times[0].dwLowDateTime)
    finally:
        kernel.CloseHandle(wintypes.HANDLE(handle))
