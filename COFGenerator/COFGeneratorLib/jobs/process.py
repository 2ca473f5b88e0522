"""Starting, recognising and ending process trees on Linux, macOS and Windows with the standard library alone.

A process is known by its id *and* its start time, because systems reuse ids.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

WINDOWS = sys.platform == "win32"


def start_detached(argv: Sequence[str], log: Path, cwd: Path, env: Mapping[str, str]) -> subprocess.Popen:
    """Start a process as the head of its own group, free of our terminal and pipes.

    It goes on when we exit, and its whole tree can be ended by its group.

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
    if sys.platform == "linux":
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[19]  # state; start in clock ticks since boot
    if WINDOWS:
        return _windows_start_time(pid)
    found = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, started = found.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else started.strip()


def is_running(pid: int, started: str | None) -> bool:
    """Tell whether the very process that started then still runs."""
    return started is not None and start_time(pid) == started


def end_tree(pid: int, force: bool) -> None:
    """End a process that ``start_detached`` made, and all its descendants; ``force`` kills at once instead of asking.

    The caller has checked that it is still that process or a group it left behind.
    """
    if WINDOWS:
        command = ["taskkill", "/T", "/PID", str(pid), *(["/F"] if force else [])]
        subprocess.run(command, capture_output=True, check=False)
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL if force else signal.SIGTERM)


def has_orphans(pid: int) -> bool:
    """Tell whether a group whose head has ended still has running members (POSIX; False on Windows).

    An id is not reused while a group of that id exists; a running process of that id therefore means that the group is
    somebody else's by now.
    """
    if WINDOWS or pid <= 0 or start_time(pid) is not None:  # 0 would be our own group
        return False
    if sys.platform == "linux":  # zombies still count for killpg, so look at the states
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    if fields[2] == str(pid) and fields[0] not in "ZX":
                        return True
        return False
    try:
        os.killpg(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


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
