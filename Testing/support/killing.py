"""Starting commands, killing them, and looking at what is left: processes, files, descriptors."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

LONGEST_ALIVE_S = 10.0


@dataclass
class Tally:
    """What was seen at the points of one command."""

    killed: int = 0
    ended: int = 0
    old: int = 0
    new: int = 0
    alive_s: float = 0.0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.killed} kills ({self.ended} runs had ended before), old result {self.old} times, new {self.new}; "
            f"last process gone after {self.alive_s:.1f} s; {len(self.faults)} faults"
        )


@dataclass
class Run:
    """A command at work in a process of its own session."""

    pid: int
    said: Path
    begun: float = field(default_factory=time.monotonic)
    code: int | None = None

    def poll(self) -> bool:
        """Tell whether it has ended."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

    def wait(self, within_s: float = float("inf")) -> bool:
        """Wait for its end; tells whether it has ended."""
        end = time.monotonic() + within_s
        while not self.poll() and time.monotonic() < end:
            time.sleep(0.005)
        return self.code is not None


def load() -> None:
    """Load what commands load, so that those which are forked from this process begin at once."""
    import matplotlib.pyplot
    import monai.networks.nets
    import neurokit2
    import SimpleITK
    import torch
    from COFGeneratorLib import generate, load_bundle
    from COFTrainingLib import cli

    torch.set_num_threads(1)
    _ = (matplotlib, monai, neurokit2, SimpleITK, generate, load_bundle, cli)


def start(words: Sequence[object], said: Path) -> Run:
    """Start ``cof`` in a fork of this process that leads a session; what it prints goes to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return Run(pid, said)
    code = 1
    try:
        os.setsid()
        out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for number in (1, 2):
            os.dup2(out, number)
        from COFTrainingLib.cli import main

        code = main([str(word) for word in words])
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


@contextlib.contextmanager
def _started(words: Sequence[object], said: Path) -> Iterator[Run]:
    """Give a command at work, which does not outlive an interrupted bench."""
    run = start(words, said)
    try:
        yield run
    except BaseException:
        end(processes_of(run.pid))
        raise


def end(processes: Iterable[int]) -> None:
    """Kill processes that are still there."""
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def run_whole(words: Sequence[object], said: Path) -> float:
    """Run a command to its end; returns the seconds that it took."""
    with _started(words, said) as run:
        run.wait()
    if run.code != 0:
        raise SystemExit(f"{words[0]} ended with {run.code}: {said.read_text(errors='replace')[-2000:]}")
    return time.monotonic() - run.begun


STOPPED_EXIT_CODE = 130


def kill_at(
    words: Sequence[object], seconds: float, said: Path, tally: Tally, number: signal.Signals = signal.SIGKILL
) -> None:
    """Start a command, signal it after so many seconds, and see how long its processes live.

    One that is asked to stop must say so by its exit code.
    """
    with _started(words, said) as run:
        if run.wait(seconds):
            tally.ended += 1
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(run.pid, number)
            tally.killed += 1
        killed = time.monotonic()
        run.wait(LONGEST_ALIVE_S)
        if number != signal.SIGKILL and run.code not in (0, STOPPED_EXIT_CODE):
            words_said = said.read_text(errors="replace")[-300:]
            tally.faults.append(f"asked to stop, it ended with {run.code}: {words_said}")
        while alive := processes_of(run.pid):
            if time.monotonic() - killed > LONGEST_ALIVE_S:
                tally.faults.append(f"{len(alive)} processes lived {LONGEST_ALIVE_S:.0f} s after the kill")
                end(alive)
                break
            time.sleep(0.05)
        tally.alive_s = max(tally.alive_s, time.monotonic() - killed)


def processes_of(session: int) -> list[int]:
    """Return the living processes of a session (Linux)."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            state, _, _, number = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue
        if int(number) == session and state != "Z":
            found.append(int(entry.name))
    return found
